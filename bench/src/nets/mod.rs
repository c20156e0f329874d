//! Two networks with the same hosts: two containers on a bridge domain 10.0.0.0/24, a host that is
//! their gateway, and an outside client on 192.0.2.0/24 that reaches the first container by the
//! published ports 5000 to 5100.

mod all;
mod links;
mod patch;
mod switch;
mod twin;
mod veth;

pub use all::{Nets, Wishes};
pub use patch::{PatchNet, serve_patch};
pub use switch::{SwitchNet, serve, takes};
pub use twin::TwinNet;
pub use veth::{SlirpNet, VethNet};

use crate::Result;
use crate::loss::Counters;
use control::attach::loopback_up;
use control::netlink::Real;
use control::netns::Netns;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

/// Gateway of the containers.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// First container: it has the published ports.
pub const C1: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// Second container.
pub const C2: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
/// The host's external address.
pub const UPLINK: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The client outside.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// First published port.
pub const PORT: u16 = 5000;
/// Last published port.
pub const LAST_PORT: u16 = 5100;

/// The namespaces of one network.
#[derive(Debug)]
pub struct Hosts {
    /// The host: gateway, and the external address.
    pub host: Arc<Netns>,
    /// First container.
    pub c1: Arc<Netns>,
    /// Second container.
    pub c2: Arc<Netns>,
    /// The client outside.
    pub outside: Arc<Netns>,
}

impl Hosts {
    fn create() -> Result<Hosts> {
        let one = || Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Arc::new(namespace()?));
        Ok(Hosts {
            host: one()?,
            c1: one()?,
            c2: one()?,
            outside: one()?,
        })
    }
}

/// A namespace with its loopback up, and without IPv6, as Docker makes them for its default bridge.
fn namespace() -> Result<Netns> {
    let ns = Netns::create()?;
    loopback_up(&mut Real::inside(&ns)?)?;
    // For interfaces that come later. Where the kernel has no IPv6 there is no such file.
    ns.run(|| {
        let _ = std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    })?;
    Ok(ns)
}

/// The way that a measure's traffic takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Container to container.
    L2,
    /// From outside to a container by a published port.
    Dnat,
    /// From a container to the outside.
    Masquerade,
}

/// What a measure is made on. Where two of them stand for one network they differ in how it is used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// docker0's twin.
    Twin,
    /// docker0's twin while all cores are held awake.
    TwinAwake,
    /// The zero-work patch between two TAPs.
    Patch,
    /// switchd with its default flags, and those given for it.
    Switchd,
    /// The same with `--latency low`.
    LowLatency,
    /// The same with many ports.
    Crowd,
    /// A plain veth pair, MTU 1500.
    Veth,
    /// The same with MTU 65520.
    VethJumbo,
    /// switchd with `--uplink sockets`, MTU 1500.
    Sockets,
    /// The same with MTU 65520.
    SocketsJumbo,
    /// switchd with `--uplink nic`: the host's interface and address are shared with it.
    Nic,
    /// slirp4netns, MTU 1500.
    Slirp,
    /// The same with MTU 65520.
    SlirpJumbo,
}

impl Side {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Side::Twin => "twin",
            Side::TwinAwake => "twin, cores awake",
            Side::Patch => "patch",
            Side::Switchd => "switchd",
            Side::LowLatency => "switchd --latency low",
            Side::Crowd => "switchd, many ports",
            Side::Veth => "veth pair",
            Side::VethJumbo => "veth pair, MTU 65520",
            Side::Sockets => "switchd --uplink sockets",
            Side::SocketsJumbo => "switchd --uplink sockets, MTU 65520",
            Side::Nic => "switchd --uplink nic",
            Side::Slirp => "slirp4netns",
            Side::SlirpJumbo => "slirp4netns, MTU 65520",
        }
    }

    /// The network that it needs, as the side that uses it as it is.
    pub const fn network(self) -> Side {
        match self {
            Side::TwinAwake => Side::Twin,
            other => other,
        }
    }
}

/// A network that traffic can be sent through.
pub trait Net {
    /// Its hosts.
    fn hosts(&self) -> &Hosts;
    /// Why it can't carry this way here, if it can't.
    fn lacks(&self, way: Way) -> Option<&'static str>;
    /// The process whose CPU time the network itself costs, if there is one.
    fn pid(&self) -> Option<u32>;
    /// Whether its own counters add up, and its process is the one that it was.
    ///
    /// # Errors
    /// What does not add up.
    fn check(&mut self) -> Result<()>;

    /// Everything that counts what gets lost.
    ///
    /// # Errors
    /// When it can't be read.
    fn counters(&self) -> Result<Counters> {
        let mut all = Counters::default();
        let h = self.hosts();
        for (name, ns) in [
            ("host", &h.host),
            ("c1", &h.c1),
            ("c2", &h.c2),
            ("outside", &h.outside),
        ] {
            all.add_namespace(name, ns)?;
        }
        all.add_machine();
        Ok(all)
    }

    /// Client's namespace, server's namespace, and the address that the client uses.
    fn ends(&self, way: Way) -> (&Netns, &Netns, SocketAddrV4) {
        let h = self.hosts();
        let (client, server, ip) = match way {
            Way::L2 => (&h.c2, &h.c1, C1),
            Way::Dnat => (&h.outside, &h.c1, UPLINK),
            Way::Masquerade => (&h.c1, &h.outside, OUTSIDE),
        };
        (client, server, SocketAddrV4::new(ip, PORT))
    }
}
