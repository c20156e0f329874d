//! ARP for Ethernet and IPv4 (RFC 826, RFC 5227).

use crate::base::Mac;
use crate::frame::Frame;
use crate::frame::arp::{Arp, REPLY, REQUEST};
use std::net::Ipv4Addr;

/// Asks who has `target`, to everybody or (to confirm what is known) to one MAC.
pub fn arp_request(mac: Mac, ip: Ipv4Addr, target: Ipv4Addr, to: Option<Mac>) -> Frame {
    let request = Arp {
        op: REQUEST,
        sha: mac,
        spa: ip,
        tha: Mac::ZERO,
        tpa: target,
    };
    request.frame(to.unwrap_or(Mac::BROADCAST))
}

/// Says that `ip` is at `mac`, to the one who asked. A probe asks from 0.0.0.0 and is answered
/// to just that (RFC 5227 section 2.1.1).
pub fn arp_reply(mac: Mac, ip: Ipv4Addr, to: Mac, to_ip: Ipv4Addr) -> Frame {
    let reply = Arp {
        op: REPLY,
        sha: mac,
        spa: ip,
        tha: to,
        tpa: to_ip,
    };
    reply.frame(to)
}

/// Tells everybody that `ip` is at `mac` (RFC 5227 section 3: a request for one's own address).
pub fn arp_announcement(mac: Mac, ip: Ipv4Addr) -> Frame {
    arp_request(mac, ip, ip, None)
}
