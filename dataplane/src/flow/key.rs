//! The key of a routed flow: every field that the cached decision used, in 16 bytes.

use crate::base::{Proto, Tuple};
use std::net::Ipv4Addr;

/// The side from which a routed frame came. Only untagged frames are routed, so the VLAN is not
/// part of the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Zone {
    /// A port of the bridge domain, with the gateway's MAC as destination.
    Inside = 0,
    /// The uplink.
    Uplink = 1,
}

/// A packed (zone, tuple).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct FlowKey {
    /// Source address in the upper half, destination address in the lower.
    pub a: u64,
    /// Source port (16 bits), destination port (16), protocol (8), zone (8), a set bit that tells
    /// a key from an empty record, zeros.
    pub b: u64,
}

impl FlowKey {
    /// Packs.
    #[inline]
    pub fn new(zone: Zone, t: &Tuple) -> FlowKey {
        FlowKey {
            a: (u64::from(t.src.to_bits()) << 32) | u64::from(t.dst.to_bits()),
            b: (u64::from(t.sport) << 48)
                | (u64::from(t.dport) << 32)
                | (u64::from(t.proto.0) << 24)
                | ((zone as u64) << 16)
                | 1,
        }
    }

    /// Unpacks the tuple.
    #[inline]
    pub fn tuple(&self) -> Tuple {
        Tuple {
            src: Ipv4Addr::from_bits((self.a >> 32) as u32),
            dst: Ipv4Addr::from_bits(self.a as u32),
            sport: (self.b >> 48) as u16,
            dport: (self.b >> 32) as u16,
            proto: Proto((self.b >> 24) as u8),
        }
    }

    /// Unpacks the zone.
    pub fn zone(&self) -> Zone {
        if (self.b >> 16) & 1 == 1 {
            Zone::Uplink
        } else {
            Zone::Inside
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_and_unpacks() {
        let t = Tuple {
            src: Ipv4Addr::new(10, 0, 0, 2),
            dst: Ipv4Addr::new(192, 0, 2, 255),
            sport: 65535,
            dport: 1,
            proto: Proto::UDP,
        };
        for zone in [Zone::Inside, Zone::Uplink] {
            let k = FlowKey::new(zone, &t);
            assert_eq!((k.tuple(), k.zone()), (t, zone));
        }
        assert_ne!(
            FlowKey::new(Zone::Inside, &t),
            FlowKey::new(Zone::Uplink, &t)
        );
    }
}
