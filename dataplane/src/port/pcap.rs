//! Captures: pcap and pcapng read, pcapng written with nanoseconds.
//!
//! Nothing here opens a file: the caller gives something to read from or write to.
//!
//! Superframes are written as they are, as a capture on a kernel's interface shows them. What
//! their `virtio_net_hdr` said goes into the packet's comment, in words that Wireshark displays
//! and [`Reader`] understands. For captures that others made, [`super::pcap_hdr::infer_hdr`] works it out from the
//! bytes.
//!
//! The crate `pcap-file` splits a capture into blocks. It takes every pcapng timestamp for
//! nanoseconds and refuses a cut packet in a pcap, so packets are read from the blocks here.

use super::pcap_hdr::read_hdr;
pub use super::pcap_writer::Writer;
use crate::base::Instant;
use crate::frame::VnetHdr;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::PcapNgReader;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, Endianness, PcapError, TsResolution};
use std::io::{Chain, Cursor, ErrorKind, Read};

/// Why a capture can't be read further or written.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The first bytes are neither pcap's nor pcapng's.
    #[error("not a capture: it begins with neither the pcap nor the pcapng magic")]
    NotACapture,
    /// A structure contradicts itself.
    #[error("the capture is malformed: {0}")]
    Malformed(String),
    /// The capture ends inside a packet or block.
    #[error("the capture ends inside a packet")]
    Truncated,
    /// Not Ethernet (link type 1).
    #[error("link type {0} is not Ethernet{hint}", hint = link_hint(*.0))]
    LinkType(u32),
    /// Reading or writing failed.
    #[error("reading or writing the capture failed: {0}")]
    Io(#[from] std::io::Error),
}

const fn link_hint(link: u32) -> &'static str {
    match link {
        113 | 276 => " (a \"cooked\" capture, as of tcpdump -i any: capture on one interface)",
        _ => "",
    }
}

impl From<PcapError> for CaptureError {
    fn from(e: PcapError) -> CaptureError {
        match e {
            PcapError::IncompleteBuffer => CaptureError::Truncated,
            PcapError::IoError(e) if e.kind() == ErrorKind::UnexpectedEof => {
                CaptureError::Truncated
            }
            PcapError::IoError(e) => CaptureError::Io(e),
            other => CaptureError::Malformed(other.to_string()),
        }
    }
}

/// One captured packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// When it was captured: nanoseconds since 1970 (or since the origin that the writer used).
    pub at: Instant,
    /// Interface it was seen on, counted from 0 (always 0 in a pcap).
    pub interface: u32,
    /// The bytes captured.
    pub bytes: Vec<u8>,
    /// Length of the packet itself.
    pub original_len: u32,
    /// The header written down beside it.
    pub hdr: Option<VnetHdr>,
}

impl Record {
    /// Whether only the beginning was captured (tcpdump -s).
    pub fn is_cut(&self) -> bool {
        (self.bytes.len() as u64) < u64::from(self.original_len)
    }
}

enum Source<R: Read> {
    Pcap(PcapReader<Chain<Cursor<[u8; 4]>, R>>),
    PcapNg(PcapNgReader<Chain<Cursor<[u8; 4]>, R>>),
}

/// Reads a capture packet by packet. After an error it gives nothing more.
pub struct Reader<R: Read> {
    source: Source<R>,
    failed: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the beginning and finds out the format.
    ///
    /// # Errors
    /// No capture, a malformed header, or (pcap) a link type other than Ethernet.
    pub fn new(mut from: R) -> Result<Reader<R>, CaptureError> {
        let mut magic = [0u8; 4];
        from.read_exact(&mut magic).map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof => CaptureError::NotACapture,
            _ => CaptureError::Io(e),
        })?;
        let all = Cursor::new(magic).chain(from);
        let source = match magic {
            [0x0a, 0x0d, 0x0d, 0x0a] => Source::PcapNg(PcapNgReader::new(all)?),
            [0xa1, 0xb2, 0xc3 | 0x3c, 0xd4 | 0x4d] | [0xd4 | 0x4d, 0xc3 | 0x3c, 0xb2, 0xa1] => {
                let reader = PcapReader::new(all)?;
                ethernet(reader.header().datalink)?;
                Source::Pcap(reader)
            }
            _ => return Err(CaptureError::NotACapture),
        };
        Ok(Reader {
            source,
            failed: false,
        })
    }

    /// Names of the interfaces described so far (pcapng; empty where there is none).
    pub fn interface_names(&self) -> Vec<String> {
        let Source::PcapNg(r) = &self.source else {
            return Vec::new();
        };
        r.interfaces().iter().map(name_of).collect()
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Record, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = match &mut self.source {
            Source::Pcap(r) => next_pcap(r),
            Source::PcapNg(r) => next_pcapng(r),
        };
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

fn ethernet(link: DataLink) -> Result<(), CaptureError> {
    if link == DataLink::ETHERNET {
        return Ok(());
    }
    Err(CaptureError::LinkType(link.into()))
}

fn name_of(i: &InterfaceDescriptionBlock<'_>) -> String {
    i.options
        .iter()
        .find_map(|o| match o {
            InterfaceDescriptionOption::IfName(n) => Some(n.to_string()),
            _ => None,
        })
        .unwrap_or_default()
}

fn next_pcap<R: Read>(r: &mut PcapReader<R>) -> Option<Result<Record, CaptureError>> {
    let per_tick = match r.header().ts_resolution {
        TsResolution::MicroSecond => 1_000,
        TsResolution::NanoSecond => 1,
    };
    let packet = match r.next_raw_packet()? {
        Ok(p) => p,
        Err(e) => return Some(Err(e.into())),
    };
    let nanos = u64::from(packet.ts_sec) * 1_000_000_000 + u64::from(packet.ts_frac) * per_tick;
    Some(Ok(Record {
        at: Instant(nanos),
        interface: 0,
        original_len: packet.orig_len,
        bytes: packet.data.into_owned(),
        hdr: None,
    }))
}

const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

fn next_pcapng<R: Read>(r: &mut PcapNgReader<R>) -> Option<Result<Record, CaptureError>> {
    loop {
        let big = matches!(r.section().endianness, Endianness::Big);
        let (kind, body) = match r.next_raw_block()? {
            Ok(b) => (b.type_, b.body.into_owned()),
            Err(e) => return Some(Err(e.into())),
        };
        let b = Body { bytes: &body, big };
        match kind {
            ENHANCED_PACKET => return Some(enhanced(&b, r.interfaces())),
            SIMPLE_PACKET => return Some(simple(&b, r.interfaces())),
            _ => {}
        }
    }
}

/// The body of a pcapng block.
struct Body<'a> {
    bytes: &'a [u8],
    big: bool,
}

impl Body<'_> {
    fn u32(&self, at: usize) -> Result<u32, CaptureError> {
        match self.bytes.get(at..).and_then(|b| b.first_chunk::<4>()) {
            Some(b) if self.big => Ok(u32::from_be_bytes(*b)),
            Some(b) => Ok(u32::from_le_bytes(*b)),
            None => Err(malformed("a packet block shorter than its header")),
        }
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let b = self.bytes.get(at..)?.first_chunk::<2>()?;
        Some(if self.big {
            u16::from_be_bytes(*b)
        } else {
            u16::from_le_bytes(*b)
        })
    }

    /// The comments among the options that begin at `at`.
    fn comments(&self, mut at: usize) -> impl Iterator<Item = &str> {
        std::iter::from_fn(move || {
            loop {
                let (code, len) = (self.u16(at)?, usize::from(self.u16(at + 2)?));
                let value = self.bytes.get(at + 4..at + 4 + len)?;
                at += 4 + len.next_multiple_of(4);
                match code {
                    0 => return None,
                    1 => return Some(std::str::from_utf8(value).unwrap_or("")),
                    _ => {}
                }
            }
        })
    }
}

fn malformed(what: &str) -> CaptureError {
    CaptureError::Malformed(what.to_owned())
}

fn interface<'a, 'b>(
    id: u32,
    known: &'a [InterfaceDescriptionBlock<'b>],
) -> Result<&'a InterfaceDescriptionBlock<'b>, CaptureError> {
    let i = usize::try_from(id).ok().and_then(|i| known.get(i));
    let i = i.ok_or_else(|| malformed("a packet of an interface that is not described"))?;
    ethernet(i.linktype)?;
    Ok(i)
}

fn enhanced(b: &Body<'_>, known: &[InterfaceDescriptionBlock<'_>]) -> Result<Record, CaptureError> {
    let id = b.u32(0)?;
    let ticks = (u64::from(b.u32(4)?) << 32) | u64::from(b.u32(8)?);
    let (captured, original_len) = (b.u32(12)? as usize, b.u32(16)?);
    let i = interface(id, known)?;
    let bytes = b.bytes.get(20..20usize.saturating_add(captured));
    let bytes = bytes.ok_or_else(|| malformed("a packet longer than its block"))?;
    let hdr = b
        .comments(20 + captured.next_multiple_of(4))
        .find_map(read_hdr);
    Ok(Record {
        at: Instant(nanos(ticks, i)),
        interface: id,
        bytes: bytes.to_vec(),
        original_len,
        hdr,
    })
}

fn simple(b: &Body<'_>, known: &[InterfaceDescriptionBlock<'_>]) -> Result<Record, CaptureError> {
    let original_len = b.u32(0)?;
    let snap = match interface(0, known)?.snaplen {
        0 => u32::MAX,
        n => n,
    };
    let captured = original_len.min(snap) as usize;
    let bytes = b.bytes.get(4..4usize.saturating_add(captured));
    let bytes = bytes.ok_or_else(|| malformed("a packet longer than its block"))?;
    Ok(Record {
        at: Instant::ZERO,
        interface: 0,
        bytes: bytes.to_vec(),
        original_len,
        hdr: None,
    })
}

/// Ticks of the interface's resolution (`if_tsresol`, microseconds if not given) as nanoseconds.
fn nanos(ticks: u64, i: &InterfaceDescriptionBlock<'_>) -> u64 {
    let mut resolution = 6;
    let mut offset = 0u64;
    for o in &i.options {
        match o {
            InterfaceDescriptionOption::IfTsResol(r) => resolution = *r,
            InterfaceDescriptionOption::IfTsOffset(o) => offset = *o,
            _ => {}
        }
    }
    let billion = u128::from(ticks) * 1_000_000_000;
    let exponent = u32::from(resolution & 0x7f);
    let per_second = if resolution & 0x80 != 0 {
        1u128.checked_shl(exponent)
    } else {
        10u128.checked_pow(exponent)
    };
    // A resolution beyond 10^-38 counts nothing that 64 bits can hold.
    let nanos = per_second.map_or(0, |p| billion / p);
    u64::try_from(nanos)
        .unwrap_or(u64::MAX)
        .saturating_add(offset.saturating_mul(1_000_000_000))
}

#[cfg(test)]
#[path = "pcap_tests.rs"]
mod tests;
