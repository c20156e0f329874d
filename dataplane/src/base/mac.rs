//! Ethernet addresses (IEEE 802, 48 bits).

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A 48-bit Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// ff:ff:ff:ff:ff:ff
    pub const BROADCAST: Mac = Mac([0xff; 6]);
    /// 00:00:00:00:00:00
    pub const ZERO: Mac = Mac([0; 6]);

    /// The stable address of an interface that carries `ip`: `02:42` and the four octets, as
    /// Docker forms it. Locally administered, unicast.
    pub const fn from_ip(ip: Ipv4Addr) -> Mac {
        let o = ip.octets();
        Mac([0x02, 0x42, o[0], o[1], o[2], o[3]])
    }

    /// The group bit (IEEE 802): multicast or broadcast.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// True for ff:ff:ff:ff:ff:ff.
    pub fn is_broadcast(self) -> bool {
        self == Mac::BROADCAST
    }

    /// 01-80-C2-00-00-0X: never forwarded by a bridge (IEEE 802.1D table 7-10).
    pub const fn is_link_local(self) -> bool {
        let m = self.0;
        m[0] == 0x01 && m[1] == 0x80 && m[2] == 0xc2 && m[3] == 0 && m[4] == 0 && m[5] & 0xf0 == 0
    }

    /// The address in the low 48 bits, first octet most significant.
    pub const fn to_u64(self) -> u64 {
        let m = self.0;
        u64::from_be_bytes([0, 0, m[0], m[1], m[2], m[3], m[4], m[5]])
    }

    /// Inverse of [`Mac::to_u64`]; the upper 16 bits are ignored.
    pub const fn from_u64(v: u64) -> Mac {
        let b = v.to_be_bytes();
        Mac([b[2], b[3], b[4], b[5], b[6], b[7]])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = self.0;
        write!(
            f,
            "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}",
            m[0], m[1], m[2], m[3], m[4], m[5]
        )
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What was wrong with a textual MAC address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a MAC address (six hex octets, as 02:42:0a:00:00:02)")]
pub struct BadMac(pub String);

impl FromStr for Mac {
    type Err = BadMac;

    fn from_str(s: &str) -> Result<Mac, BadMac> {
        let bad = || BadMac(s.to_owned());
        let mut out = [0u8; 6];
        let mut parts = s.split([':', '-']);
        for o in &mut out {
            let p = parts.next().ok_or_else(bad)?;
            if p.is_empty() || p.len() > 2 || !p.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(bad());
            }
            *o = u8::from_str_radix(p, 16).map_err(|_| bad())?;
        }
        match parts.next() {
            None => Ok(Mac(out)),
            Some(_) => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trip_and_refusals() {
        let m: Mac = "02:42:0a:00:00:02".parse().unwrap();
        assert_eq!(m, Mac::from_ip(Ipv4Addr::new(10, 0, 0, 2)));
        assert_eq!(m.to_string().parse::<Mac>().unwrap(), m);
        assert_eq!(Mac::from_u64(m.to_u64()), m);
        for bad in [
            "",
            "02",
            "02:42:0a:00:00",
            "02:42:0a:00:00:02:03",
            "0g:0:0:0:0:0",
            "+2:0:0:0:0:0",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    #[test]
    fn classes() {
        assert!(Mac([0x01, 0x80, 0xc2, 0, 0, 0x0e]).is_link_local());
        assert!(!Mac([0x01, 0x80, 0xc2, 0, 0, 0x10]).is_link_local());
        assert!(Mac::BROADCAST.is_group() && Mac::BROADCAST.is_broadcast());
        assert!(!Mac::from_ip(Ipv4Addr::LOCALHOST).is_group());
    }
}
