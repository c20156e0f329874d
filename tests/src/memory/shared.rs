//! A lab whose uplink shares its host's interface and address.

use super::packet::{tcp, tcp_tuple};
use super::{Lab, PEER, UP, WEB, config};
use dataplane::base::{HostNet, HostRoute, Proto, Via};
use dataplane::frame::parse::tcp_flags::SYN;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The ports that the host lends for masquerade.
pub const LENT: RangeInclusive<u16> = 61_000..=61_099;

/// A host with these addresses. Its routes lead out by PEER, or on the link, and 203.0.113.0/24
/// by another interface.
pub fn host_with(addresses: &[Ipv4Addr]) -> Arc<HostNet> {
    let route = |dst, prefix, via| HostRoute { dst, prefix, via };
    let routes = vec![
        route(Ipv4Addr::UNSPECIFIED, 0, Via::Gateway(PEER)),
        route(Ipv4Addr::new(192, 0, 2, 0), 24, Via::Link),
        route(Ipv4Addr::new(203, 0, 113, 0), 24, Via::Elsewhere),
    ];
    Arc::new(HostNet::new(addresses.to_vec(), routes))
}

/// [`Lab::ready`] on a host that has the uplink's address too.
pub fn shared_lab() -> Lab {
    let mut cfg = config();
    cfg.host = Some(host_with(&[UP]));
    let lab = Lab::ready_with(cfg);
    let external = &lab.sw.switch().external;
    external.share_with_host();
    let ports: Vec<u16> = LENT.collect();
    for proto in [Proto::TCP, Proto::UDP, Proto::ICMP] {
        external.lend(proto, &ports, 100, (*LENT.start(), *LENT.end()));
    }
    lab
}

/// A lab with a packet from outside that is for the host itself.
pub fn for_the_host() -> Lab {
    let mut lab = shared_lab();
    let t = tcp_tuple(PEER, 1, UP, 22);
    lab.route(&lab.up.clone(), &t, &tcp(&t, 1, 0, SYN, b""));
    lab
}

/// A lab with a connection whose external address is gone.
pub fn by_an_address_that_is_gone() -> Lab {
    let mut lab = shared_lab();
    let t = tcp_tuple(WEB, 1, PEER, 2);
    let syn = tcp(&t, 1, 0, SYN, b"");
    lab.route(&lab.web.clone(), &t, &syn);
    move_to(&lab, Ipv4Addr::new(192, 0, 2, 77));
    lab.route(&lab.web.clone(), &t, &syn);
    lab
}

/// The host's address changes to this one.
pub fn move_to(lab: &Lab, ip: Ipv4Addr) {
    let leg = config()
        .uplink
        .map(|u| dataplane::base::UplinkConfig { ip, ..u });
    lab.sw.switch().set_uplink(leg, Some(host_with(&[ip])));
}
