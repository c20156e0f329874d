//! IPv4 and what it carries, as RFC 1812 section 5.2.2 wants a router to check it.

use super::{L4, Parsed, Tcp, bits, tcp_flags};
use crate::base::{Proto, Reason, Tuple};
use crate::frame::{Gso, VnetHdr, checksum};
use etherparse::err::{ipv4, tcp};
use etherparse::{Ipv4HeaderSlice, TcpHeaderSlice, UdpHeaderSlice};

/// ICMP types (RFC 792) that carry the beginning of another packet.
pub(super) const ICMP_ERRORS: [u8; 5] = [3, 4, 5, 11, 12];
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;

/// Checks the header at the start of `l3` and gives it with the bytes that its total length
/// claims, as many as there are.
pub(super) fn header(l3: &[u8]) -> Result<(Ipv4HeaderSlice<'_>, usize), Reason> {
    let h = Ipv4HeaderSlice::from_slice(l3).map_err(|e| match e {
        ipv4::HeaderSliceError::Len(_) => Reason::Ipv4Truncated,
        ipv4::HeaderSliceError::Content(ipv4::HeaderError::UnexpectedVersion { .. }) => {
            Reason::Ipv4Version
        }
        ipv4::HeaderSliceError::Content(ipv4::HeaderError::HeaderLengthSmallerThanHeader {
            ..
        }) => Reason::Ipv4HeaderLength,
    })?;
    let total = usize::from(h.total_len());
    if total < h.slice().len() {
        return Err(Reason::Ipv4TotalLength);
    }
    if checksum::ipv4_header(h.slice()) != 0 {
        return Err(Reason::Ipv4Checksum);
    }
    Ok((h, total))
}

/// The fragment bits of [`bits`] and the offset in bytes.
pub(super) fn fragment(h: &Ipv4HeaderSlice<'_>) -> (u8, u16) {
    let off = h.fragments_offset().value() << 3;
    let mut b = 0;
    if h.dont_fragment() {
        b |= bits::DF;
    }
    if h.more_fragments() {
        b |= bits::MF | bits::FRAGMENT;
    }
    if off != 0 {
        b |= bits::LATER_FRAGMENT | bits::FRAGMENT;
    }
    (b, off)
}

pub(super) fn parse(l3: &[u8], hdr: &VnetHdr, p: &mut Parsed) -> Result<(), Reason> {
    let (h, total) = header(l3)?;
    let packet = l3.get(..total).ok_or(Reason::Ipv4Truncated)?;
    let ihl = h.slice().len();
    let (frag, frag_off) = fragment(&h);
    p.bits |= frag;
    if ihl > 20 {
        p.bits |= bits::OPTIONS;
    }
    p.ttl = h.ttl();
    p.ip_id = h.identification();
    p.frag_off = frag_off;
    p.l4_off = p.l3_off + ihl as u16;
    p.l3_len = total as u32;
    p.tuple = Tuple {
        src: h.source_addr(),
        dst: h.destination_addr(),
        sport: 0,
        dport: 0,
        proto: Proto(h.protocol().0),
    };

    let l4 = packet.get(ihl..).unwrap_or(&[]);
    let end = ihl + usize::from(frag_off) + l4.len();
    if p.has(bits::FRAGMENT)
        && (l4.is_empty() || end > 65_535 || (p.has(bits::MF) && !l4.len().is_multiple_of(8)))
    {
        p.l4_error = Some(Reason::FragMalformed);
    }
    if p.has(bits::LATER_FRAGMENT) {
        return Ok(());
    }
    let checked = match p.tuple.proto {
        Proto::TCP => tcp(l4, p),
        Proto::UDP => udp(l4, hdr, p),
        Proto::ICMP => icmp(l4, p),
        _ => {
            p.l4 = L4::Other;
            Ok(())
        }
    };
    if let Err(reason) = checked {
        p.l4_error.get_or_insert(reason);
    }
    Ok(())
}

fn tcp(l4: &[u8], p: &mut Parsed) -> Result<(), Reason> {
    p.l4 = L4::Tcp;
    let h = TcpHeaderSlice::from_slice(l4).map_err(|e| match e {
        tcp::HeaderSliceError::Len(_) => Reason::L4Truncated,
        tcp::HeaderSliceError::Content(_) => Reason::TcpMalformed,
    })?;
    let header_len = h.slice().len();
    let flags = h.slice().get(13).copied().unwrap_or(0);
    p.tuple.sport = h.source_port();
    p.tuple.dport = h.destination_port();
    p.tcp = Tcp {
        seq: h.sequence_number(),
        ack: h.acknowledgment_number(),
        window: h.window_size(),
        flags,
        header_len: header_len as u8,
        payload: (l4.len() - header_len) as u32,
    };
    if possible(flags) {
        Ok(())
    } else {
        Err(Reason::TcpMalformed)
    }
}

/// Whether any TCP of RFC 9293 can send these flags. SYN excludes FIN and RST, RST excludes FIN,
/// and a segment with neither SYN nor RST has ACK. PSH, URG and the ECN bits say nothing here.
pub(super) const fn possible(flags: u8) -> bool {
    use tcp_flags::{ACK, FIN, RST, SYN};
    if flags & SYN != 0 {
        flags & (FIN | RST) == 0
    } else if flags & RST != 0 {
        flags & FIN == 0
    } else {
        flags & ACK != 0
    }
}

fn udp(l4: &[u8], hdr: &VnetHdr, p: &mut Parsed) -> Result<(), Reason> {
    p.l4 = L4::Udp;
    let h = UdpHeaderSlice::from_slice(l4).map_err(|_| Reason::L4Truncated)?;
    p.tuple.sport = h.source_port();
    p.tuple.dport = h.destination_port();
    // A datagram shorter than its packet is trimmed by receivers, so it passes. In a first
    // fragment the length is that of the whole. Linux writes the length of the whole into a
    // superframe, and ignores it when it segments one.
    let len = usize::from(h.length());
    let whole = !p.has(bits::FRAGMENT) && hdr.gso != Gso::UdpL4;
    if len < 8 || (whole && len > l4.len()) {
        return Err(Reason::UdpLength);
    }
    Ok(())
}

fn icmp(l4: &[u8], p: &mut Parsed) -> Result<(), Reason> {
    let kind = l4.first().copied();
    p.l4 = match kind {
        Some(ECHO_REQUEST) => L4::EchoRequest,
        Some(ECHO_REPLY) => L4::EchoReply,
        Some(t) if ICMP_ERRORS.contains(&t) => L4::IcmpError,
        _ => L4::IcmpOther,
    };
    // Every ICMP message has at least the eight bytes of RFC 792.
    let Some(&[_, _, _, _, id0, id1, _, _]) = l4.first_chunk::<8>() else {
        return Err(Reason::L4Truncated);
    };
    let id = u16::from_be_bytes([id0, id1]);
    match p.l4 {
        L4::EchoRequest => p.tuple.sport = id,
        L4::EchoReply => p.tuple.dport = id,
        _ => {}
    }
    Ok(())
}
