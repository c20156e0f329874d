//! A run: frames of one flow that fit together, which frame continues it, and the superframe that
//! it becomes.

use super::coalesce::Write;
use super::headers::{Headers, TCP};
use super::segment::{MAX_HEADERS, set_ipv4};
use crate::base::bytes::{be16, be32, byte, put16};
use crate::frame::checksum::{fold, sum};
use crate::frame::parse::tcp_flags::{FIN, PSH};
use crate::frame::{Frame, Gso, VnetHdr};
use std::io::IoSlice;

/// Most frames in one superframe: what a `GSO_UDP_L4` write was seen to take.
pub const MAX_RUN: usize = 64;
/// Longest IP packet.
pub(super) const MAX_PACKET: usize = 65_535;
/// Longest one for a port that takes [`super::Caps::big`]: eight superframes, Linux's own limit for
/// such (`GRO_MAX_SIZE`, netdevice.h).
pub const MAX_BIG: usize = 8 * MAX_PACKET;

/// Frames of one flow that fit together so far.
#[derive(Clone, Copy)]
pub(super) struct Run {
    pub at: Headers,
    /// Addresses and ports of the flow, folded: equal for equal flows.
    pub key: u64,
    pub members: [u16; MAX_RUN],
    pub len: usize,
    /// Payload bytes of each member.
    pub lens: [u16; MAX_RUN],
    /// Payload bytes of all members.
    pub payload: usize,
    /// Payload bytes of each segment but the last. A member is one, or a superframe of several.
    pub size: usize,
    /// The first frame's checksums were found right.
    pub verified: bool,
    /// PSH of any member.
    pub push: u8,
    /// Whether the last member ends with less than a whole segment.
    pub short: bool,
}

/// The frame's PSH.
fn push(f: &Frame, at: &Headers) -> u8 {
    match at.proto == TCP {
        true => byte(f.bytes(), at.l4 + 13) & PSH,
        false => 0,
    }
}

/// Payload bytes of each segment but the last that a frame with a payload will be cut into: not 0.
fn segment_size(f: &Frame, at: &Headers) -> usize {
    match f.hdr.is_super() {
        true => usize::from(f.hdr.gso_size).max(1),
        false => at.payload_len().max(1),
    }
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
    /// No frames.
    pub(super) const EMPTY: Run = Run {
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
        lens: [0; MAX_RUN],
        payload: 0,
        size: 0,
        verified: false,
        push: 0,
        short: false,
    };

    /// Begins with a frame.
    pub(super) fn begin(&mut self, key: u64, i: u16, f: &Frame, at: &Headers) {
        self.key = key;
        self.at = *at;
        self.members[0] = i;
        self.lens[0] = at.payload_len() as u16;
        self.len = 1;
        self.payload = at.payload_len();
        self.size = segment_size(f, at);
        self.verified = false;
        self.push = push(f, at);
        self.short = self.ends_short(f, at);
    }

    /// Whether the frame ends with less than a whole segment of the run's.
    fn ends_short(&self, f: &Frame, at: &Headers) -> bool {
        match f.hdr.is_super() {
            true => !at.payload_len().is_multiple_of(self.size),
            false => at.payload_len() < self.size,
        }
    }

    /// Whether nothing fits behind the last member: it ends with a short segment, or there is no
    /// room in the list.
    pub(super) const fn is_full(&self) -> bool {
        self.len == MAX_RUN || self.short
    }

    /// Adds a frame if it continues the run, which is not full; `first` is the run's first frame and
    /// `longest` the most bytes of its IP packet.
    pub(super) fn take(
        &mut self,
        i: u16,
        f: &Frame,
        at: &Headers,
        first: &Frame,
        longest: usize,
    ) -> bool {
        let (a, b) = (first.bytes(), f.bytes());
        let same_place = (at.l3, at.l4, at.payload, at.v6, at.proto)
            == (
                self.at.l3,
                self.at.l4,
                self.at.payload,
                self.at.v6,
                self.at.proto,
            );
        let room = self.at.payload - self.at.l3 + self.payload + at.payload_len() <= longest;
        let fits = match f.hdr.is_super() {
            true => segment_size(f, at) == self.size,
            false => at.payload_len() <= self.size,
        };
        if !same_place || !room || !fits {
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
        if let (Some(m), Some(l)) = (self.members.get_mut(self.len), self.lens.get_mut(self.len)) {
            (*m, *l) = (i, at.payload_len() as u16);
        }
        self.len += 1;
        self.payload += at.payload_len();
        self.push |= push(f, at);
        self.short = self.ends_short(f, at);
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
        let id = || be16(a, l3 + 4).wrapping_add((self.payload / self.size) as u16);
        equal(a, b, 0, l3 + 2)
            && (dont_fragment || be16(b, l3 + 4) == id())
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
    pub(super) fn write<'a>(
        &self,
        frame: &impl Fn(usize) -> &'a Frame,
        write: &mut impl FnMut(&Write<'_>),
    ) {
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
        for ((part, &m), &len) in parts.iter_mut().skip(1).zip(members).zip(&self.lens) {
            let len = usize::from(len);
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
            // Longer than it can say: see [`super::Caps::big`].
            let said = u16::try_from(l3_len).unwrap_or(0);
            set_ipv4(header, at.l3 + 2, at.l3, said);
        }
        if at.proto == TCP {
            let flags = byte(last, at.l4 + 13) | self.push;
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
