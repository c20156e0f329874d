//! A TCP reset for a segment that nobody wants (RFC 9293 section 3.10.7.1).

use super::{ipv4_header, link_header};
use crate::base::Proto;
use crate::frame::parse::{bits, tcp_flags};
use crate::frame::{Frame, L4, Parsed, checksum};

/// The reset that answers a segment, from the one that it was sent to. `None` when none may be
/// sent: the segment is a reset itself, a fragment, malformed, or went to many.
pub fn tcp_reset(bytes: &[u8], p: &Parsed) -> Option<Frame> {
    use tcp_flags::{ACK, FIN, RST, SYN};
    let t = &p.tcp;
    let many = p.dst.is_group() || p.tuple.dst.is_multicast() || p.tuple.dst.is_broadcast();
    if p.l4 != L4::Tcp || p.l4_error.is_some() || p.has(bits::FRAGMENT) || many {
        return None;
    }
    if t.flags & RST != 0 {
        return None;
    }
    // With ACK the other side believes the number that it acknowledged; without, it believes an
    // acknowledgement of all that it sent. SYN and FIN count as a byte each.
    let (seq, ack, flags) = if t.flags & ACK != 0 {
        (t.ack, 0, RST)
    } else {
        let controls = u32::from(t.flags & SYN != 0) + u32::from(t.flags & FIN != 0);
        let end = t.seq.wrapping_add(t.payload).wrapping_add(controls);
        (0, end, RST | ACK)
    };
    let (src, dst) = (p.tuple.dst, p.tuple.src);
    let [s0, s1] = p.tuple.dport.to_be_bytes();
    let [d0, d1] = p.tuple.sport.to_be_bytes();
    let [q0, q1, q2, q3] = seq.to_be_bytes();
    let [a0, a1, a2, a3] = ack.to_be_bytes();
    let with = |[c0, c1]: [u8; 2]| {
        [
            s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, 0x50, flags, 0, 0, c0, c1, 0, 0,
        ]
    };
    let pseudo = checksum::pseudo_header_v4(src, dst, Proto::TCP.0, 20);
    let sum = checksum::finish(checksum::sum(&with([0, 0]), pseudo));

    // The segment's service class, without its ECN bits.
    let tos = bytes.get(usize::from(p.l3_off) + 1).map_or(0, |b| b & 0xfc);
    let mut out = link_header(bytes, p, p.dst, p.src);
    out.extend(ipv4_header(tos, Proto::TCP, src, dst, 20));
    out.extend(with(sum.to_be_bytes()));
    Some(Frame::from_bytes(&out))
}
