//! ICMP errors through NAT: the packet inside is put back into the terms of whoever sent it.
//! Read RFC 5508 sections 4.2 to 4.3 (REQ-3 to REQ-5) and RFC 5382 REQ-9 first.
//!
//! The outer checksum must be right, and so must the header checksum of the packet inside; its
//! options are skipped; its L4 checksum is changed along, where it was quoted, but not judged,
//! since 8 bytes of the L4 header are all that a router has to quote.

use crate::base::{Proto, Reason, Tuple};
use crate::frame::{Parsed, checksum};
use std::net::Ipv4Addr;

/// Bytes of the ICMP header in front of the quoted packet.
const ICMP_HEADER: usize = 8;
/// L4 bytes that an error has to quote (RFC 792).
const QUOTED: usize = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;

/// The packet inside an ICMP error. Offsets count from the start of the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inner {
    /// Its addresses and ports, in the form that [`Tuple`] describes.
    pub tuple: Tuple,
    /// Its IPv4 header.
    l3: usize,
    /// Its L4 header.
    l4: usize,
    /// End of what was quoted of it.
    end: usize,
    /// ICMP type, if it is an echo or an answer to one.
    echo: Option<u8>,
}

fn get16(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*b.get(at..)?.first_chunk()?))
}

fn get_ip(b: &[u8], at: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(*b.get(at..)?.first_chunk::<4>()?))
}

fn put<const N: usize>(b: &mut [u8], at: usize, v: [u8; N]) {
    if let Some(to) = b.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *to = v;
    }
}

/// Changes the 16-bit field at `at` by `f`.
fn change16(b: &mut [u8], at: usize, f: impl FnOnce(u16) -> u16) {
    if let Some(old) = get16(b, at) {
        put(b, at, f(old).to_be_bytes());
    }
}

/// The ICMP message, by the outer packet's own length.
fn message(p: &Parsed) -> std::ops::Range<usize> {
    let end = usize::from(p.l3_off) + p.l3_len as usize;
    usize::from(p.l4_off)..end
}

/// Reads the packet inside the ICMP error `p`, and judges both checksums.
///
/// # Errors
/// [`Reason::IcmpChecksum`] when the error's own checksum is wrong,
/// [`Reason::IcmpInnerMalformed`] when the packet inside is not IPv4, has a wrong header
/// checksum, is a later fragment, or less than 8 bytes follow its header.
pub fn inner(bytes: &[u8], p: &Parsed) -> Result<Inner, Reason> {
    let range = message(p);
    let icmp = bytes.get(range.clone()).ok_or(Reason::IcmpChecksum)?;
    if icmp.len() < ICMP_HEADER || checksum::finish(checksum::sum(icmp, 0)) != 0 {
        return Err(Reason::IcmpChecksum);
    }
    parse_inner(bytes, range.start + ICMP_HEADER, range.end).ok_or(Reason::IcmpInnerMalformed)
}

fn parse_inner(bytes: &[u8], l3: usize, end: usize) -> Option<Inner> {
    let quoted = bytes.get(l3..end)?;
    let first = *quoted.first()?;
    let header_len = usize::from(first & 0x0f) * 4;
    let header = quoted.get(..header_len)?;
    if first >> 4 != 4 || header_len < 20 || checksum::ipv4_header(header) != 0 {
        return None;
    }
    // What follows the packet inside belongs to ICMP extensions (RFC 4884) or is padding.
    let total = usize::from(get16(header, 2)?);
    let l4 = l3 + header_len;
    let end = end.min(l3 + total);
    if end < l4 + QUOTED || get16(header, 6)? & 0x1fff != 0 {
        return None;
    }
    let proto = Proto(*header.get(9)?);
    let mut tuple = Tuple {
        src: get_ip(header, 12)?,
        dst: get_ip(header, 16)?,
        sport: 0,
        dport: 0,
        proto,
    };
    let mut echo = None;
    match proto {
        Proto::TCP | Proto::UDP => {
            tuple.sport = get16(bytes, l4)?;
            tuple.dport = get16(bytes, l4 + 2)?;
        }
        Proto::ICMP => {
            let id = get16(bytes, l4 + 4)?;
            match *bytes.get(l4)? {
                ECHO_REQUEST => {
                    tuple.sport = id;
                    echo = Some(ECHO_REQUEST);
                }
                ECHO_REPLY => {
                    tuple.dport = id;
                    echo = Some(ECHO_REPLY);
                }
                _ => {}
            }
        }
        _ => {}
    }
    Some(Inner {
        tuple,
        l3,
        l4,
        end,
        echo,
    })
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
    rewrite_inner(bytes, &inside, &inner_new);

    let icmp = usize::from(p.l4_off);
    put(bytes, icmp + 2, [0, 0]);
    let sum = bytes.get(message(p)).map_or(0, |m| checksum::sum(m, 0));
    put(bytes, icmp + 2, checksum::finish(sum).to_be_bytes());

    let l3 = usize::from(p.l3_off);
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

fn rewrite_inner(bytes: &mut [u8], i: &Inner, new: &Tuple) {
    let ip_delta = addresses(bytes, i.l3, new.src, new.dst);
    change16(bytes, i.l3 + 10, |c| checksum::apply(c, ip_delta));

    let old = &i.tuple;
    let ports = checksum::combine(
        checksum::delta_u16(old.sport, new.sport),
        checksum::delta_u16(old.dport, new.dport),
    );
    let l4_delta = checksum::combine(ip_delta, ports);
    match old.proto {
        Proto::TCP | Proto::UDP => {
            put(bytes, i.l4, new.sport.to_be_bytes());
            put(bytes, i.l4 + 2, new.dport.to_be_bytes());
            if old.proto == Proto::UDP {
                change16(bytes, i.l4 + 6, |c| checksum::apply_udp(c, l4_delta));
            } else if i.l4 + 18 <= i.end {
                change16(bytes, i.l4 + 16, |c| checksum::apply(c, l4_delta));
            }
        }
        Proto::ICMP => {
            let (was, id) = match i.echo {
                Some(ECHO_REQUEST) => (old.sport, new.sport),
                Some(_) => (old.dport, new.dport),
                None => return,
            };
            let delta = checksum::delta_u16(was, id);
            put(bytes, i.l4 + 4, id.to_be_bytes());
            change16(bytes, i.l4 + 2, |c| checksum::apply(c, delta));
        }
        _ => {}
    }
}

#[cfg(test)]
#[path = "icmp_error_tests.rs"]
mod tests;
