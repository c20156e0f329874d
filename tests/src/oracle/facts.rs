//! What matchers of known differences ask about frames.

use super::canon::{assembled, ipv4_header};
use super::run::Case;
use super::{Out, Wire};
use crate::memory::packet::{naive_sum, pseudo};
use crate::memory::{GW, UP};
use dataplane::base::Proto;
use dataplane::frame::VnetHdr;
use std::net::Ipv4Addr;

/// The datagrams that went in, put together where they came in fragments.
pub fn datagrams(wires: &[Wire]) -> Vec<Out> {
    let outs: Vec<Out> = wires.iter().map(|w| Out::new(w.port, &w.bytes)).collect();
    assembled(&outs).into_iter().map(|d| d.0).collect()
}

/// Whether anything came in fragments.
pub fn in_fragments(case: &Case<'_>) -> bool {
    case.wires.iter().any(|w| fragment(&w.bytes))
}

fn fragment(b: &[u8]) -> bool {
    ipv4_header(b).is_some() && (b[20] & 0x3f != 0 || b[21] != 0)
}

/// The TCP, UDP or ICMP message of a whole IPv4 packet.
pub fn message(b: &[u8]) -> Option<(Proto, &[u8])> {
    let header = ipv4_header(b)?;
    let total = usize::from(u16::from_be_bytes([b[16], b[17]]));
    (!fragment(b)).then_some((Proto(b[23]), b.get(14 + header..14 + total)?))
}

/// Whether the checksum above IP is wrong, where there is one.
pub fn wrong_checksum(b: &[u8]) -> bool {
    let Some((proto, l4)) = message(b) else {
        return false;
    };
    let ip = |at: usize| Ipv4Addr::new(b[at], b[at + 1], b[at + 2], b[at + 3]);
    let pseudo = pseudo(ip(26), ip(30), proto, l4.len());
    match proto {
        Proto::UDP if l4.get(6..8) == Some(&[0, 0]) => false,
        Proto::TCP | Proto::UDP => naive_sum(&[&pseudo, l4]) != 0xffff,
        Proto::ICMP => naive_sum(&[l4]) != 0xffff,
        SCTP => l4
            .get(8..12)
            .is_none_or(|sum| *sum != crc32c(&[&l4[..8], &[0; 4], &l4[12..]])),
        _ => false,
    }
}

const SCTP: Proto = Proto(132);

/// The checksum of SCTP over these parts, as it is written (RFC 9260 section 6.8 and appendix A).
fn crc32c(parts: &[&[u8]]) -> [u8; 4] {
    let byte = |sum: u32, b: &u8| {
        (0..8).fold(sum ^ u32::from(*b), |s, _| {
            s >> 1 ^ if s & 1 == 0 { 0 } else { 0x82f6_3b78 }
        })
    };
    (!parts.iter().copied().flatten().fold(u32::MAX, byte)).to_le_bytes()
}

/// Whether something went in whose checksum above IP is wrong and meant to be right.
pub fn wrong_checksum_in(case: &Case<'_>) -> bool {
    let left_to_others = case.wires.iter().any(|w| w.hdr != VnetHdr::PLAIN);
    !left_to_others
        && datagrams(case.wires)
            .iter()
            .any(|d| wrong_checksum(&d.bytes))
}

/// Whether something with IP options went in.
pub fn options_in(case: &Case<'_>) -> bool {
    case.wires
        .iter()
        .any(|w| ipv4_header(&w.bytes).is_some_and(|h| h > 20))
}

/// Type and code, if this is an ICMP error that the router made.
pub fn own_error(o: &Out) -> Option<(u8, u8)> {
    let b = &o.bytes;
    let own = b.get(26..30)? == UP.octets() || b.get(26..30)? == GW.octets();
    let header = usize::from(b[14] & 15) * 4;
    let icmp = b[23] == Proto::ICMP.0 && own;
    let kind = *b.get(14 + header)?;
    (icmp && matches!(kind, 3 | 11 | 12)).then_some((kind, *b.get(15 + header)?))
}

/// Whether the kernel said nothing but one error of its own, of this kind.
pub fn kernel_only_says(case: &Case<'_>, what: (u8, u8)) -> bool {
    matches!(case.kernel, [o] if own_error(o) == Some(what))
}

/// Whether both gave the same when `blank` was done to each frame.
pub fn same_but(case: &Case<'_>, blank: impl Fn(&mut Out)) -> bool {
    let blanked = |all: &[Out]| {
        let mut all = all.to_vec();
        all.iter_mut().for_each(&blank);
        all
    };
    blanked(case.switch) == blanked(case.kernel)
}

/// Takes the options out of the IPv4 header, and of the one quoted in an error of the router's.
pub fn without_options(o: &mut Out) {
    let quotes = matches!(
        message(&o.bytes),
        Some((Proto::ICMP, [3 | 4 | 5 | 11 | 12, ..]))
    );
    let quotes = quotes || own_error(o).is_some();
    strip(&mut o.bytes, 14);
    if quotes && o.bytes.len() >= 38 {
        o.bytes[36..38].fill(0);
        strip(&mut o.bytes, 14 + 20 + 8);
    }
}

fn strip(b: &mut Vec<u8>, l3: usize) {
    let header = usize::from(b.get(l3).map_or(0, |v| v & 15)) * 4;
    if header > 20 && b.len() >= l3 + header {
        b.drain(l3 + 20..l3 + header);
    }
    if b.len() >= l3 + 20 {
        b[l3] = 0x45;
        b[l3 + 2..l3 + 4].fill(0);
        b[l3 + 10..l3 + 12].fill(0);
    }
}

/// Blanks what of a packet's length and place in its datagram an error of the router's quotes.
pub fn without_quoted_length(o: &mut Out) {
    if own_error(o).is_some() && o.bytes.len() >= 62 {
        o.bytes[36..38].fill(0);
        for at in [44, 45, 48, 49, 52, 53] {
            o.bytes[at] = 0;
        }
    }
}

/// Blanks the ECN bits of errors of the router's.
pub fn without_ecn(o: &mut Out) {
    if own_error(o).is_some() {
        o.bytes[15] &= !3;
    }
}

/// Blanks the source address.
pub fn without_source(o: &mut Out) {
    if ipv4_header(&o.bytes).is_some() {
        o.bytes[24..30].copy_from_slice(&[0, 0, 0, 0, 0, 0]);
    }
}

fn ports_at(o: &Out) -> Option<usize> {
    let header = ipv4_header(&o.bytes)?;
    let ported = matches!(Proto(o.bytes[23]), Proto::TCP | Proto::UDP);
    (ported && o.bytes.len() >= 14 + header + 8).then_some(14 + header)
}

/// The source port of TCP or UDP.
pub fn source_port(o: &Out) -> Option<u16> {
    let at = ports_at(o)?;
    Some(u16::from_be_bytes([o.bytes[at], o.bytes[at + 1]]))
}

/// Blanks the checksum of TCP or UDP.
pub fn without_checksum(o: &mut Out) {
    if let Some(at) = ports_at(o) {
        let sum = at + if o.bytes[23] == Proto::TCP.0 { 16 } else { 6 };
        if let Some(field) = o.bytes.get_mut(sum..sum + 2) {
            field.fill(0);
        }
    }
}

/// Blanks the source port, and the checksum that covers it.
pub fn without_source_port(o: &mut Out) {
    if let Some(at) = ports_at(o) {
        o.bytes[at..at + 2].fill(0);
        without_checksum(o);
    }
}

/// The TCP flags of what went in, if it is TCP. A superframe's are those of its first segment.
pub fn tcp_flags_in(case: &Case<'_>) -> Option<u8> {
    let d = datagrams(case.wires).into_iter().next()?;
    let (proto, l4) = message(&d.bytes)?;
    (proto == Proto::TCP).then(|| l4.get(13).copied()).flatten()
}

/// Whether this is a TCP reset.
pub fn is_reset(o: &Out) -> bool {
    let reset = |l4: &[u8]| l4.get(13).is_some_and(|f| f & 4 != 0);
    message(&o.bytes).is_some_and(|(proto, l4)| proto == Proto::TCP && reset(l4))
}

/// Blanks the UDP checksum that an error of the router's quotes.
pub fn without_quoted_checksum(o: &mut Out) {
    if own_error(o).is_some() && o.bytes.len() == 70 && o.bytes[51] == Proto::UDP.0 {
        o.bytes[36..38].fill(0);
        o.bytes[68..70].fill(0);
    }
}

/// Where the packet that an ICMP error quotes begins, if this is one without IP options.
fn quoted_at(b: &[u8]) -> Option<usize> {
    let error = matches!(message(b), Some((Proto::ICMP, [3 | 4 | 5 | 11 | 12, ..])));
    (error && b[14] == 0x45 && b.len() >= 62).then_some(42)
}

/// Whether an ICMP error quotes a fragment.
pub fn quotes_fragment(b: &[u8]) -> bool {
    quoted_at(b).is_some_and(|at| b[at + 6] & 0x3f != 0 || b[at + 7] != 0)
}

/// Blanks what says which fragment of what is quoted.
pub fn without_quoted_fragment(o: &mut Out) {
    if let Some(at) = quoted_at(&o.bytes) {
        o.bytes[36..38].fill(0);
        o.bytes[at + 2..at + 8].fill(0);
        o.bytes[at + 10..at + 12].fill(0);
    }
}

/// Blanks what lies in the place of ports in a packet of another protocol than TCP, UDP and ICMP
/// that an error of the router's quotes.
pub fn without_quoted_ports(o: &mut Out) {
    const QUOTED: usize = 14 + 20 + 8;
    let plain = own_error(o).is_some() && o.bytes[14] == 0x45 && o.bytes.len() >= QUOTED + 20;
    let ported = |proto| matches!(proto, Proto::TCP | Proto::UDP | Proto::ICMP);
    if !plain || ported(Proto(o.bytes[QUOTED + 9])) {
        return;
    }
    let l4 = QUOTED + header_of(&o.bytes[QUOTED..]);
    if let Some(ports) = o.bytes.get_mut(l4..l4 + 8) {
        // The checksum covers them.
        ports.fill(0);
    }
}

/// Whether this is an answer to echo by the router.
pub fn is_echo_reply(o: &Out) -> bool {
    let own =
        o.bytes.get(26..30) == Some(&UP.octets()) || o.bytes.get(26..30) == Some(&GW.octets());
    own && matches!(message(&o.bytes), Some((Proto::ICMP, [0, ..])))
}

/// Whether this is an ICMP error.
pub fn is_icmp_error(b: &[u8]) -> bool {
    matches!(message(b), Some((Proto::ICMP, [3 | 4 | 5 | 11 | 12, ..])))
}

/// Whether an ICMP error quotes a packet with IP options.
pub fn quotes_options(b: &[u8]) -> bool {
    quoted_at(b).is_some_and(|at| b[at] & 15 > 5)
}

/// Whether an ICMP error quotes a header whose checksum is wrong, or that is cut, or less than eight
/// bytes behind it.
pub fn quotes_badly(b: &[u8]) -> bool {
    let Some((Proto::ICMP, [3 | 4 | 5 | 11 | 12, ..])) = message(b) else {
        return false;
    };
    let Some((_, [_, _, _, _, _, _, _, _, quoted @ ..])) = message(b) else {
        return true;
    };
    header_is_wrong_at(quoted, false) || quoted.len() < header_of(quoted) + 8
}

fn header_of(packet: &[u8]) -> usize {
    usize::from(packet.first().map_or(0, |v| v & 15)) * 4
}

/// Whether the IPv4 header of a frame is not one: version, lengths or checksum.
pub fn header_is_wrong(b: &[u8]) -> bool {
    header_is_wrong_at(b.get(14..).unwrap_or(&[]), true)
}

fn header_is_wrong_at(packet: &[u8], whole: bool) -> bool {
    let header = header_of(packet);
    let Some(bytes) = packet.get(..header).filter(|h| h.len() >= 20) else {
        return true;
    };
    let total = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    let cut = total < header || whole && total > packet.len();
    bytes[0] >> 4 != 4 || cut || naive_sum(&[bytes]) != 0xffff
}

/// Whether this is a first fragment that does not hold its whole TCP, UDP or ICMP header.
pub fn is_tiny_first(b: &[u8]) -> bool {
    let Some(header) = ipv4_header(b).filter(|_| fragment(b)) else {
        return false;
    };
    let first = b[20] & 0x1f == 0 && b[21] == 0;
    let end = 14 + usize::from(u16::from_be_bytes([b[16], b[17]]));
    let l4 = b.get(14 + header..end).unwrap_or(&[]);
    let needs = match Proto(b[23]) {
        Proto::TCP => l4.get(12).map_or(20, |v| usize::from(v >> 4) * 4).max(20),
        Proto::UDP | Proto::ICMP => 8,
        _ => 0,
    };
    first && l4.len() < needs
}

/// Whether a TCP, UDP or ICMP header is cut, contradicts its packet, or has flags that exclude each
/// other.
pub fn no_stack_sends(b: &[u8]) -> bool {
    if is_tiny_first(b) {
        return true;
    }
    let Some(header) = ipv4_header(b).filter(|_| b[20] & 0x1f == 0 && b[21] == 0) else {
        return false;
    };
    let end = 14 + usize::from(u16::from_be_bytes([b[16], b[17]]));
    let l4 = b.get(14 + header..end).unwrap_or(&[]);
    match (Proto(b[23]), l4) {
        (Proto::TCP, [_, _, _, _, _, _, _, _, _, _, _, _, offset, flags, ..]) => {
            let header = usize::from(offset >> 4) * 4;
            // Of SYN, FIN, RST and ACK.
            let fits = matches!(flags & 0x17, 0x02 | 0x12 | 0x10 | 0x11 | 0x04 | 0x14);
            header < 20 || header > l4.len() || !fits
        }
        (Proto::UDP, [_, _, _, _, hi, lo, _, _, ..]) => {
            !fragment(b) && usize::from(u16::from_be_bytes([*hi, *lo])) != l4.len()
        }
        (Proto::TCP, _) => true,
        (Proto::UDP | Proto::ICMP, l4) => l4.len() < 8,
        _ => false,
    }
}

/// Whether the IP options of a frame that came out, and of what it quotes, are bytes that went in.
pub fn options_came_in(case: &Case<'_>, o: &Out) -> bool {
    let of = |b: &[u8], l3: usize| {
        let packet = b.get(l3..).unwrap_or(&[]);
        packet.get(20..header_of(packet)).unwrap_or(&[]).to_vec()
    };
    let quoted = |b: &[u8]| match is_icmp_error(b) {
        true => of(b, 14 + header_of(b.get(14..).unwrap_or(&[])) + 8),
        false => Vec::new(),
    };
    let mut there = vec![Vec::new()];
    for w in case.wires {
        there.extend([of(&w.bytes, 14), quoted(&w.bytes)]);
    }
    there.contains(&of(&o.bytes, 14)) && there.contains(&quoted(&o.bytes))
}
