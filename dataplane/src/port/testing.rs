//! Frames for the tests of this module, and a judge of finished frames that is not our code.

use super::headers::Headers;
use crate::frame::VnetHdr;
use etherparse::{NetSlice, SlicedPacket, TransportSlice, UdpHeader};

/// A TCP or UDP frame to be.
#[derive(Clone, Debug)]
pub struct Spec {
    /// VLAN tags as (type, VID).
    pub tags: Vec<(u16, u16)>,
    pub v6: bool,
    pub tcp: bool,
    pub flow: u8,
    pub id: u16,
    pub df: bool,
    pub tos: u8,
    pub ttl: u8,
    pub seq: u32,
    pub ack: u32,
    pub window: u16,
    pub flags: u8,
    /// TCP timestamp option.
    pub timestamp: Option<u32>,
    pub payload: Vec<u8>,
    /// Bytes behind the packet.
    pub padding: usize,
}

impl Default for Spec {
    fn default() -> Spec {
        Spec {
            tags: vec![],
            v6: false,
            tcp: true,
            flow: 1,
            id: 100,
            df: true,
            tos: 0,
            ttl: 64,
            seq: 1_000,
            ack: 5_000,
            window: 500,
            flags: 0x10,
            timestamp: None,
            payload: vec![],
            padding: 0,
        }
    }
}

/// The definition of the one's complement sum, word by word.
fn naive_sum(parts: &[&[u8]]) -> u16 {
    let all: Vec<u8> = parts.concat();
    let mut s = 0u32;
    for w in all.chunks(2) {
        s += u32::from(u16::from_be_bytes([w[0], w.get(1).copied().unwrap_or(0)]));
        s = (s & 0xffff) + (s >> 16);
    }
    s as u16
}

impl Spec {
    fn l4_header(&self) -> usize {
        match (self.tcp, self.timestamp) {
            (true, Some(_)) => 32,
            (true, None) => 20,
            (false, _) => 8,
        }
    }

    /// Offset of the L4 header.
    pub fn l4(&self) -> usize {
        14 + 4 * self.tags.len() + if self.v6 { 40 } else { 20 }
    }

    /// The frame with its L4 checksum partial and the header that says so.
    pub fn partial(&self) -> (Vec<u8>, VnetHdr) {
        let (mut b, pseudo) = self.build();
        let l4 = self.l4();
        let off = if self.tcp { 16 } else { 6 };
        b[l4 + off..l4 + off + 2].copy_from_slice(&pseudo.to_be_bytes());
        let hdr = VnetHdr {
            needs_csum: true,
            csum_start: l4 as u16,
            csum_offset: off as u16,
            ..VnetHdr::PLAIN
        };
        (b, hdr)
    }

    /// The frame, finished.
    pub fn finished(&self) -> Vec<u8> {
        let (mut b, hdr) = self.partial();
        let l4 = self.l4();
        let end = b.len() - self.padding;
        let mut field = !naive_sum(&[&b[l4..end]]);
        if !self.tcp && field == 0 {
            field = 0xffff;
        }
        let at = l4 + usize::from(hdr.csum_offset);
        b[at..at + 2].copy_from_slice(&field.to_be_bytes());
        b
    }

    /// The frame with an L4 checksum of 0, and the pseudo-header's sum.
    fn build(&self) -> (Vec<u8>, u16) {
        let mut b = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        for (kind, vid) in &self.tags {
            b.extend(kind.to_be_bytes());
            b.extend(vid.to_be_bytes());
        }
        let l4_len = self.l4_header() + self.payload.len();
        let proto = if self.tcp { 6u8 } else { 17 };
        let (src, dst): (Vec<u8>, Vec<u8>) = if self.v6 {
            let mut a = vec![0xfd; 16];
            a[15] = self.flow;
            (a, vec![0xfc; 16])
        } else {
            (vec![10, 0, 0, self.flow], vec![10, 0, 1, 1])
        };
        if self.v6 {
            b.extend([0x86, 0xdd, 0x60 | (self.tos >> 4), self.tos << 4, 0, 0]);
            b.extend((l4_len as u16).to_be_bytes());
            b.extend([proto, self.ttl]);
            b.extend(src.iter().chain(&dst));
        } else {
            b.extend([8, 0]);
            let mut ip = vec![0x45, self.tos];
            ip.extend(((l4_len + 20) as u16).to_be_bytes());
            ip.extend(self.id.to_be_bytes());
            ip.extend([if self.df { 0x40 } else { 0 }, 0, self.ttl, proto, 0, 0]);
            ip.extend(src.iter().chain(&dst));
            let c = !naive_sum(&[&ip]);
            ip[10..12].copy_from_slice(&c.to_be_bytes());
            b.extend(ip);
        }
        b.extend([0x10, self.flow, 0, 80]);
        if self.tcp {
            b.extend(self.seq.to_be_bytes());
            b.extend(self.ack.to_be_bytes());
            b.extend([(self.l4_header() as u8 / 4) << 4, self.flags]);
            b.extend(self.window.to_be_bytes());
            b.extend([0, 0, 0, 0]);
            if let Some(ts) = self.timestamp {
                b.extend([1, 1, 8, 10]);
                b.extend(ts.to_be_bytes());
                b.extend([0, 0, 0, 9]);
            }
        } else {
            b.extend((l4_len as u16).to_be_bytes());
            b.extend([0, 0]);
        }
        b.extend(&self.payload);
        b.extend(vec![0xa5; self.padding]);
        let len = (l4_len as u32).to_be_bytes();
        let pseudo = naive_sum(&[&src, &dst, &[0, proto], &len]);
        (b, pseudo)
    }
}

/// `Err` says which checksum or length of a finished frame is wrong, by etherparse.
pub fn judge(bytes: &[u8]) -> Result<(), String> {
    let p = SlicedPacket::from_ethernet(bytes).map_err(|e| format!("{e:?}"))?;
    let udp_ok = |u: &etherparse::UdpSlice<'_>, calc: &dyn Fn(&UdpHeader) -> u16| {
        let want = calc(&u.to_header());
        let len_ok = usize::from(u.length()) == u.payload().len() + 8;
        (u.checksum() == 0 || u.checksum() == want) && len_ok
    };
    match (p.net, p.transport) {
        (Some(NetSlice::Ipv4(ip)), Some(t)) => {
            let h = ip.header().to_header();
            if h.calc_header_checksum() != h.header_checksum {
                return Err("IPv4 header checksum".into());
            }
            let ok = match t {
                TransportSlice::Tcp(t) => {
                    t.calc_checksum_ipv4(h.source, h.destination) == Ok(t.checksum())
                }
                TransportSlice::Udp(u) => {
                    udp_ok(&u, &|x| x.calc_checksum_ipv4(&h, u.payload()).unwrap())
                }
                _ => return Err("neither TCP nor UDP".into()),
            };
            ok.then_some(()).ok_or_else(|| "L4 over IPv4".into())
        }
        (Some(NetSlice::Ipv6(ip)), Some(t)) => {
            let h = ip.header().to_header();
            let ok = match t {
                TransportSlice::Tcp(t) => {
                    t.calc_checksum_ipv6(h.source, h.destination) == Ok(t.checksum())
                }
                TransportSlice::Udp(u) => {
                    udp_ok(&u, &|x| x.calc_checksum_ipv6(&h, u.payload()).unwrap())
                }
                _ => return Err("neither TCP nor UDP".into()),
            };
            ok.then_some(()).ok_or_else(|| "L4 over IPv6".into())
        }
        other => Err(format!("not a packet: {other:?}")),
    }
}

/// The frame without the bytes behind its packet.
pub fn trimmed(bytes: &[u8]) -> &[u8] {
    match Headers::find(bytes) {
        Some(h) => &bytes[..h.end],
        None => bytes,
    }
}
