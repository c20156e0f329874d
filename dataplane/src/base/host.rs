//! The host whose interface and address the uplink shares: what is its business, and which way
//! its own packets take.

use std::net::Ipv4Addr;

/// A route of the host that leaves by the uplink's interface, or one that must not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostRoute {
    /// Destination network, host bits zero.
    pub dst: Ipv4Addr,
    /// Length of its prefix.
    pub prefix: u8,
    /// Where it leads.
    pub via: Via,
}

/// Where a route of the host leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Via {
    /// To a neighbour on the uplink's own network.
    Link,
    /// To this router there.
    Gateway(Ipv4Addr),
    /// Out by another interface, or nowhere: not by the uplink.
    Elsewhere,
}

/// What the switch knows of its host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HostNet {
    addresses: Vec<Ipv4Addr>,
    routes: Vec<HostRoute>,
}

impl HostNet {
    /// A host with these addresses, of all its interfaces, and these routes. Of two routes to one
    /// network the first counts.
    pub fn new(mut addresses: Vec<Ipv4Addr>, mut routes: Vec<HostRoute>) -> HostNet {
        addresses.sort_unstable();
        addresses.dedup();
        // Stable: the longest prefix first, and the order of those of one length as it was.
        routes.sort_by_key(|r| std::cmp::Reverse(r.prefix));
        HostNet { addresses, routes }
    }

    /// Whether the host has this address.
    #[inline]
    pub fn has(&self, ip: Ipv4Addr) -> bool {
        self.addresses.binary_search(&ip).is_ok()
    }

    /// The neighbour by which a packet for `dst` leaves by the uplink.
    pub fn next_hop(&self, dst: Ipv4Addr) -> Option<Ipv4Addr> {
        let route = self.routes.iter().find(|r| r.leads_to(dst))?;
        match route.via {
            Via::Link => Some(dst),
            Via::Gateway(ip) => Some(ip),
            Via::Elsewhere => None,
        }
    }

    /// Whether packets are sent to this neighbour itself.
    pub fn is_neighbour(&self, ip: Ipv4Addr) -> bool {
        let router = self.routes.iter().any(|r| r.via == Via::Gateway(ip));
        router || self.next_hop(ip) == Some(ip)
    }
}

impl HostRoute {
    fn leads_to(&self, ip: Ipv4Addr) -> bool {
        let differ = self.dst.to_bits() ^ ip.to_bits();
        let past = 32 - u32::from(self.prefix.min(32));
        differ.checked_shr(past).unwrap_or(0) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(s: &str) -> Ipv4Addr {
        s.parse().unwrap()
    }

    fn route(dst: &str, prefix: u8, via: Via) -> HostRoute {
        HostRoute {
            dst: ip(dst),
            prefix,
            via,
        }
    }

    #[test]
    fn the_longest_prefix_wins_and_of_equal_ones_the_first() {
        let gw = |s| Via::Gateway(ip(s));
        let h = HostNet::new(
            vec![ip("192.0.2.1"), ip("10.9.0.1")],
            vec![
                route("0.0.0.0", 0, gw("192.0.2.254")),
                route("0.0.0.0", 0, gw("192.0.2.253")),
                route("192.0.2.0", 24, Via::Link),
                route("203.0.113.0", 24, gw("192.0.2.7")),
                route("203.0.113.9", 32, Via::Link),
                route("10.9.0.0", 16, Via::Elsewhere),
            ],
        );
        for (dst, hop) in [
            ("8.8.8.8", Some("192.0.2.254")),
            ("192.0.2.77", Some("192.0.2.77")),
            ("203.0.113.1", Some("192.0.2.7")),
            ("203.0.113.9", Some("203.0.113.9")),
            ("10.9.1.1", None),
        ] {
            assert_eq!(h.next_hop(ip(dst)), hop.map(ip), "{dst}");
        }
        assert!(h.has(ip("10.9.0.1")) && !h.has(ip("10.9.0.2")));
        for (who, yes) in [
            ("192.0.2.253", true),
            ("192.0.2.9", true),
            ("8.8.8.8", false),
        ] {
            assert_eq!(h.is_neighbour(ip(who)), yes, "{who}");
        }
        assert_eq!(HostNet::default().next_hop(ip("1.1.1.1")), None);
    }
}
