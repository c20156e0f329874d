//! ICMP, with the packet that an error is about.

use super::{Field, ipv4};
use std::net::Ipv4Addr;

pub(super) fn words(b: Field<'_>, src: Ipv4Addr, dst: Ipv4Addr) -> Option<String> {
    let (kind, code, _) = (b.u8(0)?, b.u8(1)?, b.u32(4)?);
    let what = match (kind, code) {
        (0 | 8, _) => {
            let name = if kind == 0 { "reply" } else { "request" };
            let (id, seq) = (b.u16(4)?, b.u16(6)?);
            return Some(format!(
                "ICMP {src} > {dst} echo {name} id {id} seq {seq} len {}",
                b.len() - 8
            ));
        }
        (3, 0) => "net unreachable".into(),
        (3, 1) => "host unreachable".into(),
        (3, 2) => "protocol unreachable".into(),
        (3, 3) => "port unreachable".into(),
        (3, 4) => format!("fragmentation needed, MTU {}", b.u16(6)?),
        (3, 5) => "source route failed".into(),
        (3, 9 | 10 | 13) => "administratively prohibited".into(),
        (3, n) => format!("unreachable, code {n}"),
        (4, _) => "source quench".into(),
        (5, _) => format!("redirect to {}", b.ip(4)?),
        (11, 0) => "time exceeded in transit".into(),
        (11, 1) => "fragment reassembly time exceeded".into(),
        (11, n) => format!("time exceeded, code {n}"),
        (12, _) => format!("parameter problem at byte {}", b.u8(4)?),
        (13, _) => "timestamp request".into(),
        (14, _) => "timestamp reply".into(),
        (t, c) => format!("type {t} code {c}"),
    };
    let about = match kind {
        3 | 4 | 5 | 11 | 12 => format!(", about ({})", ipv4::words(b.from(8), None)),
        _ => String::new(),
    };
    Some(format!("ICMP {src} > {dst} {what}{about}"))
}
