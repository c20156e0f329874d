//! Same-flow frames of a batch that leave by one port become one write.
//!
//! To a TAP a `write` is one packet, and most of what a small packet costs is the write. So
//! consecutive segments of a TCP stream, and equal-sized datagrams of a UDP flow, are joined into
//! one superframe: a patched copy of the first frame's headers and slices of all payloads. No
//! payload is copied, nothing is held beyond the call, and the frames of one flow leave in the
//! order in which they came.
//!
//! Whatever segments the superframe later must get back the very frames that went in (a property
//! test runs both). Hence the rules:
//!
//! - All headers are equal but for what segmentation makes anew: lengths, TCP sequence number,
//!   PSH and FIN on the last, checksums. Where the port takes [`Caps::big`] it is a stack that gets
//!   the superframe, and a PSH before the last moves there: successive ones may be collapsed (RFC
//!   9293 section 3.9.1.2), and a program that pushes at the end of each call would end most runs.
//!   The IPv4 identification counts up from frame to frame, unless DF is set: then it has no meaning
//!   (RFC 6864 section 4.1).
//! - All payloads have the size of the first; a smaller one ends the run. At most [`MAX_RUN`]
//!   frames and 65,535 bytes of IP packet, or [`MAX_BIG`] of TCP over IPv4 where the port takes
//!   them ([`Caps::big`]). There superframes of one segment size are joined too, so that a fast
//!   stream costs its receiver a wake-up and an ACK for eight of them.
//! - A superframe's checksum is computed later, so it comes out right whatever it was. A frame
//!   joins only if its checksum is known to be right: it is partial and its pseudo-header sum is
//!   the right one, or the sender's kernel verified it (`data_valid`), or it is verified here
//!   (one read of the payload, done only when there is a frame to join it with). The same holds
//!   for the IPv4 header's.
//! - UDP without a checksum stays without: such frames are not joined.
//! - SYN, RST, URG and CWR, segments without payload, fragments, group destinations and frames
//!   that already are superframes (but for those) are written as they are, after the run of their
//!   flow.
//!
//! Frames of different flows may change places. A frame that belongs to no TCP or UDP flow (ARP,
//! ICMP, a fragment) ends all runs, so it keeps its place.

use super::Caps;
pub use super::coalesce_run::{MAX_BIG, MAX_RUN};
use super::coalesce_run::{MAX_PACKET, Run};
use super::headers::{Headers, TCP};
use super::segment::MAX_HEADERS;
use crate::base::bytes::{be16, be32, byte};
use crate::frame::parse::tcp_flags::{ACK, ECE, FIN, PSH};
use crate::frame::{Frame, Gso, VnetHdr};
use std::io::IoSlice;

/// Flows that may have a run open at one time.
pub const OPEN_RUNS: usize = 8;
/// Least segment size of superframes that are joined: Linux counts the segments in 16 bits
/// (`TCP_MIN_GSO_SIZE`, tcp.h).
const LEAST_SIZE: u16 = 8;

/// One write to a port.
pub struct Write<'a> {
    /// What is left undone in it.
    pub hdr: VnetHdr,
    /// The bytes, one part after the other.
    pub parts: &'a [IoSlice<'a>],
    /// The frames in it, as indexes into the caller's list. With one member, `parts` is that
    /// frame, untouched, and `hdr` its own header; with several, a port that refuses the write
    /// can be given the members one by one.
    pub members: &'a [u16],
}

/// Joins frames. Keeps nothing between calls but its working memory, so nothing is allocated.
pub struct Coalescer {
    runs: [Run; OPEN_RUNS],
    /// Bit per run that is open.
    open: u8,
    /// The run that makes room for the next flow when all are open.
    next: usize,
}

impl Default for Coalescer {
    fn default() -> Coalescer {
        Coalescer::new()
    }
}

impl Coalescer {
    /// A coalescer.
    pub const fn new() -> Coalescer {
        Coalescer {
            runs: [Run::EMPTY; OPEN_RUNS],
            open: 0,
            next: 0,
        }
    }

    /// Gives `write` the `count` frames (at most 65,536) that leave by one port, in order, joined
    /// where `caps` allow. `frame(i)` is the i-th. Each index is a member of exactly one write.
    ///
    /// Frames whose header the port can't take come out as they are; finishing them is
    /// [`super::segment`]'s work.
    pub fn flush<'a>(
        &mut self,
        caps: Caps,
        count: usize,
        frame: impl Fn(usize) -> &'a Frame,
        mut write: impl FnMut(&Write<'_>),
    ) {
        self.open = 0;
        if count < 2 || !caps.csum || !(caps.tso4 || caps.tso6 || caps.uso) {
            for i in 0..count.min(1 << 16) {
                write_one(&frame, i as u16, &mut write);
            }
            return;
        }
        for i in 0..count.min(1 << 16) {
            self.add(caps, i, &frame, &mut write);
        }
        self.close_all(&frame, &mut write);
    }

    fn add<'a>(
        &mut self,
        caps: Caps,
        i: usize,
        frame: &impl Fn(usize) -> &'a Frame,
        write: &mut impl FnMut(&Write<'_>),
    ) {
        let f = frame(i);
        let b = f.bytes();
        let Some(at) = Headers::find(b) else {
            self.close_all(frame, write);
            return write_one(frame, i as u16, write);
        };
        let key = flow_key(b, &at);
        let joinable = may_join(caps, f, &at);
        let mine = (0..OPEN_RUNS).find(|&r| self.is_open(r) && self.runs[r].key == key);
        if let Some(r) = mine {
            let run = &mut self.runs[r];
            let first = frame(usize::from(run.members[0]));
            if joinable && run.take(i as u16, f, &at, first, longest(caps, &at)) {
                if run.is_full() || ends_run(caps, b, &at) {
                    self.close(r, frame, write);
                }
                return;
            }
            self.close(r, frame, write);
        }
        if !joinable || ends_run(caps, b, &at) {
            return write_one(frame, i as u16, write);
        }
        let r = match mine.or_else(|| (0..OPEN_RUNS).find(|&r| !self.is_open(r))) {
            Some(free) => free,
            None => {
                let oldest = self.next;
                self.next = (oldest + 1) % OPEN_RUNS;
                self.close(oldest, frame, write);
                oldest
            }
        };
        let run = &mut self.runs[r];
        run.begin(key, i as u16, f, &at);
        if run.is_full() {
            return write_one(frame, i as u16, write);
        }
        self.open |= 1 << r;
    }

    const fn is_open(&self, r: usize) -> bool {
        self.open & (1 << r) != 0
    }

    /// Writes the open runs in the order in which they began.
    fn close_all<'a>(
        &mut self,
        frame: &impl Fn(usize) -> &'a Frame,
        write: &mut impl FnMut(&Write<'_>),
    ) {
        while let Some(r) = (0..OPEN_RUNS)
            .filter(|&r| self.is_open(r))
            .min_by_key(|&r| self.runs[r].members[0])
        {
            self.close(r, frame, write);
        }
        self.next = 0;
    }

    fn close<'a>(
        &mut self,
        r: usize,
        frame: &impl Fn(usize) -> &'a Frame,
        write: &mut impl FnMut(&Write<'_>),
    ) {
        self.open &= !(1 << r);
        let run = &self.runs[r];
        if run.len == 1 {
            return write_one(frame, run.members[0], write);
        }
        run.write(frame, write);
    }
}

fn write_one<'a>(frame: &impl Fn(usize) -> &'a Frame, i: u16, write: &mut impl FnMut(&Write<'_>)) {
    let f = frame(usize::from(i));
    write(&Write {
        hdr: f.hdr,
        parts: &[IoSlice::new(f.bytes())],
        members: &[i],
    });
}

/// Addresses and ports in 64 bits. Two flows of one key only end each other's runs: a frame
/// joins by [`Run::take`], which compares the headers themselves.
fn flow_key(b: &[u8], at: &Headers) -> u64 {
    let addresses = b.get(at.addresses()).unwrap_or(&[]);
    let ports = u64::from(be32(b, at.l4));
    let (words, _) = addresses.as_chunks::<4>();
    words
        .iter()
        .fold(ports ^ u64::from(at.proto) << 32, |k, w| {
            (k ^ u64::from(u32::from_be_bytes(*w)))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(31)
        })
}

/// Whether the frame by itself is of the kind that can be joined. Checksums are looked at later.
fn may_join(caps: Caps, f: &Frame, at: &Headers) -> bool {
    let b = f.bytes();
    let able = match (at.proto == TCP, at.v6) {
        (true, false) => caps.tso4,
        (true, true) => caps.tso6,
        (false, _) => caps.uso,
    };
    let usual = f.hdr.gso == Gso::TcpV4 && f.hdr.gso_size >= LEAST_SIZE && !f.hdr.ecn;
    let big = usual && longer(caps, at);
    // The low bit of the first octet: a group address.
    if !able || (f.hdr.is_super() && !big) || byte(b, 0) & 1 == 1 {
        return false;
    }
    if at.payload_len() == 0 || at.payload > MAX_HEADERS {
        return false;
    }
    if at.proto == TCP {
        let flags = byte(b, at.l4 + 13);
        return flags & ACK != 0 && flags & !(ACK | PSH | FIN | ECE) == 0;
    }
    be16(b, at.l4 + 6) != 0 && usize::from(be16(b, at.l4 + 4)) == at.end - at.l4
}

/// Whether the port takes longer packets of this kind than their length can say.
const fn longer(caps: Caps, at: &Headers) -> bool {
    caps.big && caps.tso4 && at.proto == TCP && !at.v6
}

/// Most bytes of an IP packet of this kind.
const fn longest(caps: Caps, at: &Headers) -> usize {
    match longer(caps, at) {
        true => MAX_BIG,
        false => MAX_PACKET,
    }
}

/// Whether nothing may follow this frame in its run.
fn ends_run(caps: Caps, b: &[u8], at: &Headers) -> bool {
    let last = match longer(caps, at) {
        true => FIN,
        false => PSH | FIN,
    };
    at.proto == TCP && byte(b, at.l4 + 13) & last != 0
}

#[cfg(test)]
#[path = "coalesce_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "coalesce_big_tests.rs"]
mod big_tests;
