//! The classic pcap format: one header, then packets of one interface.

use super::bytes::Bytes;
use super::{BadCapture, Capture, Interface, Packet, link};
use dataplane::frame::VnetHdr;

pub(super) fn read(file: &[u8]) -> Result<Capture, BadCapture> {
    let mut b = Bytes {
        left: file,
        big: file.first() == Some(&0xa1),
    };
    let head = |b: &mut Bytes<'_>| {
        let magic = b.u32()?;
        b.take(12)?;
        Some((magic, b.u32()?, b.u32()?))
    };
    let (magic, snaplen, link) = head(&mut b).ok_or(BadCapture::CutShort("its header"))?;
    let ticks = match magic {
        0xa1b2_c3d4 => 1_000_000,
        0xa1b2_3c4d => 1_000_000_000,
        _ => return Err(BadCapture::NotACapture),
    };
    let interface = Interface {
        ticks,
        snaplen,
        // The upper bits tell of a frame check sequence.
        other: link::other(link & 0x0fff_ffff),
        ..Interface::default()
    };
    if let Some(bad) = interface.refused() {
        return Err(bad);
    }
    let mut capture = Capture::default();
    while !b.left.is_empty() {
        match packet(&mut b, &interface) {
            Some(p) => capture.packets.push(p),
            None => {
                capture.trouble = Some(BadCapture::CutShort("a packet"));
                break;
            }
        }
    }
    capture.interfaces.push(interface);
    Ok(capture)
}

fn packet(b: &mut Bytes<'_>, i: &Interface) -> Option<Packet> {
    let (seconds, part) = (b.u32()?, b.u32()?);
    let (captured, original_len) = (b.u32()?, b.u32()?);
    let bytes = b.take(usize::try_from(captured).ok()?)?.to_vec();
    let at = (u64::from(seconds) * 1_000_000_000).saturating_add(i.nanoseconds(part.into()));
    Some(Packet {
        at,
        interface: 0,
        bytes,
        original_len,
        vnet: [0; VnetHdr::LEN],
        comment: None,
    })
}
