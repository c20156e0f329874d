//! The packet inside an ICMP error: the beginning of what the error is about (RFC 792, RFC 1812
//! section 4.3.2.3), usually cut short.

use super::{L3, L4, Parsed, bits, ipv4};
use crate::base::bytes::be16;
use crate::base::{Proto, Reason, Tuple};
use crate::frame::{VnetHdr, checksum};

/// What an embedded packet says. Offsets count from its own IPv4 header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Inner {
    /// Kind of payload; [`L4::None`] for a later fragment, which has no ports.
    pub l4: L4,
    /// Addresses and ports as the embedded packet has them (that is, as it was sent).
    pub tuple: Tuple,
    /// Offset of its L4 header.
    pub l4_off: u16,
    /// Offset of its L4 checksum field, if those two bytes are there. For UDP the field may
    /// hold 0: no checksum.
    pub l4_checksum: Option<u16>,
    /// Its total length field. The embedded bytes are usually fewer.
    pub total_len: u16,
    /// [`super::bits`] of its header: fragment, DF, options.
    pub bits: u8,
    /// TCP sequence number, 0 for others.
    pub seq: u32,
}

/// The embedded packet's bytes in an ICMP error that [`super::parse`] accepted; empty when there
/// are none.
pub fn embedded<'a>(bytes: &'a [u8], p: &Parsed) -> &'a [u8] {
    if p.l4 != L4::IcmpError || p.l4_error.is_some() {
        return &[];
    }
    message_of(bytes, p).get(8..).unwrap_or(&[])
}

/// Whether the ICMP checksum of a whole (not fragmented) packet is right. Costs a pass over the
/// message, so it is asked where the message is acted upon and not of every frame.
pub fn icmp_checksum_ok(bytes: &[u8], p: &Parsed) -> bool {
    checksum::finish(checksum::sum(message_of(bytes, p), 0)) == 0
}

/// Whether the TCP or UDP checksum is right, as far as one packet tells: a fragment's can't be told,
/// one that `hdr` leaves to others will be, and UDP may have none. True for other protocols.
pub fn l4_checksum_ok(bytes: &[u8], hdr: &VnetHdr, p: &Parsed) -> bool {
    let message = message_of(bytes, p);
    let summed = match p.l4 {
        L4::Tcp => true,
        L4::Udp => message.get(6..8) != Some(&[0, 0]),
        _ => false,
    };
    if !summed || hdr.needs_csum || p.has(bits::FRAGMENT) {
        return true;
    }
    // Bytes behind UDP's own length are not the datagram's (RFC 768).
    let own = match p.l4 {
        L4::Udp => message.get(..usize::from(be16(message, 4))),
        _ => None,
    };
    let message = own.unwrap_or(message);
    let len = message.len() as u32;
    let pseudo = checksum::pseudo_header_v4(p.tuple.src, p.tuple.dst, p.tuple.proto.0, len);
    checksum::finish(checksum::sum(message, pseudo)) == 0
}

fn message_of<'a>(bytes: &'a [u8], p: &Parsed) -> &'a [u8] {
    if p.l3 != L3::Ipv4 {
        return &[];
    }
    let end = usize::from(p.l3_off) + p.l3_len as usize;
    bytes.get(usize::from(p.l4_off)..end).unwrap_or(&[])
}

/// Parses an embedded packet, given from its IPv4 header on.
///
/// # Errors
/// [`Reason::IcmpInnerMalformed`] when the IPv4 header is cut, malformed or of a wrong checksum,
/// or fewer than the eight L4 bytes that RFC 792 promises follow.
pub fn inner(bytes: &[u8]) -> Result<Inner, Reason> {
    const BAD: Reason = Reason::IcmpInnerMalformed;
    let (h, total) = ipv4::header(bytes).map_err(|_| BAD)?;
    let l4_off = h.slice().len();
    let (mut bits, frag_off) = ipv4::fragment(&h);
    if l4_off > 20 {
        bits |= super::bits::OPTIONS;
    }
    let mut inner = Inner {
        l4: L4::None,
        tuple: Tuple {
            src: h.source_addr(),
            dst: h.destination_addr(),
            sport: 0,
            dport: 0,
            proto: Proto(h.protocol().0),
        },
        l4_off: l4_off as u16,
        l4_checksum: None,
        total_len: total as u16,
        bits,
        seq: 0,
    };
    if frag_off != 0 {
        return Ok(inner);
    }
    let l4 = bytes
        .get(l4_off..total.min(bytes.len()))
        .and_then(|b| b.first_chunk::<8>().map(|first| (b.len(), first)));
    let Some((present, &[a, b, c, d, e, f, g, i])) = l4 else {
        return Err(BAD);
    };
    let (first, second) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let field;
    (inner.l4, field) = match inner.tuple.proto {
        Proto::TCP => {
            (inner.tuple.sport, inner.tuple.dport) = (first, second);
            inner.seq = u32::from_be_bytes([e, f, g, i]);
            (L4::Tcp, 16)
        }
        Proto::UDP => {
            (inner.tuple.sport, inner.tuple.dport) = (first, second);
            (L4::Udp, 6)
        }
        Proto::ICMP => {
            let id = u16::from_be_bytes([e, f]);
            let kind = match a {
                8 => {
                    inner.tuple.sport = id;
                    L4::EchoRequest
                }
                0 => {
                    inner.tuple.dport = id;
                    L4::EchoReply
                }
                t if ipv4::ICMP_ERRORS.contains(&t) => L4::IcmpError,
                _ => L4::IcmpOther,
            };
            (kind, 2)
        }
        _ => (L4::Other, usize::MAX),
    };
    if field < present && field + 2 <= present {
        inner.l4_checksum = Some((l4_off + field) as u16);
    }
    Ok(inner)
}
