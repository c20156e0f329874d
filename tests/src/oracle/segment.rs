//! A TCP segment as its bytes tell it.

use super::canon::ipv4_header;
use super::facts::{datagrams, message};
use super::{Out, Wire};
use dataplane::base::{Proto, Tuple};
use dataplane::frame::parse::tcp_flags::{ACK, FIN, SYN};
use std::net::Ipv4Addr;

/// A segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Its addresses and ports.
    pub tuple: Tuple,
    /// Its number.
    pub seq: u32,
    /// The number behind it.
    pub end: u32,
    /// What it acknowledges.
    pub ack: Option<u32>,
    /// The right edge of its selective acknowledgement (RFC 2018).
    pub sack: Option<u32>,
    /// Its flags.
    pub flags: u8,
    /// Its window field.
    pub window: u32,
    /// Its window scale option.
    pub scale: Option<u8>,
    /// It came in fragments: the number behind what the first one holds.
    pub cut: Option<u32>,
}

/// The TCP segment of a frame, if it is one.
pub fn segment(o: &Out) -> Option<Segment> {
    let (proto, l4) = message(&o.bytes)?;
    let be16 = |b: &[u8], at: usize| Some(u16::from_be_bytes([*b.get(at)?, *b.get(at + 1)?]));
    let be32 = |at| Some(u32::from(be16(l4, at)?) << 16 | u32::from(be16(l4, at + 2)?));
    let ip = |at: usize| {
        Some(Ipv4Addr::from(
            <[u8; 4]>::try_from(o.bytes.get(at..at + 4)?).ok()?,
        ))
    };
    let header = usize::from(*l4.get(12)? >> 4) * 4;
    let (flags, seq) = (*l4.get(13)?, be32(4)?);
    let one = |flag| u32::from(flags & flag != 0);
    let data = l4.len().saturating_sub(header) as u32;
    let tuple = Tuple {
        src: ip(26)?,
        dst: ip(30)?,
        sport: be16(l4, 0)?,
        dport: be16(l4, 2)?,
        proto,
    };
    let ack = be32(8)?;
    let options = l4.get(20..header).unwrap_or(&[]);
    (proto == Proto::TCP).then_some(Segment {
        tuple,
        seq,
        end: seq.wrapping_add(data + one(SYN) + one(FIN)),
        ack: (flags & ACK != 0).then_some(ack),
        flags,
        window: u32::from(be16(l4, 14)?),
        scale: option(options, 3).and_then(|o| Some((*o.first()?).min(14))),
        sack: option(options, 5).and_then(|o| {
            let edge = |b: &[u8]| Some(u32::from_be_bytes(b.get(4..8)?.try_into().ok()?));
            o.chunks(8)
                .filter_map(edge)
                .reduce(|a, b| later(Some(a), b))
        }),
        cut: None,
    })
}

/// The segment that goes in.
pub fn came_in(wires: &[Wire]) -> Option<Segment> {
    let s = segment(datagrams(wires).first()?)?;
    let cut = match wires.len() {
        1 => None,
        _ => wires.iter().find_map(|w| held(&w.bytes, &s)),
    };
    Some(Segment { cut, ..s })
}

/// The number behind what a fragment holds of a segment, if it is the first one.
fn held(b: &[u8], s: &Segment) -> Option<u32> {
    let header = ipv4_header(b).filter(|_| b[20] & 0x1f == 0 && b[21] == 0)?;
    let l4 = b.get(14 + header..14 + usize::from(u16::from_be_bytes([b[16], b[17]])))?;
    let data = l4.len().checked_sub(usize::from(*l4.get(12)? >> 4) * 4)?;
    let syn = u32::from(s.flags & SYN != 0);
    Some(s.seq.wrapping_add(data as u32 + syn))
}

/// The value of the first option of a kind.
fn option(mut options: &[u8], kind: u8) -> Option<&[u8]> {
    loop {
        options = match *options {
            [1, ref more @ ..] => more,
            [k, len, ..] if k > 1 && len > 1 => {
                let (one, more) = options.split_at_checked(usize::from(len))?;
                if k == kind {
                    return one.get(2..);
                }
                more
            }
            _ => return None,
        };
    }
}

/// The later of two numbers, modulo 2^32.
pub fn later(was: Option<u32>, now: u32) -> u32 {
    was.map_or(now, |was| if at_most(was, now) { now } else { was })
}

/// `a` is `b` or comes before it, modulo 2^32.
pub const fn at_most(a: u32, b: u32) -> bool {
    b.wrapping_sub(a) <= i32::MAX as u32
}
