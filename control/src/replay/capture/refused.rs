//! Why a file can't be replayed, and what to do about it.

use super::link;

/// Why a file, or the rest of one, can't be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadCapture {
    /// Nothing in it.
    #[error("the file is empty: nothing was captured")]
    Empty,
    /// No capture at all.
    #[error(
        "this is neither a pcap nor a pcapng file: give one that tcpdump -w or Wireshark wrote"
    )]
    NotACapture,
    /// Packed by this program.
    #[error("this is compressed: unpack it first, as by {0}")]
    Compressed(&'static str),
    /// A capture in another program's format.
    #[error("this is a capture in {0} format: convert it first, as by editcap -F pcapng IN OUT")]
    Format(&'static str),
    /// Ends in mid-header or mid-packet.
    #[error("the file is cut short in the middle of {0}")]
    CutShort(&'static str),
    /// Contradicts itself.
    #[error("the file is damaged: {0}")]
    Damaged(&'static str),
    /// Not Ethernet.
    #[error(
        "the packets are {name} (link type {0}), and a switch takes Ethernet frames: {remedy}",
        name = link::name(*.0),
        remedy = link::remedy(*.0)
    )]
    LinkType(u32),
}

/// First bytes, and what a file that begins so is.
const KNOWN: [(&[u8], BadCapture); 12] = [
    (&[0x1f, 0x8b], BadCapture::Compressed("gunzip")),
    (&[0x28, 0xb5, 0x2f, 0xfd], BadCapture::Compressed("unzstd")),
    (
        &[0xfd, b'7', b'z', b'X', b'Z'],
        BadCapture::Compressed("unxz"),
    ),
    (&[0x04, 0x22, 0x4d, 0x18], BadCapture::Compressed("unlz4")),
    (b"BZh", BadCapture::Compressed("bunzip2")),
    (b"PK\x03\x04", BadCapture::Compressed("unzip")),
    (b"snoop\0\0\0", BadCapture::Format("Sun's snoop")),
    (b"RTSS", BadCapture::Format("Network Monitor's")),
    (b"GMBU", BadCapture::Format("Network Monitor's")),
    (b"TRSNIFF", BadCapture::Format("Sniffer's")),
    (
        &[0x34, 0xcd, 0xb2, 0xa1],
        BadCapture::Format("a modified pcap"),
    ),
    (
        &[0xa1, 0xb2, 0xcd, 0x34],
        BadCapture::Format("a modified pcap"),
    ),
];

/// What a file is that is neither pcap nor pcapng.
pub(super) fn instead(file: &[u8]) -> BadCapture {
    if file.is_empty() {
        return BadCapture::Empty;
    }
    KNOWN
        .iter()
        .find(|(magic, _)| file.starts_with(magic))
        .map_or(BadCapture::NotACapture, |(_, bad)| bad.clone())
}
