//! Frames from their fields, with every checksum finished, written byte by byte and not by the
//! code under test.

use dataplane::base::{Mac, Proto, Tuple};
use dataplane::frame::{Gso, VnetHdr};
use std::net::{Ipv4Addr, Ipv6Addr};

/// TCP flag bits by their usual letters.
pub use dataplane::frame::parse::tcp_flags::{ACK, CWR, FIN, PSH, RST, SYN, URG};

/// The one's complement sum of `parts`, each of even length but the last.
pub fn naive_sum(parts: &[&[u8]]) -> u16 {
    let mut s = 0u32;
    for w in parts.concat().chunks(2) {
        s += u32::from(u16::from_be_bytes([w[0], w.get(1).copied().unwrap_or(0)]));
        s = (s & 0xffff) + (s >> 16);
    }
    s as u16
}

/// The pseudo-header of RFC 9293 section 3.1.
pub fn pseudo(src: Ipv4Addr, dst: Ipv4Addr, proto: Proto, len: usize) -> Vec<u8> {
    let mut b = [src.octets(), dst.octets()].concat();
    b.extend([0, proto.0]);
    b.extend((len as u16).to_be_bytes());
    b
}

/// A tuple in one line.
pub fn tuple(proto: Proto, src: (Ipv4Addr, u16), dst: (Ipv4Addr, u16)) -> Tuple {
    Tuple {
        src: src.0,
        dst: dst.0,
        sport: src.1,
        dport: dst.1,
        proto,
    }
}

/// A UDP tuple.
pub fn udp_tuple(from: Ipv4Addr, sport: u16, to: Ipv4Addr, dport: u16) -> Tuple {
    tuple(Proto::UDP, (from, sport), (to, dport))
}

/// A TCP tuple.
pub fn tcp_tuple(from: Ipv4Addr, sport: u16, to: Ipv4Addr, dport: u16) -> Tuple {
    tuple(Proto::TCP, (from, sport), (to, dport))
}

/// The IPv4 header fields that tests vary.
#[derive(Clone, Debug)]
pub struct Ip {
    /// Time to live.
    pub ttl: u8,
    /// Identification.
    pub id: u16,
    /// Don't-fragment.
    pub df: bool,
    /// More fragments.
    pub mf: bool,
    /// Fragment offset in bytes.
    pub offset: u16,
    /// Type of service.
    pub tos: u8,
    /// Options, padded here to a multiple of four.
    pub options: Vec<u8>,
}

impl Default for Ip {
    fn default() -> Ip {
        Ip {
            ttl: 64,
            id: 7,
            df: true,
            mf: false,
            offset: 0,
            tos: 0,
            options: Vec::new(),
        }
    }
}

impl Ip {
    /// Without don't-fragment and with this identification.
    pub fn may_fragment(id: u16) -> Ip {
        Ip {
            df: false,
            id,
            ..Ip::default()
        }
    }

    /// With this time to live.
    pub fn ttl(ttl: u8) -> Ip {
        Ip {
            ttl,
            ..Ip::default()
        }
    }
}

/// An IPv4 packet.
pub fn ipv4(ip: &Ip, t: &Tuple, payload: &[u8]) -> Vec<u8> {
    let mut options = ip.options.clone();
    options.resize(options.len().next_multiple_of(4), 0);
    let header = 20 + options.len();
    let mut h = vec![0x40 | (header / 4) as u8, ip.tos];
    h.extend(((header + payload.len()) as u16).to_be_bytes());
    h.extend(ip.id.to_be_bytes());
    let field = u16::from(ip.df) << 14 | u16::from(ip.mf) << 13 | (ip.offset / 8);
    h.extend(field.to_be_bytes());
    h.extend([ip.ttl, t.proto.0, 0, 0]);
    h.extend(t.src.octets());
    h.extend(t.dst.octets());
    h.extend(options);
    let sum = !naive_sum(&[&h]);
    h[10..12].copy_from_slice(&sum.to_be_bytes());
    h.extend(payload);
    h
}

/// An Ethernet frame.
pub fn eth(dst: Mac, src: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&dst.0[..], &src.0, &ethertype.to_be_bytes(), payload].concat()
}

/// `frame` with an 802.1Q tag of this VLAN.
pub fn tagged(frame: &[u8], vid: u16) -> Vec<u8> {
    [&frame[..12], &[0x81, 0], &vid.to_be_bytes(), &frame[12..]].concat()
}

fn l4_checksum(t: &Tuple, l4: &mut [u8], at: usize) {
    let pseudo = pseudo(t.src, t.dst, t.proto, l4.len());
    let mut sum = !naive_sum(&[&pseudo, l4]);
    if t.proto == Proto::UDP && sum == 0 {
        sum = 0xffff;
    }
    l4[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// A TCP segment with options (padded here) and any window.
pub fn tcp_with(
    t: &Tuple,
    (seq, ack): (u32, u32),
    flags: u8,
    window: u16,
    options: &[u8],
    data: &[u8],
) -> Vec<u8> {
    let mut options = options.to_vec();
    options.resize(options.len().next_multiple_of(4), 1);
    let mut s = t.sport.to_be_bytes().to_vec();
    s.extend(t.dport.to_be_bytes());
    s.extend(seq.to_be_bytes());
    s.extend(ack.to_be_bytes());
    s.extend([((20 + options.len()) / 4 * 16) as u8, flags]);
    s.extend(window.to_be_bytes());
    s.extend([0; 4]);
    s.extend(options);
    s.extend(data);
    l4_checksum(t, &mut s, 16);
    s
}

/// A TCP segment with a window of 60,000 and no options.
pub fn tcp(t: &Tuple, seq: u32, ack: u32, flags: u8, data: &[u8]) -> Vec<u8> {
    tcp_with(t, (seq, ack), flags, 60_000, &[], data)
}

/// A UDP datagram.
pub fn udp(t: &Tuple, data: &[u8]) -> Vec<u8> {
    let mut s = t.sport.to_be_bytes().to_vec();
    s.extend(t.dport.to_be_bytes());
    s.extend((8 + data.len() as u16).to_be_bytes());
    s.extend([0, 0]);
    s.extend(data);
    l4_checksum(t, &mut s, 6);
    s
}

/// An ICMP message: type, code, the four bytes behind the checksum, the rest.
pub fn icmp(kind: u8, code: u8, rest: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut s = vec![kind, code, 0, 0];
    s.extend(rest);
    s.extend(data);
    let sum = !naive_sum(&[&s]);
    s[2..4].copy_from_slice(&sum.to_be_bytes());
    s
}

/// An echo request.
pub fn ping(id: u16, seq: u16, data: &[u8]) -> Vec<u8> {
    let ([a, b], [c, d]) = (id.to_be_bytes(), seq.to_be_bytes());
    icmp(8, 0, [a, b, c, d], data)
}

/// An echo reply.
pub fn pong(id: u16, seq: u16, data: &[u8]) -> Vec<u8> {
    let ([a, b], [c, d]) = (id.to_be_bytes(), seq.to_be_bytes());
    icmp(0, 0, [a, b, c, d], data)
}

/// An ARP packet; `op` is 1 for a request, 2 for a reply.
pub fn arp(dst: Mac, op: u8, (sha, spa): (Mac, Ipv4Addr), (tha, tpa): (Mac, Ipv4Addr)) -> Vec<u8> {
    let body = [
        &[0, 1, 8, 0, 6, 4, 0, op][..],
        &sha.0,
        &spa.octets(),
        &tha.0,
        &tpa.octets(),
    ]
    .concat();
    eth(dst, sha, 0x0806, &body)
}

/// The fragments of the IPv4 packet in the untagged frame `frame`, each with at most `size` bytes
/// of payload (a multiple of 8).
pub fn fragments(frame: &[u8], size: usize) -> Vec<Vec<u8>> {
    let header = usize::from(frame[14] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let payload = &frame[14 + header..14 + total];
    let count = payload.len().div_ceil(size);
    payload
        .chunks(size)
        .enumerate()
        .map(|(i, part)| {
            let mut h = frame[..14 + header].to_vec();
            h[16..18].copy_from_slice(&((header + part.len()) as u16).to_be_bytes());
            let more = u16::from(i + 1 < count) << 13;
            let field = more | (i * size / 8) as u16;
            h[20..22].copy_from_slice(&field.to_be_bytes());
            h[24..26].copy_from_slice(&[0, 0]);
            let sum = !naive_sum(&[&h[14..]]);
            h[24..26].copy_from_slice(&sum.to_be_bytes());
            h.extend(part);
            h
        })
        .collect()
}

/// Puts fragments of one datagram together: header fields of the first, payload of all. `None`
/// when there is a hole.
pub fn reassemble(frames: &[Vec<u8>]) -> Option<Vec<u8>> {
    let field = |f: &[u8]| u16::from_be_bytes([f[20], f[21]]);
    let mut parts: Vec<&Vec<u8>> = frames.iter().collect();
    parts.sort_by_key(|f| field(f) & 0x1fff);
    let mut payload = Vec::new();
    for (i, f) in parts.iter().enumerate() {
        let header = usize::from(f[14] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([f[16], f[17]]));
        let last = field(f) & 0x2000 == 0;
        if usize::from(field(f) & 0x1fff) * 8 != payload.len() || last != (i + 1 == parts.len()) {
            return None;
        }
        payload.extend_from_slice(&f[14 + header..14 + total]);
    }
    let first = parts.first()?;
    let header = usize::from(first[14] & 15) * 4;
    let mut h = first[..14 + header].to_vec();
    h[16..18].copy_from_slice(&((header + payload.len()) as u16).to_be_bytes());
    h[20..22].copy_from_slice(&[0, 0]);
    h[24..26].copy_from_slice(&[0, 0]);
    let sum = !naive_sum(&[&h[14..]]);
    h[24..26].copy_from_slice(&sum.to_be_bytes());
    h.extend(payload);
    Some(h)
}

/// The same finished TCP, UDP or ICMP frame with its checksum left to others.
pub fn partial(frame: &[u8], t: &Tuple) -> (Vec<u8>, VnetHdr) {
    let header = usize::from(frame[14] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let l4 = 14 + header;
    let offset = if t.proto == Proto::TCP { 16 } else { 6 };
    let sum = naive_sum(&[&pseudo(t.src, t.dst, t.proto, total - header)]);
    let mut b = frame.to_vec();
    b[l4 + offset..l4 + offset + 2].copy_from_slice(&sum.to_be_bytes());
    let hdr = VnetHdr {
        needs_csum: true,
        csum_start: l4 as u16,
        csum_offset: offset as u16,
        ..VnetHdr::PLAIN
    };
    (b, hdr)
}

/// A superframe: the frame's checksum left to others, to be cut every `size` payload bytes.
pub fn superframe(frame: &[u8], t: &Tuple, size: u16) -> (Vec<u8>, VnetHdr) {
    let (bytes, hdr) = partial(frame, t);
    let start = usize::from(hdr.csum_start);
    let (gso, l4) = if t.proto == Proto::TCP {
        (Gso::TcpV4, usize::from(bytes[start + 12] >> 4) * 4)
    } else {
        (Gso::UdpL4, 8)
    };
    let hdr = VnetHdr {
        gso,
        gso_size: size,
        hdr_len: (start + l4) as u16,
        ..hdr
    };
    (bytes, hdr)
}

/// An IPv6 frame from fe80::2 to a group, with `payload` behind the header `next`.
///
/// # Panics
/// When `dst` is not an address.
pub fn ipv6(src: Mac, next: u8, dst: &str, payload: &[u8]) -> Vec<u8> {
    let ip = |s: &str| s.parse::<Ipv6Addr>().expect("an address").octets();
    let mut b = vec![0x60, 0, 0, 0];
    b.extend((payload.len() as u16).to_be_bytes());
    b.extend([next, 255]);
    b.extend(ip("fe80::2"));
    b.extend(ip(dst));
    b.extend(payload);
    eth(Mac([0x33, 0x33, 0, 0, 0, 1]), src, 0x86dd, &b)
}
