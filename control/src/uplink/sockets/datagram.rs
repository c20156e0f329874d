//! UDP and echoes: one unconnected socket of the host for each external port or identifier.
//!
//! Read RFC 4787 sections 4 and 5 first. Because the socket is not connected, a container's port
//! keeps the same external one for every destination (endpoint-independent mapping), and what
//! anybody sends there is handed to the switch, whose connection tracking filters.
//!
//! Errors come by the socket's error queue (ip(7), `IP_RECVERR`) and go to the container as the
//! ICMP messages that they were. Don't-fragment and the time to live are the container's own.

use super::dest::{DNS, Side, resolve};
use super::engine::{ECHO, Engine, UDP};
use super::listen::Origin;
use super::message::{self, count, each_of, uncut};
use super::stats::add;
use super::wire::{self, Packet, payload};
use crate::forward::slab::Key;
use dataplane::base::Mac;
use dataplane::base::bytes::{be16, be32, byte, put16};
use dataplane::frame::{Batch, Gso, VnetHdr};
use nix::sys::socket::{setsockopt, sockopt as nix_sockopt};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use std::cmp::Reverse;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// What names a socket: the container's end as the engine sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Near {
    pub side: Side,
    pub echo: bool,
    /// External address, and port or identifier.
    pub at: SocketAddrV4,
}

/// A socket of the host.
pub(super) struct Datagrams {
    pub fd: OwnedFd,
    pub near: Near,
    /// MAC behind which the container is.
    pub mac: Mac,
    pub last: Instant,
    pub in_ready: bool,
    /// The published port that it serves; such a socket stays.
    pub origin: Option<Origin>,
    df: Option<bool>,
    ttl: u8,
}

impl Datagrams {
    pub fn new(fd: OwnedFd, near: Near, mac: Mac, now: Instant, origin: Option<Origin>) -> Self {
        Datagrams {
            fd,
            near,
            mac,
            last: now,
            in_ready: false,
            origin,
            df: None,
            ttl: 64,
        }
    }

    const fn kind(&self) -> u8 {
        if self.near.echo { ECHO } else { UDP }
    }

    /// Makes the socket send as the container did.
    fn dress(&mut self, p: &Packet) {
        if self.df != Some(p.df) {
            self.df = Some(p.df);
            let how = match p.df {
                true => Ipv4PathMtuDiscovery::DO,
                false => Ipv4PathMtuDiscovery::DONT,
            };
            let _ = sockopt::set_ip_mtu_discover(&self.fd, how);
        }
        // The switch has taken one off, as a router does.
        if self.ttl != p.ttl && p.ttl > 0 {
            self.ttl = p.ttl;
            let _ = sockopt::set_ip_ttl(&self.fd, u32::from(p.ttl));
        }
    }
}

impl Engine {
    /// A datagram from the switch, or several of one length. False if it has to be cut first.
    pub(super) fn udp(
        &mut self,
        side: Side,
        p: &Packet,
        head: &[u8],
        parts: &[IoSlice<'_>],
        hdr: &VnetHdr,
        now: Instant,
    ) -> bool {
        let each = (hdr.gso == Gso::UdpL4).then_some(hdr.gso_size);
        if each == Some(0) || (each.is_some() && side == Side::Host) {
            return false;
        }
        let len = usize::from(be16(head, p.l4 + 4));
        let unsummed = be16(head, p.l4 + 6) == 0;
        let right = len >= wire::UDP && p.l4 + len <= p.end;
        if !right || !(unsummed || self.checksum_holds(hdr, p, parts)) {
            add(&self.stats.unknown, 1);
            return true;
        }
        let near = Near {
            side,
            echo: false,
            at: SocketAddrV4::new(p.src, be16(head, p.l4)),
        };
        let far = SocketAddrV4::new(p.dst, be16(head, p.l4 + 2));
        let data = payload(parts, p.l4 + wire::UDP, p.l4 + len);
        if side == Side::Host && self.answer_local(near.at, far.port(), &data, now) {
            return true;
        }
        self.send_datagram(near, far, (p, head), (&data, each), now)
    }

    /// An ICMP message from the switch: echo requests only.
    pub(super) fn icmp(
        &mut self,
        side: Side,
        p: &Packet,
        head: &[u8],
        parts: &[IoSlice<'_>],
        now: Instant,
    ) {
        // Errors of containers about what they were sent end here: the peer's packet has been
        // taken by our socket.
        if byte(head, p.l4) != 8 || p.end < p.l4 + 8 || side == Side::Host {
            return;
        }
        let near = Near {
            side,
            echo: true,
            at: SocketAddrV4::new(p.src, be16(head, p.l4 + 4)),
        };
        let far = SocketAddrV4::new(p.dst, 0);
        let data = payload(parts, p.l4, p.end);
        self.send_datagram(near, far, (p, head), (&data, None), now);
    }

    /// Sends by the socket of `near`, which is made when there is none. False if the host's kernel
    /// does not cut it into datagrams of the length that is given with the data.
    fn send_datagram(
        &mut self,
        near: Near,
        far: SocketAddrV4,
        (p, head): (&Packet, &[u8]),
        (data, each): (&[IoSlice<'_>], Option<u16>),
        now: Instant,
    ) -> bool {
        let Some(to) = resolve(&self.config, near.side, far) else {
            add(&self.stats.no_destination, 1);
            let code = if near.side == Side::Host { 3 } else { 1 };
            self.unreached(near.side, p, head, (3, code, 0));
            return true;
        };
        let id = match self.by_near.get(&near) {
            Some(id) => *id,
            None => match self.new_datagrams(near, p.mac, now) {
                Ok(id) => id,
                Err(e) => {
                    self.no_socket(near, p, head, e);
                    return true;
                }
            },
        };
        let Some(socket) = self.datagrams.get_mut(id) else {
            return true;
        };
        socket.dress(p);
        socket.last = now;
        let published = socket.origin.is_some();
        let count = count(data, each);
        if published {
            match self.send_answer(id, to, data, each) {
                Ok(_) => add(&self.stats.datagrams_out, count),
                Err(e) => {
                    self.errors(id);
                    if each.is_some() && uncut(e) {
                        return false;
                    }
                    add(&self.stats.datagrams_dropped, count);
                }
            }
            return true;
        }
        let mut sent = message::send(&socket.fd, to, data, None, each);
        let mut mtu = None;
        if sent.is_err() {
            // It may be about an earlier one: the queue of errors says about which.
            mtu = self.errors(id);
            let earlier = matches!(
                sent,
                Err(Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH)
            );
            if let Some(socket) = self.datagrams.get_mut(id).filter(|_| earlier) {
                sent = message::send(&socket.fd, to, data, None, each);
            }
        }
        if each.is_some() && sent.is_err_and(uncut) {
            return false;
        }
        let counter = if near.echo {
            &self.stats.echoes
        } else {
            &self.stats.datagrams_out
        };
        match sent {
            Ok(_) => add(counter, count),
            Err(Errno::NETUNREACH) => self.unreached(near.side, p, head, (3, 0, 0)),
            Err(Errno::HOSTUNREACH) => self.unreached(near.side, p, head, (3, 1, 0)),
            Err(Errno::ACCESS | Errno::PERM) => self.unreached(near.side, p, head, (3, 13, 0)),
            Err(Errno::MSGSIZE) if mtu.is_some() => {
                add(&self.stats.errors_in, 1);
                let mtu = mtu.unwrap_or(0).min(0xffff);
                self.unreached(near.side, p, head, (3, 4, mtu));
            }
            Err(_) => add(&self.stats.datagrams_dropped, count),
        }
        true
    }

    fn new_datagrams(&mut self, near: Near, mac: Mac, now: Instant) -> Result<Key, Errno> {
        if self.datagrams.len() >= self.limits.datagrams {
            return Err(Errno::MFILE);
        }
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let proto = if near.echo {
            ipproto::ICMP
        } else {
            ipproto::UDP
        };
        let fd = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, Some(proto))?;
        // Bound before it is watched, and to all addresses: the route chooses.
        rustix::net::bind(&fd, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))?;
        if !near.echo {
            message::gather(&fd);
        }
        self.insert_datagrams(Datagrams::new(fd, near, mac, now, None))
    }

    /// Enters a socket, watches it and its errors.
    pub(super) fn insert_datagrams(&mut self, socket: Datagrams) -> Result<Key, Errno> {
        let _ = setsockopt(&socket.fd, nix_sockopt::Ipv4RecvErr, &true);
        let (fd, near, kind) = (socket.fd.as_raw_fd(), socket.near, socket.kind());
        let stays = socket.origin.is_some();
        let end = socket.last + self.datagram_idle(near.echo);
        let id = self.datagrams.try_insert(|_| Ok::<_, Errno>(socket))?;
        if self.watch(fd, id.token(kind)).is_err() {
            self.datagrams.remove(id);
            return Err(Errno::NOMEM);
        }
        self.by_near.insert(near, id);
        if !stays {
            self.timers.push(Reverse((end, id.token(kind))));
        }
        Ok(id)
    }

    const fn datagram_idle(&self, echo: bool) -> Duration {
        match echo {
            true => self.config.timeouts.icmp,
            false => self.config.timeouts.udp,
        }
    }

    /// An entry of the timer heap: a socket that was idle is closed.
    pub(super) fn datagrams_timeout(&mut self, id: Key, now: Instant) {
        let Some(socket) = self.datagrams.get_mut(id) else {
            return;
        };
        let (near, last, kind) = (socket.near, socket.last, socket.kind());
        let end = last + self.datagram_idle(near.echo);
        if end <= now {
            self.datagrams.remove(id);
            self.by_near.remove(&near);
        } else {
            self.timers.push(Reverse((end, id.token(kind))));
        }
    }

    /// There is no socket to be had.
    fn no_socket(&mut self, near: Near, p: &Packet, head: &[u8], why: Errno) {
        let denied = near.echo && matches!(why, Errno::ACCESS | Errno::PERM);
        match denied {
            true => add(&self.stats.echoes_refused, 1),
            false => add(&self.stats.udp_limit, 1),
        }
        self.unreached(near.side, p, head, (3, 13, 0));
    }

    /// An ICMP error about a packet that is at hand, from the nearest router: us.
    pub(super) fn unreached(&mut self, side: Side, p: &Packet, head: &[u8], what: (u8, u8, u32)) {
        let ports = SocketAddrV4::new(p.src, be16(head, p.l4));
        let far = SocketAddrV4::new(p.dst, be16(head, p.l4 + 2));
        let quote = wire::quote(ports, far, p.proto, p.end - p.l4, be32(head, p.l4 + 4));
        let link = self.link(side, p.mac);
        let bytes = wire::icmp_error(link, self.address(side), p.src, what, &quote);
        self.say(side, bytes, VnetHdr::PLAIN);
    }

    /// Something happened to a socket.
    pub(super) fn datagram_event(&mut self, id: Key, error: bool) {
        if error {
            self.errors(id);
        }
        if let Some(socket) = self.datagrams.get_mut(id)
            && !socket.in_ready
        {
            socket.in_ready = true;
            let token = id.token(socket.kind());
            self.side(Side::Uplink).ready.push_back(token);
        }
    }

    /// Reads one datagram, or several of one length, into the batch's next slot.
    pub(super) fn datagram_serve(&mut self, id: Key, batch: &mut Batch, now: Instant) {
        const AT: usize = wire::ETH + wire::IP + wire::UDP;
        let Some(socket) = self.datagrams.get_mut(id) else {
            return;
        };
        let Some(slot) = batch.next_slot() else {
            return;
        };
        socket.in_ready = false;
        let room = slot.rx_room(0);
        let room_len = room.len().min(wire::ETH + wire::MAX_PACKET);
        let Some(into) = room.get_mut(AT..room_len) else {
            return;
        };
        let got = match message::receive(&socket.fd, into) {
            Ok(got) => got,
            Err(Errno::AGAIN) => return,
            // An error of an earlier datagram: its message comes by the queue.
            Err(_) => return self.datagram_event(id, true),
        };
        socket.last = now;
        let (near, mac, origin) = (socket.near, socket.mac, socket.origin);
        // There may be more.
        socket.in_ready = true;
        let token = id.token(socket.kind());
        let [uplink, _] = &mut self.sides;
        uplink.ready.push_back(token);
        let Some(from) = got.from else { return };
        if let Some(asked) = got
            .to
            .filter(|_| origin.is_some_and(|o| o.host_ip.is_none()))
        {
            self.remember_asked(id, from, asked);
        }
        if near.echo {
            let message = into.get(..got.len).unwrap_or(&[]).to_vec();
            return self.echo_reply(near, mac, from, message);
        }
        let one = got.each.map_or(got.len, usize::from).max(1);
        let (far, near) = match (origin, near.side) {
            (Some(origin), _) if !self.shown(&origin, *from.ip()) => {
                let data = into.get(..got.len).unwrap_or(&[]).to_vec();
                return each_of(&data, one)
                    .for_each(|data| self.local_datagram(id, &origin, from, data, now));
            }
            (_, Side::Uplink) => (from, near),
            (_, Side::Host) => (SocketAddrV4::new(self.config.gateway, DNS), near),
        };
        if near.side == Side::Host && Some(from) != self.config.resolver {
            return add(&self.stats.datagrams_dropped, 1);
        }
        add(
            &self.stats.datagrams_in,
            got.len.div_ceil(one).max(1) as u64,
        );
        let link = self.link(near.side, mac);
        if near.side == Side::Host {
            // This batch is the uplink's.
            let data = into.get(..got.len).unwrap_or(&[]).to_vec();
            return each_of(&data, one).for_each(|data| {
                let mut bytes = vec![0; AT];
                let hdr = wire::udp(&mut bytes, link, far, near.at, data.len());
                bytes.extend(data);
                self.say(Side::Host, bytes, hdr);
            });
        }
        if let Some(slot) = batch.next_slot() {
            let mut hdr = wire::udp(slot.rx_room(0), link, far, near.at, got.len);
            if let Some(each) = got.each {
                (hdr.gso, hdr.gso_size) = (Gso::UdpL4, each);
                hdr.hdr_len = AT as u16;
            }
            slot.set_received(AT + got.len, hdr);
            batch.commit();
        }
    }

    fn echo_reply(&mut self, near: Near, mac: Mac, from: SocketAddrV4, mut message: Vec<u8>) {
        if byte(&message, 0) != 0 || message.len() < 8 {
            return;
        }
        // The kernel's identifier becomes the container's again.
        put16(&mut message, 4, near.at.port());
        let link = self.link(near.side, mac);
        let bytes = wire::icmp(link, *from.ip(), *near.at.ip(), 64, &message);
        self.say(near.side, bytes, VnetHdr::PLAIN);
    }
}
