//! IPv4, TCP and UDP.

use super::{Field, icmp, sum};
use dataplane::frame::VnetHdr;
use std::fmt::Write;
use std::net::Ipv4Addr;

/// An IPv4 packet. `hdr` is `None` for one that is quoted in an ICMP error: cut as it is, its
/// checksums say nothing.
pub(super) fn words(b: Field<'_>, hdr: Option<&VnetHdr>) -> String {
    head(b, hdr).unwrap_or_else(|| format!("IPv4 cut to {} bytes", b.len()))
}

fn head(b: Field<'_>, hdr: Option<&VnetHdr>) -> Option<String> {
    let first = b.u8(0)?;
    let header = usize::from(first & 15) * 4;
    let (total, id, frag) = (usize::from(b.u16(2)?), b.u16(4)?, b.u16(6)?);
    let (ttl, proto, src, dst) = (b.u8(8)?, b.u8(9)?, b.ip(12)?, b.ip(16)?);
    let mut out = String::new();
    // A superframe of 64 KiB may say 0.
    let end = if total == 0 && hdr.is_some_and(VnetHdr::is_super) {
        b.len()
    } else {
        total
    };
    let l4 = Field(b.0.get(header..end.min(b.len())).unwrap_or(&[]));
    let (offset, more) = (usize::from(frag & 0x1fff) * 8, frag & 0x2000 != 0);
    if offset > 0 {
        let _ = write!(out, "{} {src} > {dst}", name(proto));
    } else {
        let sums = match hdr {
            Some(h) if h.needs_csum => Sums::Partial,
            Some(_) if !more && b.len() >= total => Sums::Finished,
            _ => Sums::Unknown,
        };
        out += &transport(l4, proto, src, dst, sums)
            .unwrap_or_else(|| format!("{} {src} > {dst} cut to {} bytes", name(proto), l4.len()));
    }
    if offset > 0 || more {
        let last = if more { "" } else { ", the last" };
        let _ = write!(
            out,
            ", fragment {id} bytes {offset}-{}{last}",
            offset + l4.len()
        );
    }
    if frag & 0x4000 != 0 {
        out += " DF";
    }
    if hdr.is_some() {
        let _ = write!(out, " ttl {ttl}");
    }
    if first >> 4 != 4 {
        let _ = write!(out, ", VERSION {}", first >> 4);
    }
    if header < 20 {
        let _ = write!(out, ", IHL {header} BYTES");
    } else if header > 20 {
        let _ = write!(out, ", {} bytes of options", header - 20);
    }
    if hdr.is_some() {
        if end > b.len() || end < header {
            let _ = write!(out, ", TOTAL LENGTH {total} OF {}", b.len());
        }
        if b.0.get(..header).is_some_and(|h| sum(h, 0) != 0xffff) {
            out += ", IP CHECKSUM WRONG";
        }
    }
    Some(out)
}

fn name(proto: u8) -> String {
    match proto {
        1 => "ICMP".into(),
        2 => "IGMP".into(),
        6 => "TCP".into(),
        17 => "UDP".into(),
        4 => "IPIP".into(),
        41 => "IPv6 in IPv4".into(),
        46 => "RSVP".into(),
        47 => "GRE".into(),
        50 => "ESP".into(),
        51 => "AH".into(),
        88 => "EIGRP".into(),
        89 => "OSPF".into(),
        103 => "PIM".into(),
        112 => "VRRP".into(),
        132 => "SCTP".into(),
        n => format!("IP protocol {n}"),
    }
}

/// What the checksum field of an L4 header should hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sums {
    /// The checksum.
    Finished,
    /// The sum of the pseudo-header, not complemented.
    Partial,
    /// What can't be told: not the whole packet is here.
    Unknown,
}

/// The L4 header, and what is wrong with its checksum.
fn transport(b: Field<'_>, proto: u8, src: Ipv4Addr, dst: Ipv4Addr, sums: Sums) -> Option<String> {
    let pseudo = || {
        let mut p = src.octets().to_vec();
        p.extend(dst.octets());
        u32::from(sum(&p, u32::from(proto))) + b.len() as u32
    };
    let (mut out, finished, field) = match proto {
        6 => (tcp(b, src, dst)?, sum(b.0, pseudo()) == 0xffff, b.u16(16)),
        17 => {
            let length = usize::from(b.u16(4)?);
            let mut out = format!(
                "UDP {src}:{} > {dst}:{} len {}",
                b.u16(0)?,
                b.u16(2)?,
                length.saturating_sub(8)
            );
            if sums != Sums::Unknown && length != b.len() {
                let _ = write!(out, ", UDP LENGTH {length} OF {}", b.len());
            }
            let field = b.u16(6)?;
            let finished = field == 0 || sum(b.0, pseudo()) == 0xffff;
            (out, finished, Some(field))
        }
        1 => (icmp::words(b, src, dst)?, sum(b.0, 0) == 0xffff, None),
        _ => return Some(format!("{} {src} > {dst} len {}", name(proto), b.len())),
    };
    let bad = match sums {
        Sums::Finished => !finished,
        Sums::Partial => field.is_some_and(|f| f != sum(&[], pseudo())),
        Sums::Unknown => false,
    };
    if bad {
        let _ = write!(out, ", {} CHECKSUM WRONG", name(proto));
    }
    Some(out)
}

fn tcp(b: Field<'_>, src: Ipv4Addr, dst: Ipv4Addr) -> Option<String> {
    let ports = format!("TCP {src}:{} > {dst}:{}", b.u16(0)?, b.u16(2)?);
    // What an ICMP error quotes may end here.
    let (Some(seq), Some(ack)) = (b.u32(4), b.u32(8)) else {
        return Some(ports);
    };
    let (Some(offset), Some(bits), Some(window)) = (b.u8(12), b.u8(13), b.u16(14)) else {
        return Some(format!("{ports} seq {seq}"));
    };
    let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
    let mut flags: Vec<&str> = Vec::new();
    for (n, name) in names.iter().enumerate() {
        if bits & (1 << n) != 0 {
            flags.push(name);
        }
    }
    let flags = if flags.is_empty() {
        "no flags".to_owned()
    } else {
        flags.join(",")
    };
    let header = usize::from(offset >> 4) * 4;
    let mut out = format!("{ports} {flags} seq {seq}");
    if bits & 16 != 0 {
        let _ = write!(out, " ack {ack}");
    }
    let _ = match b.len().checked_sub(header) {
        Some(n) if header >= 20 => write!(out, " win {window} len {n}"),
        _ => write!(out, ", TCP HEADER {header} BYTES OF {}", b.len()),
    };
    Some(out)
}
