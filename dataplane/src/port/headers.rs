//! Where the headers of a TCP or UDP frame stand, for the two stages that make frames out of
//! frames ([`super::segment`], [`super::coalesce`]).
//!
//! [`crate::frame::parse`] looks at a frame when it arrives and knows IPv4 only. These stages
//! work on what leaves, after the rewrite and after tags were popped, and on bridged IPv6 too.

use crate::base::bytes::{be16, byte};

/// 802.1Q, 802.1ad and the older QinQ types.
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// More tags than anybody stacks.
const MAX_TAGS: usize = 4;
/// More IPv6 extension headers than anybody sends.
const MAX_EXTENSIONS: usize = 8;

/// TCP's protocol number.
pub const TCP: u8 = 6;
/// UDP's protocol number.
pub const UDP: u8 = 17;

/// Offsets from the first byte of the Ethernet header, all inside the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Headers {
    /// The IP header.
    pub l3: usize,
    /// The TCP or UDP header.
    pub l4: usize,
    /// The payload.
    pub payload: usize,
    /// The end of the packet by its own length; what follows is padding.
    pub end: usize,
    /// IPv6, else IPv4.
    pub v6: bool,
    /// [`TCP`] or [`UDP`].
    pub proto: u8,
}

impl Headers {
    /// Finds the headers of an unfragmented TCP or UDP packet over IPv4 or IPv6, behind any VLAN
    /// tags. `None` for everything else, and for lengths that contradict each other.
    pub fn find(b: &[u8]) -> Option<Headers> {
        let mut l3 = 14;
        let mut ethertype = be16(b, 12);
        for _ in 0..MAX_TAGS {
            if !TAGS.contains(&ethertype) {
                break;
            }
            ethertype = be16(b, l3 + 2);
            l3 += 4;
        }
        let (l4, end, v6, proto) = match ethertype {
            0x0800 => ipv4(b, l3)?,
            0x86dd => ipv6(b, l3)?,
            _ => return None,
        };
        let header = match proto {
            TCP => usize::from(byte(b, l4 + 12) >> 4) * 4,
            UDP => 8,
            _ => return None,
        };
        let least = if proto == TCP { 20 } else { 8 };
        if header < least || l4 + header > end {
            return None;
        }
        Some(Headers {
            l3,
            l4,
            payload: l4 + header,
            end,
            v6,
            proto,
        })
    }

    /// Offset of the L4 checksum from [`Headers::l4`].
    pub const fn csum_offset(&self) -> usize {
        if self.proto == TCP { 16 } else { 6 }
    }

    /// Bytes from the IP header to the end of the packet.
    pub const fn l3_len(&self) -> usize {
        self.end - self.l3
    }

    /// Payload bytes.
    pub const fn payload_len(&self) -> usize {
        self.end - self.payload
    }

    /// Where the two addresses stand, source first.
    pub const fn addresses(&self) -> std::ops::Range<usize> {
        if self.v6 {
            self.l3 + 8..self.l3 + 40
        } else {
            self.l3 + 12..self.l3 + 20
        }
    }

    /// Sum of the pseudo-header for an L4 packet of `len` bytes, not folded (RFC 9293 section
    /// 3.1, RFC 8200 section 8.1).
    pub fn pseudo_sum(&self, b: &[u8], len: usize) -> u32 {
        let addresses = b.get(self.addresses()).unwrap_or(&[]);
        let len = len as u32;
        crate::frame::checksum::sum(addresses, 0)
            + u32::from(self.proto)
            + (len >> 16)
            + (len & 0xffff)
    }
}

fn ipv4(b: &[u8], l3: usize) -> Option<(usize, usize, bool, u8)> {
    let first = byte(b, l3);
    let header = usize::from(first & 15) * 4;
    let total = usize::from(be16(b, l3 + 2));
    let fragment = be16(b, l3 + 6) & 0x3fff != 0;
    let end = l3 + total;
    if first >> 4 != 4 || header < 20 || total < header || end > b.len() || fragment {
        return None;
    }
    Some((l3 + header, end, false, byte(b, l3 + 9)))
}

fn ipv6(b: &[u8], l3: usize) -> Option<(usize, usize, bool, u8)> {
    let end = l3 + 40 + usize::from(be16(b, l3 + 4));
    if byte(b, l3) >> 4 != 6 || end > b.len() {
        return None;
    }
    let mut next = byte(b, l3 + 6);
    let mut at = l3 + 40;
    for _ in 0..MAX_EXTENSIONS {
        match next {
            // Hop-by-hop options and destination options. A routing header is left out: with
            // one the checksum's destination is not the header's (RFC 8200 section 8.1).
            0 | 60 => {
                if at + 8 > end {
                    return None;
                }
                next = byte(b, at);
                at += (usize::from(byte(b, at + 1)) + 1) * 8;
            }
            _ => break,
        }
    }
    (at <= end).then_some((at, end, true, next))
}
