//! What goes over the API. Field names are part of version 1: they may be added to, never
//! changed. Addresses are strings as people write them, times are milliseconds.

pub use super::stats::{Balance, Counters, Drop, Localhost, Stats, Tables};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// A namespace to attach.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields, expecting = "an object with a spec")]
pub struct AttachRequest {
    /// `NETNS[:IP][,name=eth0][,mac=..]`
    pub spec: String,
}

/// A port to publish.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields, expecting = "an object with a spec")]
pub struct PublishRequest {
    /// `[HOST_IP:]PORT[-END]:CONTAINER_IP:PORT[-END][/tcp|udp]`
    pub spec: String,
}

/// What the daemon is and how it does.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Milliseconds since it was ready.
    pub uptime_ms: u64,
    /// Name of the host's interface.
    pub bridge: String,
    /// The subnet.
    pub subnet: String,
    /// The gateway's address.
    pub gateway: Ipv4Addr,
    /// The gateway's MAC.
    pub gateway_mac: String,
    /// MTU in IP bytes.
    pub mtu: u16,
    /// Worker threads.
    pub workers: usize,
    /// What TAPs do for us: a list of `csum`, `tso`, `uso`, `none`, or `off` for plain TAPs.
    pub offload: String,
    /// The namespace that plays the host.
    pub host_netns: HostNetns,
    /// The outside, if there is one.
    pub uplink: Option<Uplink>,
    /// Whether published ports listen on the host too.
    pub localhost: bool,
    /// Ports of the switch.
    pub ports: usize,
    /// Published ports.
    pub publications: usize,
    /// Tracked connections.
    pub connections: usize,
}

/// The host's namespace, as `stat` on it tells it from others.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct HostNetns {
    /// As it was given; empty for the one that the daemon was started in.
    pub name: String,
    /// Device number of the namespace's file.
    pub dev: u64,
    /// Its inode number.
    pub ino: u64,
}

/// The outside.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Uplink {
    /// The namespace; empty for the one that the daemon was started in.
    pub netns: String,
    /// The interface in there.
    pub interface: String,
    /// The switch's external address, with prefix length.
    pub ip: String,
    /// The address of the interface in there, with prefix length; of an interface that is shared
    /// with the host the router of its default route, or nothing.
    pub peer: String,
}

/// What a port is to the switch.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum PortRole {
    /// A container's.
    Access,
    /// The host's.
    Host,
    /// The outside.
    Uplink,
}

/// A port of the switch.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// Its number.
    pub id: u16,
    /// `interface@namespace`, or the interface alone for the host's.
    pub name: String,
    /// Name of the interface at the other end.
    pub interface: String,
    /// Its namespace as it was given; empty for the one that the daemon was started in.
    pub netns: String,
    /// Its part.
    pub role: PortRole,
    /// Address of the interface at the other end.
    pub ip: Option<Ipv4Addr>,
    /// MAC of the interface at the other end.
    pub mac: String,
    /// MTU in IP bytes.
    pub mtu: u16,
    /// Frames read from it (a superframe counts once).
    pub rx_frames: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames given to it.
    pub tx_frames: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Frames lost that came in by it or could not leave by it.
    pub drops: u64,
}

/// Packets and their bytes.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl From<(u64, u64)> for Count {
    fn from((packets, bytes): (u64, u64)) -> Count {
        Count { packets, bytes }
    }
}

/// A published port.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Publication {
    /// Its id, unique for the life of the switch.
    pub id: u32,
    /// As it would be written for `--ports`.
    pub spec: String,
    /// `tcp` or `udp`.
    pub proto: String,
    /// Only this local address; null: any.
    pub host_ip: Option<Ipv4Addr>,
    /// First external port.
    pub first: u16,
    /// Last external port.
    pub last: u16,
    /// The container.
    pub ip: Ipv4Addr,
    /// The container's port of `first`.
    pub port: u16,
    /// Whether the host listens on it too.
    pub localhost: bool,
    /// Connections that it translated.
    pub dnat: Count,
}

/// An entry of the forwarding database.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct FdbEntry {
    /// The address.
    pub mac: String,
    /// The VLAN, 0 for untagged.
    pub vlan: u16,
    /// Name of the port behind which it is.
    pub port: String,
    /// Name of the bridge: the host's interface.
    pub bridge: String,
    /// True for the address of the bridge itself.
    pub permanent: bool,
    /// True for one that is not aged.
    #[serde(rename = "static")]
    pub is_static: bool,
    /// Milliseconds since it was last heard.
    pub idle_ms: u32,
}

/// A neighbour.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its MAC, if it is known.
    pub mac: Option<String>,
    /// The interface by which the host would reach it, or the uplink's name.
    pub device: String,
    /// `REACHABLE`, `STALE`, … as `ip neigh` says.
    pub state: String,
    /// Milliseconds since it was last heard.
    pub idle_ms: u32,
}

/// The nat table.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// PREROUTING, INPUT, OUTPUT, POSTROUTING, DOCKER.
    pub chains: Vec<Chain>,
}

/// A chain.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// What its policy ACCEPT let through; null for a chain that rules jump to.
    pub policy: Option<Count>,
    /// How many rules jump to it; null for a chain with a policy.
    pub references: Option<u32>,
    /// Its rules in order.
    pub rules: Vec<Rule>,
}

/// A rule of a chain. As in netfilter's nat table, only the first packet of a connection counts.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The published port that made it; null for those that are always there.
    pub publication: Option<u32>,
    /// What it matched.
    pub count: Count,
    /// Where it leads.
    pub target: String,
    /// `all`, `tcp` or `udp`.
    pub proto: String,
    /// Ingress interface, `!` before it for "not", `*` for any.
    #[serde(rename = "in")]
    pub input: String,
    /// Egress interface, likewise.
    #[serde(rename = "out")]
    pub output: String,
    /// Source network.
    pub source: String,
    /// Destination network, `!` before it for "not".
    pub destination: String,
    /// Further matches and what the target does.
    pub extra: String,
}

/// A tracked connection.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Connection {
    /// `tcp`, `udp`, `icmp`.
    pub proto: String,
    /// The same as a number.
    pub proto_number: u8,
    /// Milliseconds until it is forgotten if nothing more comes.
    pub expires_ms: u32,
    /// TCP's state, else empty.
    pub state: String,
    /// As the first packet was.
    pub orig: Tuple,
    /// As answers are.
    pub reply: Tuple,
    /// Whether an answer was seen.
    pub replied: bool,
    /// Whether it counts as established.
    pub assured: bool,
    /// The published port that led it; null for none.
    pub publication: Option<u32>,
}

/// One direction of a connection.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Tuple {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Source port (TCP, UDP).
    pub sport: Option<u16>,
    /// Destination port (TCP, UDP).
    pub dport: Option<u16>,
    /// Type of the query or answer (ICMP).
    pub icmp_type: Option<u8>,
    /// Its identifier (ICMP).
    pub icmp_id: Option<u16>,
}
