//! Level 3: a decision applied to the bytes, in place. A superframe is rewritten once.
//!
//! Checksums change by RFC 1624 deltas that were computed when the decision was made. With a
//! partial checksum (`NEEDS_CSUM`) the field holds the pseudo-header sum, which an address change
//! alters and a port change does not.
#![deny(clippy::indexing_slicing)]

use crate::base::bytes::{be16, byte, put};
use crate::base::{Mac, Tuple};
use crate::flow::{FlowKey, Forward};
use crate::frame::checksum::{apply, apply_partial, apply_udp, combine, delta_u16, delta_u32};
use crate::frame::parse::bits;
use crate::frame::{Frame, L4, Parsed};

/// What a TTL one lower does to the header checksum: the word (TTL, protocol) minus 0x0100.
const TTL_DELTA: u16 = 0xfeff;
/// And one higher.
const TTL_BACK: u16 = 0x0100;

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

/// The two deltas from one tuple to another: of the IPv4 header (and of a partial L4 checksum, which
/// knows of addresses only), and of a finished L4 checksum.
pub fn deltas(old: &Tuple, new: &Tuple) -> (u16, u16) {
    let ip = combine(
        delta_u32(old.src.to_bits(), new.src.to_bits()),
        delta_u32(old.dst.to_bits(), new.dst.to_bits()),
    );
    let ports = combine(
        delta_u16(old.sport, new.sport),
        delta_u16(old.dport, new.dport),
    );
    (ip, combine(ip, ports))
}

/// The delta of the IPv4 header of a packet that is forwarded: [`deltas`]' first, and the TTL.
pub const fn header_delta(addresses: u16) -> u16 {
    combine(addresses, TTL_DELTA)
}

/// A partial L4 checksum, which knows of addresses only.
#[inline(always)]
const fn partial_sum(old: u16, f: &Forward) -> u16 {
    apply_partial(old, combine(f.header_delta, TTL_BACK))
}

/// An L4 checksum field after the change; `finished` is how the protocol applies a delta.
#[inline(always)]
fn l4_sum(old: u16, partial: bool, f: &Forward, finished: impl Fn(u16, u16) -> u16) -> u16 {
    if partial {
        partial_sum(old, f)
    } else {
        finished(old, f.l4_delta)
    }
}

/// Rewrites a routed frame: MACs, addresses, ports or identifier, TTL, checksums. A fragment
/// without L4 header gets its addresses only.
#[inline]
pub fn apply_forward(frame: &mut Frame, p: &Parsed, f: &Forward, new: &Tuple, src_mac: Mac) {
    let partial = frame.hdr.needs_csum;
    let bytes = frame.bytes_mut();
    let [d0, d1, d2, d3, d4, d5] = f.dst_mac.0;
    let [s0, s1, s2, s3, s4, s5] = src_mac.0;
    put(bytes, 0, [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5]);
    // One bounds check for each header.
    let Some(ip) = header::<20>(bytes, p.l3_off) else {
        return;
    };
    let [_, _, _, _, _, _, _, _, ttl, _, c0, c1, addresses @ ..] = ip;
    *ttl = p.ttl.saturating_sub(1);
    let sum = apply(u16::from_be_bytes([*c0, *c1]), f.header_delta);
    [*c0, *c1] = sum.to_be_bytes();
    let (src, dst) = (u64::from(new.src.to_bits()), u64::from(new.dst.to_bits()));
    *addresses = (src << 32 | dst).to_be_bytes();
    if p.has(bits::LATER_FRAGMENT) {
        return;
    }
    let ports = (u32::from(new.sport) << 16 | u32::from(new.dport)).to_be_bytes();
    match p.l4 {
        L4::Tcp => {
            let Some(tcp) = header::<18>(bytes, p.l4_off) else {
                return;
            };
            let [p0, p1, p2, p3, .., c0, c1] = tcp;
            [*p0, *p1, *p2, *p3] = ports;
            let old = u16::from_be_bytes([*c0, *c1]);
            let sum = l4_sum(old, partial, f, apply);
            [*c0, *c1] = sum.to_be_bytes();
        }
        L4::Udp => {
            let Some([p0, p1, p2, p3, _, _, c0, c1]) = header::<8>(bytes, p.l4_off) else {
                return;
            };
            [*p0, *p1, *p2, *p3] = ports;
            let old = u16::from_be_bytes([*c0, *c1]);
            let sum = l4_sum(old, partial, f, apply_udp);
            [*c0, *c1] = sum.to_be_bytes();
        }
        L4::EchoRequest | L4::EchoReply => {
            // ICMP sums no addresses: only the identifier counts (RFC 792).
            let id = if p.l4 == L4::EchoRequest {
                new.sport
            } else {
                new.dport
            };
            let l4 = usize::from(p.l4_off);
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

/// Where the L4 header of a packet is that the index may know: behind an untagged Ethernet header
/// and an IPv4 header without options.
pub const L4_AT: usize = 34;
/// Ethernet and IPv4 headers, and the eight bytes that UDP and echo have and TCP begins with.
const HEADERS: usize = L4_AT + 8;
/// With a whole TCP header.
pub const TCP_HEADERS: usize = L4_AT + 20;

/// [`apply_forward`] for such a packet, with the new tuple as the other direction's key has it and
/// the MAC as a number.
#[inline(always)]
pub fn apply_keyed(frame: &mut Frame, l4: L4, f: &Forward, other: &FlowKey, src_mac: u64) {
    let partial = frame.hdr.needs_csum;
    if l4 == L4::Tcp {
        if let Some(b) = frame.bytes_mut().first_chunk_mut() {
            apply_tcp(b, partial, f, other, src_mac);
        }
        return;
    }
    let Some(b) = frame.bytes_mut().first_chunk_mut::<HEADERS>() else {
        return;
    };
    apply_below_l4(b, f, other, src_mac);
    let ports = ports_from(other);
    match l4 {
        L4::Udp => {
            put(b, L4_AT, ports.to_be_bytes());
            let old = be16(b, 40);
            let sum = l4_sum(old, partial, f, apply_udp);
            put(b, 40, sum.to_be_bytes());
        }
        _ => {
            // An echo's identifier: the request's source port, the answer's destination port.
            let id = if l4 == L4::EchoRequest {
                (ports >> 16) as u16
            } else {
                ports as u16
            };
            let sum = apply(be16(b, 36), delta_u16(be16(b, 38), id));
            put(b, 36, sum.to_be_bytes());
            put(b, 38, id.to_be_bytes());
        }
    }
}

/// The same for a TCP packet, whose headers were seen.
#[inline(always)]
pub fn apply_tcp(
    b: &mut [u8; TCP_HEADERS],
    partial: bool,
    f: &Forward,
    other: &FlowKey,
    src_mac: u64,
) {
    apply_below_l4(b, f, other, src_mac);
    put(b, L4_AT, ports_from(other).to_be_bytes());
    let old = be16(b, 50);
    let sum = l4_sum(old, partial, f, apply);
    put(b, 50, sum.to_be_bytes());
}

/// MACs and the IPv4 header.
#[inline(always)]
fn apply_below_l4<const N: usize>(b: &mut [u8; N], f: &Forward, other: &FlowKey, src_mac: u64) {
    let (d, s) = (f.dst_mac.to_u64(), src_mac);
    put(b, 0, (d << 16 | s >> 32).to_be_bytes());
    put(b, 8, (s as u32).to_be_bytes());
    // Above 1, or it would not be here.
    let ttl = byte(b, 22).wrapping_sub(1);
    put(b, 22, [ttl]);
    let sum = apply(be16(b, 24), f.header_delta);
    put(b, 24, sum.to_be_bytes());
    // The answer's addresses, turned round.
    put(b, 26, other.a.rotate_left(32).to_be_bytes());
}

/// The answer's ports, turned round.
#[inline(always)]
const fn ports_from(other: &FlowKey) -> u32 {
    ((other.b >> 32) as u32).rotate_left(16)
}

/// The `N` bytes of a header that the parser saw; `None` when they are not there.
#[inline]
fn header<const N: usize>(bytes: &mut [u8], at: u16) -> Option<&mut [u8; N]> {
    bytes.get_mut(usize::from(at)..)?.first_chunk_mut()
}

/// Gives the packet another IPv4 identification (RFC 6864: unique for fragmented packets).
pub fn set_ip_id(bytes: &mut [u8], p: &Parsed, id: u16) {
    let ip = usize::from(p.l3_off);
    let old = be16(bytes, ip + 4);
    let sum = be16(bytes, ip + 10);
    put(bytes, ip + 4, id.to_be_bytes());
    put(bytes, ip + 10, apply(sum, delta_u16(old, id)).to_be_bytes());
}
