//! Frames that the switch makes itself: ARP, ICMP, TCP resets, and fragments of what is too long.
//!
//! All of them are slow-path work, so each gives an owned [`Frame`](crate::frame::Frame) of just
//! its size. Packets of ours have TTL 64 (RFC 1700's default), DF set and therefore
//! identification 0, which RFC 6864 section 4.1 allows for datagrams that are never fragmented.

mod arp;
mod fragment;
mod icmp;
mod igmp;
mod options;
mod reset;
#[cfg(test)]
mod tests;

pub use crate::frame::parse::icmp_checksum_ok;
pub use arp::{arp_announcement, arp_reply, arp_request};
pub use fragment::{fragment, fragment_any};
pub use icmp::{IcmpError, echo_reply, icmp_error, may_answer_with_error};
pub use igmp::{group_mac, igmp_query};
pub use options::check_options;
pub use reset::tcp_reset;

use crate::base::{Mac, Proto};
use crate::frame::{Parsed, checksum};
use std::net::Ipv4Addr;

const TTL: u8 = 64;

/// The link header of an answer to `bytes`: addresses as given, VLAN tags and EtherType as they
/// came.
fn link_header(bytes: &[u8], p: &Parsed, src: Mac, dst: Mac) -> Vec<u8> {
    let mut out = Vec::with_capacity(640);
    out.extend(dst.0);
    out.extend(src.0);
    out.extend(bytes.get(12..usize::from(p.l3_off)).unwrap_or(&[8, 0]));
    out
}

/// An IPv4 header of 20 bytes in front of `payload` bytes.
fn ipv4_header(tos: u8, proto: Proto, src: Ipv4Addr, dst: Ipv4Addr, payload: usize) -> [u8; 20] {
    let [l0, l1] = u16::try_from(20 + payload)
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let [s0, s1, s2, s3] = src.octets();
    let [d0, d1, d2, d3] = dst.octets();
    let with = |[c0, c1]: [u8; 2]| {
        [
            0x45, tos, l0, l1, 0, 0, 0x40, 0, TTL, proto.0, c0, c1, s0, s1, s2, s3, d0, d1, d2, d3,
        ]
    };
    with(checksum::ipv4_header(&with([0, 0])).to_be_bytes())
}
