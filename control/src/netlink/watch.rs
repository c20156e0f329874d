//! What a host's routes and neighbours are in full, and the news of them: the kernel's multicast
//! groups (rtnetlink(7)).

use super::real::split;
use super::{Real, Result};
use dataplane::base::Mac;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHopFlags,
    RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, RawFd};

/// An IPv4 route of the main table with what decides between several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostRoute {
    /// Destination network.
    pub dst: Ipv4Addr,
    /// Length of its prefix.
    pub prefix: u8,
    /// The lower wins among equal prefixes.
    pub metric: u32,
    /// The source that it prefers.
    pub source: Option<Ipv4Addr>,
    /// Where it leads: interface, and router if it is not on the link. `None`: nowhere (blackhole,
    /// a dead link, an IPv6 router). Of several next hops the first that is alive.
    pub to: Option<(u32, Option<Ipv4Addr>)>,
}

/// A neighbour whose Ethernet address the kernel knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// The interface.
    pub index: u32,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its Ethernet address.
    pub mac: Mac,
    /// It was set by hand and is never asked.
    pub permanent: bool,
}

/// What the kernel told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// Interfaces, addresses or routes changed: look again.
    Changed,
    /// This neighbour answered, or was set.
    Neighbour(Neighbour),
}

impl Real {
    /// All IPv4 routes of the main table, best first among those of one prefix.
    ///
    /// # Errors
    /// As every request.
    pub fn host_routes(&mut self) -> Result<Vec<HostRoute>> {
        let mut m = RouteMessage::default();
        m.header.address_family = AddressFamily::Inet;
        let answers = self.dump(Message::GetRoute(m), "listing the routes")?;
        let mut routes: Vec<HostRoute> = answers.iter().filter_map(as_host_route).collect();
        routes.sort_by_key(|r| (std::cmp::Reverse(r.prefix), r.metric));
        Ok(routes)
    }

    /// All IPv4 neighbours whose Ethernet address is known.
    ///
    /// # Errors
    /// As every request.
    pub fn neighbours(&mut self) -> Result<Vec<Neighbour>> {
        let mut m = NeighbourMessage::default();
        m.header.family = AddressFamily::Inet;
        let answers = self.dump(Message::GetNeighbour(m), "listing the neighbours")?;
        Ok(answers.iter().filter_map(as_neighbour).collect())
    }
}

/// A socket on which the kernel tells of changes in the namespace that it was opened in.
pub struct Watch {
    socket: Socket,
}

impl Watch {
    /// Listens in the calling thread's namespace.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Watch> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        for group in [
            libc::RTNLGRP_LINK,
            libc::RTNLGRP_NEIGH,
            libc::RTNLGRP_IPV4_IFADDR,
            libc::RTNLGRP_IPV4_ROUTE,
        ] {
            socket.add_membership(group)?;
        }
        socket.set_non_blocking(true)?;
        Ok(Watch { socket })
    }

    /// What was told since the last call; nothing when there is nothing. News that the kernel had
    /// to throw away count as a change.
    ///
    /// # Errors
    /// The socket failed.
    pub fn news(&mut self) -> io::Result<Vec<News>> {
        let mut all = Vec::new();
        loop {
            let bytes = match self.socket.recv_from_full() {
                Ok((bytes, _)) => bytes,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(all),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                    all.push(News::Changed);
                    continue;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let mut rest = bytes.as_slice();
            while let Some((message, after)) = split(rest) {
                rest = after;
                if let Some(news) = news(message)
                    && all.last() != Some(&news)
                {
                    all.push(news);
                }
            }
        }
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn news(bytes: &[u8]) -> Option<News> {
    let Ok(m) = NetlinkMessage::<Message>::deserialize(bytes) else {
        // Of a kind that we can't read, but something happened.
        return Some(News::Changed);
    };
    match m.payload {
        NetlinkPayload::InnerMessage(m @ Message::NewNeighbour(_)) => {
            as_neighbour(&m).map(News::Neighbour)
        }
        NetlinkPayload::InnerMessage(Message::DelNeighbour(_)) => None,
        NetlinkPayload::InnerMessage(_) => Some(News::Changed),
        _ => None,
    }
}

fn as_neighbour(m: &Message) -> Option<Neighbour> {
    let Message::NewNeighbour(m) = m else {
        return None;
    };
    // What is stale is used until it fails, by the kernel and by us.
    let known = matches!(
        m.header.state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
    );
    let (mut ip, mut mac) = (None, None);
    for a in &m.attributes {
        match a {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v)) => ip = Some(*v),
            NeighbourAttribute::LinkLayerAddress(v) => {
                mac = v.as_slice().try_into().ok().map(Mac);
            }
            _ => {}
        }
    }
    known.then_some(Neighbour {
        index: m.header.ifindex,
        ip: ip?,
        mac: mac?,
        permanent: m.header.state == NeighbourState::Permanent,
    })
}

fn as_host_route(m: &Message) -> Option<HostRoute> {
    let Message::NewRoute(m) = m else { return None };
    let h = &m.header;
    let leads = h.kind == RouteType::Unicast;
    let stops = matches!(
        h.kind,
        RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit
    );
    if h.table != RouteHeader::RT_TABLE_MAIN || !(leads || stops) {
        return None;
    }
    let mut route = HostRoute {
        dst: Ipv4Addr::UNSPECIFIED,
        prefix: h.destination_prefix_length,
        metric: 0,
        source: None,
        to: None,
    };
    let alive = !h.flags.intersects(RouteFlags::Dead | RouteFlags::Linkdown);
    let (mut oif, mut several) = (None, None);
    for a in &m.attributes {
        match a {
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => route.dst = *ip,
            RouteAttribute::PrefSource(RouteAddress::Inet(ip)) => route.source = Some(*ip),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Oif(index) => oif = Some(*index),
            RouteAttribute::MultiPath(hops) => several = Some(hops),
            _ => {}
        }
    }
    if leads && alive {
        route.to = match several {
            None => oif.and_then(|index| Some((index, router(&m.attributes)?))),
            Some(hops) => hops.iter().find_map(|hop| {
                let dead = RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown;
                let alive = !hop.flags.intersects(dead);
                let to = (hop.interface_index, router(&hop.attributes)?);
                alive.then_some(to)
            }),
        };
    }
    Some(route)
}

/// The router among a next hop's attributes: `Some(None)` for the link itself, `None` for one
/// that IPv4 can't name.
fn router(attributes: &[RouteAttribute]) -> Option<Option<Ipv4Addr>> {
    for a in attributes {
        match a {
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => return Some(Some(*ip)),
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => return None,
            _ => {}
        }
    }
    Some(None)
}
