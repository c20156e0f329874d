//! What is compared of the frames that come out in a step.
//!
//! Everything is, but for
//! * the external port that a side chose for the flow's client, which becomes the client's own,
//!   checksums along with it (RFC 1624);
//! * fragments: what a receiver puts together counts, not how it was cut; incomplete datagrams
//!   are nothing to a receiver, and nothing here; their identification may be chosen anew
//!   (RFC 6864 section 5.3);
//! * in ICMP errors and replies that a router makes itself: identification, don't-fragment, and
//!   how much is quoted beyond the eight bytes of RFC 792;
//! * which of its own addresses a router has as source of an error that it makes: the kernel takes
//!   that which the packet was sent to when it belongs to a translated connection, the switch that
//!   of the interface (RFC 1812 section 4.3.2.4);
//! * link-layer padding behind an IPv4 packet.

use super::Out;
use crate::memory::UP;
use crate::memory::packet::naive_sum;
use dataplane::base::Proto;
use dataplane::frame::checksum;

/// How the flow of a step is known on one side.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names {
    /// The external port in use.
    pub external: u16,
    /// The client's own.
    pub own: u16,
}

/// Whose ICMP messages those of a step are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaks {
    /// Errors are the router's own.
    Router,
    /// Errors are passed on from an end.
    End,
}

fn be16(b: &[u8], at: usize) -> u16 {
    match b.get(at..at + 2) {
        Some(&[x, y]) => u16::from_be_bytes([x, y]),
        _ => 0,
    }
}

fn put16(b: &mut [u8], at: usize, v: u16) {
    if let Some(field) = b.get_mut(at..at + 2) {
        field.copy_from_slice(&v.to_be_bytes());
    }
}

/// Whether the frame is IPv4 with a header that can be read.
pub(super) fn ipv4_header(b: &[u8]) -> Option<usize> {
    let header = usize::from(b.get(14)? & 15) * 4;
    let total = usize::from(be16(b, 16));
    let good = be16(b, 12) == 0x0800 && header >= 20 && total >= header && b.len() >= 14 + total;
    good.then_some(header)
}

/// Brings what came out in a step to the form in which it is compared.
pub fn canon(out: &[Out], names: Names, speaks: Speaks) -> Vec<Out> {
    let mut all: Vec<Out> = Vec::new();
    for o in assembled(out) {
        let (mut o, was_cut) = o;
        one(&mut o, names, speaks, was_cut);
        all.push(o);
    }
    all.sort_by_key(|o| o.port);
    all
}

fn one(o: &mut Out, names: Names, speaks: Speaks, was_cut: bool) {
    let Some(header) = ipv4_header(&o.bytes) else {
        return;
    };
    let total = usize::from(be16(&o.bytes, 16));
    o.bytes.truncate(14 + total);
    let b = &mut o.bytes;
    let l4 = 14 + header;
    let proto = Proto(b[23]);
    let icmp = (proto == Proto::ICMP).then(|| b.get(l4).copied()).flatten();
    let error = matches!(icmp, Some(3 | 4 | 5 | 11 | 12));
    rename(b, 14, names);
    if error && b.len() >= l4 + 8 + 20 {
        // Judged before the quoted ports change, which the checksum covers.
        if naive_sum(&[&b[l4..]]) == 0xffff {
            put16(b, l4 + 2, 0);
        }
        rename(b, l4 + 8, names);
    }
    let own_address = b[26..30] == UP.octets() || b[26..30] == crate::memory::GW.octets();
    let by_router = own_address && (error && speaks == Speaks::Router || icmp == Some(0));
    if was_cut || by_router {
        put16(b, 18, 0);
        put16(b, 24, 0);
    }
    if by_router {
        b[20] &= !0x40;
    }
    if error && by_router {
        b[26..30].copy_from_slice(&UP.octets());
        let inner = usize::from(b.get(l4 + 8).map_or(0, |v| v & 15)) * 4;
        put16(b, 16, 0);
        b.truncate(l4 + 8 + inner + 8);
    }
}

/// Gives the client its own port in the packet at `l3`, whole or quoted.
fn rename(b: &mut [u8], l3: usize, names: Names) {
    if names.own == names.external || b.len() < l3 + 20 {
        return;
    }
    let l4 = l3 + usize::from(b[l3] & 15) * 4;
    let from_up = b[l3 + 12..l3 + 16] == UP.octets();
    let to_up = b[l3 + 16..l3 + 20] == UP.octets();
    let echo = |kind| b[l3 + 9] == Proto::ICMP.0 && b.get(l4) == Some(&kind);
    let (at, sum) = match Proto(b[l3 + 9]) {
        Proto::TCP | Proto::UDP => {
            let sum = if b[l3 + 9] == Proto::TCP.0 { 16 } else { 6 };
            if from_up && be16(b, l4) == names.external {
                (l4, l4 + sum)
            } else if to_up && be16(b, l4 + 2) == names.external {
                (l4 + 2, l4 + sum)
            } else {
                return;
            }
        }
        Proto::ICMP
            if (from_up && echo(8) || to_up && echo(0)) && be16(b, l4 + 4) == names.external =>
        {
            (l4 + 4, l4 + 2)
        }
        _ => return,
    };
    put16(b, at, names.own);
    let udp_without = b[l3 + 9] == Proto::UDP.0 && be16(b, sum) == 0;
    if b.len() >= sum + 2 && !udp_without {
        let delta = checksum::delta_u16(names.external, names.own);
        let new = checksum::apply(be16(b, sum), delta);
        put16(b, sum, new);
    }
}

/// Datagrams instead of fragments, in the order in which they were completed; whether each was
/// cut.
pub(super) fn assembled(out: &[Out]) -> Vec<(Out, bool)> {
    let mut all = Vec::new();
    let mut open: Vec<(Vec<u8>, Vec<&Out>)> = Vec::new();
    for o in out {
        let fragment = ipv4_header(&o.bytes).is_some() && be16(&o.bytes, 20) & 0x3fff != 0;
        if !fragment {
            all.push((o.clone(), false));
            continue;
        }
        let b = &o.bytes;
        let key = [&[o.port as u8, b[23]], &b[18..20], &b[26..34]].concat();
        let at = match open.iter().position(|e| e.0 == key) {
            Some(at) => at,
            None => {
                open.push((key, Vec::new()));
                open.len() - 1
            }
        };
        open[at].1.push(o);
        if let Some(whole) = whole(&open[at].1) {
            let port = o.port;
            open.remove(at);
            all.push((Out { port, bytes: whole }, true));
        }
    }
    all
}

/// The datagram of these fragments, if they are all of it and agree.
fn whole(parts: &[&Out]) -> Option<Vec<u8>> {
    let mut payload: Vec<Option<u8>> = Vec::new();
    let mut end = None;
    for p in parts {
        let b = &p.bytes;
        let header = 14 + usize::from(b[14] & 15) * 4;
        let field = be16(b, 20);
        let at = usize::from(field & 0x1fff) * 8;
        let data = b.get(header..14 + usize::from(be16(b, 16)))?;
        if field & 0x2000 == 0 {
            end = Some(at + data.len());
        }
        payload.resize(payload.len().max(at + data.len()), None);
        for (to, from) in payload[at..].iter_mut().zip(data) {
            match to {
                Some(there) if there != from => return None,
                _ => *to = Some(*from),
            }
        }
    }
    let first = parts.iter().find(|p| be16(&p.bytes, 20) & 0x1fff == 0)?;
    let payload: Vec<u8> = payload.into_iter().collect::<Option<_>>()?;
    if end != Some(payload.len()) {
        return None;
    }
    let header = 14 + usize::from(first.bytes[14] & 15) * 4;
    let mut b = first.bytes[..header].to_vec();
    b.extend(payload);
    let total = (b.len() - 14) as u16;
    put16(&mut b, 16, total);
    put16(&mut b, 20, be16(&first.bytes, 20) & 0x4000);
    put16(&mut b, 24, 0);
    Some(b)
}
