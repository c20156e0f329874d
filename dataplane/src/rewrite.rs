//! Level 3: a decision applied to the bytes, in place. A superframe is rewritten once.
//!
//! Checksums change by RFC 1624 deltas that were computed when the decision was made. With a
//! partial checksum (`NEEDS_CSUM`) the field holds the pseudo-header sum, which an address change
//! alters and a port change does not.
#![deny(clippy::indexing_slicing)]

use crate::base::bytes::{be16, put};
use crate::base::{Mac, Tuple};
use crate::flow::Forward;
use crate::frame::checksum::{apply, apply_partial, apply_udp, combine, delta_u16, delta_u32};
use crate::frame::parse::bits;
use crate::frame::{Frame, L4, Parsed};

/// What a TTL one lower does to the header checksum: the word (TTL, protocol) minus 0x0100.
const TTL_DELTA: u16 = 0xfeff;

/// Puts the next hop's and our own MAC in.
#[inline]
pub fn set_macs(bytes: &mut [u8], dst: Mac, src: Mac) {
    put(bytes, 0, dst.0);
    put(bytes, 6, src.0);
}

/// Lowers the TTL by one; the caller has seen that it is above 1.
#[inline]
pub fn lower_ttl(bytes: &mut [u8], p: &Parsed) {
    let ip = usize::from(p.l3_off);
    let sum = be16(bytes, ip + 10);
    put(bytes, ip + 8, [p.ttl.saturating_sub(1)]);
    put(bytes, ip + 10, apply(sum, TTL_DELTA).to_be_bytes());
}

/// The three deltas from one tuple to another: (IPv4 header, finished L4, partial L4).
pub fn deltas(old: &Tuple, new: &Tuple) -> (u16, u16, u16) {
    let ip = combine(
        delta_u32(old.src.to_bits(), new.src.to_bits()),
        delta_u32(old.dst.to_bits(), new.dst.to_bits()),
    );
    let ports = combine(
        delta_u16(old.sport, new.sport),
        delta_u16(old.dport, new.dport),
    );
    (ip, combine(ip, ports), ip)
}

/// Rewrites a routed frame: MACs, addresses, ports or identifier, TTL, checksums. A fragment
/// without L4 header gets its addresses only.
#[inline]
pub fn apply_forward(frame: &mut Frame, p: &Parsed, f: &Forward, new: &Tuple, src_mac: Mac) {
    let partial = frame.hdr.needs_csum;
    let bytes = frame.bytes_mut();
    set_macs(bytes, f.dst_mac, src_mac);
    let ip = usize::from(p.l3_off);
    let sum = be16(bytes, ip + 10);
    put(bytes, ip + 8, [p.ttl.saturating_sub(1)]);
    put(
        bytes,
        ip + 10,
        apply(sum, combine(TTL_DELTA, f.ip_delta)).to_be_bytes(),
    );
    put(bytes, ip + 12, new.src.octets());
    put(bytes, ip + 16, new.dst.octets());
    if p.has(bits::LATER_FRAGMENT) {
        return;
    }
    let l4 = usize::from(p.l4_off);
    match p.l4 {
        L4::Tcp | L4::Udp => {
            put(bytes, l4, new.sport.to_be_bytes());
            put(bytes, l4 + 2, new.dport.to_be_bytes());
            let at = if p.l4 == L4::Tcp { l4 + 16 } else { l4 + 6 };
            let old = be16(bytes, at);
            let sum = match (partial, p.l4) {
                (true, _) => apply_partial(old, f.partial_delta),
                (false, L4::Udp) => apply_udp(old, f.l4_delta),
                (false, _) => apply(old, f.l4_delta),
            };
            put(bytes, at, sum.to_be_bytes());
        }
        L4::EchoRequest | L4::EchoReply => {
            // ICMP sums no addresses: only the identifier counts (RFC 792).
            let id = if p.l4 == L4::EchoRequest {
                new.sport
            } else {
                new.dport
            };
            let old_id = be16(bytes, l4 + 4);
            let old = be16(bytes, l4 + 2);
            put(
                bytes,
                l4 + 2,
                apply(old, delta_u16(old_id, id)).to_be_bytes(),
            );
            put(bytes, l4 + 4, id.to_be_bytes());
        }
        L4::None | L4::IcmpError | L4::IcmpOther | L4::Other => {}
    }
}

/// Gives the packet another IPv4 identification (RFC 6864: unique for fragmented packets).
pub fn set_ip_id(bytes: &mut [u8], p: &Parsed, id: u16) {
    let ip = usize::from(p.l3_off);
    let old = be16(bytes, ip + 4);
    let sum = be16(bytes, ip + 10);
    put(bytes, ip + 4, id.to_be_bytes());
    put(bytes, ip + 10, apply(sum, delta_u16(old, id)).to_be_bytes());
}
