//! rtnetlink (rtnetlink(7)): interfaces, addresses, routes and neighbours of one namespace.
//!
//! [`Netlink`] says what switchd needs of it in its own terms; [`Real`] talks to the kernel, and a
//! fake stands in for it in unit tests. All calls are synchronous: control work is rare, and each
//! step has to be over before the next.

#[cfg(test)]
pub mod fake;
mod message;
mod real;
#[cfg(test)]
mod tests;
mod watch;

pub use real::Real;
pub use watch::{HostRoute, Neighbour, News, Watch};

use dataplane::base::Mac;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

/// An interface.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its Ethernet address; zero for one that has none.
    pub mac: Mac,
    /// IP bytes.
    pub mtu: u32,
    /// Frames.
    pub txqlen: u32,
    /// Administratively up.
    pub up: bool,
    /// It has a carrier and is up.
    pub running: bool,
    /// The bridge that it is a port of.
    pub master: Option<u32>,
    /// Its root queueing discipline, as `noqueue` or `mq`.
    pub qdisc: String,
}

/// What to change about an interface; what is `None` stays. The kernel applies one change in the
/// order of the fields and stops at the first that it refuses.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkChange<'a> {
    /// Move it to this network namespace. What follows then happens there.
    pub netns: Option<BorrowedFd<'a>>,
    /// Ethernet address.
    pub mac: Option<Mac>,
    /// IP bytes.
    pub mtu: Option<u32>,
    /// New name.
    pub name: Option<&'a str>,
    /// Up or down.
    pub up: Option<bool>,
    /// Port of this bridge; 0 takes it out.
    pub master: Option<u32>,
    /// Length of its transmit queue in frames. For a TAP the number that wait to be read.
    pub txqlen: Option<u32>,
    /// Whether it forms IPv6 addresses of its own accord.
    pub ipv6_addresses: Option<bool>,
}

/// An IPv4 address of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// The interface.
    pub index: u32,
    /// The address.
    pub ip: Ipv4Addr,
    /// Length of its network's prefix.
    pub prefix: u8,
}

impl Address {
    /// The directed broadcast address of its network; none for /31 and /32 (RFC 3021).
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        let host = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
        (self.prefix < 31).then(|| Ipv4Addr::from_bits(self.ip.to_bits() | host))
    }
}

/// An IPv4 unicast route of the main table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Destination network; 0.0.0.0 with prefix 0 is the default route.
    pub dst: Ipv4Addr,
    /// Length of its prefix.
    pub prefix: u8,
    /// Next hop; `None` for what is on the link.
    pub gateway: Option<Ipv4Addr>,
    /// The interface that it leaves by, if it has just one.
    pub index: Option<u32>,
}

impl Route {
    /// The default route by a gateway on the link of an interface.
    pub fn default_via(gateway: Ipv4Addr, index: u32) -> Route {
        Route {
            dst: Ipv4Addr::UNSPECIFIED,
            prefix: 0,
            gateway: Some(gateway),
            index: Some(index),
        }
    }

    /// Whether it and the network `ip/prefix` have an address in common. A default route overlaps
    /// nothing: every other route wins over it.
    pub fn overlaps(&self, ip: Ipv4Addr, prefix: u8) -> bool {
        let common = self.prefix.min(prefix);
        let differ = self.dst.to_bits() ^ ip.to_bits();
        self.prefix > 0 && differ.checked_shr(32 - u32::from(common)).unwrap_or(0) == 0
    }
}

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel refused it.
    #[error("{what}: {source}")]
    Refused {
        /// What was attempted, with names and values.
        what: String,
        /// The kernel's errno.
        source: io::Error,
    },
    /// The socket failed.
    #[error("{what}: netlink socket: {source}")]
    Socket {
        /// What was attempted.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The answer makes no sense.
    #[error("{what}: the kernel's answer could not be read: {detail}")]
    Answer {
        /// What was attempted.
        what: String,
        /// What was wrong.
        detail: String,
    },
}

impl NetlinkError {
    /// The errno, if the kernel refused.
    pub fn errno(&self) -> Option<i32> {
        match self {
            NetlinkError::Refused { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

/// Short for results here.
pub type Result<T> = std::result::Result<T, NetlinkError>;

/// The requests, all about one network namespace.
pub trait Netlink: Send {
    /// All interfaces.
    fn links(&mut self) -> Result<Vec<Link>>;
    /// The interface of this name, if there is one.
    fn link(&mut self, name: &str) -> Result<Option<Link>>;
    /// Changes an interface.
    fn change_link(&mut self, index: u32, change: &LinkChange<'_>) -> Result<()>;
    /// Makes a pair of interfaces that are wired to each other.
    fn create_veth(&mut self, name: &str, peer: &str) -> Result<()>;
    /// Makes a bridge.
    fn create_bridge(&mut self, name: &str) -> Result<()>;
    /// Takes the queueing discipline away: what the interface is given to send goes to its driver
    /// at once. To be said while it is down.
    fn no_queue(&mut self, index: u32) -> Result<()>;
    /// Deletes an interface.
    fn delete_link(&mut self, index: u32) -> Result<()>;
    /// All IPv4 addresses.
    fn addresses(&mut self) -> Result<Vec<Address>>;
    /// Gives an interface an address, with its broadcast address and its on-link route.
    fn add_address(&mut self, address: &Address) -> Result<()>;
    /// Takes an address away.
    fn delete_address(&mut self, address: &Address) -> Result<()>;
    /// All IPv4 unicast routes of the main table.
    fn routes(&mut self) -> Result<Vec<Route>>;
    /// Adds a route; one that exists is EEXIST.
    fn add_route(&mut self, route: &Route) -> Result<()>;
    /// Sets a permanent neighbour.
    fn add_neighbour(&mut self, index: u32, ip: Ipv4Addr, mac: Mac) -> Result<()>;
}
