//! Which ports the switch of a replay has.

use super::capture::Capture;
use super::lab::Setup;
use crate::plan::Plan;
use crate::workers::config;
use dataplane::base::{Mac, PortId, Role};
use dataplane::port::Caps;
use dataplane::slow::{PortSpec, UplinkConfig};
use std::net::Ipv4Addr;

/// The interface name that means the outside.
const UPLINK: &str = "uplink";
/// The port of packets whose interface has no name.
const UNNAMED: &str = "web";
/// The uplink of a capture that has one when no setting says which (RFC 5737's first network).
const DEFAULT_UPLINK: (Ipv4Addr, u8, Ipv4Addr) =
    (Ipv4Addr::new(192, 0, 2, 1), 24, Ipv4Addr::new(192, 0, 2, 2));

/// A fixed key: the same capture gives the same output, always.
const HASH_KEY: [u64; 3] = [0x5377_6974, 0x6368_6420, 0x7265_706c];

/// The switch for a capture under a plan, and the index of each interface's port.
pub fn setup(capture: &Capture, plan: &Plan, caps: Caps, workers: usize) -> (Setup, Vec<usize>) {
    let mut config = config(plan, HASH_KEY);
    // A capture has no host beside it whose address is shared.
    config.host = None;
    let outside = capture
        .interfaces
        .iter()
        .find(|i| i.name.as_deref() == Some(UPLINK));
    if let (None, Some(i)) = (config.uplink, outside) {
        let (ip, prefix, peer) = DEFAULT_UPLINK;
        config.uplink = Some(UplinkConfig {
            ip,
            prefix,
            mac: Mac::from_ip(ip),
            next_hop: i.ip.filter(|p| *p != ip).unwrap_or(peer),
            mtu: config.mtu,
        });
    }
    let spec = |name: &str, role, mac, ip| PortSpec {
        name: name.to_owned(),
        role,
        mac,
        ip,
        mtu: config.mtu,
    };
    let host = plan.network.bridge.as_str();
    let mut ports = vec![spec(
        host,
        Role::Host,
        config.gateway_mac,
        Some(config.gateway),
    )];
    if let Some(u) = config.uplink {
        let mac = outside.and_then(|i| i.mac);
        ports.push(spec(
            UPLINK,
            Role::Uplink,
            mac.unwrap_or_else(|| Mac::from_ip(u.next_hop)),
            Some(u.next_hop),
        ));
    }
    for a in &plan.attach {
        let name = a.netns.to_string();
        if ports.iter().all(|p| p.name != name && p.mac != a.mac) {
            ports.push(spec(&name, Role::Access, a.mac, Some(a.ip)));
        }
    }
    let mut of_interface = Vec::new();
    for i in &capture.interfaces {
        // No packet of another kind is replayed; and what has more interfaces than a switch has
        // ports is refused when the switch is made.
        if i.refused().is_some() || ports.len() > PortId::MAX_PORTS {
            of_interface.push(0);
            continue;
        }
        let name = i.name.as_deref().unwrap_or(UNNAMED);
        let known = ports.iter().position(|p| p.name == name);
        of_interface.push(known.unwrap_or_else(|| {
            let mac = i
                .mac
                .filter(|m| !m.is_group() && *m != Mac::ZERO && ports.iter().all(|p| p.mac != *m));
            // An address that nobody has: it only keeps the table's entries apart.
            let stand_in = || Mac::from_u64(0x02_00_00_00_00_00 | ports.len() as u64);
            let ip = i.ip.filter(|ip| {
                mac.is_some() && config.in_subnet(*ip) && ports.iter().all(|p| p.ip != Some(*ip))
            });
            let new = spec(name, Role::Access, mac.unwrap_or_else(stand_in), ip);
            ports.push(new);
            ports.len() - 1
        }));
    }
    let setup = Setup {
        config,
        ports,
        publications: plan.ports.clone(),
        caps,
        workers,
    };
    (setup, of_interface)
}
