//! A frame in words, from its bytes alone. It shares nothing with the switch's own parser, so it
//! can be asked what the switch should have seen.

mod icmp;
mod ipv4;
#[cfg(test)]
mod tests;

use dataplane::base::Mac;
use dataplane::frame::{Gso, VnetHdr};
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Reads big-endian fields; what is not there is `None`.
#[derive(Clone, Copy)]
struct Field<'a>(&'a [u8]);

impl<'a> Field<'a> {
    fn u8(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn u16(self, at: usize) -> Option<u16> {
        Some(u16::from_be_bytes(self.array(at)?))
    }

    fn u32(self, at: usize) -> Option<u32> {
        Some(u32::from_be_bytes(self.array(at)?))
    }

    fn ip(self, at: usize) -> Option<Ipv4Addr> {
        Some(Ipv4Addr::from(self.array::<4>(at)?))
    }

    fn mac(self, at: usize) -> Option<Mac> {
        Some(Mac(self.array(at)?))
    }

    fn array<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..)?.first_chunk().copied()
    }

    fn from(self, at: usize) -> Field<'a> {
        Field(self.0.get(at..).unwrap_or(&[]))
    }

    fn len(self) -> usize {
        self.0.len()
    }
}

/// The sum of 16-bit words, folded (RFC 1071).
fn sum(bytes: &[u8], initial: u32) -> u16 {
    let mut s = u64::from(initial);
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        s += u64::from(u16::from_be_bytes([
            pair.first().copied().unwrap_or(0),
            low,
        ]));
    }
    while s > 0xffff {
        s = (s & 0xffff) + (s >> 16);
    }
    s as u16
}

/// What the frame is, without its MAC addresses: one line.
pub fn payload(bytes: &[u8], hdr: &VnetHdr) -> String {
    let mut out = String::new();
    let b = Field(bytes);
    let Some(mut ethertype) = b.u16(12) else {
        return format!("{} bytes, less than an Ethernet header", bytes.len());
    };
    let mut at = 14;
    while matches!(ethertype, 0x8100 | 0x88a8) {
        let (Some(tci), Some(inner)) = (b.u16(at), b.u16(at + 2)) else {
            return out + "VLAN tag cut short";
        };
        let kind = if ethertype == 0x88a8 {
            "service VLAN"
        } else {
            "VLAN"
        };
        let _ = write!(out, "{kind} {}, ", tci & 0x0fff);
        ethertype = inner;
        at += 4;
    }
    let inner = b.from(at);
    out += &match ethertype {
        0x0800 => ipv4::words(inner, Some(hdr)),
        0x0806 => arp(inner).unwrap_or_else(|| "ARP cut short or of another kind".into()),
        0x86dd => ipv6(inner).unwrap_or_else(|| "IPv6 cut short".into()),
        0..0x0600 => format!("LLC frame, length {ethertype}, {} bytes", inner.len()),
        _ => {
            let name = kind(ethertype).map(|n| format!("{n}, "));
            let name = name.unwrap_or_default();
            format!("{name}EtherType 0x{ethertype:04x}, {} bytes", inner.len())
        }
    };
    undone(&mut out, hdr);
    out
}

/// What goes by an EtherType that people meet, and the switch only bridges.
fn kind(ethertype: u16) -> Option<&'static str> {
    Some(match ethertype {
        0x0842 => "wake-on-LAN",
        0x8035 => "RARP",
        0x8137 => "IPX",
        0x809b | 0x80f3 => "AppleTalk",
        0x8809 => "slow protocol (LACP)",
        0x8847 | 0x8848 => "MPLS",
        0x8863 => "PPPoE discovery",
        0x8864 => "PPPoE session",
        0x888e => "802.1X",
        0x8899 => "loop detection",
        0x88cc => "LLDP",
        0x88e5 => "MACsec",
        0x88e7 => "provider backbone bridging",
        0x88f7 => "PTP",
        0x8902 => "connectivity fault management",
        0x9000 => "loopback test",
        _ => return None,
    })
}

/// The whole frame: MAC addresses and payload.
pub fn frame(bytes: &[u8], hdr: &VnetHdr) -> String {
    let b = Field(bytes);
    match (b.mac(6), b.mac(0)) {
        (Some(src), Some(dst)) => format!("{src} > {dst}: {}", payload(bytes, hdr)),
        _ => payload(bytes, hdr),
    }
}

/// What the sender left to be done.
fn undone(out: &mut String, h: &VnetHdr) {
    let _ = match h.gso {
        Gso::None => Ok(()),
        kind => {
            let name = match kind {
                Gso::UdpL4 => "UDP datagrams",
                Gso::TcpV6 => "IPv6 TCP segments",
                _ => "TCP segments",
            };
            write!(out, ", superframe of {name} of {} bytes", h.gso_size)
        }
    };
    if h.needs_csum {
        let _ = write!(
            out,
            ", checksum to be finished from byte {} at +{}",
            h.csum_start, h.csum_offset
        );
    }
}

fn arp(b: Field<'_>) -> Option<String> {
    if (b.u16(0)?, b.u16(2)?, b.u8(4)?, b.u8(5)?) != (1, 0x0800, 6, 4) {
        return None;
    }
    let (op, mac, sender, target) = (b.u16(6)?, b.mac(8)?, b.ip(14)?, b.ip(24)?);
    Some(match op {
        1 if sender.is_unspecified() => format!("ARP probe for {target} by {mac}"),
        1 | 2 if sender == target => format!("ARP announcement: {sender} is at {mac}"),
        1 => format!("ARP who has {target}? tell {sender} at {mac}"),
        2 => format!("ARP {sender} is at {mac}, told to {target}"),
        _ => format!("ARP operation {op}"),
    })
}

fn ipv6(b: Field<'_>) -> Option<String> {
    let (src, dst) = (
        Ipv6Addr::from(b.array::<16>(8)?),
        Ipv6Addr::from(b.array::<16>(24)?),
    );
    let what = match (b.u8(6)?, b.u8(40)) {
        (58, Some(133)) => "router solicitation".into(),
        (58, Some(134)) => "router advertisement".into(),
        (58, Some(135)) => "neighbour solicitation".into(),
        (58, Some(136)) => "neighbour advertisement".into(),
        (58, Some(137)) => "redirect".into(),
        (58, Some(t)) => format!("ICMPv6 type {t}"),
        (n, _) => format!("next header {n}"),
    };
    let version = match b.u8(0)? >> 4 {
        6 => String::new(),
        v => format!(" (version {v})"),
    };
    Some(format!("IPv6{version} {src} > {dst} {what}"))
}
