//! The ICMP checksum, asked for where a message is acted upon.

use super::{L3, Parsed};
use crate::frame::checksum;

/// Whether the ICMP checksum of a whole (not fragmented) packet is right. Costs a pass over the
/// message, so it is asked where the message is acted upon and not of every frame.
pub fn icmp_checksum_ok(bytes: &[u8], p: &Parsed) -> bool {
    checksum::finish(checksum::sum(icmp_message(bytes, p), 0)) == 0
}

fn icmp_message<'a>(bytes: &'a [u8], p: &Parsed) -> &'a [u8] {
    if p.l3 != L3::Ipv4 {
        return &[];
    }
    let end = usize::from(p.l3_off) + p.l3_len as usize;
    bytes.get(usize::from(p.l4_off)..end).unwrap_or(&[])
}
