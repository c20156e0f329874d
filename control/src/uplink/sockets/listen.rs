//! Published ports: the engine listens on the host, and a client that it accepts comes to the
//! container as itself.
//!
//! Its SYN goes to the switch by the uplink, from the client's own address to the published port;
//! the switch's own rule leads it. A client whose address can't be shown that way (the host's
//! loopback, an address of the containers' subnet) comes from the gateway, straight to the
//! container, as by the localhost relay.

use super::datagram::{Datagrams, Near};
use super::dest::{Side, shows_as_client};
use super::engine::{Engine, FlowKey, LISTEN};
use super::splice::{End, Splice, Todo};
use super::stats::add;
use super::{EXTERNAL, wire};
use crate::forward::slab::Key;
use dataplane::base::{Mac, Proto};
use dataplane::frame::VnetHdr;
use dataplane::nat::Publication;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

/// Connections that the kernel keeps for us until we accept.
const BACKLOG: i32 = 1_024;
/// Most senders of the host's loopback that are remembered for answers.
pub(super) const LOCALS: usize = 4_096;

/// What a listener stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    /// The publication's number here.
    pub id: u32,
    /// The address asked for.
    pub host_ip: Option<Ipv4Addr>,
    /// The published port.
    pub port: u16,
    /// The port of [`EXTERNAL`] that stands for it.
    pub external: u16,
    /// Where it leads.
    pub to: SocketAddrV4,
}

/// A socket that listens.
pub(super) struct Listener {
    pub fd: OwnedFd,
    pub origin: Origin,
    pub in_ready: bool,
}

/// A datagram's sender on the host's loopback, and the gateway's port that stands for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local {
    pub socket: Key,
    pub client: SocketAddrV4,
    pub last: Instant,
}

/// Why a port can't be listened on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ListenError {
    /// Below the first port that an ordinary user may have.
    #[error(
        "port {port} is privileged: this user may listen from {first} on \
         (net.ipv4.ip_unprivileged_port_start); publish such a port, or run switchd as root"
    )]
    Privileged {
        /// The port.
        port: u16,
        /// The first free for all.
        first: u16,
    },
    /// Another program has it.
    #[error(
        "{ip}:{port}/{proto} is in use by another program: stop that one, or publish another host \
         port"
    )]
    InUse {
        /// Address.
        ip: Ipv4Addr,
        /// Port.
        port: u16,
        /// `tcp` or `udp`.
        proto: &'static str,
    },
    /// No interface has the address.
    #[error("{0} is no address of this host: give one of its addresses, or none for all")]
    NoAddress(Ipv4Addr),
    /// Not enough descriptors.
    #[error(
        "{wanted} ports need a descriptor each, and {left} are left: publish fewer, or raise the \
         limit (ulimit -n)"
    )]
    Descriptors {
        /// How many ports.
        wanted: usize,
        /// How many descriptors.
        left: usize,
    },
    /// Anything else.
    #[error("cannot listen on port {port}: {why}")]
    Other {
        /// Port.
        port: u16,
        /// What the system said.
        why: String,
    },
}

impl Engine {
    /// Listens for a publication under the number `id`; all of its ports, or none. `external`: the
    /// first port of the switch's rule for it.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn publish(&mut self, id: u32, p: &Publication, external: u16) -> Result<(), ListenError> {
        let wanted = usize::from(p.last - p.first) + 1;
        let left = self.limits.listeners.saturating_sub(self.listeners.len());
        if wanted > left {
            return Err(ListenError::Descriptors { wanted, left });
        }
        for port in p.first..=p.last {
            let origin = Origin {
                id,
                host_ip: p.host_ip,
                port,
                external: external + (port - p.first),
                to: SocketAddrV4::new(p.ip, p.port + (port - p.first)),
            };
            let made = match p.proto == Proto::UDP {
                true => self.listen_udp(origin),
                false => self.listen_tcp(origin),
            };
            if let Err(e) = made {
                self.unpublish(id);
                return Err(refusal(e, &origin, p.proto == Proto::UDP));
            }
        }
        Ok(())
    }

    fn listen_tcp(&mut self, origin: Origin) -> Result<(), Errno> {
        let fd = bound(&origin, SocketType::STREAM)?;
        listen(&fd, BACKLOG)?;
        let raw = fd.as_raw_fd();
        let listener = Listener {
            fd,
            origin,
            in_ready: false,
        };
        let key = self.listeners.try_insert(|_| Ok::<_, Errno>(listener))?;
        self.watch(raw, key.token(LISTEN)).map_err(|_| Errno::NOMEM)
    }

    fn listen_udp(&mut self, origin: Origin) -> Result<(), Errno> {
        let fd = bound(&origin, SocketType::DGRAM)?;
        super::asked::watch(&fd);
        super::message::gather(&fd);
        let near = Near {
            side: Side::Uplink,
            echo: false,
            at: SocketAddrV4::new(EXTERNAL, origin.external),
        };
        let now = Instant::now();
        let socket = Datagrams::new(fd, near, self.config.uplink_mac, now, Some(origin));
        self.insert_datagrams(socket).map(|_| ())
    }

    /// Stops listening, and resets what came by it.
    pub fn unpublish(&mut self, id: u32) {
        for key in self.listeners.keys_where(|l| l.origin.id == id) {
            self.listeners.remove(key);
        }
        let of = |o: Option<Origin>| o.is_some_and(|o| o.id == id);
        for key in self.datagrams.keys_where(|d| of(d.origin)) {
            if let Some(d) = self.datagrams.remove(key) {
                self.by_near.remove(&d.near);
            }
        }
        for key in self.flows.keys_where(|f| f.accepted == Some(id)) {
            self.close(key, End::ByContainer);
        }
    }

    /// Whether the switch takes an address as a source from its uplink.
    pub(super) fn can_be_client(&self, ip: Ipv4Addr) -> bool {
        shows_as_client(ip, self.config.subnet)
    }

    /// Whether a client of a published port comes to the container as itself.
    pub(super) fn shown(&self, origin: &Origin, client: Ipv4Addr) -> bool {
        self.can_be_client(client) && origin.host_ip.is_none_or(|ip| !ip.is_loopback())
    }

    /// A listener may have connections.
    pub(super) fn listener_event(&mut self, key: Key) {
        if let Some(l) = self.listeners.get_mut(key)
            && !l.in_ready
        {
            l.in_ready = true;
            self.side(Side::Uplink).ready.push_back(key.token(LISTEN));
        }
    }

    /// Accepts one connection; the next when all others had their turn.
    pub(super) fn accept(&mut self, key: Key, now: Instant) {
        let Some(l) = self.listeners.get_mut(key) else {
            return;
        };
        l.in_ready = false;
        let origin = l.origin;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (fd, client) = match rustix::net::acceptfrom_with(&l.fd, flags) {
            Ok((fd, client)) => (fd, client),
            Err(Errno::AGAIN) => return,
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                add(&self.stats.tcp_limit, 1);
                // Those that wait are looked at again with the next event.
                return;
            }
            // It ended before it was accepted.
            Err(_) => return self.listener_event(key),
        };
        self.listener_event(key);
        let client = client.and_then(|a| SocketAddrV4::try_from(a).ok());
        if self.flows.len() >= self.limits.tcp {
            add(&self.stats.tcp_limit, 1);
            // Closed with a RST.
            let _ = sockopt::set_socket_linger(&fd, Some(std::time::Duration::ZERO));
            return;
        }
        if let Some(client) = client {
            self.bring(&origin, fd, client, now);
        }
    }

    /// Calls the container for a client that was accepted.
    fn bring(&mut self, origin: &Origin, fd: OwnedFd, client: SocketAddrV4, now: Instant) {
        super::tcp_open::prepare(&fd);
        let shown = self.shown(origin, *client.ip());
        let (side, near, far) = match shown {
            true => {
                let to = SocketAddrV4::new(EXTERNAL, origin.external);
                (Side::Uplink, to, client)
            }
            false => {
                let from = SocketAddrV4::new(self.config.gateway, client.port());
                (Side::Host, origin.to, from)
            }
        };
        if !shown && !client.ip().is_loopback() {
            add(&self.stats.clients_masked, 1);
        }
        let key = FlowKey { side, near, far };
        let Some(key) = self.free_port(key) else {
            return add(&self.stats.tcp_limit, 1);
        };
        let mac = match side {
            Side::Uplink => self.config.uplink_mac,
            Side::Host => self.container_mac(*near.ip()),
        };
        let mut todo = Todo::default();
        let splice = Splice::calling(self.new_flow(key, fd), now, &mut todo);
        let Ok(id) = self.insert(key, mac, splice, Some(origin.id)) else {
            return add(&self.stats.tcp_limit, 1);
        };
        add(&self.stats.tcp_in, 1);
        self.step(id, |_, _, t| *t = todo);
    }

    /// The same connection from another port of the far end, if this one is in use.
    fn free_port(&self, mut key: FlowKey) -> Option<FlowKey> {
        for _ in 0..1_000 {
            if !self.by_key.contains_key(&key) {
                return Some(key);
            }
            let next = key.far.port().checked_add(1).unwrap_or(32_768);
            key.far.set_port(next);
        }
        None
    }

    /// The container's MAC, if it is known; else it is asked for.
    fn container_mac(&mut self, ip: Ipv4Addr) -> Mac {
        match self.macs.get(&ip) {
            Some(mac) => *mac,
            None => {
                self.ask(ip);
                Mac::ZERO
            }
        }
    }

    /// Asks for a container's MAC as the host would.
    pub(super) fn ask(&mut self, ip: Ipv4Addr) {
        let own = (self.config.gateway_mac, self.config.gateway);
        let request = wire::arp(1, own, (Mac::ZERO, ip));
        self.say(Side::Host, request, VnetHdr::PLAIN);
    }

    /// A container's answer: what waited for it goes out.
    pub(super) fn learn(&mut self, ip: Ipv4Addr, mac: Mac) {
        if self.macs.len() >= LOCALS {
            self.macs.clear();
        }
        if self.macs.insert(ip, mac) == Some(mac) {
            return;
        }
        let of = |f: &super::engine::Flow| f.key.side == Side::Host && *f.key.near.ip() == ip;
        for id in self.flows.keys_where(of) {
            if let Some(flow) = self.flows.get_mut(id) {
                flow.mac = mac;
            }
            self.step(id, |s, _, todo| s.again(todo));
        }
        for (to, data) in self.unsent.remove(&ip).unwrap_or_default() {
            self.datagram_in(mac, to.0, to.1, &data);
        }
    }

    /// A datagram of a client that comes as the gateway.
    pub(super) fn local_datagram(
        &mut self,
        socket: Key,
        origin: &Origin,
        client: SocketAddrV4,
        data: &[u8],
        now: Instant,
    ) {
        if self.locals.len() >= LOCALS {
            let idle = self.config.timeouts.udp;
            self.locals.retain(|_, l| l.last + idle > now);
            if self.locals.len() >= LOCALS {
                return add(&self.stats.udp_limit, 1);
            }
        }
        let Some(port) = (0..1_000).find_map(|n| {
            let port = client.port().checked_add(n).unwrap_or(32_768 + n);
            let held = self.locals.get(&(origin.to, port));
            held.is_none_or(|l| (l.socket, l.client) == (socket, client))
                .then_some(port)
        }) else {
            return add(&self.stats.udp_limit, 1);
        };
        let local = Local {
            socket,
            client,
            last: now,
        };
        self.locals.insert((origin.to, port), local);
        add(&self.stats.datagrams_in, 1);
        let from = SocketAddrV4::new(self.config.gateway, port);
        let ip = *origin.to.ip();
        match self.container_mac(ip) {
            Mac::ZERO => {
                let waiting = self.unsent.entry(ip).or_default();
                if waiting.len() < 16 {
                    waiting.push(((from, origin.to), data.to_vec()));
                }
            }
            mac => self.datagram_in(mac, from, origin.to, data),
        }
    }

    fn datagram_in(&mut self, mac: Mac, from: SocketAddrV4, to: SocketAddrV4, data: &[u8]) {
        let mut bytes = vec![0; wire::ETH + wire::IP + wire::UDP];
        let hdr = wire::udp(&mut bytes, self.link(Side::Host, mac), from, to, data.len());
        bytes.extend(data);
        self.say(Side::Host, bytes, hdr);
    }

    /// A container's answer to such a client. False when there is none.
    pub(super) fn answer_local(
        &mut self,
        near: SocketAddrV4,
        port: u16,
        data: &[IoSlice<'_>],
        now: Instant,
    ) -> bool {
        let Some(local) = self.locals.get_mut(&(near, port)) else {
            return false;
        };
        local.last = now;
        let (socket, client) = (local.socket, local.client);
        match self.send_answer(socket, client, data, None) {
            Ok(_) => add(&self.stats.datagrams_out, 1),
            Err(_) => add(&self.stats.datagrams_dropped, 1),
        }
        true
    }
}

fn bound(origin: &Origin, kind: SocketType) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = socket_with(AddressFamily::INET, kind, flags, None)?;
    if kind == SocketType::STREAM {
        sockopt::set_socket_reuseaddr(&fd, true)?;
    }
    let ip = origin.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
    bind(&fd, &SocketAddrV4::new(ip, origin.port))?;
    Ok(fd)
}

fn refusal(e: Errno, origin: &Origin, udp: bool) -> ListenError {
    let (port, ip) = (origin.port, origin.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED));
    match e {
        Errno::ACCESS => ListenError::Privileged {
            port,
            first: first_unprivileged(),
        },
        Errno::ADDRINUSE => ListenError::InUse {
            ip,
            port,
            proto: if udp { "udp" } else { "tcp" },
        },
        Errno::ADDRNOTAVAIL => ListenError::NoAddress(ip),
        e => ListenError::Other {
            port,
            why: std::io::Error::from(e).to_string(),
        },
    }
}

fn first_unprivileged() -> u16 {
    let path = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim().parse().unwrap_or(1_024)
}
