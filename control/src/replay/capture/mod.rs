//! Capture files: pcapng (draft-ietf-opsawg-pcapng) and the classic pcap format
//! (draft-ietf-opsawg-pcap).
//!
//! Read here and not by a crate, because a person's own files come cut short, cut by a snap
//! length, with several interfaces of different clocks and with blocks that nobody knows; all
//! that has to be read, or refused in a sentence, without a panic.

mod bytes;
mod classic;
mod link;
mod pcapng;
mod refused;
#[cfg(test)]
mod tests;
mod write;

pub use refused::BadCapture;
pub use write::write;

use dataplane::base::Mac;
use dataplane::frame::VnetHdr;
use std::net::Ipv4Addr;

/// An interface that packets were captured on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Interface {
    /// Its name, if the file says it.
    pub name: Option<String>,
    /// Its Ethernet address.
    pub mac: Option<Mac>,
    /// Its IPv4 address.
    pub ip: Option<Ipv4Addr>,
    /// Units of its clock in a second.
    ticks: u64,
    /// Seconds to be added to its timestamps.
    offset: i64,
    snaplen: u32,
    /// The link type of its packets, if they are no Ethernet frames.
    other: Option<u32>,
    /// Packets that are not in [`Capture::packets`], because they are no Ethernet frames.
    pub passed_over: u64,
}

impl Interface {
    /// An interface whose clock counts nanoseconds.
    pub fn new(name: &str, mac: Option<Mac>, ip: Option<Ipv4Addr>) -> Interface {
        Interface {
            name: Some(name.to_owned()),
            mac,
            ip,
            ticks: 1_000_000_000,
            offset: 0,
            snaplen: 0,
            other: None,
            passed_over: 0,
        }
    }

    /// Makes it one whose packets begin otherwise than Ethernet frames.
    #[cfg(test)]
    pub(super) fn set_link(&mut self, link: u32) {
        self.other = link::other(link);
    }

    /// Why its packets can't be replayed, if so.
    pub fn refused(&self) -> Option<BadCapture> {
        self.other.map(BadCapture::LinkType)
    }

    /// A count of this interface's clock as nanoseconds since 1970.
    fn nanoseconds(&self, ticks: u64) -> u64 {
        let ns = u128::from(ticks) * 1_000_000_000 / u128::from(self.ticks.max(1));
        let ns = i128::try_from(ns).unwrap_or(i128::MAX);
        let ns = ns.saturating_add(i128::from(self.offset) * 1_000_000_000);
        u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
    }
}

/// A captured packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Nanoseconds since 1970.
    pub at: u64,
    /// Index into [`Capture::interfaces`].
    pub interface: usize,
    /// From the Ethernet header on; shorter than the packet was if a snap length cut it.
    pub bytes: Vec<u8>,
    /// Bytes that the packet had.
    pub original_len: u32,
    /// The `virtio_net_hdr` that came with it, from a comment `vnet=` with twenty hexadecimal
    /// digits; all zero without one.
    pub vnet: [u8; VnetHdr::LEN],
    /// Other comments, joined by spaces.
    pub comment: Option<String>,
}

impl Packet {
    /// Its header; one that is no header at all becomes one that fits no frame, as on a TAP.
    pub fn hdr(&self) -> VnetHdr {
        VnetHdr::decode(&self.vnet).unwrap_or(VnetHdr {
            needs_csum: true,
            csum_start: u16::MAX,
            csum_offset: u16::MAX,
            ..VnetHdr::PLAIN
        })
    }
}

/// What is in a file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Capture {
    /// The interfaces, of all sections.
    pub interfaces: Vec<Interface>,
    /// The packets, in the file's order.
    pub packets: Vec<Packet>,
    /// What is wrong behind the last packet that could be read.
    pub trouble: Option<BadCapture>,
}

/// Reads a whole file. Packets in front of a damaged place are given; [`Capture::trouble`] says
/// what is wrong there. Packets that are no Ethernet frames are counted with their interface.
///
/// # Errors
/// When not even the head can be read, or a classic file holds no Ethernet frames.
pub fn read(file: &[u8]) -> Result<Capture, BadCapture> {
    match file.first_chunk::<4>() {
        Some([0x0a, 0x0d, 0x0d, 0x0a]) => Ok(pcapng::read(file)),
        Some([0xa1, 0xb2, 0xc3 | 0x3c, _] | [_, 0xc3 | 0x3c, 0xb2, 0xa1]) => classic::read(file),
        _ => Err(refused::instead(file)),
    }
}

/// Takes the header out of a packet's comments, leaving the rest.
fn comments<'a>(all: impl Iterator<Item = &'a str>) -> ([u8; VnetHdr::LEN], Option<String>) {
    let mut vnet = [0; VnetHdr::LEN];
    let mut rest: Vec<&str> = Vec::new();
    for c in all {
        match c.strip_prefix("vnet=").and_then(unhex) {
            Some(v) => vnet = v,
            None => rest.push(c),
        }
    }
    (vnet, (!rest.is_empty()).then(|| rest.join(" ")))
}

fn unhex(text: &str) -> Option<[u8; VnetHdr::LEN]> {
    let mut out = [0; VnetHdr::LEN];
    if text.len() != 2 * out.len() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (i, o) in out.iter_mut().enumerate() {
        *o = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(out)
}
