//! What the switch is told at its start.

use super::{HostNet, Mac, PortId, Role};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// The whole configuration of the dataplane.
#[derive(Clone, Debug)]
pub struct Config {
    /// Network address of the bridge domain.
    pub subnet: Ipv4Addr,
    /// Its prefix length, 8 to 30.
    pub prefix: u8,
    /// The gateway's address, inside the subnet; `sw0` carries it.
    pub gateway: Ipv4Addr,
    /// The gateway's MAC: the MAC of `sw0`.
    pub gateway_mac: Mac,
    /// MTU of the bridge domain (IP bytes).
    pub mtu: u16,
    /// The outside, if there is one.
    pub uplink: Option<UplinkConfig>,
    /// The host, when the uplink shares its interface and address.
    pub host: Option<Arc<HostNet>>,
    /// How long things are remembered.
    pub timeouts: Timeouts,
    /// How many are remembered.
    pub limits: Limits,
    /// Whether a TCP connection that is first seen in its middle is tracked from there.
    pub tcp_pickup: bool,
    /// Whether multicast goes only where IGMP reports asked for it.
    pub igmp_snooping: bool,
    /// Secret of the table hashes and of the random port choice; random in production.
    pub hash_key: [u64; 3],
}

impl Config {
    /// A configuration with defaults for everything but the subnet and its gateway.
    pub fn new(subnet: Ipv4Addr, prefix: u8, gateway: Ipv4Addr) -> Config {
        Config {
            subnet,
            prefix,
            gateway,
            gateway_mac: Mac::from_ip(gateway),
            mtu: 1500,
            uplink: None,
            host: None,
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            tcp_pickup: false,
            igmp_snooping: true,
            hash_key: [0x5117, 0xc4d, 0x1d],
        }
    }

    /// Netmask as an integer.
    pub const fn mask(&self) -> u32 {
        match self.prefix {
            0 => 0,
            p @ 1..=31 => u32::MAX << (32 - p),
            _ => u32::MAX,
        }
    }

    /// Whether `ip` lies in the bridge domain's subnet.
    #[inline]
    pub const fn in_subnet(&self, ip: Ipv4Addr) -> bool {
        ip.to_bits() & self.mask() == self.subnet.to_bits() & self.mask()
    }

    /// Whether the outside reaches the switch by this address: the uplink's, or any of the host
    /// that it shares.
    #[inline]
    pub fn is_external(&self, ip: Ipv4Addr) -> bool {
        self.uplink.is_some_and(|u| u.ip == ip) || self.is_hosts(ip)
    }

    /// Whether the host, whose interface is shared, has this address.
    #[inline]
    pub fn is_hosts(&self, ip: Ipv4Addr) -> bool {
        self.host.as_ref().is_some_and(|h| h.has(ip))
    }

    /// The subnet's directed broadcast address.
    pub const fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.subnet.to_bits() | !self.mask())
    }
}

/// The switch's own leg in the outside network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UplinkConfig {
    /// The external address: what masquerade puts as source.
    pub ip: Ipv4Addr,
    /// Prefix length of the outside network: what is on-link there.
    pub prefix: u8,
    /// Our MAC on it.
    pub mac: Mac,
    /// Next hop for everything that is not on-link.
    pub next_hop: Ipv4Addr,
    /// MTU (IP bytes).
    pub mtu: u16,
}

impl UplinkConfig {
    const fn mask(&self) -> u32 {
        match self.prefix {
            0 => 0,
            p @ 1..=31 => u32::MAX << (32 - p),
            _ => u32::MAX,
        }
    }

    /// Whether `ip` is a neighbour on the uplink's own network.
    pub const fn on_link(&self, ip: Ipv4Addr) -> bool {
        ip.to_bits() & self.mask() == self.ip.to_bits() & self.mask()
    }
}

/// Timeouts; the defaults meet every RFC floor (RFC 4787 REQ-5, 5382 REQ-5, 5508 REQ-1, 7857).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// Established TCP.
    pub tcp_established: Duration,
    /// TCP that opens.
    pub tcp_transitory: Duration,
    /// TCP that closed, by both FINs or a RST.
    pub tcp_closing: Duration,
    /// UDP.
    pub udp: Duration,
    /// ICMP queries.
    pub icmp: Duration,
    /// FDB entries.
    pub fdb: Duration,
    /// A fragmented packet whose first fragment is missing.
    pub fragment: Duration,
    /// A neighbour that was not heard of is asked again after this.
    pub neigh: Duration,
    /// A UDP port or echo identifier of masquerade that was given back rests for this long.
    pub port_rest: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            tcp_established: Duration::from_secs(7_440),
            tcp_transitory: Duration::from_secs(240),
            tcp_closing: Duration::from_secs(240),
            udp: Duration::from_secs(300),
            icmp: Duration::from_secs(60),
            fdb: Duration::from_secs(300),
            fragment: Duration::from_secs(15),
            neigh: Duration::from_secs(60),
            port_rest: Duration::from_secs(120),
        }
    }
}

/// Table sizes; fixed at start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections.
    pub connections: u32,
    /// Half-open connections (TCP before the handshake's end) of one ingress port.
    pub half_open_per_port: u32,
    /// Connections opened from one ingress port.
    pub connections_per_port: u32,
    /// Connections of one inside address, opened by it or to it; `u32::MAX`: no limit.
    pub connections_per_host: u32,
    /// External ports of one inside address, all protocols together; `u32::MAX`: no limit.
    pub ports_per_host: u32,
    /// FDB entries.
    pub fdb: u32,
    /// Neighbours.
    pub neighbours: u32,
    /// Fragmented packets under way.
    pub fragments: u32,
    /// Memberships in multicast groups.
    pub memberships: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 262_144,
            half_open_per_port: 65_536,
            connections_per_port: 262_144,
            connections_per_host: u32::MAX,
            ports_per_host: u32::MAX,
            fdb: 16_384,
            neighbours: 4_096,
            fragments: 1_024,
            memberships: 4_096,
        }
    }
}

/// What the switch is told about a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// Name for people (`web`, `sw0`).
    pub name: String,
    /// Its part.
    pub role: Role,
    /// MAC of the interface at its other end.
    pub mac: Mac,
    /// IPv4 address of that interface, if known: seeds the neighbour table.
    pub ip: Option<Ipv4Addr>,
    /// MTU of that interface (IP bytes).
    pub mtu: u16,
}

/// A port in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// Its index.
    pub id: PortId,
    /// What it was made from.
    pub spec: PortSpec,
}
