//! TCP in the engine: connections fed, read, timed and closed.

use super::dest::Side;
use super::engine::{Engine, Flow, FlowKey, TCP};
use super::limits::BYTES;
use super::splice::{End, New, Phase, Read, Splice, Todo};
use super::stats::{add, set};
use super::wire::{self, Packet, Segment, TcpOut, flag, payload};
use crate::forward::slab::Key;
use dataplane::base::Mac;
use dataplane::frame::{Batch, VnetHdr};
use mio::event::Event;
use rustix::net::sockopt;
use std::cmp::Reverse;
use std::hash::BuildHasher;
use std::io::IoSlice;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// How often a connection at rest is looked at.
const LOOK: Duration = Duration::from_secs(60);

impl Engine {
    /// A TCP segment from the switch.
    pub(super) fn tcp(
        &mut self,
        side: Side,
        p: &Packet,
        head: &[u8],
        parts: &[IoSlice<'_>],
        hdr: &VnetHdr,
        now: Instant,
    ) {
        let Some(s) = Segment::read(head, p).filter(|_| self.checksum_holds(hdr, p, parts)) else {
            return add(&self.stats.unknown, 1);
        };
        let key = FlowKey {
            side,
            near: SocketAddrV4::new(p.src, s.sport),
            far: SocketAddrV4::new(p.dst, s.dport),
        };
        let len = p.end - s.payload;
        if let Some(&id) = self.by_key.get(&key) {
            let data = payload(parts, s.payload, p.end);
            add(&self.stats.bytes_out, len as u64);
            return self.step(id, |splice, room, todo| {
                splice.segment(&s, &data, len, now, room, todo);
            });
        }
        if s.flags & (flag::SYN | flag::ACK | flag::RST) == flag::SYN {
            return self.open(key, p, &s, now);
        }
        if !s.has(flag::RST) {
            add(&self.stats.tcp_unknown, 1);
            self.reject(key, p.mac, &s, len);
        }
    }

    /// The RST for a segment that belongs to no connection (RFC 9293 section 3.10.7.1).
    pub(super) fn reject(&mut self, key: FlowKey, mac: Mac, s: &Segment, len: usize) {
        let ends = u32::from(s.has(flag::SYN)) + u32::from(s.has(flag::FIN));
        let (seq, ack, flags) = match s.has(flag::ACK) {
            true => (s.ack, 0, flag::RST),
            false => (
                0,
                s.seq.wrapping_add(len as u32 + ends),
                flag::RST | flag::ACK,
            ),
        };
        let out = TcpOut {
            from: key.far,
            to: key.near,
            seq,
            ack,
            flags,
            window: 0,
            options: None,
            mss: u16::MAX,
        };
        self.send_segment(key.side, mac, &out, &[]);
    }

    fn send_segment(&mut self, side: Side, mac: Mac, out: &TcpOut, data: &[u8]) {
        // Its MAC has been asked for; the answer sends this again.
        if mac == Mac::ZERO {
            return;
        }
        let mut bytes = vec![0; out.headers()];
        let hdr = out.write(&mut bytes, self.link(side, mac), data.len());
        bytes.extend(data);
        self.say(side, bytes, hdr);
    }

    /// What a new connection starts from.
    pub(super) fn new_flow(&self, key: FlowKey, fd: OwnedFd) -> New {
        // RFC 6528: a clock of 4 µs and a keyed hash of the ends.
        let clock = (self.origin.elapsed().as_micros() / 4) as u32;
        let hash = self.secret.hash_one(key) as u32;
        New {
            far: key.far,
            near: key.near,
            fd,
            iss: hash.wrapping_add(clock),
            mss: self.config.mtu.saturating_sub(40),
        }
    }

    /// Enters a connection and watches its socket.
    pub(super) fn insert(
        &mut self,
        key: FlowKey,
        mac: Mac,
        splice: Splice,
        accepted: Option<u32>,
    ) -> Result<Key, std::io::Error> {
        let fd = splice.fd.as_raw_fd();
        let id = self.flows.try_insert(|_| {
            Ok::<_, std::io::Error>(Flow {
                splice,
                key,
                mac,
                in_ready: false,
                ack_due: false,
                timer: None,
                accepted,
            })
        })?;
        if let Err(e) = self.watch(fd, id.token(TCP)) {
            self.flows.remove(id);
            return Err(e);
        }
        self.by_key.insert(key, id);
        self.schedule(id);
        Ok(id)
    }

    /// Does something to a connection, and what follows from it.
    pub(super) fn step(&mut self, id: Key, act: impl FnOnce(&mut Splice, usize, &mut Todo)) {
        let room = BYTES.saturating_sub(self.waiting);
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        let mut todo = Todo::default();
        let (held, waiting) = (flow.splice.held(), flow.splice.waiting());
        act(&mut flow.splice, room, &mut todo);
        self.held = (self.held + flow.splice.held()).saturating_sub(held);
        self.waiting = (self.waiting + flow.splice.waiting()).saturating_sub(waiting);
        let (side, mac) = (flow.key.side, flow.mac);
        let ack = todo.ack && todo.end.is_none() && !flow.ack_due;
        flow.ack_due |= ack;
        if ack {
            self.side(side).acks.push(id);
        }
        for (out, bytes) in &todo.out {
            add(&self.stats.resent, bytes.len() as u64);
            self.send_segment(side, mac, out, bytes);
        }
        if todo.read {
            self.ready(id);
        }
        match todo.end {
            Some(end) => self.close(id, end),
            None => self.schedule(id),
        }
        self.feed_starved();
    }

    /// Puts a connection on the ready list.
    pub(super) fn ready(&mut self, id: Key) {
        if let Some(flow) = self.flows.get_mut(id)
            && !flow.in_ready
        {
            flow.in_ready = true;
            let side = flow.key.side;
            self.side(side).ready.push_back(id.token(TCP));
        }
    }

    /// Sees to it that [`Engine::tcp_timeout`] looks at the connection in time.
    fn schedule(&mut self, id: Key) {
        let idle = self.config.timeouts.tcp_established;
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        // A connection that ends leaves its entry behind: not for long.
        let end = (flow.splice.last + idle).min(Instant::now() + LOOK);
        let due = flow.splice.due.map_or(end, |due| due.min(end));
        if flow.timer.is_none_or(|at| due < at) {
            flow.timer = Some(due);
            self.timers.push(Reverse((due, id.token(TCP))));
        }
    }

    /// An entry of the timer heap fired.
    pub(super) fn tcp_timeout(&mut self, id: Key, now: Instant) {
        let idle = self.config.timeouts.tcp_established;
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        if flow.timer.is_none_or(|at| at > now) {
            // An earlier one has taken its place.
            return;
        }
        flow.timer = None;
        if flow.splice.last + idle <= now {
            return self.close(id, End::Silent);
        }
        if flow.splice.phase == Phase::Calling && flow.key.side == Side::Host {
            // It may have another MAC by now.
            let ip = *flow.key.near.ip();
            self.macs.remove(&ip);
            self.ask(ip);
        }
        self.step(id, |s, _, todo| s.timeout(now, todo));
    }

    /// Something happened to a host socket.
    pub(super) fn tcp_event(&mut self, id: Key, e: &Event, now: Instant) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        if flow.splice.phase == Phase::Connecting {
            match sockopt::socket_error(&flow.splice.fd) {
                Ok(Ok(())) if e.is_writable() => {
                    self.step(id, |s, _, todo| s.connected(now, todo));
                }
                Ok(Ok(())) => {}
                Ok(Err(why)) | Err(why) => self.fail(id, why),
            }
            return;
        }
        flow.splice.hup |= e.is_read_closed();
        if e.is_writable() && flow.splice.waiting() > 0 {
            self.step(id, |s, _, todo| s.writable(todo));
        }
        if e.is_readable() || e.is_read_closed() || e.is_error() {
            self.ready(id);
        }
    }

    /// Takes a connection out of every list.
    pub(super) fn remove(&mut self, id: Key) -> Option<Flow> {
        let flow = self.flows.remove(id)?;
        self.by_key.remove(&flow.key);
        self.held = self.held.saturating_sub(flow.splice.held());
        self.waiting = self.waiting.saturating_sub(flow.splice.waiting());
        self.feed_starved();
        Some(flow)
    }

    /// Ends a connection on the host's side.
    pub(super) fn close(&mut self, id: Key, end: End) {
        let Some(mut flow) = self.remove(id) else {
            return;
        };
        if end == End::Closed {
            flow.splice.take_out();
        }
        let opening = flow.splice.phase != Phase::Open;
        if end != End::Closed {
            add(
                match opening {
                    true => &self.stats.tcp_refused,
                    false => &self.stats.tcp_reset,
                },
                1,
            );
            // A RST goes out instead of a FIN.
            let _ = sockopt::set_socket_linger(&flow.splice.fd, Some(Duration::ZERO));
        }
    }

    /// The acknowledgement that is due, unless data took it along.
    pub(super) fn ack(&mut self, id: Key, batch: &mut Batch) {
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        if !std::mem::take(&mut flow.ack_due) {
            return;
        }
        let out = flow.splice.ack();
        let (side, mac) = (flow.key.side, flow.mac);
        let link = self.link(side, mac);
        if let Some(slot) = batch.next_slot() {
            let hdr = out.write(slot.rx_room(0), link, 0);
            slot.set_received(out.headers(), hdr);
            batch.commit();
        }
    }

    /// Reads a host socket into the batch's next slot.
    pub(super) fn tcp_serve(&mut self, id: Key, batch: &mut Batch, now: Instant) {
        const HEADERS: usize = wire::ETH + wire::IP + wire::TCP;
        let full = self.held >= BYTES;
        let Some(flow) = self.flows.get_mut(id) else {
            return;
        };
        flow.in_ready = false;
        if full {
            self.starved.push(id);
            return;
        }
        let Some(slot) = batch.next_slot() else {
            return;
        };
        let held = flow.splice.held();
        let read = flow.splice.read(slot.rx_room(0), HEADERS, now);
        self.held = (self.held + flow.splice.held()).saturating_sub(held);
        let (side, mac) = (flow.key.side, flow.mac);
        match read {
            Read::Data(out, n, more) => {
                flow.ack_due = false;
                let link = self.link(side, mac);
                let hdr = out.write(slot.rx_room(0), link, n);
                slot.set_received(HEADERS + n, hdr);
                batch.commit();
                add(&self.stats.bytes_in, n as u64);
                if more {
                    self.ready(id);
                }
                self.schedule(id);
            }
            Read::Fin(out) => {
                flow.ack_due = false;
                let link = self.link(side, mac);
                let hdr = out.write(slot.rx_room(0), link, 0);
                slot.set_received(HEADERS, hdr);
                batch.commit();
                self.schedule(id);
            }
            Read::Empty => {}
            Read::Blocked => self.schedule(id),
            Read::Failed(e) => {
                let rst = flow.splice.reset();
                self.send_segment(side, mac, &rst, &[]);
                self.close(id, End::ByHost(e));
            }
        }
    }

    /// Connections that could not read for want of room may again.
    fn feed_starved(&mut self) {
        if self.held < BYTES / 2 && !self.starved.is_empty() {
            for id in std::mem::take(&mut self.starved) {
                self.ready(id);
            }
        }
    }

    /// Writes down what is there now.
    pub(super) fn gauges(&self) {
        set(&self.stats.tcp_now, self.flows.len());
        set(&self.stats.udp_now, self.datagrams.len());
        set(&self.stats.bytes_held, self.held + self.waiting);
    }
}
