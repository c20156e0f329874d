//! ARP as the switch takes part in it (RFC 826, RFC 5227): it answers for the gateway and the
//! uplink address, learns neighbours, and drops who claims an address that is ours.
//!
//! The gateway's address has two users, the switch and the host behind `sw0`, with one MAC. So a
//! request for it is answered here and not passed on, and what `sw0` says about it is the truth.
//! A reply to it may be for either: it is noted and bridged, and a host that did not ask ignores
//! it.
//!
//! Neighbours are made from what is addressed to us, and updated from any ARP of theirs; a probe
//! (sender 0.0.0.0) teaches nothing. Only untagged ARP is about our addresses.

use super::cache::Neighbours;
use super::queue::Held;
use crate::base::config::{Config, UplinkConfig};
use crate::base::{Mac, Reason, Role, Tick};
use crate::flow::Zone;
use crate::frame::arp::{Arp, REPLY, REQUEST};
use crate::frame::{Frame, Parsed};
use std::net::Ipv4Addr;

/// What becomes of an ARP frame.
#[derive(Debug)]
pub enum ArpAction {
    /// Dropped.
    Drop(Reason),
    /// Taken: it was for the switch, or not worth passing on.
    Consume,
    /// Taken, and this answer goes back by the port that it came from.
    Reply(Frame),
    /// Forwarded like any other bridged frame.
    Bridge,
}

/// An action, and the frames that had waited for what the ARP said.
#[derive(Debug)]
pub struct ArpVerdict {
    /// What to do with the ARP frame.
    pub action: ArpAction,
    /// Frames that can go now, to the MAC and neighbour given; in order of arrival.
    pub released: Option<Released>,
}

/// Frames whose neighbour has answered.
#[derive(Debug)]
pub struct Released {
    /// The neighbour's side.
    pub zone: Zone,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its MAC.
    pub mac: Mac,
    /// The frames; at least one.
    pub held: Vec<Held>,
}

/// Decides about a frame with [`crate::frame::L3::Arp`] from a port of `role`.
pub fn arp(
    cfg: &Config,
    role: Role,
    p: &Parsed,
    bytes: &[u8],
    now: Tick,
    neighbours: &Neighbours,
) -> ArpVerdict {
    let alone = |action| ArpVerdict {
        action,
        released: None,
    };
    let arp = match Arp::decode(bytes, p.l3_off) {
        Ok(arp) => arp,
        Err(reason) => return alone(ArpAction::Drop(reason)),
    };
    if arp.sha != p.src {
        return alone(ArpAction::Drop(Reason::ArpSpoof));
    }
    if p.vid != 0 {
        return alone(match role {
            Role::Uplink => ArpAction::Drop(Reason::NotRouted),
            Role::Access | Role::Host => ArpAction::Bridge,
        });
    }
    if never_a_sender(arp.spa) {
        return alone(ArpAction::Drop(Reason::Martian));
    }
    let decided = match (role, &cfg.uplink) {
        (Role::Uplink, None) => Err(Reason::NoUplink),
        (Role::Uplink, Some(uplink)) => from_uplink(cfg, uplink, p, &arp),
        (Role::Access | Role::Host, _) => from_inside(cfg, role, &arp),
    };
    let (action, learn) = match decided {
        Ok(decided) => decided,
        Err(reason) => return alone(ArpAction::Drop(reason)),
    };
    let zone = match role {
        Role::Uplink => Zone::Uplink,
        Role::Access | Role::Host => Zone::Inside,
    };
    let held = match learn {
        Teach::Nothing => Vec::new(),
        Teach::Update | Teach::Create => neighbours
            .confirm(zone, arp.spa, arp.sha, now, matches!(learn, Teach::Create))
            .map_or_else(Vec::new, |c| c.held),
    };
    let released = (!held.is_empty()).then_some(Released {
        zone,
        ip: arp.spa,
        mac: arp.sha,
        held,
    });
    ArpVerdict { action, released }
}

/// The request by which the switch asks for `ip`, for [`super::NeighAction::SendArp`] and for
/// the first question. From inside it goes to every port but `sw0`, whose own address is its
/// sender. `None`: there is no uplink.
pub fn request(cfg: &Config, zone: Zone, ip: Ipv4Addr, unicast_to: Option<Mac>) -> Option<Frame> {
    let (sha, spa) = match zone {
        Zone::Inside => (cfg.gateway_mac, cfg.gateway),
        Zone::Uplink => cfg.uplink.map(|u| (u.mac, u.ip))?,
    };
    let question = Arp {
        op: REQUEST,
        sha,
        spa,
        tha: Mac::ZERO,
        tpa: ip,
    };
    Some(question.frame(unicast_to.unwrap_or(Mac::BROADCAST)))
}

/// What the sender's pair of addresses teaches.
#[derive(Clone, Copy)]
enum Teach {
    Nothing,
    Update,
    Create,
}

type Decided = Result<(ArpAction, Teach), Reason>;

fn reply(to: &Arp, sha: Mac) -> ArpAction {
    let answer = Arp {
        op: REPLY,
        sha,
        spa: to.tpa,
        tha: to.sha,
        tpa: to.spa,
    };
    ArpAction::Reply(answer.frame(to.sha))
}

fn from_inside(cfg: &Config, role: Role, arp: &Arp) -> Decided {
    let ours = arp.spa == cfg.gateway || cfg.uplink.is_some_and(|u| u.ip == arp.spa);
    if ours {
        // sw0 speaks for the gateway's address; its announcements are for the containers.
        return match role {
            Role::Host if arp.sha == cfg.gateway_mac => Ok((ArpAction::Bridge, Teach::Nothing)),
            _ => Err(Reason::ArpSpoof),
        };
    }
    let neighbour = cfg.in_subnet(arp.spa) && arp.spa != cfg.subnet && arp.spa != cfg.broadcast();
    let to_gateway = arp.tpa == cfg.gateway && arp.spa != arp.tpa;
    let teach = match (neighbour, to_gateway) {
        (false, _) => Teach::Nothing,
        (true, true) => Teach::Create,
        (true, false) => Teach::Update,
    };
    // sw0 may probe for its own address: to answer that would tell it of a duplicate.
    if role == Role::Access && to_gateway && arp.op == REQUEST {
        return Ok((reply(arp, cfg.gateway_mac), teach));
    }
    Ok((ArpAction::Bridge, teach))
}

fn from_uplink(cfg: &Config, uplink: &UplinkConfig, p: &Parsed, arp: &Arp) -> Decided {
    if p.dst != uplink.mac && !p.dst.is_broadcast() {
        return Err(Reason::NotForUs);
    }
    if cfg.is_external(arp.spa) || cfg.in_subnet(arp.spa) {
        return Err(Reason::ArpSpoof);
    }
    let near = match &cfg.host {
        Some(host) => host.is_neighbour(arp.spa),
        None => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(uplink.prefix.min(32)))
                .unwrap_or(0);
            let on_link = arp.spa.to_bits() & mask == uplink.ip.to_bits() & mask;
            on_link || arp.spa == uplink.next_hop
        }
    };
    let neighbour = !arp.spa.is_unspecified() && near;
    let to_us = cfg.is_external(arp.tpa);
    let teach = match (neighbour, to_us) {
        (false, _) => Teach::Nothing,
        (true, true) => Teach::Create,
        (true, false) => Teach::Update,
    };
    // The host whose address is shared answers for it.
    if to_us && arp.op == REQUEST && cfg.host.is_none() {
        return Ok((reply(arp, uplink.mac), teach));
    }
    Ok((ArpAction::Consume, teach))
}

/// Addresses that no ARP sender can have; 0.0.0.0 is a probe's.
fn never_a_sender(ip: Ipv4Addr) -> bool {
    let first = ip.octets()[0];
    ip.is_loopback() || first >= 224 || (first == 0 && !ip.is_unspecified())
}
