//! Short forms of what all networks ask of netlink.

use crate::Result;
use control::netlink::{Address, LinkChange, Netlink, Real};
use std::net::Ipv4Addr;

/// The number of an interface that has to be there.
pub(super) fn index(nl: &mut Real, name: &str) -> Result<u32> {
    let link = nl.link(name)?;
    Ok(link.ok_or_else(|| format!("{name} is not there"))?.index)
}

pub(super) fn up(nl: &mut Real, index: u32) -> Result<()> {
    let change = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    Ok(nl.change_link(index, &change)?)
}

/// Gives it an address of a /24.
pub(super) fn address(nl: &mut Real, index: u32, ip: Ipv4Addr) -> Result<()> {
    Ok(nl.add_address(&Address {
        index,
        ip,
        prefix: 24,
    })?)
}
