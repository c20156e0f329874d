//! What a port without offloads needs: superframes cut into segments, checksums finished.
//!
//! No payload is copied: a segment is written as a header in a scratch buffer and a slice of the
//! superframe. A checksum that the port can't finish costs one read of the payload.
//!
//! The rules are those of the kernel's software segmentation (`tcp_gso_segment`,
//! `__udp_gso_segment`, `inet_gso_segment`): the sequence number advances, FIN and PSH stay on the
//! last segment and CWR on the first, the IPv4 identification counts up, and each UDP datagram
//! gets its own length. The IPv4 header checksum is changed by delta, so that a wrong one stays
//! wrong.

use super::headers::{Headers, TCP};
use super::{Caps, PortQueue, SendError};
use crate::base::Reason;
use crate::base::bytes::{be16, be32, byte, put16};
use crate::frame::checksum::{apply, delta_u16, finish, fold, sum, udp_field};
use crate::frame::parse::tcp_flags::{CWR, FIN, PSH};
use crate::frame::{Gso, VnetHdr};
use std::io::IoSlice;

/// Longest run of headers that can be put in front of a segment: Ethernet with tags, an IP header
/// with options and a TCP header with options take at most 150 bytes; the rest is for IPv6
/// extension headers.
pub const MAX_HEADERS: usize = 256;

/// Most segments that one superframe may become. 64 KiB in segments of the smallest size that
/// Linux uses (48 bytes, `TCP_MIN_SND_MSS`) are 1,364; more is an attempt at amplification.
pub const MAX_SEGMENTS: usize = 2_048;

/// Why a frame could not be finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SegmentError {
    /// `csum_start` and `csum_offset` point outside the frame.
    #[error("the checksum's place is outside the frame")]
    ChecksumRange,
    /// The segment size is 0 or too small for the payload.
    #[error("a segment size of {0} bytes")]
    Size(u16),
    /// The frame is not of the kind that its `gso_type` says, or its lengths are wrong.
    #[error("the headers are not those of the superframe's kind")]
    Headers,
    /// The headers are longer than [`MAX_HEADERS`].
    #[error("headers of {0} bytes")]
    HeadersTooLong(usize),
}

impl SegmentError {
    /// The reason under which the frame is counted as lost.
    pub const fn reason(self) -> Reason {
        match self {
            SegmentError::ChecksumRange | SegmentError::Size(_) => Reason::VnetHdrBad,
            SegmentError::Headers | SegmentError::HeadersTooLong(_) => Reason::SegmentFailed,
        }
    }
}

/// Why a frame did not get out.
#[derive(Debug, thiserror::Error)]
pub enum TxError {
    /// It could not be finished.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The port did not take it (or one of its segments; those before it are out).
    #[error(transparent)]
    Send(#[from] SendError),
}

impl TxError {
    /// The reason under which the frame is counted as lost.
    pub const fn reason(&self) -> Reason {
        match self {
            TxError::Segment(e) => e.reason(),
            TxError::Send(SendError::Full) => Reason::TxFull,
            TxError::Send(SendError::Gone) => Reason::PortGone,
            TxError::Send(SendError::Refused | SendError::Io(_)) => Reason::TxError,
        }
    }
}

/// Whether a port with these capabilities takes a frame with this header as it is.
pub const fn takes(caps: Caps, hdr: &VnetHdr) -> bool {
    match hdr.gso {
        Gso::None => caps.csum || !hdr.needs_csum,
        Gso::TcpV4 => caps.csum && caps.tso4,
        Gso::TcpV6 => caps.csum && caps.tso6,
        Gso::UdpL4 => caps.csum && caps.uso,
    }
}

/// Writes a frame to a port, finished as far as `caps` demands. Returns the number of frames
/// written.
///
/// # Errors
/// The first error ends it.
pub fn send(
    queue: &mut dyn PortQueue,
    caps: Caps,
    bytes: &[u8],
    hdr: &VnetHdr,
) -> Result<usize, TxError> {
    segment(bytes, hdr, caps, |h, parts| {
        queue.send(h, parts).map_err(TxError::Send)
    })
}

/// Gives `emit` the frame, or the frames that it becomes, finished as far as `caps` demands: each
/// a header and parts that are to be written one after the other. Returns their number.
///
/// # Errors
/// A frame that contradicts its header ([`SegmentError`]), or what `emit` returned: the first
/// error ends it.
pub fn segment<E: From<SegmentError>>(
    bytes: &[u8],
    hdr: &VnetHdr,
    caps: Caps,
    mut emit: impl FnMut(&VnetHdr, &[IoSlice<'_>]) -> Result<(), E>,
) -> Result<usize, E> {
    if takes(caps, hdr) {
        emit(hdr, &[IoSlice::new(bytes)])?;
        return Ok(1);
    }
    if hdr.is_super() {
        return cut(bytes, hdr, caps, emit);
    }
    let (at, field) = checksum_of(bytes, hdr).ok_or(SegmentError::ChecksumRange)?;
    let (head, tail) = bytes
        .split_at_checked(at)
        .ok_or(SegmentError::ChecksumRange)?;
    let tail = tail.get(2..).ok_or(SegmentError::ChecksumRange)?;
    emit(
        &VnetHdr::PLAIN,
        &[
            IoSlice::new(head),
            IoSlice::new(&field.to_be_bytes()),
            IoSlice::new(tail),
        ],
    )?;
    Ok(1)
}

/// Finishes a partial checksum in place and clears the header's flags. A frame without one is
/// left alone.
///
/// # Errors
/// The checksum's place is outside the frame; nothing was changed.
pub fn finish_in_place(bytes: &mut [u8], hdr: &mut VnetHdr) -> Result<(), SegmentError> {
    if !hdr.needs_csum || hdr.is_super() {
        return Ok(());
    }
    let (at, field) = checksum_of(bytes, hdr).ok_or(SegmentError::ChecksumRange)?;
    put16(bytes, at, field);
    *hdr = VnetHdr::PLAIN;
    Ok(())
}

/// Place and value of the finished checksum of an ordinary frame. The sum runs to the end of the
/// packet where its own length is known (padding does not count), else to the end of the frame.
fn checksum_of(bytes: &[u8], hdr: &VnetHdr) -> Option<(usize, u16)> {
    let start = usize::from(hdr.csum_start);
    let at = start + usize::from(hdr.csum_offset);
    let headers = Headers::find(bytes).filter(|h| h.l4 == start);
    let end = headers.map_or(bytes.len(), |h| h.end);
    if at + 2 > end {
        return None;
    }
    let field = finish(sum(bytes.get(start..end)?, 0));
    // 0 means "no checksum" in UDP, whose field is the one at offset 6.
    let udp = hdr.csum_offset == 6;
    Some((at, if udp { udp_field(field) } else { field }))
}

/// Cuts a superframe.
fn cut<E: From<SegmentError>>(
    bytes: &[u8],
    hdr: &VnetHdr,
    caps: Caps,
    emit: impl FnMut(&VnetHdr, &[IoSlice<'_>]) -> Result<(), E>,
) -> Result<usize, E> {
    let h = Headers::find(bytes).ok_or(SegmentError::Headers)?;
    let kind = match (h.proto == TCP, h.v6) {
        (true, false) => Gso::TcpV4,
        (true, true) => Gso::TcpV6,
        (false, _) => Gso::UdpL4,
    };
    let size = usize::from(hdr.gso_size);
    if kind != hdr.gso || h.payload_len() == 0 {
        return Err(SegmentError::Headers.into());
    }
    if size == 0 || h.payload_len() > size * MAX_SEGMENTS {
        return Err(SegmentError::Size(hdr.gso_size).into());
    }
    pieces(bytes, hdr, &h, 1, caps, emit)
}

/// Cuts a TCP superframe over IPv4 that is longer than its length can say, which is 0 then (what
/// Linux calls BIG TCP), into superframes of up to 64 KiB. Gives `emit` each, as [`segment`] does, and
/// returns their number. The length in `bytes` is not 0 any more afterwards.
///
/// # Errors
/// A frame that is none of that kind, or what `emit` returned.
pub fn cut_long<E: From<SegmentError>>(
    bytes: &mut [u8],
    hdr: &VnetHdr,
    emit: impl FnMut(&VnetHdr, &[IoSlice<'_>]) -> Result<(), E>,
) -> Result<usize, E> {
    const L3: usize = 14;
    const LONGEST: usize = u16::MAX as usize;
    let kind = hdr.gso == Gso::TcpV4 && hdr.needs_csum && be16(bytes, L3 + 2) == 0;
    if !kind || bytes.len() <= L3 + LONGEST {
        return Err(SegmentError::Headers.into());
    }
    // So that the headers are found as in any other.
    set_ipv4(bytes, L3 + 2, L3, u16::MAX);
    let mut h = Headers::find(bytes).ok_or(SegmentError::Headers)?;
    if h.l3 != L3 || h.proto != TCP {
        return Err(SegmentError::Headers.into());
    }
    h.end = bytes.len();
    let segments = (LONGEST - (h.payload - L3)) / usize::from(hdr.gso_size).max(1);
    if hdr.gso_size == 0 || segments == 0 || segments > MAX_SEGMENTS {
        return Err(SegmentError::Size(hdr.gso_size).into());
    }
    pieces(bytes, hdr, &h, segments, Caps::ALL, emit)
}

/// Cuts a superframe behind every `segments` segments.
fn pieces<E: From<SegmentError>>(
    bytes: &[u8],
    hdr: &VnetHdr,
    h: &Headers,
    segments: usize,
    caps: Caps,
    mut emit: impl FnMut(&VnetHdr, &[IoSlice<'_>]) -> Result<(), E>,
) -> Result<usize, E> {
    let size = usize::from(hdr.gso_size) * segments;
    let mut scratch = [0u8; MAX_HEADERS];
    let first = bytes.get(..h.payload).ok_or(SegmentError::Headers)?;
    let payload = bytes.get(h.payload..h.end).ok_or(SegmentError::Headers)?;
    let header = scratch
        .get_mut(..h.payload)
        .ok_or(SegmentError::HeadersTooLong(h.payload))?;
    // A UDP superframe that says "no checksum" keeps saying so.
    let no_checksum = h.proto != TCP && !hdr.needs_csum && be16(bytes, h.l4 + 6) == 0;
    let partial = VnetHdr {
        needs_csum: true,
        csum_start: h.l4 as u16,
        csum_offset: h.csum_offset() as u16,
        ..VnetHdr::PLAIN
    };
    let count = payload.len().div_ceil(size);
    for (i, data) in payload.chunks(size).enumerate() {
        header.copy_from_slice(first);
        let l4_len = h.payload - h.l4 + data.len();
        patch_ip(header, h, h.l4 - h.l3 + l4_len, i * segments);
        if h.proto == TCP {
            patch_tcp(header, h, i, i * size, i + 1 == count);
        } else {
            put16(header, h.l4 + 4, l4_len as u16);
        }
        let at = h.l4 + h.csum_offset();
        let pseudo = h.pseudo_sum(header, l4_len);
        let mut out = VnetHdr::PLAIN;
        put16(header, at, 0);
        if no_checksum {
            // stays 0
        } else if caps.csum {
            out = match data.len() > usize::from(hdr.gso_size) {
                true => VnetHdr {
                    gso: hdr.gso,
                    ecn: hdr.ecn && i == 0,
                    hdr_len: h.payload as u16,
                    gso_size: hdr.gso_size,
                    ..partial
                },
                false => partial,
            };
            put16(header, at, fold(pseudo));
        } else {
            let l4 = header.get(h.l4..).unwrap_or(&[]);
            let field = finish(sum(data, sum(l4, pseudo)));
            let tcp = h.proto == TCP;
            put16(header, at, if tcp { field } else { udp_field(field) });
        }
        emit(&out, &[IoSlice::new(header), IoSlice::new(data)])?;
    }
    Ok(count)
}

/// Length, identification and header checksum of what begins with segment `i`; `l3_len` is its
/// length with the IP header.
fn patch_ip(header: &mut [u8], h: &Headers, l3_len: usize, i: usize) {
    if h.v6 {
        put16(header, h.l3 + 4, (l3_len - 40) as u16);
        return;
    }
    set_ipv4(header, h.l3 + 2, h.l3, l3_len as u16);
    let id = be16(header, h.l3 + 4).wrapping_add(i as u16);
    set_ipv4(header, h.l3 + 4, h.l3, id);
}

/// Changes a 16-bit field of the IPv4 header at `l3` and the header's checksum with it.
pub(super) fn set_ipv4(header: &mut [u8], at: usize, l3: usize, value: u16) {
    let delta = delta_u16(be16(header, at), value);
    put16(header, at, value);
    let sum = apply(be16(header, l3 + 10), delta);
    put16(header, l3 + 10, sum);
}

/// Sequence number and flags of piece `i`, which begins `offset` bytes into the payload.
fn patch_tcp(header: &mut [u8], h: &Headers, i: usize, offset: usize, last: bool) {
    let seq = be32(header, h.l4 + 4).wrapping_add(offset as u32);
    put16(header, h.l4 + 4, (seq >> 16) as u16);
    put16(header, h.l4 + 6, seq as u16);
    let mut flags = byte(header, h.l4 + 13);
    if !last {
        flags &= !(FIN | PSH);
    }
    if i > 0 {
        flags &= !CWR;
    }
    if let Some(f) = header.get_mut(h.l4 + 13) {
        *f = flags;
    }
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
