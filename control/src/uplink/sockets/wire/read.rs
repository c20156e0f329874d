//! Headers that come from the switch.

use super::{ETH, IP, TCP, flag};
use dataplane::base::Mac;
use dataplane::base::bytes::{be16, be32, byte, get};
use std::net::Ipv4Addr;

/// An IPv4 packet that came from the switch.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// Sender's MAC.
    pub mac: Mac,
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Protocol number.
    pub proto: u8,
    /// Time to live.
    pub ttl: u8,
    /// Don't fragment.
    pub df: bool,
    /// Identification.
    pub id: u16,
    /// Offset of the fragment in bytes.
    pub offset: usize,
    /// More fragments follow.
    pub more: bool,
    /// Where the IP payload begins in the frame.
    pub l4: usize,
    /// Where it ends.
    pub end: usize,
}

impl Packet {
    /// Reads the headers at the front of a frame of `len` bytes, of which `head` are the first.
    /// `None` for what is no IPv4 packet; the switch has checked what it routes.
    pub fn read(head: &[u8], len: usize) -> Option<Packet> {
        if be16(head, 12) != 0x0800 || byte(head, ETH) >> 4 != 4 {
            return None;
        }
        let header = usize::from(byte(head, ETH) & 15) * 4;
        let total = usize::from(be16(head, ETH + 2));
        if header < IP || total < header || ETH + total > len {
            return None;
        }
        let fragment = be16(head, ETH + 6);
        Some(Packet {
            mac: Mac(get(head, 6)?),
            src: Ipv4Addr::from(get::<4>(head, ETH + 12)?),
            dst: Ipv4Addr::from(get::<4>(head, ETH + 16)?),
            proto: byte(head, ETH + 9),
            ttl: byte(head, ETH + 8),
            df: fragment & 0x4000 != 0,
            id: be16(head, ETH + 4),
            offset: usize::from(fragment & 0x1fff) * 8,
            more: fragment & 0x2000 != 0,
            l4: ETH + header,
            end: ETH + total,
        })
    }

    /// Whether it is a part of a packet.
    pub const fn is_fragment(&self) -> bool {
        self.more || self.offset != 0
    }
}

/// A TCP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flag bits.
    pub flags: u8,
    /// Window, not scaled.
    pub window: u16,
    /// Where the payload begins in the frame.
    pub payload: usize,
    /// MSS option.
    pub mss: Option<u16>,
    /// Window scale option.
    pub scale: Option<u8>,
}

impl Segment {
    /// Reads the TCP header at `l4`.
    pub fn read(head: &[u8], p: &Packet) -> Option<Segment> {
        let l4 = p.l4;
        let header = usize::from(byte(head, l4 + 12) >> 4) * 4;
        if header < TCP || l4 + header > p.end || l4 + header > head.len() {
            return None;
        }
        let mut s = Segment {
            sport: be16(head, l4),
            dport: be16(head, l4 + 2),
            seq: be32(head, l4 + 4),
            ack: be32(head, l4 + 8),
            flags: byte(head, l4 + 13),
            window: be16(head, l4 + 14),
            payload: l4 + header,
            mss: None,
            scale: None,
        };
        if s.has(flag::SYN) {
            s.options(head.get(l4 + TCP..l4 + header).unwrap_or(&[]));
        }
        Some(s)
    }

    /// Whether a flag is set.
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// RFC 9293 section 3.1: kinds 0 and 1 are single bytes, the others carry their length.
    pub(super) fn options(&mut self, mut rest: &[u8]) {
        while let Some((&kind, after)) = rest.split_first() {
            let len = match kind {
                0 => return,
                1 => {
                    rest = after;
                    continue;
                }
                _ => usize::from(byte(rest, 1)),
            };
            match (kind, len) {
                (2, 4) => self.mss = Some(be16(rest, 2)),
                // RFC 7323 section 2.3: more than 14 means 14.
                (3, 3) => self.scale = Some(byte(rest, 2).min(14)),
                _ => {}
            }
            rest = match rest.get(len.max(2)..) {
                Some(r) => r,
                None => return,
            };
        }
    }
}
