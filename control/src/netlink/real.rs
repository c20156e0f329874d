//! The kernel's side of [`Netlink`]: one socket, one request at a time.

use super::message::{Shown, address_message, as_address, as_link, as_route};
use super::{Address, Link, LinkChange, Netlink, NetlinkError, Result, Route};
use crate::netns::{Netns, NetnsError};
use dataplane::base::Mac;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcHeader, TcMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

/// A request that the kernel has not answered for so long is given up, seconds.
const PATIENCE: i64 = 10;

/// A netlink socket. It belongs to the namespace that it was opened in, from whatever thread it is
/// used, and keeps that namespace alive: drop it when the work is done.
pub struct Real {
    socket: Socket,
    sequence: u32,
}

impl Real {
    /// A socket in the calling thread's namespace.
    pub fn new() -> io::Result<Real> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(PATIENCE, 0))?;
        Ok(Real {
            socket,
            sequence: 0,
        })
    }

    /// A socket in `netns`.
    pub fn inside(netns: &Netns) -> std::result::Result<Real, NetnsError> {
        netns.run(Real::new)?.map_err(|source| NetnsError::Io {
            what: format!(
                "opening a netlink socket in the namespace {}",
                netns.label()
            ),
            source,
        })
    }

    /// Sends a request and gathers what comes back until the kernel says that it is done.
    fn request(
        &mut self,
        message: Message,
        flags: u16,
        what: &dyn Fn() -> String,
    ) -> Result<Vec<Message>> {
        let socket_error = |source| NetlinkError::Socket {
            what: what(),
            source,
        };
        self.sequence = self.sequence.wrapping_add(1);
        let mut m = NetlinkMessage::from(message);
        m.header.flags = NLM_F_REQUEST | flags;
        m.header.sequence_number = self.sequence;
        m.finalize();
        let mut bytes = vec![0; m.buffer_len()];
        m.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map_err(socket_error)?;

        let mut gathered = Vec::new();
        loop {
            let (bytes, _) = self.socket.recv_from_full().map_err(socket_error)?;
            let mut rest = bytes.as_slice();
            while let Some((message, after)) = split(rest) {
                rest = after;
                let answer = NetlinkMessage::<Message>::deserialize(message).map_err(|e| {
                    NetlinkError::Answer {
                        what: what(),
                        detail: e.to_string(),
                    }
                })?;
                // Left over from a request that was given up.
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::Done(_) => return Ok(gathered),
                    NetlinkPayload::Error(e) if e.code.is_none() => return Ok(gathered),
                    NetlinkPayload::Error(e) => {
                        return Err(NetlinkError::Refused {
                            what: what(),
                            source: e.to_io(),
                        });
                    }
                    NetlinkPayload::InnerMessage(inner) => gathered.push(inner),
                    _ => {}
                }
            }
        }
    }

    pub(super) fn dump(&mut self, message: Message, what: &'static str) -> Result<Vec<Message>> {
        self.request(message, NLM_F_DUMP, &|| what.to_owned())
    }

    fn act(&mut self, message: Message, flags: u16, what: &dyn Fn() -> String) -> Result<()> {
        self.request(message, NLM_F_ACK | flags, what).map(drop)
    }

    fn create(&mut self, name: &str, info: Vec<LinkInfo>, what: &dyn Fn() -> String) -> Result<()> {
        let mut m = LinkMessage::default();
        m.attributes.push(LinkAttribute::IfName(name.to_owned()));
        m.attributes.push(LinkAttribute::LinkInfo(info));
        self.act(Message::NewLink(m), NLM_F_CREATE | NLM_F_EXCL, what)
    }
}

/// The first message of a datagram and what follows it (netlink(7): aligned to 4 bytes).
pub(super) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let message = bytes.get(..len).filter(|m| m.len() >= 16)?;
    let after = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
    Some((message, after))
}

impl Netlink for Real {
    fn links(&mut self) -> Result<Vec<Link>> {
        let m = Message::GetLink(LinkMessage::default());
        let answers = self.dump(m, "listing the interfaces")?;
        Ok(answers.iter().filter_map(as_link).collect())
    }

    fn link(&mut self, name: &str) -> Result<Option<Link>> {
        let mut m = LinkMessage::default();
        m.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let what = || format!("looking for the interface {name}");
        match self.request(Message::GetLink(m), NLM_F_ACK, &what) {
            Ok(answers) => Ok(answers.iter().find_map(as_link)),
            Err(e) if e.errno() == Some(libc::ENODEV) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn change_link(&mut self, index: u32, change: &LinkChange<'_>) -> Result<()> {
        let mut m = LinkMessage::default();
        m.header.index = index;
        if let Some(up) = change.up {
            m.header.change_mask = LinkFlags::Up;
            m.header.flags = match up {
                true => LinkFlags::Up,
                false => LinkFlags::empty(),
            };
        }
        let a = &mut m.attributes;
        a.extend(
            change
                .netns
                .map(|fd| LinkAttribute::NetNsFd(fd.as_raw_fd())),
        );
        a.extend(change.mac.map(|m| LinkAttribute::Address(m.0.to_vec())));
        a.extend(change.mtu.map(LinkAttribute::Mtu));
        a.extend(change.name.map(|n| LinkAttribute::IfName(n.to_owned())));
        a.extend(change.master.map(LinkAttribute::Controller));
        a.extend(change.txqlen.map(LinkAttribute::TxQueueLen));
        a.extend(change.ipv6_addresses.map(|on| {
            let mode = match on {
                true => In6AddrGenMode::Eui64,
                false => In6AddrGenMode::None,
            };
            let inet6 = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(mode)]);
            LinkAttribute::AfSpecUnspec(vec![inet6])
        }));
        self.act(Message::SetLink(m), 0, &|| {
            format!("changing interface {index} ({})", Shown(change))
        })
    }

    fn create_veth(&mut self, name: &str, peer: &str) -> Result<()> {
        let mut other = LinkMessage::default();
        other
            .attributes
            .push(LinkAttribute::IfName(peer.to_owned()));
        let info = vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
        ];
        self.create(name, info, &|| {
            format!("making the veth pair {name}, {peer}")
        })
    }

    fn create_bridge(&mut self, name: &str) -> Result<()> {
        let info = vec![LinkInfo::Kind(InfoKind::Bridge)];
        self.create(name, info, &|| format!("making the bridge {name}"))
    }

    fn no_queue(&mut self, index: u32) -> Result<()> {
        let what = || format!("taking the queueing discipline of interface {index} away");
        let header = TcHeader {
            index: i32::try_from(index).unwrap_or(0),
            parent: TcHandle::ROOT,
            ..TcHeader::default()
        };
        let kind = vec![TcAttribute::Kind("noqueue".to_owned())];
        let m = TcMessage::from_parts(header, kind);
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        match self.act(Message::NewQueueDiscipline(m), flags, &what) {
            // A kernel without traffic control has no other to choose.
            Err(e) if e.errno() == Some(libc::EOPNOTSUPP) => Ok(()),
            done => done,
        }
    }

    fn delete_link(&mut self, index: u32) -> Result<()> {
        let mut m = LinkMessage::default();
        m.header.index = index;
        self.act(Message::DelLink(m), 0, &|| {
            format!("deleting interface {index}")
        })
    }

    fn addresses(&mut self) -> Result<Vec<Address>> {
        let mut m = AddressMessage::default();
        m.header.family = AddressFamily::Inet;
        let answers = self.dump(Message::GetAddress(m), "listing the addresses")?;
        Ok(answers.iter().filter_map(as_address).collect())
    }

    fn add_address(&mut self, address: &Address) -> Result<()> {
        self.act(
            Message::NewAddress(address_message(address)),
            NLM_F_CREATE | NLM_F_EXCL,
            &|| format!("adding the address {}", Shown(address)),
        )
    }

    fn delete_address(&mut self, address: &Address) -> Result<()> {
        self.act(Message::DelAddress(address_message(address)), 0, &|| {
            format!("deleting the address {}", Shown(address))
        })
    }

    fn routes(&mut self) -> Result<Vec<Route>> {
        let mut m = RouteMessage::default();
        m.header.address_family = AddressFamily::Inet;
        let answers = self.dump(Message::GetRoute(m), "listing the routes")?;
        Ok(answers.iter().filter_map(as_route).collect())
    }

    fn add_route(&mut self, route: &Route) -> Result<()> {
        let mut m = RouteMessage::default();
        m.header.address_family = AddressFamily::Inet;
        m.header.destination_prefix_length = route.prefix;
        m.header.table = RouteHeader::RT_TABLE_MAIN;
        m.header.protocol = RouteProtocol::Static;
        m.header.kind = RouteType::Unicast;
        m.header.scope = match route.gateway {
            Some(_) => RouteScope::Universe,
            None => RouteScope::Link,
        };
        if route.prefix > 0 {
            let dst = RouteAddress::Inet(route.dst);
            m.attributes.push(RouteAttribute::Destination(dst));
        }
        m.attributes.extend(
            route
                .gateway
                .map(|g| RouteAttribute::Gateway(RouteAddress::Inet(g))),
        );
        m.attributes.extend(route.index.map(RouteAttribute::Oif));
        self.act(Message::NewRoute(m), NLM_F_CREATE | NLM_F_EXCL, &|| {
            format!("adding the route {}", Shown(route))
        })
    }

    fn add_neighbour(&mut self, index: u32, ip: Ipv4Addr, mac: Mac) -> Result<()> {
        let mut m = NeighbourMessage::default();
        m.header.family = AddressFamily::Inet;
        m.header.ifindex = index;
        m.header.state = NeighbourState::Permanent;
        m.header.kind = RouteType::Unicast;
        m.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)),
            NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()),
        ];
        self.act(
            Message::NewNeighbour(m),
            NLM_F_CREATE | NLM_F_REPLACE,
            &|| format!("setting the neighbour {ip} at {mac} on interface {index}"),
        )
    }
}
