//! `--uplink sockets`: the engine behind the switch's uplink and host ports.

use super::{Attachment, Shared};
use crate::api::ApiError;
use crate::api::types::Uplink;
use crate::plan::spec::{Dns, publication};
use crate::plan::{Failure, Plan};
use crate::resolv;
use crate::uplink::sockets::{Config, EXTERNAL, ListenError, NEXT_HOP, PREFIX, SOCKETS, Sockets};
use crate::workers::{Far, Workers};
use dataplane::base::{Mac, Role, RuleId};
use dataplane::nat::{Publication, PublishError};
use dataplane::port::PortQueue;
use ipnet::Ipv4Net;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The engine that the plan asks for.
pub(super) fn engine(plan: &Plan, queues: usize) -> Result<Option<Sockets>, Failure> {
    let Some(spec) = plan.uplink.sockets() else {
        return Ok(None);
    };
    let server = match spec.dns {
        Dns::Off => None,
        Dns::To(ip) => Some(ip),
        Dns::Host => resolv::first_server(),
    };
    let n = &plan.network;
    let config = Config {
        gateway: n.gateway,
        gateway_mac: n.gateway_mac(),
        uplink_mac: Mac::from_ip(EXTERNAL),
        mtu: n.mtu,
        subnet: (n.subnet.network(), mask(n.subnet)),
        resolver: server.map(|ip| SocketAddrV4::new(ip, 53)),
        timeouts: plan.timeouts,
        queues,
    };
    Sockets::new(config)
        .map(Some)
        .map_err(|e| Failure::Refused(format!("--uplink sockets: {e}")))
}

fn mask(net: Ipv4Net) -> u32 {
    net.netmask().to_bits()
}

/// Connects the engine to the switch: as the outside, and as the host behind the gateway.
pub(super) fn ports(shared: &Shared, engine: &Sockets) -> Result<(), Failure> {
    let n = &shared.plan.network;
    let add = |role, interface: &str, ip: Ipv4Addr, queues: Vec<Box<dyn PortQueue>>| {
        let attachment = Attachment {
            role,
            netns: String::new(),
            netns_id: shared.host,
            interface: interface.to_owned(),
            ip,
            mac: Mac::from_ip(ip),
        };
        let far = Far {
            name: interface.to_owned(),
            role,
            mac: attachment.mac,
            ip,
            mtu: n.mtu,
        };
        let id = shared.workers.add_queues(far, queues);
        let id = id.map_err(Failure::refused)?;
        shared.state().ports.insert(id, attachment);
        Ok::<_, Failure>(())
    };
    let (host, uplink) = (engine.host_queues(), engine.uplink_queues());
    add(Role::Host, n.bridge.as_str(), n.gateway, host)?;
    add(Role::Uplink, SOCKETS, NEXT_HOP, uplink)
}

/// What reports call the outside.
pub(super) fn shown() -> Uplink {
    Uplink {
        netns: String::new(),
        interface: SOCKETS.to_owned(),
        ip: format!("{EXTERNAL}/{PREFIX}"),
        peer: format!("{NEXT_HOP}/{PREFIX}"),
    }
}

/// The rule by which the switch leads what the engine sends to a published port. The engine knows
/// on which address of the host it listens; the switch knows one external address.
fn rule(p: &Publication) -> Publication {
    match p.host_ip {
        Some(ip) if !ip.is_loopback() => Publication {
            host_ip: Some(EXTERNAL),
            ..*p
        },
        _ => *p,
    }
}

/// Gives the switch the rule of a publication, and says by which external port it begins: its own,
/// unless another address of the host has that one published already. `asked`: what is published.
pub(super) fn publish<'a>(
    workers: &Workers,
    p: &Publication,
    mut asked: impl Iterator<Item = &'a Publication>,
) -> Result<(RuleId, u16), PublishError> {
    if let Some(old) = asked.find(|old| publication::overlap(old, p)) {
        return Err(PublishError::Overlap { new: *p, old: *old });
    }
    let mut rule = rule(p);
    let mut refused = match workers.publish(rule) {
        Ok(id) => return Ok((id, rule.first)),
        Err(e) => e,
    };
    // Masquerade takes none of the low ports unless a container sends from one: from there on.
    rule.first = 1;
    while let PublishError::Overlap { .. } = refused {
        let Some(last) = rule.first.checked_add(p.last - p.first) else {
            break;
        };
        rule.last = last;
        refused = match workers.publish(rule) {
            Ok(id) => return Ok((id, rule.first)),
            Err(PublishError::Overlap { old, .. }) if old.last < u16::MAX => {
                rule.first = old.last + 1;
                refused
            }
            Err(e) => e,
        };
    }
    Err(refused)
}

pub(super) fn refusal(e: &ListenError) -> ApiError {
    match e {
        ListenError::InUse { .. } | ListenError::NoAddress(_) => ApiError::conflict(e),
        _ => ApiError::refused(e),
    }
}
