//! Kernel messages to our own terms, and these to words.

use super::{Address, Link, LinkChange, Route};
use dataplane::base::Mac;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use std::net::{IpAddr, Ipv4Addr};

/// A request's values in words, for errors.
pub(super) struct Shown<'a, T>(pub(super) &'a T);

impl std::fmt::Display for Shown<'_, LinkChange<'_>> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let c = self.0;
        let mut words = Vec::new();
        words.extend(c.netns.map(|_| "into another namespace".to_owned()));
        words.extend(c.mac.map(|v| format!("MAC {v}")));
        words.extend(c.mtu.map(|v| format!("MTU {v}")));
        words.extend(c.name.map(|v| format!("name {v}")));
        words.extend(c.up.map(|v| if v { "up" } else { "down" }.to_owned()));
        words.extend(c.master.map(|v| format!("master {v}")));
        words.extend(c.txqlen.map(|v| format!("queue of {v} frames")));
        words.extend(c.ipv6_addresses.map(|v| format!("IPv6 addresses {v}")));
        f.write_str(&words.join(", "))
    }
}

impl std::fmt::Display for Shown<'_, Address> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Address { index, ip, prefix } = self.0;
        write!(f, "{ip}/{prefix} on interface {index}")
    }
}

impl std::fmt::Display for Shown<'_, Route> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let r = self.0;
        write!(f, "{}/{}", r.dst, r.prefix)?;
        if let Some(g) = r.gateway {
            write!(f, " via {g}")?;
        }
        match r.index {
            Some(i) => write!(f, " on interface {i}"),
            None => Ok(()),
        }
    }
}

/// An address as the kernel takes it.
pub(super) fn address_message(address: &Address) -> AddressMessage {
    let mut m = AddressMessage::default();
    m.header.family = AddressFamily::Inet;
    m.header.prefix_len = address.prefix;
    m.header.index = address.index;
    m.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(address.ip)),
        AddressAttribute::Address(IpAddr::V4(address.ip)),
    ];
    m.attributes
        .extend(address.broadcast().map(AddressAttribute::Broadcast));
    m
}

/// The interface that a message tells of.
pub(super) fn as_link(m: &Message) -> Option<Link> {
    let Message::NewLink(m) = m else { return None };
    let mut link = Link {
        index: m.header.index,
        up: m.header.flags.contains(LinkFlags::Up),
        running: m.header.flags.contains(LinkFlags::Running),
        ..Link::default()
    };
    for a in &m.attributes {
        match a {
            LinkAttribute::IfName(n) => link.name.clone_from(n),
            LinkAttribute::Qdisc(q) => link.qdisc.clone_from(q),
            LinkAttribute::Address(mac) => {
                link.mac = mac.as_slice().try_into().map(Mac).unwrap_or_default();
            }
            LinkAttribute::Mtu(v) => link.mtu = *v,
            LinkAttribute::TxQueueLen(v) => link.txqlen = *v,
            LinkAttribute::Controller(v) => link.master = Some(*v),
            _ => {}
        }
    }
    Some(link)
}

/// The IPv4 address that a message tells of.
pub(super) fn as_address(m: &Message) -> Option<Address> {
    let Message::NewAddress(m) = m else {
        return None;
    };
    // On a point-to-point link IFA_ADDRESS is the other end: IFA_LOCAL is ours.
    let local = m.attributes.iter().find_map(|a| match a {
        AddressAttribute::Local(IpAddr::V4(ip)) => Some(*ip),
        _ => None,
    });
    Some(Address {
        index: m.header.index,
        ip: local?,
        prefix: m.header.prefix_len,
    })
}

/// The route that a message tells of, if it is unicast and in the main table.
pub(super) fn as_route(m: &Message) -> Option<Route> {
    let Message::NewRoute(m) = m else { return None };
    let h = &m.header;
    if h.table != RouteHeader::RT_TABLE_MAIN || h.kind != RouteType::Unicast {
        return None;
    }
    let mut route = Route {
        dst: Ipv4Addr::UNSPECIFIED,
        prefix: h.destination_prefix_length,
        gateway: None,
        index: None,
    };
    for a in &m.attributes {
        match a {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => route.dst = *ip,
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => route.gateway = Some(*ip),
            RouteAttribute::Oif(index) => route.index = Some(*index),
            _ => {}
        }
    }
    Some(route)
}
