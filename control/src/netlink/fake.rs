//! A namespace that exists only in memory: it remembers what was asked, and can refuse the n-th
//! request.

use super::{Address, Link, LinkChange, Netlink, NetlinkError, Result, Route};
use dataplane::base::Mac;
use std::io;
use std::net::Ipv4Addr;

/// The fake. All fields are for the test to set and to look at.
#[derive(Default)]
pub struct Fake {
    /// The interfaces.
    pub links: Vec<Link>,
    /// The addresses.
    pub addresses: Vec<Address>,
    /// The routes.
    pub routes: Vec<Route>,
    /// Requests that change something, in words.
    pub log: Vec<String>,
    /// Which of those is refused (from 0), with which errno.
    pub refuse: Option<(usize, i32)>,
}

impl Fake {
    fn act(&mut self, what: String) -> Result<()> {
        let n = self.log.len();
        self.log.push(what.clone());
        match self.refuse {
            Some((at, errno)) if at == n => Err(refused(what, errno)),
            _ => Ok(()),
        }
    }
}

fn refused(what: String, errno: i32) -> NetlinkError {
    NetlinkError::Refused {
        what,
        source: io::Error::from_raw_os_error(errno),
    }
}

impl Netlink for Fake {
    fn links(&mut self) -> Result<Vec<Link>> {
        Ok(self.links.clone())
    }

    fn link(&mut self, name: &str) -> Result<Option<Link>> {
        Ok(self.links.iter().find(|l| l.name == name).cloned())
    }

    fn change_link(&mut self, index: u32, c: &LinkChange<'_>) -> Result<()> {
        self.act(format!("change {index}"))?;
        let Some(l) = self.links.iter_mut().find(|l| l.index == index) else {
            return Err(refused(format!("change {index}"), libc::ENODEV));
        };
        l.mac = c.mac.unwrap_or(l.mac);
        l.mtu = c.mtu.unwrap_or(l.mtu);
        l.name = c.name.map_or_else(|| l.name.clone(), str::to_owned);
        l.up = c.up.unwrap_or(l.up);
        l.txqlen = c.txqlen.unwrap_or(l.txqlen);
        Ok(())
    }

    fn create_veth(&mut self, name: &str, peer: &str) -> Result<()> {
        self.act(format!("veth {name} {peer}"))?;
        for name in [name, peer] {
            self.create_link(name);
        }
        Ok(())
    }

    fn create_bridge(&mut self, name: &str) -> Result<()> {
        self.act(format!("bridge {name}"))?;
        self.create_link(name);
        Ok(())
    }

    fn no_queue(&mut self, index: u32) -> Result<()> {
        self.act(format!("no queue on {index}"))
    }

    fn delete_link(&mut self, index: u32) -> Result<()> {
        self.act(format!("delete {index}"))?;
        self.links.retain(|l| l.index != index);
        Ok(())
    }

    fn addresses(&mut self) -> Result<Vec<Address>> {
        Ok(self.addresses.clone())
    }

    fn add_address(&mut self, a: &Address) -> Result<()> {
        self.act(format!("address {}/{} on {}", a.ip, a.prefix, a.index))?;
        self.addresses.push(*a);
        Ok(())
    }

    fn delete_address(&mut self, a: &Address) -> Result<()> {
        self.act(format!("no address {}/{} on {}", a.ip, a.prefix, a.index))?;
        self.addresses.retain(|b| b != a);
        Ok(())
    }

    fn routes(&mut self) -> Result<Vec<Route>> {
        Ok(self.routes.clone())
    }

    fn add_route(&mut self, r: &Route) -> Result<()> {
        self.act(format!("route {}/{} by {:?}", r.dst, r.prefix, r.gateway))?;
        self.routes.push(*r);
        Ok(())
    }

    fn add_neighbour(&mut self, index: u32, ip: Ipv4Addr, mac: Mac) -> Result<()> {
        self.act(format!("neighbour {ip} {mac} on {index}"))
    }
}

impl Fake {
    /// Adds an interface, as the kernel would number it.
    pub fn create_link(&mut self, name: &str) -> u32 {
        let index = self.links.iter().map(|l| l.index).max().unwrap_or(0) + 1;
        self.links.push(Link {
            index,
            name: name.to_owned(),
            mtu: 1500,
            ..Link::default()
        });
        index
    }
}
