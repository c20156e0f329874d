//! ARP for IPv4 over Ethernet (RFC 826), as values.

use super::Frame;
use crate::base::{Mac, Reason};
use std::net::Ipv4Addr;

/// Bytes of an ARP packet for Ethernet and IPv4.
pub const LEN: usize = 28;
/// ares_op$REQUEST
pub const REQUEST: u16 = 1;
/// ares_op$REPLY
pub const REPLY: u16 = 2;

/// The fields of an ARP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// [`REQUEST`] or [`REPLY`].
    pub op: u16,
    /// Sender's hardware address.
    pub sha: Mac,
    /// Sender's protocol address; 0.0.0.0 in a probe (RFC 5227).
    pub spa: Ipv4Addr,
    /// Target's hardware address.
    pub tha: Mac,
    /// Target's protocol address.
    pub tpa: Ipv4Addr,
}

impl Arp {
    /// Reads the packet that starts at `l3_off` of a frame.
    ///
    /// # Errors
    /// [`Reason::ArpMalformed`] when it is truncated, not for Ethernet (1) and IPv4 (0x0800) with
    /// addresses of 6 and 4 bytes, or neither request nor reply.
    pub fn decode(frame: &[u8], l3_off: u16) -> Result<Arp, Reason> {
        let packet = frame
            .get(usize::from(l3_off)..)
            .and_then(|b| b.first_chunk::<LEN>())
            .ok_or(Reason::ArpMalformed)?;
        let &[
            0,
            1,
            8,
            0,
            6,
            4,
            o0,
            o1,
            a,
            b,
            c,
            d,
            e,
            f,
            s0,
            s1,
            s2,
            s3,
            g,
            h,
            i,
            j,
            k,
            l,
            t0,
            t1,
            t2,
            t3,
        ] = packet
        else {
            return Err(Reason::ArpMalformed);
        };
        let op = u16::from_be_bytes([o0, o1]);
        if op != REQUEST && op != REPLY {
            return Err(Reason::ArpMalformed);
        }
        Ok(Arp {
            op,
            sha: Mac([a, b, c, d, e, f]),
            spa: Ipv4Addr::new(s0, s1, s2, s3),
            tha: Mac([g, h, i, j, k, l]),
            tpa: Ipv4Addr::new(t0, t1, t2, t3),
        })
    }

    /// A whole frame (42 bytes) with this packet, from its sender to `dst`.
    pub fn frame(&self, dst: Mac) -> Frame {
        let mut b = [0u8; 14 + LEN];
        let fields: [&[u8]; 9] = [
            &dst.0,
            &self.sha.0,
            &[8, 6],
            &[0, 1, 8, 0, 6, 4],
            &self.op.to_be_bytes(),
            &self.sha.0,
            &self.spa.octets(),
            &self.tha.0,
            &self.tpa.octets(),
        ];
        let bytes = fields.into_iter().flatten();
        b.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Frame::from_bytes(&b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_of_a_request() {
        let arp = Arp {
            op: REQUEST,
            sha: Mac([2, 0, 0, 0, 0, 1]),
            spa: Ipv4Addr::new(10, 0, 0, 1),
            tha: Mac::ZERO,
            tpa: Ipv4Addr::new(10, 0, 0, 2),
        };
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, // Ethernet
            0, 1, 8, 0, 6, 4, 0, 1, // hardware, protocol, lengths, operation
            2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2,
        ];
        let frame = arp.frame(Mac::BROADCAST);
        assert_eq!(frame.bytes(), expected);
        assert_eq!(Arp::decode(frame.bytes(), 14), Ok(arp));
        for (at, bad) in [
            (15, 6),
            (16, 0x86),
            (18, 8),
            (19, 16),
            (21, 3),
            (21, 0),
            (20, 1),
        ] {
            let mut b = expected;
            b[at] = bad;
            assert_eq!(Arp::decode(&b, 14), Err(Reason::ArpMalformed), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_not_but_never_panic(b in prop::collection::vec(any::<u8>(), 0..64), off: u16) {
            let enough = usize::from(off) + LEN <= b.len();
            prop_assert!(enough || Arp::decode(&b, off).is_err());
        }
    }
}
