//! Frames as the engine reads and writes them: Ethernet, IPv4 without options of ours, TCP, UDP,
//! ICMP, ARP.
//!
//! What goes to the switch has partial checksums (`NEEDS_CSUM`), so nothing is summed here: the
//! last kernel on the way does that, or needs it not.

use dataplane::base::Mac;
use dataplane::base::bytes::{be16, get, put, put16};
use dataplane::frame::{Gso, VnetHdr, checksum};
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddrV4};

mod read;

pub use read::{Packet, Segment};

/// Bytes of an Ethernet header.
pub const ETH: usize = 14;
/// Of an IPv4 header without options.
pub const IP: usize = 20;
/// Of a TCP header without options.
pub const TCP: usize = 20;
/// Of a UDP header.
pub const UDP: usize = 8;
/// Longest IPv4 packet.
pub const MAX_PACKET: usize = 65_535;

/// Protocol numbers.
pub mod proto {
    /// ICMP
    pub const ICMP: u8 = 1;
    /// TCP
    pub const TCP: u8 = 6;
    /// UDP
    pub const UDP: u8 = 17;
}

/// TCP flag bits.
pub mod flag {
    /// FIN
    pub const FIN: u8 = 1;
    /// SYN
    pub const SYN: u8 = 2;
    /// RST
    pub const RST: u8 = 4;
    /// PSH
    pub const PSH: u8 = 8;
    /// ACK
    pub const ACK: u8 = 16;
}

/// Both ends' MACs, of one of the two sides.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Ours.
    pub own: Mac,
    /// Of whoever gets the frame.
    pub to: Mac,
}

/// The one's complement sum of everything in a frame from `from` to `to`.
pub fn sum_parts(parts: &[IoSlice<'_>], from: usize, to: usize) -> u32 {
    let (mut at, mut sum, mut odd) = (0, 0u32, false);
    for part in parts {
        let (start, end) = (from.max(at), to.min(at + part.len()));
        if start < end {
            let bytes = part.get(start - at..end - at).unwrap_or(&[]);
            let s = checksum::fold(checksum::sum(bytes, 0));
            let s = if odd { s.swap_bytes() } else { s };
            sum += u32::from(s);
            odd ^= (end - start) % 2 == 1;
        }
        at += part.len();
    }
    u32::from(checksum::fold(sum))
}

/// The pseudo-header's sum (RFC 9293 section 3.1).
pub fn pseudo(src: Ipv4Addr, dst: Ipv4Addr, proto: u8, len: usize) -> u32 {
    let addresses = checksum::sum(&dst.octets(), checksum::sum(&src.octets(), 0));
    addresses + u32::from(proto) + len as u32
}

/// The payload of a frame, from `from` to `to`, as slices of its parts.
pub fn payload<'a>(parts: &'a [IoSlice<'a>], from: usize, to: usize) -> Vec<IoSlice<'a>> {
    let mut at = 0;
    let mut out = Vec::with_capacity(parts.len());
    for part in parts {
        let (start, end) = (from.max(at), to.min(at + part.len()));
        if start < end {
            out.push(IoSlice::new(part.get(start - at..end - at).unwrap_or(&[])));
        }
        at += part.len();
    }
    out
}

fn ethernet(out: &mut [u8], link: Link, kind: u16) {
    put(out, 0, link.to.0);
    put(out, 6, link.own.0);
    put16(out, 12, kind);
}

/// An IPv4 header in front of `len` bytes.
pub struct IpHeader {
    /// Source.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// Protocol.
    pub proto: u8,
    /// Time to live.
    pub ttl: u8,
    /// Don't fragment.
    pub df: bool,
}

/// Writes Ethernet and IPv4 headers in front of `len` bytes of IP payload.
pub fn ip(out: &mut [u8], link: Link, h: &IpHeader, len: usize) {
    ethernet(out, link, 0x0800);
    let total = u16::try_from(IP + len).unwrap_or(u16::MAX);
    put(out, ETH, [0x45, 0]);
    put16(out, ETH + 2, total);
    put(out, ETH + 4, [0, 0, if h.df { 0x40 } else { 0 }, 0]);
    put(out, ETH + 8, [h.ttl, h.proto, 0, 0]);
    put(out, ETH + 12, h.src.octets());
    put(out, ETH + 16, h.dst.octets());
    let sum = checksum::ipv4_header(out.get(ETH..ETH + IP).unwrap_or(&[]));
    put16(out, ETH + 10, sum);
}

/// A TCP segment to write: everything but its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpOut {
    /// From.
    pub from: SocketAddrV4,
    /// To.
    pub to: SocketAddrV4,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags.
    pub flags: u8,
    /// Window as it goes on the wire.
    pub window: u16,
    /// MSS and window scale, of a SYN.
    pub options: Option<(u16, Option<u8>)>,
    /// Payload bytes of each segment of a superframe.
    pub mss: u16,
}

impl TcpOut {
    /// Bytes of all its headers.
    pub const fn headers(&self) -> usize {
        ETH + IP + TCP + self.option_bytes()
    }

    const fn option_bytes(&self) -> usize {
        match self.options {
            None => 0,
            Some((_, None)) => 4,
            Some((_, Some(_))) => 8,
        }
    }

    /// Writes the headers to the front of `out`, in front of `len` bytes of payload.
    pub fn write(&self, out: &mut [u8], link: Link, len: usize) -> VnetHdr {
        let (src, dst) = (*self.from.ip(), *self.to.ip());
        let l4_len = TCP + self.option_bytes() + len;
        let header = IpHeader {
            src,
            dst,
            proto: proto::TCP,
            ttl: 64,
            df: true,
        };
        ip(out, link, &header, l4_len);
        let l4 = ETH + IP;
        put16(out, l4, self.from.port());
        put16(out, l4 + 2, self.to.port());
        put(out, l4 + 4, self.seq.to_be_bytes());
        put(out, l4 + 8, self.ack.to_be_bytes());
        let words = ((TCP + self.option_bytes()) / 4) as u8;
        put(out, l4 + 12, [words << 4, self.flags]);
        put16(out, l4 + 14, self.window);
        let sum = checksum::fold(pseudo(src, dst, proto::TCP, l4_len));
        put16(out, l4 + 16, sum);
        put16(out, l4 + 18, 0);
        if let Some((mss, scale)) = self.options {
            put(out, l4 + 20, [2, 4]);
            put16(out, l4 + 22, mss);
            if let Some(scale) = scale {
                put(out, l4 + 24, [1, 3, 3, scale]);
            }
        }
        let is_super = len > usize::from(self.mss);
        VnetHdr {
            needs_csum: true,
            gso: if is_super { Gso::TcpV4 } else { Gso::None },
            gso_size: if is_super { self.mss } else { 0 },
            hdr_len: self.headers() as u16,
            csum_start: l4 as u16,
            csum_offset: 16,
            ..VnetHdr::PLAIN
        }
    }
}

/// Writes the headers of a datagram of `len` bytes to the front of `out`.
pub fn udp(
    out: &mut [u8],
    link: Link,
    from: SocketAddrV4,
    to: SocketAddrV4,
    len: usize,
) -> VnetHdr {
    let (src, dst) = (*from.ip(), *to.ip());
    let header = IpHeader {
        src,
        dst,
        proto: proto::UDP,
        ttl: 64,
        df: false,
    };
    ip(out, link, &header, UDP + len);
    let l4 = ETH + IP;
    put16(out, l4, from.port());
    put16(out, l4 + 2, to.port());
    put16(out, l4 + 4, u16::try_from(UDP + len).unwrap_or(u16::MAX));
    let sum = checksum::fold(pseudo(src, dst, proto::UDP, UDP + len));
    put16(out, l4 + 6, sum);
    VnetHdr {
        needs_csum: true,
        csum_start: l4 as u16,
        csum_offset: 6,
        ..VnetHdr::PLAIN
    }
}

/// An ICMP message: `message` with its checksum 0, finished here.
pub fn icmp(link: Link, src: Ipv4Addr, dst: Ipv4Addr, ttl: u8, message: &[u8]) -> Vec<u8> {
    let mut out = vec![0; ETH + IP];
    let header = IpHeader {
        src,
        dst,
        proto: proto::ICMP,
        ttl,
        df: false,
    };
    ip(&mut out, link, &header, message.len());
    out.extend(message);
    let l4 = ETH + IP;
    put16(&mut out, l4 + 2, 0);
    let sum = checksum::finish(checksum::sum(out.get(l4..).unwrap_or(&[]), 0));
    put16(&mut out, l4 + 2, sum);
    out
}

/// An ICMP error of this type, code and rest of the header, about the packet that `quote` begins
/// with its IP header.
pub fn icmp_error(
    link: Link,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    (kind, code, rest): (u8, u8, u32),
    quote: &[u8],
) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest.to_be_bytes());
    message.extend(quote.get(..quote.len().min(548)).unwrap_or(quote));
    icmp(link, src, dst, 64, &message)
}

/// An IPv4 header and the first eight bytes behind it, as an error quotes them: ports, and `word`
/// (TCP: the sequence number; UDP: length and checksum), of a packet with `len` bytes behind its
/// IP header.
pub fn quote(src: SocketAddrV4, dst: SocketAddrV4, proto: u8, len: usize, word: u32) -> Vec<u8> {
    let mut out = vec![0; ETH + IP + 8];
    let link = Link {
        own: Mac::ZERO,
        to: Mac::ZERO,
    };
    let header = IpHeader {
        src: *src.ip(),
        dst: *dst.ip(),
        proto,
        ttl: 64,
        df: true,
    };
    ip(&mut out, link, &header, len);
    put16(&mut out, ETH + IP, src.port());
    put16(&mut out, ETH + IP + 2, dst.port());
    put(&mut out, ETH + IP + 4, word.to_be_bytes());
    out.drain(..ETH);
    out
}

/// An ARP packet (RFC 826): a request (1) or a reply (2).
pub fn arp(op: u16, own: (Mac, Ipv4Addr), to: (Mac, Ipv4Addr)) -> Vec<u8> {
    let mut out = vec![0; 60];
    let link = Link {
        own: own.0,
        to: if op == 1 { Mac::BROADCAST } else { to.0 },
    };
    ethernet(&mut out, link, 0x0806);
    put(&mut out, ETH, [0, 1, 8, 0, 6, 4]);
    put16(&mut out, ETH + 6, op);
    put(&mut out, ETH + 8, own.0.0);
    put(&mut out, ETH + 14, own.1.octets());
    put(&mut out, ETH + 18, if op == 1 { [0; 6] } else { to.0.0 });
    put(&mut out, ETH + 24, to.1.octets());
    out
}

/// Operation, sender and target of an ARP packet.
pub fn read_arp(b: &[u8]) -> Option<(u16, Mac, Ipv4Addr, Ipv4Addr)> {
    if be16(b, 12) != 0x0806 {
        return None;
    }
    Some((
        be16(b, ETH + 6),
        Mac(get(b, ETH + 8)?),
        Ipv4Addr::from(get::<4>(b, ETH + 14)?),
        Ipv4Addr::from(get::<4>(b, ETH + 24)?),
    ))
}

#[cfg(test)]
mod tests;
