//! Where a container's packet may go.

use super::{Config, EXTERNAL, PREFIX};
use std::net::{Ipv4Addr, SocketAddrV4};

/// The two sides of the switch that the engine stands behind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// The outside.
    Uplink,
    /// The host behind the gateway's address.
    Host,
}

/// DNS.
pub const DNS: u16 = 53;

/// The address that the host's socket is to reach for `dst`, if it may. From outside the host's
/// loopback is never reached; by the gateway's address nothing is but the resolver.
pub fn resolve(config: &Config, side: Side, dst: SocketAddrV4) -> Option<SocketAddrV4> {
    match side {
        Side::Host => match dst.port() {
            DNS if *dst.ip() == config.gateway => config.resolver,
            _ => None,
        },
        Side::Uplink => routable(*dst.ip()).then_some(dst),
    }
}

/// Whether an address names one host outside.
fn routable(ip: Ipv4Addr) -> bool {
    let mask = u32::MAX << (32 - PREFIX);
    let [first, ..] = ip.octets();
    !(first == 0
        || ip.is_loopback()
        || ip.is_multicast()
        || ip.is_broadcast()
        || ip.is_link_local()
        || ip.to_bits() & mask == EXTERNAL.to_bits() & mask)
}

/// Whether the switch takes this address as a source from its uplink.
pub fn shows_as_client(ip: Ipv4Addr, subnet: (Ipv4Addr, u32)) -> bool {
    routable(ip) && ip.octets()[0] < 240 && ip.to_bits() & subnet.1 != subnet.0.to_bits() & subnet.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_groups_are_nowhere() {
        for no in [
            "127.0.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.0.1",
            "169.254.169.254",
        ] {
            assert!(!routable(no.parse().unwrap()), "{no}");
        }
        for yes in ["10.0.0.1", "192.168.1.1", "198.51.100.1", "192.0.0.9"] {
            assert!(routable(yes.parse().unwrap()), "{yes}");
        }
    }

    #[test]
    fn clients_of_the_subnet_or_of_loopback_can_not_be_shown() {
        let subnet = (Ipv4Addr::new(10, 0, 0, 0), 0xffff_ff00);
        let shown = |ip: &str| shows_as_client(ip.parse().unwrap(), subnet);
        assert!(shown("10.0.1.7") && shown("203.0.113.9"));
        assert!(!shown("10.0.0.7") && !shown("127.0.0.1") && !shown("192.0.0.2"));
    }
}
