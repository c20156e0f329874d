//! IPv4 fragmentation (RFC 791 section 3.2, RFC 1812 section 4.2.2.7).

use super::options;
use crate::base::bytes::{get16, put};
use crate::base::{Proto, Reason};
use crate::frame::parse::{L3, bits, parse};
use crate::frame::{Frame, Parsed, VnetHdr, checksum};

const MF: u16 = 0x2000;

/// Cuts the packet in `bytes` into pieces of at most `mtu` bytes of IP packet and hands each to
/// `out` as a frame with the same link header. Works on fragments too, and gives a packet that
/// fits as it is, without padding. Only `l3_off`, `l4_off`, `l3_len` and the DF bit are taken from
/// `p`, so it may be older than a translation of the frame. The L4 checksum must be finished.
/// Gives the number of pieces.
///
/// # Errors
/// Before any piece is made: [`Reason::MtuExceeded`] when DF is set or `mtu` has no room for the
/// header and eight bytes; [`Reason::FragMalformed`] when an offset would not fit its 13 bits;
/// [`Reason::NotRouted`] for what is not IPv4.
pub fn fragment(
    bytes: &[u8],
    p: &Parsed,
    mtu: u16,
    mut out: impl FnMut(&[u8]),
) -> Result<usize, Reason> {
    let (l3, l4) = (usize::from(p.l3_off), usize::from(p.l4_off));
    let end = l3 + p.l3_len as usize;
    if p.l3 != L3::Ipv4 {
        return Err(Reason::NotRouted);
    }
    let (Some(frame), Some(payload), Some(list)) =
        (bytes.get(..end), bytes.get(l4..end), bytes.get(l3 + 20..l4))
    else {
        return Err(Reason::NotRouted);
    };
    let mtu = usize::from(mtu);
    if end - l3 <= mtu {
        out(frame);
        return Ok(1);
    }
    if p.has(bits::DF) || mtu < l4 - l3 + 8 {
        return Err(Reason::MtuExceeded);
    }
    let field = get16(bytes, l3 + 6).unwrap_or(0);
    let (more, start) = (field & MF, usize::from(field & 0x1fff) * 8);
    if start + payload.len() > 65_536 {
        return Err(Reason::FragMalformed);
    }

    // The first piece has the whole header, the others one with the copied options only.
    let mut piece = Vec::with_capacity(l3 + mtu);
    piece.extend_from_slice(bytes.get(..l4).unwrap_or(&[]));
    let (mut header_len, mut done, mut pieces) = (l4 - l3, 0, 0);
    while done < payload.len() {
        let rest = payload.len() - done;
        let room = mtu - header_len;
        let (len, mf) = if rest <= room {
            (rest, more)
        } else {
            (room & !7, MF)
        };
        let offset = ((start + done) / 8) as u16;
        piece.truncate(l3 + header_len);
        piece.extend_from_slice(payload.get(done..done + len).unwrap_or(&[]));
        finish_header(&mut piece, l3, header_len, mf | offset).ok_or(Reason::FragMalformed)?;
        out(&piece);
        pieces += 1;
        if done == 0 {
            let copied = options::copied(list);
            header_len = 20 + copied.len();
            piece.truncate(l3 + 20);
            piece.extend_from_slice(&copied);
            put(&mut piece, l3, [0x40 | (header_len / 4) as u8]);
        }
        done += len;
    }
    Ok(pieces)
}

/// Length, fragment field (the reserved bit and DF are 0) and checksum.
fn finish_header(piece: &mut [u8], l3: usize, header_len: usize, field: u16) -> Option<()> {
    let total = u16::try_from(piece.len().checked_sub(l3)?).ok()?;
    put(piece, l3 + 2, total.to_be_bytes())?;
    put(piece, l3 + 6, field.to_be_bytes())?;
    put(piece, l3 + 10, [0, 0])?;
    let sum = checksum::ipv4_header(piece.get(l3..l3 + header_len)?);
    put(piece, l3 + 10, sum.to_be_bytes())
}

/// [`fragment`] for a frame as a port gave it: it is parsed anew, and a partial checksum is
/// finished first, since no fragment can carry one. The pieces are appended to `parts`.
///
/// # Errors
/// As [`fragment`] and [`parse`]; [`Reason::SegmentFailed`] for a superframe, which has to be
/// segmented before.
pub fn fragment_any(frame: &mut Frame, mtu: u16, parts: &mut Vec<Frame>) -> Result<(), Reason> {
    let hdr = frame.hdr;
    if hdr.is_super() {
        return Err(Reason::SegmentFailed);
    }
    let p = parse(frame.bytes(), &hdr)?;
    if hdr.needs_csum {
        finish_partial(frame.bytes_mut(), &p, &hdr).ok_or(Reason::VnetHdrBad)?;
        frame.hdr = VnetHdr::PLAIN;
    }
    fragment(frame.bytes(), &p, mtu, |piece| {
        parts.push(Frame::from_bytes(piece));
    })?;
    Ok(())
}

/// Sums from `csum_start` to the end of the packet and stores the finished checksum.
fn finish_partial(bytes: &mut [u8], p: &Parsed, hdr: &VnetHdr) -> Option<()> {
    let start = usize::from(hdr.csum_start);
    let end = usize::from(p.l3_off) + p.l3_len as usize;
    let sum = checksum::finish(checksum::sum(bytes.get(start..end)?, 0));
    let sum = if p.tuple.proto == Proto::UDP {
        checksum::udp_field(sum)
    } else {
        sum
    };
    put(
        bytes,
        start + usize::from(hdr.csum_offset),
        sum.to_be_bytes(),
    )
}
