//! Does the `virtio_net_hdr` fit the frame? It comes from whoever wrote the frame into the
//! device, so nothing in it is believed.

use super::ipv6::{self, ICMPV6};
use super::{L3, L4, Parsed, bits};
use crate::base::{Proto, Reason};
use crate::frame::{Gso, VnetHdr};

/// Checks `hdr` and sets [`Parsed::wire_len`].
///
/// What could not be segmented, or whose checksum field lies outside of the frame, is an error. A
/// partial checksum that is not the one of the IPv4 packet's own L4 header (a tunnel's inner
/// packet, a fragment) can still be bridged, so it is noted in [`Parsed::l4_error`].
///
/// A superframe without `NEEDS_CSUM` is an error too: the virtio specification (section 5.1.6,
/// packet transmission) binds one to the other, and Linux keeps to it for all it segments.
pub(super) fn check(bytes: &[u8], hdr: &VnetHdr, p: &mut Parsed) -> Result<(), Reason> {
    p.wire_len = p.l3_len;
    if !hdr.needs_csum {
        return if hdr.is_super() {
            Err(Reason::VnetHdrBad)
        } else {
            Ok(())
        };
    }
    let start = usize::from(hdr.csum_start);
    let field = start + usize::from(hdr.csum_offset);
    if start < usize::from(p.l3_off) || field + 2 > bytes.len() || alters(bytes, p, start, field) {
        return Err(Reason::VnetHdrBad);
    }
    if p.l3 == L3::Ipv4 && !covers_ipv4(hdr, p) {
        if hdr.is_super() {
            return Err(Reason::VnetHdrBad);
        }
        p.l4_error.get_or_insert(Reason::VnetHdrBad);
    }
    if hdr.is_super() {
        let headers = super_headers(bytes, hdr, p).ok_or(Reason::VnetHdrBad)?;
        if hdr.gso_size == 0 || headers >= p.l3_len {
            return Err(Reason::VnetHdrBad);
        }
        p.wire_len = p.l3_len.min(headers + u32::from(hdr.gso_size));
    }
    Ok(())
}

/// Whether a checksum that is finished on the way, at `field` from `start` on, would alter what
/// [`crate::guard`] and the responder of ARP judge before: a container could have other bytes sent
/// than those that were looked at.
fn alters(bytes: &[u8], p: &Parsed, start: usize, field: usize) -> bool {
    let l3 = usize::from(p.l3_off);
    match p.l3 {
        L3::Ipv4 => start < usize::from(p.l4_off),
        L3::Arp => true,
        L3::Other => false,
        L3::Ipv6 => match ipv6::upper(bytes.get(l3..).unwrap_or(&[])) {
            ipv6::Upper::Header { proto, off, .. } => {
                let upper = l3 + off;
                // ICMPv6's type and UDP's ports.
                let judged = match proto {
                    ICMPV6 if field == upper + 2 => 0,
                    p if p == ICMPV6 || p == Proto::UDP.0 => 4,
                    _ => 0,
                };
                start < upper || field < upper + judged
            }
            _ => start < l3 + ipv6::FIXED,
        },
    }
}

/// Whether the checksum is the one of this very packet's L4 header.
fn covers_ipv4(hdr: &VnetHdr, p: &Parsed) -> bool {
    let offset = match p.l4 {
        L4::Tcp => 16,
        L4::Udp => 6,
        L4::EchoRequest | L4::EchoReply | L4::IcmpError | L4::IcmpOther => 2,
        L4::Other => hdr.csum_offset,
        L4::None => return false,
    };
    hdr.csum_start == p.l4_off && hdr.csum_offset == offset && !p.has(bits::FRAGMENT)
}

/// Bytes of L3 and L4 headers that each segment repeats, or `None` if the frame is not what the
/// header says.
fn super_headers(bytes: &[u8], hdr: &VnetHdr, p: &Parsed) -> Option<u32> {
    let l4 = match hdr.gso {
        Gso::None => return None,
        Gso::TcpV4 => {
            let known = p.l4 == L4::Tcp && p.tcp.header_len >= 20;
            known.then_some(u32::from(p.tcp.header_len))?
        }
        Gso::UdpL4 if p.l3 == L3::Ipv4 => {
            let whole = p.l4 == L4::Udp && p.l4_error != Some(Reason::L4Truncated);
            whole.then_some(8)?
        }
        Gso::UdpL4 => {
            ipv6_checksum_at(bytes, hdr, p, Proto::UDP, 6)?;
            8
        }
        Gso::TcpV6 => {
            let tcp = ipv6_checksum_at(bytes, hdr, p, Proto::TCP, 16)?;
            let len = u32::from(tcp.get(12)? >> 4) * 4;
            (len >= 20).then_some(len)?
        }
    };
    Some(u32::from(hdr.csum_start) - u32::from(p.l3_off) + l4)
}

/// The L4 bytes of an IPv6 frame, if they are of this protocol and begin where the checksum does.
fn ipv6_checksum_at<'a>(
    bytes: &'a [u8],
    hdr: &VnetHdr,
    p: &Parsed,
    proto: Proto,
    offset: u16,
) -> Option<&'a [u8]> {
    if p.l3 != L3::Ipv6 || hdr.csum_offset != offset {
        return None;
    }
    let l3 = bytes.get(usize::from(p.l3_off)..)?;
    match ipv6::upper(l3) {
        ipv6::Upper::Header {
            proto: found,
            off,
            fragment: false,
        } if found == proto.0 && off + usize::from(p.l3_off) == usize::from(hdr.csum_start) => {
            l3.get(off..)
        }
        _ => None,
    }
}
