//! ARP for Ethernet and IPv4 (RFC 826, RFC 5227).

use crate::base::Mac;
use crate::frame::Frame;
use std::net::Ipv4Addr;

const REQUEST: u8 = 1;
const REPLY: u8 = 2;

fn arp(dst: Mac, op: u8, sha: Mac, spa: Ipv4Addr, tha: Mac, tpa: Ipv4Addr) -> Frame {
    let mut out = [0u8; 42];
    let parts: [&[u8]; 7] = [
        &dst.0,
        &sha.0,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, op],
        &sha.0,
        &spa.octets(),
        &tha.0,
        &tpa.octets(),
    ];
    for (to, from) in out.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    Frame::from_bytes(&out)
}

/// Asks who has `target`, to everybody or (to confirm what is known) to one MAC.
pub fn arp_request(mac: Mac, ip: Ipv4Addr, target: Ipv4Addr, to: Option<Mac>) -> Frame {
    let dst = to.unwrap_or(Mac::BROADCAST);
    arp(dst, REQUEST, mac, ip, Mac::ZERO, target)
}

/// Says that `ip` is at `mac`, to the one who asked. A probe asks from 0.0.0.0 and is answered
/// to just that (RFC 5227 section 2.1.1).
pub fn arp_reply(mac: Mac, ip: Ipv4Addr, to: Mac, to_ip: Ipv4Addr) -> Frame {
    arp(to, REPLY, mac, ip, to, to_ip)
}

/// Tells everybody that `ip` is at `mac` (RFC 5227 section 3: a request for one's own address).
pub fn arp_announcement(mac: Mac, ip: Ipv4Addr) -> Frame {
    arp(Mac::BROADCAST, REQUEST, mac, ip, Mac::ZERO, ip)
}
