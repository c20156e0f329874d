//! As much of IPv6 as a bridge has to see: the few control messages that a container must not
//! send to others. Read RFC 7113 (how RA guards were evaded) and RFC 7610 first.

use super::{L3, Parsed};
use crate::base::Proto;

/// What an IPv6 frame would do to the hosts that it reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ipv6Control {
    /// Nothing that is guarded; also every frame that is not IPv6, and later fragments, which do
    /// nothing without their first one.
    #[default]
    None,
    /// ICMPv6 type 134 (RFC 4861).
    RouterAdvertisement,
    /// ICMPv6 type 137 (RFC 4861).
    Redirect,
    /// A datagram to UDP port 546, where DHCPv6 clients listen to servers and relays. The source
    /// port is not asked: clients don't either (RFC 7610 section 5 filters the same way).
    DhcpServer,
    /// The chain of extension headers has no end within the packet or within
    /// [`MAX_EXTENSIONS`] headers, so that any of the above may follow. RFC 7113 section 3 and
    /// RFC 7112 want such a packet dropped; no ordinary sender makes one.
    Opaque,
}

/// Most extension headers that are walked. RFC 8200 section 4.1 recommends each at most once, and
/// destination options twice: seven in all.
pub const MAX_EXTENSIONS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
pub(super) const ICMPV6: u8 = 58;
/// Bytes of the fixed header.
pub(super) const FIXED: usize = 40;
const DESTINATION_OPTIONS: u8 = 60;

/// What is at the end of the chain of extension headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Upper {
    /// A header that is none of the walked ones, `off` bytes from the IPv6 header.
    Header {
        proto: u8,
        off: usize,
        fragment: bool,
    },
    /// No IPv6 header at all, or a later fragment.
    Absent,
    /// Not to be found.
    Opaque,
}

/// The bytes of the packet by its own payload length; a length of 0 means a jumbo payload
/// (RFC 2675) and leaves what the frame has.
pub(super) fn packet(l3: &[u8]) -> Option<&[u8]> {
    let fixed = l3.first_chunk::<FIXED>()?;
    let [v, _, _, _, l0, l1, ..] = *fixed;
    if v >> 4 != 6 {
        return None;
    }
    match usize::from(u16::from_be_bytes([l0, l1])) {
        0 => Some(l3),
        n => Some(l3.get(..40 + n).unwrap_or(l3)),
    }
}

/// Walks the chain.
pub(super) fn upper(l3: &[u8]) -> Upper {
    let Some(packet) = packet(l3) else {
        return Upper::Absent;
    };
    let mut next = packet.get(6).copied().unwrap_or(59);
    let mut off = FIXED;
    let mut fragment = false;
    for _ in 0..=MAX_EXTENSIONS {
        let unit = match next {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => 8,
            FRAGMENT => 0,
            AUTHENTICATION => 4,
            proto => {
                return Upper::Header {
                    proto,
                    off,
                    fragment,
                };
            }
        };
        let Some(&[n, len, f0, f1]) = packet.get(off..).and_then(<[u8]>::first_chunk::<4>) else {
            return Upper::Opaque;
        };
        if next == FRAGMENT {
            let field = u16::from_be_bytes([f0, f1]);
            if field >> 3 != 0 {
                return Upper::Absent;
            }
            // An atomic fragment (RFC 6946) is a whole packet.
            fragment |= field & 1 != 0;
        }
        // In units of 8 beyond the first 8 bytes; AH: in units of 4 beyond the first 8 (RFC 4302).
        off += 8 + usize::from(len) * unit;
        next = n;
    }
    Upper::Opaque
}

/// Classifies a frame that [`super::parse`] accepted.
pub fn ipv6_control(bytes: &[u8], p: &Parsed) -> Ipv6Control {
    if p.l3 != L3::Ipv6 {
        return Ipv6Control::None;
    }
    let l3 = bytes.get(usize::from(p.l3_off)..).unwrap_or(&[]);
    let (proto, off) = match upper(l3) {
        Upper::Header { proto, off, .. } => (proto, off),
        Upper::Absent => return Ipv6Control::None,
        Upper::Opaque => return Ipv6Control::Opaque,
    };
    let l4 = packet(l3).and_then(|b| b.get(off..)).unwrap_or(&[]);
    match (proto, l4) {
        (ICMPV6, [134, ..]) => Ipv6Control::RouterAdvertisement,
        (ICMPV6, [137, ..]) => Ipv6Control::Redirect,
        (ICMPV6, []) => Ipv6Control::Opaque,
        (p, [_, _, d0, d1, ..]) if p == Proto::UDP.0 => {
            if u16::from_be_bytes([*d0, *d1]) == 546 {
                Ipv6Control::DhcpServer
            } else {
                Ipv6Control::None
            }
        }
        (p, _) if p == Proto::UDP.0 => Ipv6Control::Opaque,
        _ => Ipv6Control::None,
    }
}
