//! Which addresses of the subnet are taken, and which comes next.

use super::Network;
use dataplane::base::Mac;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Why an address or MAC can't be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Outside.
    #[error("{ip} is outside the subnet {subnet}: choose an address inside it")]
    Outside {
        /// The address.
        ip: Ipv4Addr,
        /// The subnet.
        subnet: ipnet::Ipv4Net,
    },
    /// Network or broadcast address.
    #[error("{ip} is the {which} address of {subnet}: choose one between them")]
    Reserved {
        /// The address.
        ip: Ipv4Addr,
        /// "network" or "broadcast".
        which: &'static str,
        /// The subnet.
        subnet: ipnet::Ipv4Net,
    },
    /// The gateway's.
    #[error("{0} is the gateway's address: choose another")]
    Gateway(Ipv4Addr),
    /// Somebody else's.
    #[error("{ip} is already used by {by}: choose another")]
    Used {
        /// The address.
        ip: Ipv4Addr,
        /// The label of its owner.
        by: String,
    },
    /// Somebody else's MAC.
    #[error("MAC {mac} is already used by {by}: choose another")]
    MacUsed {
        /// The MAC.
        mac: Mac,
        /// The label of its owner.
        by: String,
    },
    /// None left.
    #[error("no address is free in {0}: detach something or use a larger subnet")]
    Full(ipnet::Ipv4Net),
}

/// The taken addresses and MACs of a network, each with the label of its owner.
#[derive(Clone, Debug)]
pub struct Addresses {
    network: Network,
    ips: BTreeMap<Ipv4Addr, String>,
    macs: BTreeMap<Mac, String>,
}

impl Addresses {
    /// Only the gateway's are taken.
    pub fn new(network: &Network) -> Addresses {
        Addresses {
            network: network.clone(),
            ips: BTreeMap::new(),
            macs: BTreeMap::from([(network.gateway_mac(), "the gateway".to_owned())]),
        }
    }

    /// Whether a container can have `ip`: in the subnet, not network, broadcast or gateway.
    ///
    /// # Errors
    /// What speaks against it.
    pub fn container(&self, ip: Ipv4Addr) -> Result<(), AddressError> {
        let n = &self.network;
        host_of(n.subnet, ip)?;
        if ip == n.gateway {
            return Err(AddressError::Gateway(ip));
        }
        Ok(())
    }

    /// Takes `ip` and `mac` for `label`.
    ///
    /// # Errors
    /// What speaks against it; nothing was taken then.
    pub fn take(&mut self, ip: Ipv4Addr, mac: Mac, label: &str) -> Result<(), AddressError> {
        self.container(ip)?;
        if let Some(by) = self.ips.get(&ip) {
            return Err(AddressError::Used { ip, by: by.clone() });
        }
        if let Some(by) = self.macs.get(&mac) {
            return Err(AddressError::MacUsed {
                mac,
                by: by.clone(),
            });
        }
        self.ips.insert(ip, label.to_owned());
        self.macs.insert(mac, label.to_owned());
        Ok(())
    }

    /// The lowest address that nobody has, and whose derived MAC nobody has.
    ///
    /// # Errors
    /// [`AddressError::Full`].
    pub fn next_free(&self) -> Result<Ipv4Addr, AddressError> {
        let free = |ip: &Ipv4Addr| {
            *ip != self.network.gateway
                && !self.ips.contains_key(ip)
                && !self.macs.contains_key(&Mac::from_ip(*ip))
        };
        self.network
            .subnet
            .hosts()
            .find(free)
            .ok_or(AddressError::Full(self.network.subnet))
    }

    /// Gives back what was taken with `ip` and `mac`.
    pub fn release(&mut self, ip: Ipv4Addr, mac: Mac) {
        self.ips.remove(&ip);
        self.macs.remove(&mac);
    }
}

/// Whether a host of `subnet` can have `ip`: inside, and neither first nor last.
///
/// # Errors
/// What speaks against it.
pub fn host_of(subnet: ipnet::Ipv4Net, ip: Ipv4Addr) -> Result<(), AddressError> {
    if !subnet.contains(&ip) {
        return Err(AddressError::Outside { ip, subnet });
    }
    let reserved = |which| Err(AddressError::Reserved { ip, which, subnet });
    if ip == subnet.network() {
        return reserved("network");
    }
    if ip == subnet.broadcast() {
        return reserved("broadcast");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(subnet: &str, gateway: &str) -> Addresses {
        Addresses::new(&Network {
            subnet: subnet.parse().unwrap(),
            gateway: gateway.parse().unwrap(),
            bridge: "sw0".parse().unwrap(),
            mtu: 1500,
        })
    }

    fn ip(s: &str) -> Ipv4Addr {
        s.parse().unwrap()
    }

    #[test]
    fn lowest_free_address_first_until_none_is_left() {
        let mut a = net("10.0.0.0/29", "10.0.0.1");
        a.take(ip("10.0.0.3"), Mac([2, 0, 0, 0, 0, 1]), "x")
            .unwrap();
        for want in ["10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"] {
            let got = a.next_free().unwrap();
            assert_eq!(got, ip(want));
            a.take(got, Mac::from_ip(got), "y").unwrap();
        }
        assert!(matches!(a.next_free(), Err(AddressError::Full(_))));
        a.release(ip("10.0.0.4"), Mac::from_ip(ip("10.0.0.4")));
        assert_eq!(a.next_free().unwrap(), ip("10.0.0.4"));
    }

    #[test]
    fn an_address_whose_derived_mac_is_taken_is_passed_over() {
        let mut a = net("10.0.0.0/24", "10.0.0.1");
        let stolen = Mac::from_ip(ip("10.0.0.2"));
        a.take(ip("10.0.0.9"), stolen, "x").unwrap();
        assert_eq!(a.next_free().unwrap(), ip("10.0.0.3"));
    }

    #[test]
    fn refusals_take_nothing() {
        let mut a = net("10.0.0.0/24", "10.0.0.1");
        let m = |d| Mac([2, 0, 0, 0, 0, d]);
        a.take(ip("10.0.0.2"), m(1), "web").unwrap();
        for (addr, mac, part) in [
            ("10.0.1.2", m(2), "outside the subnet 10.0.0.0/24"),
            ("10.0.0.0", m(2), "network address"),
            ("10.0.0.255", m(2), "broadcast address"),
            ("10.0.0.1", m(2), "gateway's address"),
            ("10.0.0.2", m(2), "already used by web"),
            (
                "10.0.0.3",
                m(1),
                "MAC 02:00:00:00:00:01 is already used by web",
            ),
            (
                "10.0.0.3",
                Mac::from_ip(ip("10.0.0.1")),
                "used by the gateway",
            ),
        ] {
            let e = a.take(ip(addr), mac, "new").unwrap_err().to_string();
            assert!(e.contains(part), "{e}");
        }
        a.take(ip("10.0.0.3"), m(2), "new").unwrap();
    }
}
