//! pcapng: sections of blocks. Interfaces and packets are read, other blocks passed over.

use super::bytes::Bytes;
use super::{BadCapture, Capture, Interface, Packet, comments, link};
use dataplane::base::Mac;
use std::net::Ipv4Addr;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OLD_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const PACKET: u32 = 6;

pub(super) fn read(file: &[u8]) -> Capture {
    let mut capture = Capture::default();
    capture.trouble = blocks(file, &mut capture).err();
    capture
}

fn blocks(file: &[u8], capture: &mut Capture) -> Result<(), BadCapture> {
    let cut = || BadCapture::CutShort("a block");
    let mut b = Bytes {
        left: file,
        big: false,
    };
    let mut first = 0;
    while !b.left.is_empty() {
        let kind = b.u32().ok_or_else(cut)?;
        if kind == SECTION {
            // The byte order stands behind the length that it applies to.
            let magic = b.left.get(4..8).ok_or_else(cut)?;
            b.big = match magic {
                [0x1a, 0x2b, 0x3c, 0x4d] => true,
                [0x4d, 0x3c, 0x2b, 0x1a] => false,
                _ => return Err(BadCapture::Damaged("a section without a byte order")),
            };
            first = capture.interfaces.len();
        }
        let length = b.u32().ok_or_else(cut)?;
        let body = usize::try_from(length)
            .ok()
            .and_then(|n| n.checked_sub(12))
            .filter(|n| n % 4 == 0)
            .ok_or(BadCapture::Damaged("a block of impossible length"))?;
        let block = Bytes {
            left: b.take(body).ok_or_else(cut)?,
            big: b.big,
        };
        if b.u32().ok_or_else(cut)? != length {
            return Err(BadCapture::Damaged("a block with two lengths"));
        }
        let done = match kind {
            INTERFACE => interface(block, capture),
            PACKET => packet(block, first, capture),
            OLD_PACKET => old_packet(block, first, capture),
            SIMPLE_PACKET => simple_packet(block, first, capture),
            _ => Some(()),
        };
        done.ok_or(BadCapture::Damaged(
            "a block that is shorter than what it says",
        ))?;
    }
    Ok(())
}

/// Calls `f` for each option; those behind one that is cut are lost.
fn options<'a>(mut b: Bytes<'a>, mut f: impl FnMut(u16, Bytes<'a>)) {
    while let (Some(code), Some(length)) = (b.u16(), b.u16()) {
        let Some(value) = b.padded(length.into()) else {
            return;
        };
        if code == 0 {
            return;
        }
        f(
            code,
            Bytes {
                left: value,
                big: b.big,
            },
        );
    }
}

fn interface(mut b: Bytes<'_>, capture: &mut Capture) -> Option<()> {
    let (link, _, snaplen) = (b.u16()?, b.u16()?, b.u32()?);
    let mut i = Interface {
        ticks: 1_000_000,
        snaplen,
        other: link::other(link.into()),
        ..Interface::default()
    };
    options(b, |code, mut value| match code {
        2 => i.name = Some(String::from_utf8_lossy(value.left).into_owned()),
        4 => {
            if let Some(a) = value.left.first_chunk::<4>() {
                i.ip = Some(Ipv4Addr::from(*a));
            }
        }
        6 => {
            if let Ok(m) = value.left.try_into() {
                i.mac = Some(Mac(m));
            }
        }
        9 => {
            // The upper bit chooses between powers of two and of ten.
            let r = value.left.first().copied().unwrap_or(6);
            i.ticks = match r & 0x80 {
                0 => 10u64.checked_pow(r.into()),
                _ => 1u64.checked_shl(u32::from(r & 0x7f)),
            }
            .unwrap_or(u64::MAX);
        }
        14 => i.offset = value.u64().map_or(0, u64::cast_signed),
        _ => {}
    });
    capture.interfaces.push(i);
    Some(())
}

fn packet(mut b: Bytes<'_>, first: usize, capture: &mut Capture) -> Option<()> {
    let id = usize::try_from(b.u32()?).ok()?;
    stamped(b, first.checked_add(id)?, capture)
}

/// The block that [`packet`] replaced: a shorter interface number and a count of drops.
fn old_packet(mut b: Bytes<'_>, first: usize, capture: &mut Capture) -> Option<()> {
    let id = usize::from(b.u16()?);
    b.u16()?;
    stamped(b, first.checked_add(id)?, capture)
}

fn stamped(mut b: Bytes<'_>, interface: usize, capture: &mut Capture) -> Option<()> {
    let ticks = u64::from(b.u32()?) << 32 | u64::from(b.u32()?);
    let (captured, original_len) = (b.u32()?, b.u32()?);
    let bytes = b.padded(usize::try_from(captured).ok()?)?.to_vec();
    let mut said = Vec::new();
    options(b, |code, value| {
        if code == 1 {
            said.push(String::from_utf8_lossy(value.left));
        }
    });
    let (vnet, comment) = comments(said.iter().map(AsRef::as_ref));
    let at = capture.interfaces.get(interface)?.nanoseconds(ticks);
    let packet = Packet {
        at,
        interface,
        bytes,
        original_len,
        vnet,
        comment,
    };
    keep(packet, capture)
}

/// Puts an Ethernet frame with the packets, and counts another.
fn keep(packet: Packet, capture: &mut Capture) -> Option<()> {
    let i = capture.interfaces.get_mut(packet.interface)?;
    match i.refused() {
        Some(_) => i.passed_over += 1,
        None => capture.packets.push(packet),
    }
    Some(())
}

/// A packet of the section's first interface, without a time: that of the packet before.
fn simple_packet(mut b: Bytes<'_>, first: usize, capture: &mut Capture) -> Option<()> {
    let original_len = b.u32()?;
    let i = capture.interfaces.get(first)?;
    let limit = if i.snaplen == 0 { u32::MAX } else { i.snaplen };
    let n = usize::try_from(original_len.min(limit)).ok()?;
    let bytes = b.take(n)?.to_vec();
    let at = capture.packets.last().map_or(0, |p| p.at);
    let packet = Packet {
        at,
        interface: first,
        bytes,
        original_len,
        vnet: [0; dataplane::frame::VnetHdr::LEN],
        comment: None,
    };
    keep(packet, capture)
}
