//! Frames made by hand.

use super::nat::checksum;
use dataplane::base::Mac;
use std::net::Ipv4Addr;

/// An Ethernet frame.
pub fn eth(dst: Mac, src: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut b = dst.0.to_vec();
    b.extend(src.0);
    b.extend(ethertype.to_be_bytes());
    b.extend(payload);
    b
}

/// An ARP packet; a request (1) goes to everybody.
pub fn arp(op: u8, from: Mac, sender: Ipv4Addr, to: Mac, target: Ipv4Addr) -> Vec<u8> {
    let mut p = vec![0, 1, 8, 0, 6, 4, 0, op];
    p.extend(from.0);
    p.extend(sender.octets());
    p.extend(to.0);
    p.extend(target.octets());
    p.resize(46, 0);
    eth(if op == 1 { Mac::BROADCAST } else { to }, from, 0x0806, &p)
}

/// An IPv4 packet under construction; the fields may be given impossible values.
#[derive(Clone)]
pub struct Ip {
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
    pub proto: u8,
    pub ttl: u8,
    pub id: u16,
    /// Flags and offset as in the header.
    pub frag: u16,
    /// Padded by the caller to a multiple of four.
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Ip {
    pub fn new(src: Ipv4Addr, dst: Ipv4Addr, proto: u8, payload: Vec<u8>) -> Ip {
        Ip {
            src,
            dst,
            proto,
            ttl: 64,
            id: 0x1234,
            frag: 0,
            options: Vec::new(),
            payload,
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let header = 20 + self.options.len();
        let total = (header + self.payload.len()) as u16;
        let mut b = vec![0x40 | (header / 4) as u8, 0];
        b.extend(total.to_be_bytes());
        b.extend(self.id.to_be_bytes());
        b.extend(self.frag.to_be_bytes());
        b.extend([self.ttl, self.proto, 0, 0]);
        b.extend(self.src.octets());
        b.extend(self.dst.octets());
        b.extend(&self.options);
        fix_header(&mut b);
        b.extend(&self.payload);
        b
    }

    /// The frame from the interface with address `src` to the one with `via`.
    pub fn frame(&self, via: Ipv4Addr) -> Vec<u8> {
        eth(
            Mac::from_ip(via),
            Mac::from_ip(self.src),
            0x0800,
            &self.bytes(),
        )
    }
}

/// Sets the header checksum of an IPv4 packet whose IHL is right.
pub fn fix_header(ip: &mut [u8]) {
    let n = usize::from(ip[0] & 15) * 4;
    ip[10..12].fill(0);
    let sum = checksum(&ip[..n]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn with_pseudo(src: Ipv4Addr, dst: Ipv4Addr, proto: u8, l4: &[u8]) -> u16 {
    let mut p = src.octets().to_vec();
    p.extend(dst.octets());
    p.extend([0, proto]);
    p.extend((l4.len() as u16).to_be_bytes());
    p.extend(l4);
    checksum(&p)
}

/// A UDP datagram in its packet.
pub fn udp(src: (Ipv4Addr, u16), dst: (Ipv4Addr, u16), data: &[u8]) -> Ip {
    let mut b = src.1.to_be_bytes().to_vec();
    b.extend(dst.1.to_be_bytes());
    b.extend((8 + data.len() as u16).to_be_bytes());
    b.extend([0, 0]);
    b.extend(data);
    let sum = with_pseudo(src.0, dst.0, 17, &b);
    b[6..8].copy_from_slice(&sum.to_be_bytes());
    Ip::new(src.0, dst.0, 17, b)
}

/// A TCP segment in its packet.
pub fn tcp(
    src: (Ipv4Addr, u16),
    dst: (Ipv4Addr, u16),
    seq: u32,
    ack: u32,
    flags: u8,
    data: &[u8],
) -> Ip {
    let mut b = src.1.to_be_bytes().to_vec();
    b.extend(dst.1.to_be_bytes());
    b.extend(seq.to_be_bytes());
    b.extend(ack.to_be_bytes());
    b.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    b.extend(data);
    let mut ip = Ip::new(src.0, dst.0, 6, b);
    fix_tcp(&mut ip);
    ip
}

/// Sets the checksum of a TCP segment after a change.
pub fn fix_tcp(ip: &mut Ip) {
    ip.payload[16..18].fill(0);
    let sum = with_pseudo(ip.src, ip.dst, 6, &ip.payload);
    ip.payload[16..18].copy_from_slice(&sum.to_be_bytes());
}

/// An ICMP message in its packet. `rest` is the second word of its header.
pub fn icmp(src: Ipv4Addr, dst: Ipv4Addr, kind: u8, code: u8, rest: [u8; 4], data: &[u8]) -> Ip {
    let mut b = vec![kind, code, 0, 0];
    b.extend(rest);
    b.extend(data);
    let sum = checksum(&b);
    b[2..4].copy_from_slice(&sum.to_be_bytes());
    Ip::new(src, dst, 1, b)
}
