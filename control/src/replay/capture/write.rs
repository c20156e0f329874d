//! Writing pcapng: one section, little-endian, nanoseconds.

use super::Capture;
use std::io::{self, Write};

/// Writes a capture that any reader of pcapng understands. A `virtio_net_hdr` that says something
/// goes into a comment of its packet.
///
/// # Errors
/// When `out` can't be written.
pub fn write(capture: &Capture, out: &mut impl Write) -> io::Result<()> {
    let mut section = vec![0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0];
    section.extend(u64::MAX.to_le_bytes());
    block(out, 0x0a0d_0d0a, &section)?;
    for i in &capture.interfaces {
        let mut b = vec![1, 0, 0, 0, 0, 0, 0, 0];
        if let Some(name) = &i.name {
            option(&mut b, 2, name.as_bytes());
        }
        if let Some(ip) = i.ip {
            let [a, c, d, e] = ip.octets();
            option(&mut b, 4, &[a, c, d, e, 255, 255, 255, 0]);
        }
        if let Some(mac) = i.mac {
            option(&mut b, 6, &mac.0);
        }
        option(&mut b, 9, &[9]);
        option(&mut b, 0, &[]);
        block(out, 1, &b)?;
    }
    for p in &capture.packets {
        let mut b = number(p.interface)?.to_vec();
        b.extend(((p.at >> 32) as u32).to_le_bytes());
        b.extend((p.at as u32).to_le_bytes());
        b.extend(number(p.bytes.len())?);
        b.extend(p.original_len.to_le_bytes());
        b.extend(&p.bytes);
        b.resize(b.len().next_multiple_of(4), 0);
        let plain = p.vnet.iter().all(|v| *v == 0);
        if !plain {
            let hex: String = p.vnet.iter().map(|v| format!("{v:02x}")).collect();
            option(&mut b, 1, format!("vnet={hex}").as_bytes());
        }
        if let Some(c) = &p.comment {
            option(&mut b, 1, c.as_bytes());
        }
        if !plain || p.comment.is_some() {
            option(&mut b, 0, &[]);
        }
        block(out, 6, &b)?;
    }
    out.flush()
}

fn number(n: usize) -> io::Result<[u8; 4]> {
    let n = u32::try_from(n).map_err(io::Error::other)?;
    Ok(n.to_le_bytes())
}

fn block(out: &mut impl Write, kind: u32, body: &[u8]) -> io::Result<()> {
    let length = number(body.len() + 12)?;
    out.write_all(&kind.to_le_bytes())?;
    out.write_all(&length)?;
    out.write_all(body)?;
    out.write_all(&length)
}

/// An option; a value longer than one can be is cut.
fn option(b: &mut Vec<u8>, code: u16, value: &[u8]) {
    let n = u16::try_from(value.len()).unwrap_or(u16::MAX);
    b.extend(code.to_le_bytes());
    b.extend(n.to_le_bytes());
    b.extend(value.iter().take(n.into()));
    b.resize(b.len().next_multiple_of(4), 0);
}
