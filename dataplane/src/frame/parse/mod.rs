//! The one parse of each frame: bytes to a small `Copy` struct of offsets, tuple and flags.

mod inner;
mod ipv4;
mod ipv6;
mod offload;
mod plain;
#[cfg(test)]
mod tests;

pub use inner::{Inner, embedded, icmp_checksum_ok, inner, l4_checksum_ok};
pub use ipv6::{Ipv6Control, MAX_EXTENSIONS, ipv6_control};
pub use plain::HEADERS as ORDINARY_HEADERS;

use crate::base::bytes::get;
use crate::base::{Mac, Reason, Tuple, Vid};
use crate::frame::VnetHdr;
use crate::frame::batch::MAX_FRAME;
use etherparse::{ArpPacketSlice, Ethernet2HeaderSlice, SingleVlanHeaderSlice};

/// EtherTypes (IEEE registration authority) that this crate knows.
pub mod ethertype {
    /// IPv4
    pub const IPV4: u16 = 0x0800;
    /// ARP
    pub const ARP: u16 = 0x0806;
    /// IEEE 802.1Q tag
    pub const VLAN: u16 = 0x8100;
    /// IEEE 802.1ad service tag
    pub const SERVICE_VLAN: u16 = 0x88a8;
    /// IPv6
    pub const IPV6: u16 = 0x86dd;
}

/// What the Ethernet payload is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum L3 {
    /// 0x0800
    Ipv4,
    /// 0x86DD
    Ipv6,
    /// 0x0806
    Arp,
    /// Another EtherType, or an LLC length field.
    #[default]
    Other,
}

/// What the IPv4 payload is, as far as the tracker is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum L4 {
    /// Not IPv4, or a fragment that does not carry the L4 header.
    #[default]
    None,
    /// TCP; [`Parsed::tcp`] is set.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP echo request (type 8).
    EchoRequest,
    /// ICMP echo reply (type 0).
    EchoReply,
    /// An ICMP error (3, 4, 5, 11, 12) that carries an inner packet.
    IcmpError,
    /// Another ICMP type.
    IcmpOther,
    /// Another protocol.
    Other,
}

/// TCP flag bits as in the header's byte 13.
pub mod tcp_flags {
    /// FIN
    pub const FIN: u8 = 0x01;
    /// SYN
    pub const SYN: u8 = 0x02;
    /// RST
    pub const RST: u8 = 0x04;
    /// PSH
    pub const PSH: u8 = 0x08;
    /// ACK
    pub const ACK: u8 = 0x10;
    /// URG
    pub const URG: u8 = 0x20;
    /// ECE
    pub const ECE: u8 = 0x40;
    /// CWR
    pub const CWR: u8 = 0x80;
}

/// The fields of a TCP header that the tracker reads. Zero for other protocols.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tcp {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number (meaningful with the ACK flag).
    pub ack: u32,
    /// Window as in the header, unscaled.
    pub window: u16,
    /// Flag bits, see [`tcp_flags`].
    pub flags: u8,
    /// Header length in bytes, 20 to 60.
    pub header_len: u8,
    /// Payload bytes (of the whole superframe).
    pub payload: u32,
}

/// Bits of [`Parsed::bits`].
pub mod bits {
    /// The IPv4 header carries options.
    pub const OPTIONS: u8 = 1;
    /// The packet is a fragment (MF set or offset not 0).
    pub const FRAGMENT: u8 = 2;
    /// A fragment whose offset is not 0 (so it carries no L4 header).
    pub const LATER_FRAGMENT: u8 = 4;
    /// Don't-fragment is set.
    pub const DF: u8 = 8;
    /// The frame carries an 802.1Q or 802.1ad tag (with VID 0 too).
    pub const TAGGED: u8 = 16;
    /// More-fragments is set.
    pub const MF: u8 = 32;
}

/// Destination and source address as [`Mac::to_u64`] gives them; 0 of what has no whole
/// Ethernet header.
#[inline(always)]
pub fn addresses(bytes: &[u8]) -> (u64, u64) {
    let Some(b) = bytes.first_chunk::<14>() else {
        return (0, 0);
    };
    // Eight bytes at a time, as a processor loads them.
    let number = |at| u64::from_be_bytes(get(b, at).unwrap_or_default());
    (number(0) >> 16, number(6) >> 16)
}

/// What the pipeline knows of a frame after one look at its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Parsed {
    /// Destination MAC.
    pub dst: Mac,
    /// Source MAC.
    pub src: Mac,
    /// VLAN identifier of the outer tag, 0 when there is none.
    pub vid: Vid,
    /// EtherType behind the tags (host order); values below 0x600 are LLC lengths. At most two
    /// tags are walked, so behind three it is that of a tag.
    pub ethertype: u16,
    /// Kind of payload.
    pub l3: L3,
    /// Kind of IPv4 payload.
    pub l4: L4,
    /// See [`bits`].
    pub bits: u8,
    /// IPv4 time to live.
    pub ttl: u8,
    /// Offset of the L3 header from the start of the frame.
    pub l3_off: u16,
    /// Offset of the L4 header (IPv4 only).
    pub l4_off: u16,
    /// Bytes from the L3 header to the end of the packet by its own total length (IPv4; at most
    /// 65,535). The frame may be longer (padding), never shorter. For other payloads: what the
    /// frame has behind `l3_off` (IPv6: without padding).
    pub l3_len: u32,
    /// Addresses, ports, protocol (IPv4). Ports are 0 where `l4` says there are none.
    pub tuple: Tuple,
    /// TCP fields.
    pub tcp: Tcp,
    /// IPv4 identification.
    pub ip_id: u16,
    /// Fragment offset in bytes.
    pub frag_off: u16,
    /// Largest IP packet that this frame becomes on a wire: `l3_len` for an ordinary frame,
    /// headers + `gso_size` for a superframe. This is what is compared with an MTU.
    pub wire_len: u32,
    /// What is wrong above the IP header, if anything: refused when routed, carried when bridged.
    /// Ports and `tcp` are 0 when it is [`Reason::L4Truncated`].
    pub l4_error: Option<Reason>,
}

impl Parsed {
    /// Whether any of the given [`bits`] is set.
    #[inline]
    pub const fn has(&self, mask: u8) -> bool {
        self.bits & mask != 0
    }
}

/// Parses a frame. `hdr` is checked against it: a checksum range or segment size that does not
/// fit gives [`Reason::VnetHdrBad`].
///
/// Up to two VLAN tags (802.1Q, 802.1ad) are walked and what is behind them is parsed like an
/// untagged frame, so that no check is evaded by a tag; [`Parsed::vid`] is the outer tag's.
///
/// # Errors
/// The reason under which the frame is to be dropped, bridged or routed: a truncated Ethernet or
/// VLAN header, a malformed IPv4 header (RFC 1812 section 5.2.2), a malformed ARP packet. Errors
/// above the IPv4 header are in [`Parsed::l4_error`] instead.
#[inline]
pub fn parse(bytes: &[u8], hdr: &VnetHdr) -> Result<Parsed, Reason> {
    match plain::parse(bytes, hdr) {
        Some(p) => Ok(p),
        None => parse_any(bytes, hdr),
    }
}

/// [`parse`] of a frame that is as ordinary as nearly all are, else `None`: untagged IPv4 without
/// options, whole, with TCP or UDP and nothing wrong, of [`ORDINARY_HEADERS`] bytes at least. For
/// whoever looks at millions of them.
#[inline(always)]
pub fn ordinary(bytes: &[u8], hdr: &VnetHdr) -> Option<Parsed> {
    plain::parse(bytes, hdr)
}

/// Every kind of frame.
#[inline(never)]
fn parse_any(bytes: &[u8], hdr: &VnetHdr) -> Result<Parsed, Reason> {
    if bytes.len() > MAX_FRAME {
        return Err(Reason::EthTooLong);
    }
    let eth = Ethernet2HeaderSlice::from_slice(bytes).map_err(|_| Reason::EthTruncated)?;
    let mut p = Parsed {
        dst: Mac(eth.destination()),
        src: Mac(eth.source()),
        ethertype: eth.ether_type().0,
        l3_off: 14,
        ..Parsed::default()
    };
    if is_tag(p.ethertype) {
        walk_tags(bytes, &mut p)?;
    }
    let l3 = bytes.get(usize::from(p.l3_off)..).unwrap_or(&[]);
    p.l3_len = l3.len() as u32;
    match p.ethertype {
        ethertype::IPV4 => {
            p.l3 = L3::Ipv4;
            ipv4::parse(l3, hdr, &mut p)?;
        }
        ethertype::IPV6 => {
            p.l3 = L3::Ipv6;
            p.l3_len = ipv6::packet(l3).unwrap_or(l3).len() as u32;
        }
        ethertype::ARP => {
            p.l3 = L3::Arp;
            check_arp(l3)?;
        }
        _ => {}
    }
    offload::check(bytes, hdr, &mut p)?;
    Ok(p)
}

const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, ethertype::VLAN | ethertype::SERVICE_VLAN)
}

#[cold]
fn walk_tags(bytes: &[u8], p: &mut Parsed) -> Result<(), Reason> {
    p.bits |= bits::TAGGED;
    for tag in 0..2 {
        let rest = bytes.get(usize::from(p.l3_off)..).unwrap_or(&[]);
        let h = SingleVlanHeaderSlice::from_slice(rest).map_err(|_| Reason::EthTruncated)?;
        if tag == 0 {
            p.vid = h.vlan_identifier().value();
        }
        p.ethertype = h.ether_type().0;
        p.l3_off += 4;
        if !is_tag(p.ethertype) {
            break;
        }
    }
    Ok(())
}

/// RFC 826 for Ethernet (hardware type 1, six bytes) and IPv4 (four bytes), whole.
fn check_arp(l3: &[u8]) -> Result<(), Reason> {
    let arp = ArpPacketSlice::from_slice(l3).map_err(|_| Reason::ArpMalformed)?;
    let known = arp.hw_addr_type().0 == 1
        && arp.proto_addr_type().0 == ethertype::IPV4
        && arp.hw_addr_size() == 6
        && arp.proto_addr_size() == 4;
    known.then_some(()).ok_or(Reason::ArpMalformed)
}
