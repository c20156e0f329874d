//! The frame that nearly all are: untagged IPv4 without options, whole, with a TCP or UDP header
//! and nothing wrong up to there. Read with one bounds check for all headers.
//!
//! It is a short cut, not another parser: what is not exactly this is left to the slices in the
//! files beside this one, and a property test shows that both give the same struct.

use super::tcp_flags::{ACK, RST, SYN};
use super::{L3, L4, Parsed, Tcp, bits, ethertype, ipv4};
use crate::base::bytes::{be16, get};
use crate::base::{Mac, Proto, Tuple};
use crate::frame::batch::MAX_FRAME;
use crate::frame::{Gso, VnetHdr, checksum};
use std::net::Ipv4Addr;

/// Offsets of the headers.
const IP: usize = 14;
const L4_AT: usize = IP + 20;
/// Bytes that such a frame has at least: Ethernet and IPv4 headers, and the eight bytes that UDP has
/// and TCP begins with.
pub const HEADERS: usize = L4_AT + 8;
/// More-fragments and the fragment offset.
const FRAGMENT: u16 = 0x3fff;
const DONT_FRAGMENT: u16 = 0x4000;

#[inline(always)]
const fn address(h: &[u8; HEADERS], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(h[at], h[at + 1], h[at + 2], h[at + 3])
}

#[inline(always)]
const fn mac(h: &[u8; HEADERS], at: usize) -> Mac {
    Mac([h[at], h[at + 1], h[at + 2], h[at + 3], h[at + 4], h[at + 5]])
}

/// Length of the longest packet that leaves of one of `total` bytes, if what its sender left undone
/// fits it: a checksum so far into its L4 header, segments of this kind. Once for each protocol, whose
/// numbers are known then.
#[inline(always)]
fn on_wire(hdr: &VnetHdr, total: usize, headers: usize, checksum: u16, gso: Gso) -> Option<usize> {
    if !hdr.needs_csum {
        return (!hdr.is_super()).then_some(total);
    }
    if (usize::from(hdr.csum_start), hdr.csum_offset) != (L4_AT, checksum) {
        return None;
    }
    if !hdr.is_super() {
        return Some(total);
    }
    let fits = hdr.gso == gso && hdr.gso_size != 0 && headers < total;
    fits.then(|| total.min(headers + usize::from(hdr.gso_size)))
}

/// Parses such a frame; `None`: it is another kind. By value and always inlined, so that what the
/// caller does not look at is not even read.
#[inline(always)]
pub(super) fn parse(bytes: &[u8], hdr: &VnetHdr) -> Option<Parsed> {
    let h = bytes.first_chunk::<HEADERS>()?;
    let fragment = be16(h, IP + 6);
    let total = usize::from(be16(h, IP + 2));
    // EtherType, and version with header length, in one look.
    if u32::from_le_bytes(get(h, IP - 2)?) & 0x00ff_ffff != 0x0045_0008
        || fragment & FRAGMENT != 0
        || total > bytes.len() - IP
        || bytes.len() > MAX_FRAME
        || !checksum::ipv4_header_20_right(h[IP..].first_chunk()?)
    {
        return None;
    }
    let mut tcp = Tcp::default();
    let (l4, wire_len);
    match Proto(h[IP + 9]) {
        Proto::TCP => {
            let t = bytes.get(L4_AT..)?.first_chunk::<20>()?;
            let header_len = usize::from(t[12] >> 4) * 4;
            // With ACK and neither SYN nor RST, anything goes.
            let usual = t[13] & (ACK | SYN | RST) == ACK;
            if header_len < 20 || 20 + header_len > total || !(usual || ipv4::possible(t[13])) {
                return None;
            }
            tcp = Tcp {
                seq: u32::from_be_bytes([t[4], t[5], t[6], t[7]]),
                ack: u32::from_be_bytes([t[8], t[9], t[10], t[11]]),
                window: u16::from_be_bytes([t[14], t[15]]),
                flags: t[13],
                header_len: header_len as u8,
                payload: (total - 20 - header_len) as u32,
            };
            l4 = L4::Tcp;
            wire_len = on_wire(hdr, total, 20 + header_len, 16, Gso::TcpV4)?;
        }
        Proto::UDP => {
            let len = usize::from(be16(h, L4_AT + 4));
            if total < 28 || len < 8 || (len > total - 20 && hdr.gso != Gso::UdpL4) {
                return None;
            }
            l4 = L4::Udp;
            wire_len = on_wire(hdr, total, 28, 6, Gso::UdpL4)?;
        }
        _ => return None,
    }
    let ports = u32::from_be_bytes([h[L4_AT], h[L4_AT + 1], h[L4_AT + 2], h[L4_AT + 3]]);
    Some(Parsed {
        dst: mac(h, 0),
        src: mac(h, 6),
        vid: 0,
        ethertype: ethertype::IPV4,
        l3: L3::Ipv4,
        l4,
        bits: if fragment & DONT_FRAGMENT != 0 {
            bits::DF
        } else {
            0
        },
        ttl: h[IP + 8],
        l3_off: IP as u16,
        l4_off: L4_AT as u16,
        l3_len: total as u32,
        tuple: Tuple {
            src: address(h, IP + 12),
            dst: address(h, IP + 16),
            sport: (ports >> 16) as u16,
            dport: ports as u16,
            proto: Proto(h[IP + 9]),
        },
        tcp,
        ip_id: be16(h, IP + 4),
        frag_off: 0,
        wire_len: wire_len as u32,
        l4_error: None,
    })
}
