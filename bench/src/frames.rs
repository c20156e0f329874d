//! Hand-made frames for the benches in memory.

use dataplane::base::{Mac, Proto, Tuple};
use dataplane::frame::checksum::{apply, finish, fold, ipv4_header, pseudo_header_v4, sum};
use dataplane::frame::{Batch, Gso, VnetHdr};
use dataplane::rewrite::deltas;

/// An Ethernet frame around an IPv4 packet, with its header checksum.
fn ip(dst: Mac, src: Mac, t: &Tuple, l4: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + l4.len()).unwrap_or(u16::MAX);
    // Version and header length, TOS, length, identification, DF, TTL 64, protocol, checksum.
    let mut h = vec![0x45, 0, 0, 0, 0, 7, 0x40, 0, 64, t.proto.0, 0, 0];
    h.extend(t.src.octets());
    h.extend(t.dst.octets());
    put(&mut h, 2, len);
    let sum = ipv4_header(&h);
    put(&mut h, 10, sum);
    [&dst.0[..], &src.0, &[8, 0], &h, l4].concat()
}

fn put(b: &mut [u8], at: usize, v: u16) {
    if let Some(d) = b.get_mut(at..at + 2) {
        d.copy_from_slice(&v.to_be_bytes());
    }
}

fn pseudo(t: &Tuple, len: usize) -> u32 {
    pseudo_header_v4(t.src, t.dst, t.proto.0, u32::try_from(len).unwrap_or(0))
}

/// TCP header and payload, without checksum.
fn segment(t: &Tuple, seq: u32, ack: u32, flags: u8, payload: usize) -> Vec<u8> {
    let mut s = Vec::with_capacity(20 + payload);
    s.extend(t.sport.to_be_bytes());
    s.extend(t.dport.to_be_bytes());
    s.extend(seq.to_be_bytes());
    s.extend(ack.to_be_bytes());
    s.extend([5 << 4, flags]);
    // The largest window that needs no scaling.
    s.extend(u16::MAX.to_be_bytes());
    s.extend([0; 4]);
    s.resize(20 + payload, 0x5a);
    s
}

/// A TCP frame with finished checksums.
pub fn tcp(
    dst: Mac,
    src: Mac,
    t: &Tuple,
    seq: u32,
    ack: u32,
    flags: u8,
    payload: usize,
) -> Vec<u8> {
    let mut s = segment(t, seq, ack, flags, payload);
    let c = finish(sum(&s, pseudo(t, s.len())));
    put(&mut s, 16, c);
    ip(dst, src, t, &s)
}

/// A TCP superframe with a partial checksum, as a TAP gives it, and its header.
pub fn tcp_super(
    dst: Mac,
    src: Mac,
    t: &Tuple,
    seq: u32,
    ack: u32,
    payload: usize,
) -> (Vec<u8>, VnetHdr) {
    let mut s = segment(t, seq, ack, 0x10, payload);
    let c = fold(pseudo(t, s.len()));
    put(&mut s, 16, c);
    let hdr = VnetHdr {
        needs_csum: true,
        gso: Gso::TcpV4,
        hdr_len: 54,
        gso_size: 1448,
        csum_start: 34,
        csum_offset: 16,
        ..VnetHdr::PLAIN
    };
    (ip(dst, src, t, &s), hdr)
}

/// A UDP frame with a finished checksum.
pub fn udp(dst: Mac, src: Mac, t: &Tuple, payload: usize) -> Vec<u8> {
    let mut s = Vec::with_capacity(8 + payload);
    s.extend(t.sport.to_be_bytes());
    s.extend(t.dport.to_be_bytes());
    s.extend(u16::try_from(8 + payload).unwrap_or(u16::MAX).to_be_bytes());
    s.extend([0; 2]);
    s.resize(8 + payload, 0x5a);
    let c = finish(sum(&s, pseudo(t, s.len())));
    put(&mut s, 6, c);
    ip(dst, src, t, &s)
}

/// The same frame with TTL 1, which a router answers with an ICMP error.
pub fn expiring(mut frame: Vec<u8>) -> Vec<u8> {
    if let Some(h) = frame.get_mut(14..34) {
        if let Some(ttl) = h.get_mut(8) {
            *ttl = 1;
        }
        put(h, 10, 0);
        let c = ipv4_header(h);
        put(h, 10, c);
    }
    frame
}

/// A tuple.
pub fn tuple(
    proto: Proto,
    src: std::net::Ipv4Addr,
    sport: u16,
    dst: std::net::Ipv4Addr,
    dport: u16,
) -> Tuple {
    Tuple {
        src,
        dst,
        sport,
        dport,
        proto,
    }
}

/// A TCP frame with finished checksums that is made anew for any tuple at little cost.
pub struct Template {
    bytes: Vec<u8>,
    tuple: Tuple,
}

impl Template {
    /// From a frame that [`tcp`] made for `tuple`.
    pub fn new(bytes: Vec<u8>, tuple: Tuple) -> Template {
        Template { bytes, tuple }
    }

    /// Puts the frame of `t` into a batch; nothing happens when that is full.
    pub fn push(&self, t: &Tuple, batch: &mut Batch) {
        if !batch.push(&self.bytes, VnetHdr::PLAIN) {
            return;
        }
        let Some(b) = batch
            .frames_mut()
            .last_mut()
            .and_then(|f| f.bytes_mut().first_chunk_mut::<54>())
        else {
            return;
        };
        let (ip, l4) = deltas(&self.tuple, t);
        for (at, delta) in [(24, ip), (50, l4)] {
            if let Some([hi, lo]) = b.get_mut(at..at + 2) {
                let new = apply(u16::from_be_bytes([*hi, *lo]), delta);
                [*hi, *lo] = new.to_be_bytes();
            }
        }
        b[26..30].copy_from_slice(&t.src.octets());
        b[30..34].copy_from_slice(&t.dst.octets());
        b[34..36].copy_from_slice(&t.sport.to_be_bytes());
        b[36..38].copy_from_slice(&t.dport.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_template_makes_the_frame_that_would_have_been_made() {
        let (a, b) = (Mac([2; 6]), Mac([4; 6]));
        let t = |src, sport| {
            tuple(
                Proto::TCP,
                Ipv4Addr::from_bits(src),
                sport,
                Ipv4Addr::new(9, 9, 9, 9),
                80,
            )
        };
        let made = Template::new(tcp(a, b, &t(1, 2), 7, 8, 16, 10), t(1, 2));
        let mut batch = Batch::new(1);
        made.push(&t(0xdead_beef, 54_321), &mut batch);
        let whole = tcp(a, b, &t(0xdead_beef, 54_321), 7, 8, 16, 10);
        assert_eq!(batch.frames()[0].bytes(), whole);
    }
}
