//! A judge of frames that left the switch: every length and checksum, computed by definition.

use super::packet::{naive_sum, pseudo};
use dataplane::base::{Proto, Tuple};
use dataplane::frame::parse::{self, Parsed, bits};
use dataplane::frame::{Frame, L3, L4, VnetHdr};
use std::net::Ipv4Addr;

/// A frame that a port got, parsed; made only of frames that passed [`verify`].
#[derive(Clone, Debug)]
pub struct Seen {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What came with them.
    pub hdr: VnetHdr,
    /// What they say.
    pub p: Parsed,
}

impl Seen {
    /// Verifies and parses.
    ///
    /// # Panics
    /// When the frame is not one that a switch may send.
    pub fn new(f: &Frame) -> Seen {
        if let Err(e) = verify(f) {
            panic!("{e}: {:02x?} {:?}", f.bytes(), f.hdr);
        }
        let p = match parse::parse(f.bytes(), &f.hdr) {
            Ok(p) => p,
            Err(r) => panic!("sent a frame that is {r}: {:02x?}", f.bytes()),
        };
        Seen {
            bytes: f.bytes().to_vec(),
            hdr: f.hdr,
            p,
        }
    }

    /// The tuple.
    pub fn tuple(&self) -> Tuple {
        self.p.tuple
    }

    /// The L4 header and what follows, without padding.
    pub fn l4(&self) -> &[u8] {
        let end = usize::from(self.p.l3_off) + self.p.l3_len as usize;
        &self.bytes[usize::from(self.p.l4_off)..end]
    }

    /// The payload of TCP or UDP.
    pub fn data(&self) -> &[u8] {
        let skip = match self.p.l4 {
            L4::Tcp => usize::from(self.p.tcp.header_len),
            _ => 8,
        };
        &self.l4()[skip..]
    }

    /// Type, code and the four bytes behind the checksum of an ICMP message.
    pub fn icmp(&self) -> (u8, u8, [u8; 4]) {
        let l4 = self.l4();
        (l4[0], l4[1], [l4[4], l4[5], l4[6], l4[7]])
    }

    /// The packet inside an ICMP error.
    pub fn inner(&self) -> parse::Inner {
        parse::inner(parse::embedded(&self.bytes, &self.p)).expect("an inner packet")
    }

    /// The bytes of the packet inside an ICMP error.
    pub fn quoted(&self) -> &[u8] {
        parse::embedded(&self.bytes, &self.p)
    }
}

fn be16(b: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([b[at], b[at + 1]])
}

/// Whether all lengths and checksums of a frame are right: finished ones by recomputation, a
/// partial one as the sum of the pseudo-header. Frames of other protocols pass.
///
/// # Errors
/// What is wrong.
pub fn verify(f: &Frame) -> Result<(), String> {
    let b = f.bytes();
    if b.len() < 14 {
        return Err(format!("a frame of {} bytes", b.len()));
    }
    let mut l3 = 14;
    while l3 <= 18 && b.len() >= l3 + 4 && matches!(be16(b, l3 - 2), 0x8100 | 0x88a8) {
        l3 += 4;
    }
    if be16(b, l3 - 2) != 0x0800 {
        return Ok(());
    }
    verify_ipv4(&b[l3..], l3, &f.hdr)
}

fn verify_ipv4(b: &[u8], l3: usize, hdr: &VnetHdr) -> Result<(), String> {
    if b.len() < 20 || b[0] >> 4 != 4 {
        return Err("no IPv4 header".into());
    }
    let header = usize::from(b[0] & 15) * 4;
    let total = usize::from(be16(b, 2));
    if header < 20 || total < header || total > b.len() {
        return Err(format!("header {header}, total {total}, there {}", b.len()));
    }
    if naive_sum(&[&b[..header]]) != 0xffff {
        return Err("IPv4 header checksum".into());
    }
    if be16(b, 6) & 0x3fff != 0 {
        return if hdr.needs_csum {
            Err("a fragment with a partial checksum".into())
        } else {
            Ok(())
        };
    }
    let l4 = &b[header..total];
    let src = Ipv4Addr::new(b[12], b[13], b[14], b[15]);
    let dst = Ipv4Addr::new(b[16], b[17], b[18], b[19]);
    let proto = Proto(b[9]);
    let at = match proto {
        Proto::TCP if l4.len() >= 20 => 16,
        Proto::UDP if l4.len() >= 8 => 6,
        Proto::ICMP if l4.len() >= 8 => return verify_icmp(l4, hdr),
        _ => return Ok(()),
    };
    let pseudo = pseudo(src, dst, proto, l4.len());
    if hdr.needs_csum {
        let place = (usize::from(hdr.csum_start), usize::from(hdr.csum_offset));
        if place != (l3 + header, at) {
            return Err(format!("a partial checksum at {place:?}"));
        }
        if be16(l4, at) != naive_sum(&[&pseudo]) {
            return Err("partial checksum".into());
        }
        return Ok(());
    }
    if hdr.is_super() {
        return Err("a superframe with a finished checksum".into());
    }
    if proto == Proto::UDP && be16(l4, at) == 0 {
        return Ok(());
    }
    if proto == Proto::UDP && usize::from(be16(l4, 4)) != l4.len() {
        return Ok(()); // a datagram shorter than its packet: its sum covers its own length
    }
    if naive_sum(&[&pseudo, l4]) != 0xffff {
        return Err(format!("L4 checksum of {src} -> {dst}"));
    }
    Ok(())
}

fn verify_icmp(l4: &[u8], hdr: &VnetHdr) -> Result<(), String> {
    if hdr.needs_csum {
        return Ok(());
    }
    if naive_sum(&[l4]) != 0xffff {
        return Err("ICMP checksum".into());
    }
    if matches!(l4[0], 3 | 4 | 5 | 11 | 12) && l4.len() >= 28 {
        let header = usize::from(l4[8] & 15) * 4;
        if let Some(inner) = l4.get(8..8 + header)
            && naive_sum(&[inner]) != 0xffff
        {
            return Err("header checksum of the packet inside".into());
        }
    }
    Ok(())
}

/// Whether a parsed frame is a fragment.
pub fn is_fragment(p: &Parsed) -> bool {
    p.l3 == L3::Ipv4 && p.has(bits::FRAGMENT)
}
