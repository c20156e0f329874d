//! What the host has now, and what follows from it for the uplink.

use crate::netlink::{Address, HostRoute, Link, Netlink, NetlinkError, Real};
use crate::plan::{Network, UplinkNic};
use dataplane::base::{HostNet, Via};
use dataplane::slow::UplinkConfig;
use std::net::Ipv4Addr;

/// A host's interfaces, addresses and routes at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// Its interfaces.
    pub links: Vec<Link>,
    /// Its addresses, in the kernel's order.
    pub addresses: Vec<Address>,
    /// Its routes, best first.
    pub routes: Vec<HostRoute>,
}

/// The interface to share, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The switch's leg, as the dataplane wants it.
    pub leg: UplinkConfig,
    /// The host's addresses and routes.
    pub host: HostNet,
}

/// Why there is nothing to share now.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Absent {
    /// No route leads out.
    #[error("the host has no default route: give it one, or name an interface (--uplink nic:NAME)")]
    NoRoute,
    /// No interface of this name.
    #[error(
        "the host has no interface '{0}': name one that `ip link` shows, or leave the name out for that of the default route"
    )]
    NoInterface(String),
    /// Frames of it have no Ethernet header.
    #[error("{0} is no Ethernet interface: name another (--uplink nic:NAME)")]
    NotEthernet(String),
    /// It has no address to share.
    #[error("{0} has no IPv4 address: give it one")]
    NoAddress(String),
    /// It is made by the switch.
    #[error("{0} is the switch's own interface: name one that leads out")]
    Own(String),
    /// Its network is the one behind the switch.
    #[error("the network of {name}, {net}, overlaps the subnet {subnet}: choose another --subnet")]
    Overlap {
        /// The interface.
        name: String,
        /// Its network.
        net: ipnet::Ipv4Net,
        /// The subnet.
        subnet: ipnet::Ipv4Net,
    },
}

impl View {
    /// Looks at the host that `netlink` is in.
    ///
    /// # Errors
    /// As every request.
    pub fn take(netlink: &mut Real) -> Result<View, NetlinkError> {
        Ok(View {
            links: netlink.links()?,
            addresses: netlink.addresses()?,
            routes: netlink.host_routes()?,
        })
    }

    /// The interface to share. `current` is the one that is shared now: it stays while no other
    /// has the default route, as when its link is down for a moment.
    ///
    /// # Errors
    /// Why there is none.
    pub fn choose(
        &self,
        wanted: &UplinkNic,
        network: &Network,
        current: Option<u32>,
    ) -> Result<Choice, Absent> {
        let link = match &wanted.ifname {
            Some(name) => {
                let named = self.links.iter().find(|l| l.name == name.as_str());
                named.ok_or_else(|| Absent::NoInterface(name.to_string()))?
            }
            None => {
                let own = self.link_named(network.bridge.as_str());
                let to = self
                    .default_routes()
                    .map(|(index, _)| index)
                    .find(|i| Some(*i) != own)
                    .or(current);
                let link = self.links.iter().find(|l| Some(l.index) == to);
                link.ok_or(Absent::NoRoute)?
            }
        };
        if link.name == network.bridge.as_str() {
            return Err(Absent::Own(link.name.clone()));
        }
        if link.mac == dataplane::base::Mac::ZERO {
            return Err(Absent::NotEthernet(link.name.clone()));
        }
        let address = self.address(link)?;
        let overlapping = self.addresses.iter().filter(|a| a.index == link.index);
        for net in overlapping.filter_map(net_of) {
            if net.contains(&network.subnet) || network.subnet.contains(&net) {
                return Err(Absent::Overlap {
                    name: link.name.clone(),
                    net,
                    subnet: network.subnet,
                });
            }
        }
        let gateway = self.gateway(link.index);
        Ok(Choice {
            index: link.index,
            name: link.name.clone(),
            leg: UplinkConfig {
                ip: address.ip,
                prefix: address.prefix,
                mac: link.mac,
                next_hop: gateway.unwrap_or(Ipv4Addr::UNSPECIFIED),
                mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
            },
            host: self.host(link.index, network),
        })
    }

    fn link_named(&self, name: &str) -> Option<u32> {
        let link = self.links.iter().find(|l| l.name == name);
        link.map(|l| l.index)
    }

    /// Interface and router of each default route, best first.
    fn default_routes(&self) -> impl Iterator<Item = (u32, &HostRoute)> {
        let all = self.routes.iter().filter(|r| r.prefix == 0);
        all.filter_map(|r| r.to.map(|(index, _)| (index, r)))
    }

    fn gateway(&self, index: u32) -> Option<Ipv4Addr> {
        let (_, route) = self.default_routes().find(|(i, _)| *i == index)?;
        route.to.and_then(|(_, router)| router)
    }

    /// As the kernel chooses a source: the default route's own, else the first in the network of
    /// its router, else the first.
    fn address(&self, link: &Link) -> Result<Address, Absent> {
        let here = || self.addresses.iter().filter(|a| a.index == link.index);
        let route = self.default_routes().find(|(i, _)| *i == link.index);
        let source = route.and_then(|(_, r)| r.source);
        let gateway = self.gateway(link.index);
        let preferred = here().find(|a| Some(a.ip) == source);
        let near = || here().find(|a| gateway.is_some_and(|g| holds(a, g)));
        preferred
            .or_else(near)
            .or_else(|| here().next())
            .copied()
            .ok_or_else(|| Absent::NoAddress(link.name.clone()))
    }

    /// Addresses and routes as the dataplane wants them. What belongs to the bridge domain is its
    /// own affair.
    fn host(&self, index: u32, network: &Network) -> HostNet {
        let addresses = self.addresses.iter().map(|a| a.ip);
        let addresses = addresses.filter(|ip| !ip.is_loopback() && !network.subnet.contains(ip));
        let routes = self.routes.iter().map(|r| dataplane::base::HostRoute {
            dst: r.dst,
            prefix: r.prefix,
            via: match r.to {
                Some((i, None)) if i == index => Via::Link,
                Some((i, Some(router))) if i == index => Via::Gateway(router),
                _ => Via::Elsewhere,
            },
        });
        HostNet::new(addresses.collect(), routes.collect())
    }
}

impl Choice {
    /// What is known of the host when nothing is shared: its addresses, and no way out.
    pub fn nothing(view: &View, network: &Network) -> HostNet {
        view.host(0, network)
    }
}

fn net_of(a: &Address) -> Option<ipnet::Ipv4Net> {
    ipnet::Ipv4Net::new(a.ip, a.prefix).ok().map(|n| n.trunc())
}

fn holds(a: &Address, ip: Ipv4Addr) -> bool {
    net_of(a).is_some_and(|n| n.contains(&ip))
}

#[cfg(test)]
#[path = "look_tests.rs"]
mod tests;
