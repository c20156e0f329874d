//! IPv4 addresses that may not appear on a wire here: RFC 1812 sections 4.2.2.11 and 5.3.7, and
//! the table of RFC 6890 as far as it is about being a source or a destination at all.
//!
//! Special-purpose blocks that are merely not global (private, documentation, benchmarking) are
//! what labs and container networks are made of: they pass.

use crate::base::config::{Config, UplinkConfig};
use crate::base::{Proto, Reason, Role};
use crate::frame::Parsed;
use std::net::Ipv4Addr;

/// As a source: bit 0. As a destination: bit 1. By the first octet; 127/8 is on no wire, 0/8 and
/// groups are nobody's address, 240/4 is nobody's at all (but see `check`).
const FINE: [u8; 256] = {
    let mut fine = [0; 256];
    let mut octet = 1;
    while octet < 240 {
        fine[octet] = match octet {
            127 => 0,
            224.. => 2,
            _ => 3,
        };
        octet += 1;
    }
    fine
};

/// Whether `FINE` has this bit for an address.
#[inline(always)]
fn fine(ip: Ipv4Addr, bit: u8) -> bool {
    let [first, ..] = ip.octets();
    FINE.get(usize::from(first)).is_some_and(|f| f & bit != 0)
}

/// Every IPv4 frame, bridged or routed.
#[inline(always)]
pub(super) fn check(ours: &Ours, p: &Parsed) -> Result<(), Reason> {
    let (src, dst) = (p.tuple.src, p.tuple.dst);
    if src == dst {
        return Err(Reason::Land);
    }
    if !(fine(src, 1) || unconfigured(p)) || !(fine(dst, 2) || dst.is_broadcast()) {
        return Err(Reason::Martian);
    }
    // Our addresses mean something in the untagged network only.
    if p.vid == 0 && ours.claimed(src) {
        return Err(Reason::Martian);
    }
    Ok(())
}

/// The source addresses that a port may not use: nobody has them, or the switch itself has them
/// elsewhere.
pub(super) struct Ours {
    /// A whole network: its mask and address.
    net: (u32, u32),
    each: [u32; 4],
}

impl Ours {
    #[inline]
    pub(super) fn new(cfg: &Config, role: Role) -> Ours {
        let up = cfg.uplink.as_ref();
        let (broadcast, subnet) = (cfg.broadcast().to_bits(), cfg.subnet.to_bits());
        let up_ip = up.map_or(subnet, |u| u.ip.to_bits());
        // A mask of 0 gives 0, which is not 1: no network.
        let none = (0, 1);
        let (net, each) = match role {
            Role::Uplink => {
                let other = up.map_or(up_ip, |u| uplink_broadcast(u).to_bits());
                let net = (cfg.mask(), subnet & cfg.mask());
                // Without an uplink's address its place is taken by one of the subnet.
                (net, [up_ip, other, up_ip, up_ip])
            }
            Role::Access => (none, [up_ip, cfg.gateway.to_bits(), broadcast, subnet]),
            Role::Host => (none, [broadcast, subnet, broadcast, subnet]),
        };
        Ours { net, each }
    }

    #[inline(always)]
    fn claimed(&self, src: Ipv4Addr) -> bool {
        let (src, (mask, net), [a, b, c, d]) = (src.to_bits(), self.net, self.each);
        (src & mask == net) | (src == a) | (src == b) | (src == c) | (src == d)
    }
}

/// The packets that a host without an address yet sends: a DHCP client's (RFC 2131) and IGMP
/// reports (RFC 3376 section 4.2.13).
#[inline(always)]
fn unconfigured(p: &Parsed) -> bool {
    let t = &p.tuple;
    t.src.is_unspecified()
        && match t.proto {
            Proto::UDP => t.dst.is_broadcast() && (t.sport, t.dport) == (68, 67),
            Proto::IGMP => t.dst.is_multicast(),
            _ => false,
        }
}

/// The outside network's directed broadcast address; a /31 or /32 has none (RFC 3021), which
/// gives the limited broadcast address here.
fn uplink_broadcast(u: &UplinkConfig) -> Ipv4Addr {
    if u.prefix >= 31 {
        return Ipv4Addr::BROADCAST;
    }
    Ipv4Addr::from_bits(u.ip.to_bits() | (u32::MAX >> u.prefix))
}

/// Those that are about to be routed.
#[inline]
pub(super) fn routed(cfg: &Config, role: Role, p: &Parsed) -> Result<(), Reason> {
    let (src, dst) = (p.tuple.src, p.tuple.dst);
    // A broadcast or multicast frame is never routed, whatever address is in it (RFC 1812
    // section 5.3.4), nor is a directed broadcast (RFC 2644).
    let group = p.dst.is_group()
        || dst.octets()[0] >= 224
        || dst == cfg.broadcast()
        || dst == cfg.subnet
        || cfg.uplink.is_some_and(|u| dst == uplink_broadcast(&u));
    if group {
        return Err(Reason::GroupDestination);
    }
    // RFC 3927 section 7: link-local packets are not forwarded.
    if src.octets()[0] == 0 || src.is_link_local() || dst.is_link_local() {
        return Err(Reason::Martian);
    }
    if role != Role::Uplink && !cfg.in_subnet(src) {
        return Err(Reason::SourceNotInSubnet);
    }
    Ok(())
}
