//! IGMP queries of a bridge that stands in for a missing router (RFC 4541 section 2.1.1).

use crate::base::{Mac, Vid};
use crate::frame::{Frame, checksum};
use std::net::Ipv4Addr;

/// Robustness variable and query interval that members are told (RFC 3376 sections 4.1.6, 4.1.7).
const QRV: u8 = 2;
const QQIC: u8 = 125;

/// The MAC of an IPv4 group (RFC 1112 section 6.4).
pub fn group_mac(group: Ipv4Addr) -> Mac {
    let [_, b, c, d] = group.octets();
    Mac([1, 0, 0x5e, b & 0x7f, c, d])
}

/// Asks for the members of `group`, or of every group; in `vid` when that is not 0. The source
/// is 0.0.0.0: the bridge takes no part in the election of a querier. Older hosts read it as a
/// query of their version.
pub fn igmp_query(mac: Mac, vid: Vid, group: Option<Ipv4Addr>) -> Frame {
    // In tenths of a second.
    let (to, about, response) = match group {
        Some(g) => (g, g, 10),
        None => (Ipv4Addr::new(224, 0, 0, 1), Ipv4Addr::UNSPECIFIED, 100),
    };
    let igmp = |[a, b]: [u8; 2]| {
        let [g0, g1, g2, g3] = about.octets();
        [0x11, response, a, b, g0, g1, g2, g3, QRV, QQIC, 0, 0]
    };
    let igmp = igmp(checksum::finish(checksum::sum(&igmp([0, 0]), 0)).to_be_bytes());
    let ip = |[a, b]: [u8; 2]| {
        let [d0, d1, d2, d3] = to.octets();
        // Precedence 6, TTL 1, router alert.
        [
            0x46, 0xc0, 0, 36, 0, 0, 0x40, 0, 1, 2, a, b, 0, 0, 0, 0, d0, d1, d2, d3, 148, 4, 0, 0,
        ]
    };
    let ip = ip(checksum::ipv4_header(&ip([0, 0])).to_be_bytes());
    let mut out = Vec::with_capacity(64);
    out.extend(group_mac(to).0);
    out.extend(mac.0);
    if vid != 0 {
        out.extend([0x81, 0]);
        out.extend(vid.to_be_bytes());
    }
    out.extend([8, 0]);
    out.extend(ip);
    out.extend(igmp);
    Frame::from_bytes(&out)
}
