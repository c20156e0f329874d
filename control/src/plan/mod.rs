//! What the daemon is to do, checked before anything is done: [`spec`] reads words, [`validate`]
//! asks whether they fit together, [`undo`] takes back
//! what was done when a later step fails.

pub mod addresses;
pub mod failure;
pub mod spec;
mod tables;
pub mod undo;
pub mod validate;

pub use addresses::Addresses;
pub use failure::Failure;
pub use spec::{
    AttachSpec, IfName, LogSpec, NetnsRef, SocketsSpec, UplinkNic, UplinkSpec, UplinkTap,
};
pub use undo::Undo;

use dataplane::base::Mac;
use dataplane::nat::Publication;
use dataplane::slow::{Limits, Timeouts};
use ipnet::Ipv4Net;
use spec::scalar::Offload;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

/// The bridge domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    /// Its subnet, host bits zero.
    pub subnet: Ipv4Net,
    /// The gateway's address, a host address of the subnet.
    pub gateway: Ipv4Addr,
    /// Name of the host's interface.
    pub bridge: IfName,
    /// MTU in IP bytes.
    pub mtu: u16,
}

impl Network {
    /// The MAC of the gateway, and so of the host's interface.
    pub const fn gateway_mac(&self) -> Mac {
        Mac::from_ip(self.gateway)
    }
}

/// A namespace to attach, complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attach {
    /// The namespace.
    pub netns: NetnsRef,
    /// Name of the interface in there.
    pub name: IfName,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its MAC.
    pub mac: Mac,
}

/// A whole, validated configuration of the daemon: nothing in it contradicts itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The bridge domain.
    pub network: Network,
    /// Worker threads, at least 1.
    pub workers: usize,
    /// Whether a single one gets a second beside it for sustained bulk.
    pub bulk_worker: bool,
    /// How long a worker polls at most before it blocks; zero: not at all.
    pub spin: Duration,
    /// Whether idle states of the CPU are held off while frames flow.
    pub low_latency: bool,
    /// What TAPs are asked to do for us.
    pub offload: Offload,
    /// Path of the control socket.
    pub control: PathBuf,
    /// The namespace that plays the host; `None`: the one that the daemon was started in.
    pub host_netns: Option<NetnsRef>,
    /// The outside world, if there is one.
    pub uplink: UplinkSpec,
    /// Whether published ports listen on the host as well.
    pub localhost: bool,
    /// Namespaces to attach at start, in order.
    pub attach: Vec<Attach>,
    /// Ports to publish at start, in order.
    pub ports: Vec<Publication>,
    /// How long things are remembered.
    pub timeouts: Timeouts,
    /// How many are remembered.
    pub limits: Limits,
    /// Whether TCP connections are taken up in their middle.
    pub tcp_pickup: bool,
    /// Whether multicast follows IGMP reports.
    pub igmp_snooping: bool,
    /// How to log.
    pub log: LogSpec,
}
