//! What the wire changes in a packet between the inside and the outside. Written apart from the
//! switch's own code on purpose: a capture must not depend on what it is to test.

use std::net::Ipv4Addr;

fn word(b: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([b[at], b[at + 1]])
}

fn put(b: &mut [u8], at: usize, v: u16) {
    b[at..at + 2].copy_from_slice(&v.to_be_bytes());
}

fn fold(mut s: u32) -> u16 {
    while s > 0xffff {
        s = (s & 0xffff) + (s >> 16);
    }
    s as u16
}

/// The Internet checksum of `b`, taken anew.
pub fn checksum(b: &[u8]) -> u16 {
    !fold(
        b.chunks(2)
            .map(|c| u32::from(c[0]) << 8 | c.get(1).map_or(0, |l| u32::from(*l)))
            .sum(),
    )
}

/// Source (12) or destination (16) address of the IPv4 packet `ip`.
pub fn address(ip: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3])
}

/// Replaces one address of the IPv4 packet `ip` and mends both checksums. `partial`: the one of
/// TCP or UDP is only a pseudo-header sum so far.
pub fn replace(ip: &mut [u8], at: usize, new: Ipv4Addr, partial: bool) {
    let old = [word(ip, at), word(ip, at + 2)];
    ip[at..at + 4].copy_from_slice(&new.octets());
    let new = [word(ip, at), word(ip, at + 2)];
    let header = usize::from(ip[0] & 15) * 4;
    put(ip, 10, 0);
    let sum = checksum(&ip[..header]);
    put(ip, 10, sum);
    let later_fragment = word(ip, 6) & 0x1fff != 0;
    let field = header
        + match ip[9] {
            6 => 16,
            17 => 6,
            _ => return,
        };
    if later_fragment || ip.len() < field + 2 || (ip[9] == 17 && word(ip, field) == 0) {
        return;
    }
    let mut s = u32::from(if partial {
        word(ip, field)
    } else {
        !word(ip, field)
    });
    for (o, n) in old.into_iter().zip(new) {
        s += u32::from(!o) + u32::from(n);
    }
    put(ip, field, if partial { fold(s) } else { !fold(s) });
}

/// Takes one hop off the time to live.
pub fn hop(ip: &mut [u8]) {
    ip[8] -= 1;
    let header = usize::from(ip[0] & 15) * 4;
    put(ip, 10, 0);
    let sum = checksum(&ip[..header]);
    put(ip, 10, sum);
}

/// The same replacement inside an ICMP error, where the packet that caused it stands.
pub fn replace_inner(ip: &mut [u8], at: usize, new: Ipv4Addr) {
    let header = usize::from(ip[0] & 15) * 4;
    let error = ip[9] == 1
        && word(ip, 6) & 0x1fff == 0
        && matches!(ip.get(header), Some(3 | 4 | 5 | 11 | 12));
    if !error || ip.len() < header + 36 {
        return;
    }
    replace(&mut ip[header + 8..], at, new, false);
    put(ip, header + 2, 0);
    let sum = checksum(&ip[header..]);
    put(ip, header + 2, sum);
}
