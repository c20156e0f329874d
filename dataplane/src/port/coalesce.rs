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
//!   PSH and FIN on the last, checksums. The IPv4 identification counts up from frame to frame,
//!   unless DF is set: then it has no meaning (RFC 6864 section 4.1).
//! - All payloads have the size of the first; a smaller one ends the run. At most [`MAX_RUN`]
//!   frames and 65,535 bytes of IP packet.
//! - A superframe's checksum is computed later, so it comes out right whatever it was. A frame
//!   joins only if its checksum is known to be right: it is partial and its pseudo-header sum is
//!   the right one, or the sender's kernel verified it (`data_valid`), or it is verified here
//!   (one read of the payload, done only when there is a frame to join it with). The same holds
//!   for the IPv4 header's.
//! - UDP without a checksum stays without: such frames are not joined.
//! - SYN, RST, URG and CWR, segments without payload, fragments, group destinations and frames
//!   that already are superframes are written as they are, after the run of their flow.
//!
//! Frames of different flows may change places. A frame that belongs to no TCP or UDP flow (ARP,
//! ICMP, a fragment) ends all runs, so it keeps its place.

use super::Caps;
use super::headers::{Headers, TCP, be16, be32, byte, put16};
use super::segment::{MAX_HEADERS, set_ipv4};
use crate::frame::checksum::{fold, sum};
use crate::frame::parse::tcp_flags::{ACK, ECE, FIN, PSH};
use crate::frame::{Frame, Gso, VnetHdr};
use std::io::IoSlice;

/// Most frames in one superframe: what a `GSO_UDP_L4` write was seen to take.
pub const MAX_RUN: usize = 64;
/// Flows that may have a run open at one time.
pub const OPEN_RUNS: usize = 8;
/// Longest IP packet.
const MAX_PACKET: usize = 65_535;

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

/// Frames of one flow that fit together so far.
#[derive(Clone, Copy)]
struct Run {
    at: Headers,
    /// Addresses and ports of the flow, folded: equal for equal flows.
    key: u64,
    members: [u16; MAX_RUN],
    len: usize,
    /// Payload bytes of all members.
    payload: usize,
    /// Payload bytes of each but the last.
    size: usize,
    /// The first frame's checksums were found right.
    verified: bool,
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

const NO_RUN: Run = Run {
    at: Headers {
        l3: 0,
        l4: 0,
        payload: 0,
        end: 0,
        v6: false,
        proto: 0,
    },
    key: 0,
    members: [0; MAX_RUN],
    len: 0,
    payload: 0,
    size: 0,
    verified: false,
};

impl Coalescer {
    /// A coalescer.
    pub const fn new() -> Coalescer {
        Coalescer {
            runs: [NO_RUN; OPEN_RUNS],
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
            if joinable && run.take(i as u16, f, &at, frame(usize::from(run.members[0]))) {
                let short = at.payload_len() < run.size;
                if run.len == MAX_RUN || short || ends_run(b, &at) {
                    self.close(r, frame, write);
                }
                return;
            }
            self.close(r, frame, write);
        }
        if !joinable || ends_run(b, &at) {
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
        self.open |= 1 << r;
        let run = &mut self.runs[r];
        run.at = at;
        run.key = key;
        run.members[0] = i as u16;
        run.len = 1;
        run.payload = at.payload_len();
        run.size = at.payload_len();
        run.verified = false;
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
    // The low bit of the first octet: a group address.
    if !able || f.hdr.is_super() || byte(b, 0) & 1 == 1 {
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

/// Whether nothing may follow this frame in its run.
fn ends_run(b: &[u8], at: &Headers) -> bool {
    at.proto == TCP && byte(b, at.l4 + 13) & (PSH | FIN) != 0
}

/// Whether the frame's IPv4 header checksum and L4 checksum are known to be right.
fn checksums_right(f: &Frame, at: &Headers) -> bool {
    let b = f.bytes();
    if !at.v6 && fold(sum(b.get(at.l3..at.l4).unwrap_or(&[]), 0)) != 0xffff {
        return false;
    }
    let pseudo = at.pseudo_sum(b, at.end - at.l4);
    if f.hdr.needs_csum {
        let place = (
            usize::from(f.hdr.csum_start),
            usize::from(f.hdr.csum_offset),
        );
        return place == (at.l4, at.csum_offset())
            && be16(b, at.l4 + at.csum_offset()) == fold(pseudo);
    }
    f.hdr.data_valid || fold(sum(b.get(at.l4..at.end).unwrap_or(&[]), pseudo)) == 0xffff
}

impl Run {
    /// Adds a frame if it continues the run; `first` is the run's first frame.
    fn take(&mut self, i: u16, f: &Frame, at: &Headers, first: &Frame) -> bool {
        let (a, b) = (first.bytes(), f.bytes());
        let same_place = (at.l3, at.l4, at.payload, at.v6, at.proto)
            == (
                self.at.l3,
                self.at.l4,
                self.at.payload,
                self.at.v6,
                self.at.proto,
            );
        let room = self.at.payload - self.at.l3 + self.payload + at.payload_len() <= MAX_PACKET;
        if !same_place || !room || at.payload_len() > self.size || self.len >= MAX_RUN {
            return false;
        }
        if !self.ip_continues(a, b) || !self.l4_continues(a, b) {
            return false;
        }
        if !self.verified {
            self.verified = checksums_right(first, &self.at);
        }
        if !self.verified || !checksums_right(f, at) {
            return false;
        }
        if let Some(m) = self.members.get_mut(self.len) {
            *m = i;
        }
        self.len += 1;
        self.payload += at.payload_len();
        true
    }

    /// Ethernet header and IP header: all equal but length, identification and checksum.
    fn ip_continues(&self, a: &[u8], b: &[u8]) -> bool {
        let l3 = self.at.l3;
        if self.at.v6 {
            // Up to the payload length, and from the next header to the L4 header.
            return equal(a, b, 0, l3 + 4) && equal(a, b, l3 + 6, self.at.l4);
        }
        let dont_fragment = byte(a, l3 + 6) & 0x40 != 0;
        let id = be16(a, l3 + 4).wrapping_add(self.len as u16);
        equal(a, b, 0, l3 + 2)
            && (dont_fragment || be16(b, l3 + 4) == id)
            && equal(a, b, l3 + 6, l3 + 10)
            && equal(a, b, l3 + 12, self.at.l4)
    }

    /// L4 header: all equal but sequence number, PSH and FIN (TCP), length (UDP), checksum.
    fn l4_continues(&self, a: &[u8], b: &[u8]) -> bool {
        let l4 = self.at.l4;
        if self.at.proto != TCP {
            return equal(a, b, l4, l4 + 4);
        }
        let seq = be32(a, l4 + 4).wrapping_add(self.payload as u32);
        let flags = |x| byte(x, l4 + 13) & !(PSH | FIN);
        equal(a, b, l4, l4 + 4)
            && be32(b, l4 + 4) == seq
            && equal(a, b, l4 + 8, l4 + 13)
            && flags(a) == flags(b)
            && equal(a, b, l4 + 14, l4 + 16)
            && equal(a, b, l4 + 18, self.at.payload)
    }

    /// Writes a run of several frames as a superframe.
    fn write<'a>(&self, frame: &impl Fn(usize) -> &'a Frame, write: &mut impl FnMut(&Write<'_>)) {
        let members = self.members.get(..self.len).unwrap_or(&[]);
        let (Some(&first), Some(&last)) = (members.first(), members.last()) else {
            return;
        };
        let at = &self.at;
        let mut scratch = [0u8; MAX_HEADERS];
        let whole = frame(usize::from(first)).bytes();
        let (Some(header), Some(original)) =
            (scratch.get_mut(..at.payload), whole.get(..at.payload))
        else {
            return;
        };
        header.copy_from_slice(original);
        self.patch(header, frame(usize::from(last)).bytes());
        let mut parts = [IoSlice::new(&[]); MAX_RUN + 1];
        parts[0] = IoSlice::new(header);
        let mut left = self.payload;
        for (part, &m) in parts.iter_mut().skip(1).zip(members) {
            // Each has the first one's size, but the last has what is left.
            let len = left.min(self.size);
            left -= len;
            let b = frame(usize::from(m)).bytes();
            *part = IoSlice::new(b.get(at.payload..at.payload + len).unwrap_or(&[]));
        }
        let gso = match (at.proto == TCP, at.v6) {
            (true, false) => Gso::TcpV4,
            (true, true) => Gso::TcpV6,
            (false, _) => Gso::UdpL4,
        };
        write(&Write {
            hdr: VnetHdr {
                needs_csum: true,
                data_valid: false,
                gso,
                ecn: false,
                hdr_len: at.payload as u16,
                gso_size: self.size as u16,
                csum_start: at.l4 as u16,
                csum_offset: at.csum_offset() as u16,
            },
            parts: parts.get(..self.len + 1).unwrap_or(&[]),
            members,
        });
    }

    /// Lengths, flags of the last member, and the partial checksum.
    fn patch(&self, header: &mut [u8], last: &[u8]) {
        let at = &self.at;
        let l4_len = at.payload - at.l4 + self.payload;
        let l3_len = at.l4 - at.l3 + l4_len;
        if at.v6 {
            put16(header, at.l3 + 4, (l3_len - 40) as u16);
        } else {
            set_ipv4(header, at.l3 + 2, at.l3, l3_len as u16);
        }
        if at.proto == TCP {
            let flags = byte(last, at.l4 + 13);
            if let Some(f) = header.get_mut(at.l4 + 13) {
                *f |= flags;
            }
        } else {
            put16(header, at.l4 + 4, l4_len as u16);
        }
        let pseudo = fold(at.pseudo_sum(header, l4_len));
        put16(header, at.l4 + at.csum_offset(), pseudo);
    }
}

/// Whether two frames agree from `from` up to `to`.
fn equal(a: &[u8], b: &[u8], from: usize, to: usize) -> bool {
    match (a.get(from..to), b.get(from..to)) {
        (Some(x), Some(y)) => x == y,
        _ => false,
    }
}

#[cfg(test)]
#[path = "coalesce_tests.rs"]
mod tests;
