//! A container's connection opens: the host's socket connects first, and its refusal is the
//! container's.

use super::dest::{Side, resolve};
use super::engine::{Engine, FlowKey};
use super::splice::{Phase, Splice};
use super::stats::add;
use super::wire::{self, Packet, Segment, flag};
use crate::forward::slab::Key;
use dataplane::base::Mac;
use dataplane::frame::VnetHdr;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::time::Instant;

impl Engine {
    /// A container's SYN: the host's socket connects first.
    pub(super) fn open(&mut self, key: FlowKey, p: &Packet, syn: &Segment, now: Instant) {
        let Some(to) = resolve(&self.config, key.side, key.far) else {
            add(&self.stats.no_destination, 1);
            return match key.side {
                Side::Host => self.reject(key, p.mac, syn, 0),
                Side::Uplink => self.unreachable(key, p.mac, syn, 1),
            };
        };
        if self.half_open.len() >= self.limits.half_open {
            self.evict_half_open();
        }
        if self.flows.len() >= self.limits.tcp {
            add(&self.stats.tcp_limit, 1);
            return self.reject(key, p.mac, syn, 0);
        }
        let connecting = self.connect(to);
        let (fd, done) = match connecting {
            Ok(socket) => socket,
            Err(e) => return self.refuse(key, p.mac, syn, e),
        };
        let new = self.new_flow(key, fd);
        let splice = Splice::asked(new, syn, now);
        let Ok(id) = self.insert(key, p.mac, splice, None) else {
            add(&self.stats.tcp_limit, 1);
            return self.reject(key, p.mac, syn, 0);
        };
        add(&self.stats.tcp_out, 1);
        if done {
            self.step(id, |s, _, todo| s.connected(now, todo));
        } else {
            self.half_open.push_back(id);
        }
    }

    /// A socket whose connect to `to` is under way, or done.
    fn connect(&self, to: SocketAddrV4) -> Result<(OwnedFd, bool), Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        prepare(&fd);
        match rustix::net::connect(&fd, &to) {
            Ok(()) => Ok((fd, true)),
            Err(Errno::INPROGRESS | Errno::INTR) => Ok((fd, false)),
            Err(e) => Err(e),
        }
    }

    /// The oldest connection whose connect is under way makes room.
    fn evict_half_open(&mut self) {
        self.half_open_now();
        if self.half_open.len() < self.limits.half_open {
            return;
        }
        if let Some(id) = self.half_open.pop_front() {
            add(&self.stats.half_open_evicted, 1);
            self.fail(id, Errno::CONNREFUSED);
        }
    }

    /// Forgets those that are no longer half-open.
    fn half_open_now(&mut self) {
        let mut list = std::mem::take(&mut self.half_open);
        list.retain(|id| {
            let flow = self.flows.get_mut(*id);
            flow.is_some_and(|f| f.splice.phase == Phase::Connecting)
        });
        self.half_open = list;
    }

    /// The host's connect failed: the container is told so as it was.
    pub(super) fn fail(&mut self, id: Key, why: Errno) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        let (key, mac, rst) = (flow.key, flow.mac, flow.splice.refusal());
        self.remove(id);
        // The sequence number that the SYN had.
        let syn = Segment {
            seq: rst.ack.wrapping_sub(1),
            flags: flag::SYN,
            ..Segment::default()
        };
        self.refuse(key, mac, &syn, why);
    }

    /// Tells a container why its SYN led nowhere.
    fn refuse(&mut self, key: FlowKey, mac: Mac, syn: &Segment, why: Errno) {
        match why {
            Errno::NETUNREACH => self.unreachable(key, mac, syn, 0),
            Errno::HOSTUNREACH | Errno::HOSTDOWN => self.unreachable(key, mac, syn, 1),
            Errno::ACCESS | Errno::PERM => self.unreachable(key, mac, syn, 13),
            // As it was: no answer came. The kernel's NAT says nothing either, and the container's own
            // time-out ends about now; a SYN that it sends once more is tried once more.
            Errno::TIMEDOUT => {}
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL => {
                add(&self.stats.tcp_limit, 1);
                return self.reject(key, mac, syn, 0);
            }
            _ => self.reject(key, mac, syn, 0),
        }
        add(&self.stats.tcp_refused, 1);
    }

    /// ICMP type 3 with this code about a SYN.
    fn unreachable(&mut self, key: FlowKey, mac: Mac, syn: &Segment, code: u8) {
        let from = self.address(key.side);
        let quote = wire::quote(key.near, key.far, wire::proto::TCP, wire::TCP, syn.seq);
        let link = self.link(key.side, mac);
        let bytes = wire::icmp_error(link, from, *key.near.ip(), (3, code, 0), &quote);
        self.say(key.side, bytes, VnetHdr::PLAIN);
    }
}

/// A host socket sends what it is given at once: the container decides what to gather.
pub(super) fn prepare(fd: &OwnedFd) {
    let _ = sockopt::set_tcp_nodelay(fd, true);
}
