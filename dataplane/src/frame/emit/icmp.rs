//! ICMP of our own making. Read RFC 792, RFC 1122 section 3.2.2 and RFC 1812 section 4.3 first.

use super::{ipv4_header, link_header};
use crate::base::bytes::{get16, put};
use crate::base::{Mac, Proto, Reason};
use crate::frame::parse::{bits, icmp_checksum_ok};
use crate::frame::{Frame, L3, L4, Parsed, checksum};
use std::net::Ipv4Addr;

/// An error about a packet: type and code with what they carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IcmpError {
    /// 3/0
    NetUnreachable,
    /// 3/1
    HostUnreachable,
    /// 3/2
    ProtocolUnreachable,
    /// 3/3
    PortUnreachable,
    /// 3/4 (RFC 1191)
    FragmentationNeeded {
        /// MTU of the next hop: the largest IP packet that would pass.
        mtu: u16,
    },
    /// 3/13 (RFC 1812 section 5.2.7.1)
    AdminProhibited,
    /// 11/0
    TimeExceeded,
    /// 11/1
    ReassemblyTimeExceeded,
    /// 12/0
    ParameterProblem {
        /// Offset of the faulty byte in the IPv4 header.
        pointer: u8,
    },
}

impl IcmpError {
    /// The first eight bytes, with the checksum 0.
    const fn header(self) -> [u8; 8] {
        let (kind, code, rest) = match self {
            IcmpError::NetUnreachable => (3, 0, [0; 4]),
            IcmpError::HostUnreachable => (3, 1, [0; 4]),
            IcmpError::ProtocolUnreachable => (3, 2, [0; 4]),
            IcmpError::PortUnreachable => (3, 3, [0; 4]),
            IcmpError::FragmentationNeeded { mtu } => {
                let [a, b] = mtu.to_be_bytes();
                (3, 4, [0, 0, a, b])
            }
            IcmpError::AdminProhibited => (3, 13, [0; 4]),
            IcmpError::TimeExceeded => (11, 0, [0; 4]),
            IcmpError::ReassemblyTimeExceeded => (11, 1, [0; 4]),
            IcmpError::ParameterProblem { pointer } => (12, 0, [pointer, 0, 0, 0]),
        };
        let [a, b, c, d] = rest;
        [kind, code, 0, 0, a, b, c, d]
    }
}

/// RFC 1812 section 4.3.2.3: as much of the original as makes 576 bytes of IP packet.
const QUOTE: usize = 576 - 20 - 8;

/// The error `what` about the packet `bytes`, from `ip` at `mac` to whoever sent it. Quotes the
/// packet as it stands, so give it as it came in: also a superframe, or a partial checksum. Ask
/// [`may_answer_with_error`] before.
pub fn icmp_error(what: IcmpError, bytes: &[u8], p: &Parsed, ip: Ipv4Addr, mac: Mac) -> Frame {
    let l3 = usize::from(p.l3_off);
    let quoted = (p.l3_len as usize).min(QUOTE);
    let quote = bytes.get(l3..l3 + quoted).unwrap_or(&[]);
    // Precedence 6, "internetwork control", and the packet's own service bits (RFC 1812 section
    // 4.3.2.5) without those that are ECN now.
    let tos = 0xc0 | (quote.get(1).copied().unwrap_or(0) & 0x1c);

    let mut out = link_header(bytes, p, mac, p.src);
    out.extend(ipv4_header(
        tos,
        Proto::ICMP,
        ip,
        p.tuple.src,
        8 + quote.len(),
    ));
    let header = what.header();
    let sum = checksum::finish(checksum::sum(quote, checksum::sum(&header, 0)));
    let [c0, c1] = sum.to_be_bytes();
    let [kind, code, _, _, rest @ ..] = header;
    out.extend([kind, code, c0, c1]);
    out.extend(rest);
    out.extend(quote);
    Frame::from_bytes(&out)
}

/// Whether an ICMP error may be sent about this packet (RFC 1122 section 3.2.2, RFC 1812 section
/// 4.3.2.7): not about an ICMP error or an unknown ICMP type (which may be one), not about a later
/// fragment, not about what went to many hosts by MAC or IP, and not to a source that names no
/// single host. A subnet's directed broadcast is not known here: the caller checks it.
pub fn may_answer_with_error(p: &Parsed, bytes: &[u8]) -> bool {
    if p.l3 != L3::Ipv4 || p.has(bits::LATER_FRAGMENT) || p.dst.is_group() || p.src.is_group() {
        return false;
    }
    let (src, dst) = (p.tuple.src, p.tuple.dst);
    let [first, ..] = src.octets();
    let single = first != 0 && first != 127 && first < 224;
    if !single || dst.is_multicast() || dst.is_broadcast() || dst.is_unspecified() {
        return false;
    }
    if p.tuple.proto != Proto::ICMP {
        return true;
    }
    // Queries and answers that IANA lists: echo, router discovery, timestamp, information, mask,
    // extended echo (RFC 8335).
    let kind = bytes.get(usize::from(p.l4_off));
    p.l4_error != Some(Reason::L4Truncated) && matches!(kind, Some(0 | 8..=10 | 13..=18 | 42 | 43))
}

/// Turns an echo request into its reply, in place: addresses swapped on both layers, type 0, TTL
/// 64, the reserved bit 0 (RFC 791 section 3.1). Everything else stays, so a reply has the
/// request's size, tags, identification and DF, and a request that came in fragments is answered
/// in fragments, each by a call of its own.
///
/// # Errors
/// [`Reason::IcmpChecksum`] when an unfragmented request has a wrong checksum;
/// [`Reason::NotRouted`] when it is no echo request. The frame is unchanged then.
pub fn echo_reply(frame: &mut Frame, p: &Parsed) -> Result<(), Reason> {
    let later = p.has(bits::LATER_FRAGMENT) && p.tuple.proto == Proto::ICMP;
    if !later && (p.l4 != L4::EchoRequest || p.l4_error.is_some()) {
        return Err(Reason::NotRouted);
    }
    // A partial checksum (parse made sure that it is this packet's) is summed later, with the
    // type that stands there by then.
    let partial = frame.hdr.needs_csum;
    if !partial && !p.has(bits::FRAGMENT) && !icmp_checksum_ok(frame.bytes(), p) {
        return Err(Reason::IcmpChecksum);
    }
    let l3 = usize::from(p.l3_off);
    let l4 = usize::from(p.l4_off);
    answer_in_place(frame.bytes_mut(), p, l3, (!later).then_some(l4), partial)
        .ok_or(Reason::NotRouted)
}

/// The bit before DF, in the word that holds the fragment offset.
const RESERVED: u16 = 0x8000;

fn answer_in_place(
    b: &mut [u8],
    p: &Parsed,
    l3: usize,
    l4: Option<usize>,
    partial: bool,
) -> Option<()> {
    put(b, 0, p.src.0)?;
    put(b, 6, p.dst.0)?;
    // Swapped addresses leave the sum as it is; only the TTL and the reserved bit count.
    let ttl_word = get16(b, l3 + 8)?;
    let new_word = (u16::from(super::TTL) << 8) | (ttl_word & 0xff);
    let flags = get16(b, l3 + 6)?;
    let sum = get16(b, l3 + 10)?;
    let sum = checksum::apply(sum, checksum::delta_u16(ttl_word, new_word));
    let sum = checksum::apply(sum, checksum::delta_u16(flags, flags & !RESERVED));
    put(b, l3 + 6, (flags & !RESERVED).to_be_bytes())?;
    put(b, l3 + 8, new_word.to_be_bytes())?;
    put(b, l3 + 10, sum.to_be_bytes())?;
    put(b, l3 + 12, p.tuple.dst.octets())?;
    put(b, l3 + 16, p.tuple.src.octets())?;
    let Some(l4) = l4 else { return Some(()) };
    let old = get16(b, l4)?;
    let new = old & 0xff;
    put(b, l4, new.to_be_bytes())?;
    if !partial {
        let sum = get16(b, l4 + 2)?;
        let sum = checksum::apply(sum, checksum::delta_u16(old, new));
        put(b, l4 + 2, sum.to_be_bytes())?;
    }
    Some(())
}
