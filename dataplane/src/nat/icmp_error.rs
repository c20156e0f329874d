//! ICMP errors through NAT: the packet inside is put back into the terms of whoever sent it.
//! Read RFC 5508 sections 4.2 to 4.3 (REQ-3 to REQ-5) and RFC 5382 REQ-9 first.
//!
//! The outer checksum must be right, and so must the header checksum of the packet inside; its
//! options are skipped; its L4 checksum is changed along, where it was quoted, but not judged,
//! since 8 bytes of the L4 header are all that a router has to quote.

use crate::base::bytes::{self, get16, put};
use crate::base::{Reason, Tuple};
use crate::frame::parse::{Inner, embedded, icmp_checksum_ok, inner as parse_inner};
use crate::frame::{L4, Parsed, checksum};
use std::net::Ipv4Addr;

/// Bytes of the ICMP header in front of the packet inside.
const ICMP_HEADER: usize = 8;

fn get_ip(b: &[u8], at: usize) -> Option<Ipv4Addr> {
    bytes::get::<4>(b, at).map(Ipv4Addr::from)
}

/// Changes the 16-bit field at `at` by `f`.
fn change16(b: &mut [u8], at: usize, f: impl FnOnce(u16) -> u16) {
    if let Some(old) = get16(b, at) {
        put(b, at, f(old).to_be_bytes());
    }
}

/// Reads the packet inside the ICMP error `p`, and judges both checksums.
///
/// # Errors
/// [`Reason::IcmpChecksum`] when the error's own checksum is wrong,
/// [`Reason::IcmpInnerMalformed`] when the packet inside is not IPv4, has a wrong header checksum
/// or less than 8 bytes behind its header, [`Reason::IcmpNoMatch`] when it is a later fragment,
/// which has no ports by which to find its connection.
pub fn inner(bytes: &[u8], p: &Parsed) -> Result<Inner, Reason> {
    if !icmp_checksum_ok(bytes, p) {
        return Err(Reason::IcmpChecksum);
    }
    let inside = parse_inner(embedded(bytes, p))?;
    if inside.l4 == L4::None {
        return Err(Reason::IcmpNoMatch);
    }
    Ok(inside)
}

/// Translates the ICMP error in `bytes`: the packet inside gets the addresses and ports of
/// `inner_new`, the packet around it goes to `outer_dst` and, where given, comes from
/// `outer_src`. All checksums are right afterwards, as far as they were quoted. Type and code,
/// TTL and everything else stay, also a TCP checksum of which only one byte was quoted.
///
/// # Errors
/// As [`inner`]; [`Reason::IcmpNoMatch`] when `inner_new` is of another protocol than the packet
/// inside. Nothing was changed then.
pub fn rewrite_error(
    bytes: &mut [u8],
    p: &Parsed,
    outer_src: Option<Ipv4Addr>,
    outer_dst: Ipv4Addr,
    inner_new: Tuple,
) -> Result<(), Reason> {
    let inside = inner(bytes, p)?;
    if inside.tuple.proto != inner_new.proto {
        return Err(Reason::IcmpNoMatch);
    }
    let icmp = usize::from(p.l4_off);
    let l3 = usize::from(p.l3_off);
    rewrite_inner(bytes, icmp + ICMP_HEADER, &inside, &inner_new);

    put(bytes, icmp + 2, [0, 0]);
    let message = bytes.get(icmp..l3 + p.l3_len as usize);
    let sum = message.map_or(0, |m| checksum::sum(m, 0));
    put(bytes, icmp + 2, checksum::finish(sum).to_be_bytes());

    let src = outer_src.unwrap_or(p.tuple.src);
    let delta = addresses(bytes, l3, src, outer_dst);
    change16(bytes, l3 + 10, |c| checksum::apply(c, delta));
    Ok(())
}

/// Stores both addresses of the IPv4 header at `l3`. Returns the delta that this makes.
fn addresses(bytes: &mut [u8], l3: usize, src: Ipv4Addr, dst: Ipv4Addr) -> u16 {
    let mut delta = 0;
    for (at, new) in [(l3 + 12, src), (l3 + 16, dst)] {
        if let Some(old) = get_ip(bytes, at) {
            let d = checksum::delta_u32(old.to_bits(), new.to_bits());
            delta = checksum::combine(delta, d);
            put(bytes, at, new.octets());
        }
    }
    delta
}

/// Gives the packet inside, whose IPv4 header is at `l3`, a new tuple.
fn rewrite_inner(bytes: &mut [u8], l3: usize, i: &Inner, new: &Tuple) {
    let ip_delta = addresses(bytes, l3, new.src, new.dst);
    change16(bytes, l3 + 10, |c| checksum::apply(c, ip_delta));

    let l4 = l3 + usize::from(i.l4_off);
    let field = i.l4_checksum.map(|at| l3 + usize::from(at));
    let old = &i.tuple;
    let sport = checksum::delta_u16(old.sport, new.sport);
    let dport = checksum::delta_u16(old.dport, new.dport);
    match i.l4 {
        L4::Tcp | L4::Udp => {
            put(bytes, l4, new.sport.to_be_bytes());
            put(bytes, l4 + 2, new.dport.to_be_bytes());
            let delta = checksum::combine(ip_delta, checksum::combine(sport, dport));
            let apply = if i.l4 == L4::Udp {
                checksum::apply_udp
            } else {
                checksum::apply
            };
            if let Some(at) = field {
                change16(bytes, at, |c| apply(c, delta));
            }
        }
        // Its checksum covers no addresses.
        L4::EchoRequest | L4::EchoReply => {
            let (delta, id) = if i.l4 == L4::EchoRequest {
                (sport, new.sport)
            } else {
                (dport, new.dport)
            };
            put(bytes, l4 + 4, id.to_be_bytes());
            change16(bytes, l4 + 2, |c| checksum::apply(c, delta));
        }
        _ => {}
    }
}

#[cfg(test)]
#[path = "icmp_error_tests.rs"]
mod tests;
