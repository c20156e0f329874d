//! IPv4 addresses that may not appear on a wire here: RFC 1812 sections 4.2.2.11 and 5.3.7, and
//! the table of RFC 6890 as far as it is about being a source or a destination at all.
//!
//! Special-purpose blocks that are merely not global (private, documentation, benchmarking) are
//! what labs and container networks are made of: they pass.

use crate::base::config::{Config, UplinkConfig};
use crate::base::{Proto, Reason, Role};
use crate::frame::Parsed;
use std::net::Ipv4Addr;

/// Every IPv4 frame, bridged or routed.
#[inline(always)]
pub(super) fn check(cfg: &Config, role: Role, p: &Parsed) -> Result<(), Reason> {
    let (src, dst) = (p.tuple.src, p.tuple.dst);
    if src == dst {
        return Err(Reason::Land);
    }
    let (s, d) = (src.octets()[0], dst.octets()[0]);
    let impossible = s == 127
        || s >= 224
        || (s == 0 && !unconfigured(p))
        || d == 127
        || d == 0
        || (d >= 240 && !dst.is_broadcast());
    if impossible {
        return Err(Reason::Martian);
    }
    // Our addresses mean something in the untagged network only.
    if p.vid == 0 && claims_ours(cfg, role, src) {
        return Err(Reason::Martian);
    }
    Ok(())
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

/// Whether a source address is one that nobody has, or that the switch itself has elsewhere.
#[inline(always)]
fn claims_ours(cfg: &Config, role: Role, src: Ipv4Addr) -> bool {
    match (role, &cfg.uplink) {
        (Role::Uplink, uplink) => {
            cfg.in_subnet(src) || uplink.is_some_and(|u| src == u.ip || src == uplink_broadcast(&u))
        }
        (Role::Access, Some(u)) if src == u.ip => true,
        (Role::Access, _) if src == cfg.gateway => true,
        (Role::Access | Role::Host, _) => src == cfg.broadcast() || src == cfg.subnet,
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
