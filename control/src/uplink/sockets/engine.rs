//! All connections and sockets of the engine, what they wait for, and what they have to send.
//!
//! One lock around all of it: a worker that writes a frame holds it for one `sendmsg`, the worker
//! that reads for one batch. Sockets are watched by edge, so each one that may be read stands on a
//! ready list until it has nothing more, and takes its turn: one that is slow or busy holds up no
//! other.

use super::datagram::{Datagrams, Near};
use super::dest::Side;
use super::fragments::{FragmentKey, Partial};
use super::limits::Limits;
use super::listen::{Listener, Local};
use super::splice::Splice;
use super::stats::{Stats, add};
use super::wire::{Link, Packet, proto, read_arp};
use super::{Config, EXTERNAL, NEXT_HOP, wire};
use crate::forward::slab::{Key, Slab};
use dataplane::base::Mac;
use dataplane::base::bytes::be16;
use dataplane::frame::{Batch, VnetHdr};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::event::{EventfdFlags, eventfd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Kinds of poll tokens.
pub(super) const TCP: u8 = 0;
pub(super) const UDP: u8 = 1;
pub(super) const ECHO: u8 = 2;
pub(super) const LISTEN: u8 = 3;
const WAKER: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);
const EVENTS: usize = 256;
/// The longest headers: Ethernet, IPv4 and TCP with all options.
const HEAD: usize = 14 + 60 + 60;
/// Frames that wait to be read by the switch; the next is lost.
const OUT: usize = 65_536;

/// What names a TCP connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct FlowKey {
    pub side: Side,
    /// The container's end, as the engine sees it.
    pub near: SocketAddrV4,
    /// The far end, as the container sees it.
    pub far: SocketAddrV4,
}

/// A TCP connection and its place in the engine's lists.
pub(super) struct Flow {
    pub splice: Splice,
    pub key: FlowKey,
    /// MAC behind which the container is.
    pub mac: Mac,
    pub in_ready: bool,
    pub ack_due: bool,
    /// The earliest entry of the timer heap.
    pub timer: Option<Instant>,
    /// The publication by which it was accepted.
    pub accepted: Option<u32>,
}

/// A datagram from and to, and its payload.
pub(super) type Unsent = ((SocketAddrV4, SocketAddrV4), Vec<u8>);

/// What one side has to say.
#[derive(Default)]
pub(super) struct SideState {
    pub out: VecDeque<(Vec<u8>, VnetHdr)>,
    pub ready: VecDeque<Token>,
    pub acks: Vec<Key>,
    woken: bool,
}

impl SideState {
    fn has_something(&self) -> bool {
        !(self.out.is_empty() && self.ready.is_empty() && self.acks.is_empty())
    }
}

/// See the module.
pub struct Engine {
    pub(super) config: Config,
    pub(super) limits: Limits,
    pub(super) stats: Arc<Stats>,
    pub(super) poll: Poll,
    events: Events,
    waker: Waker,
    host_wake: OwnedFd,
    timer: OwnedFd,
    armed: Option<Instant>,
    pub(super) timers: BinaryHeap<Reverse<(Instant, Token)>>,
    pub(super) sides: [SideState; 2],
    pub(super) flows: Slab<Flow>,
    pub(super) by_key: HashMap<FlowKey, Key>,
    /// Connections whose connect is under way, oldest first; some may have ended since.
    pub(super) half_open: VecDeque<Key>,
    pub(super) datagrams: Slab<Datagrams>,
    pub(super) by_near: HashMap<Near, Key>,
    pub(super) fragments: HashMap<FragmentKey, Partial>,
    pub(super) listeners: Slab<Listener>,
    /// MACs of containers that clients on the host's loopback called.
    pub(super) macs: HashMap<Ipv4Addr, Mac>,
    /// Senders of datagrams on the host's loopback, by the container's end and the gateway's port.
    pub(super) locals: HashMap<(SocketAddrV4, u16), Local>,
    /// The host's address that a client of a published UDP port asked.
    pub(super) asked: HashMap<(Key, SocketAddrV4), Ipv4Addr>,
    /// Datagrams that wait for a container's MAC.
    pub(super) unsent: HashMap<Ipv4Addr, Vec<Unsent>>,
    /// Bytes that wait for slow host sockets.
    pub(super) waiting: usize,
    /// Bytes that containers have not acknowledged.
    pub(super) held: usize,
    /// Connections that may not read because `held` is at its limit.
    pub(super) starved: Vec<Key>,
    /// Secret of the first sequence numbers (RFC 6528).
    pub(super) secret: std::hash::RandomState,
    pub(super) origin: Instant,
}

impl Engine {
    pub(super) fn new(config: Config, limits: Limits, stats: Arc<Stats>) -> io::Result<Engine> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let host_wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let source = &timer.as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(source), TIMER, Interest::READABLE)?;
        Ok(Engine {
            config,
            limits,
            stats,
            poll,
            events: Events::with_capacity(EVENTS),
            waker,
            host_wake,
            timer,
            armed: None,
            timers: BinaryHeap::new(),
            sides: [SideState::default(), SideState::default()],
            flows: Slab::new(),
            by_key: HashMap::new(),
            half_open: VecDeque::new(),
            datagrams: Slab::new(),
            by_near: HashMap::new(),
            fragments: HashMap::new(),
            listeners: Slab::new(),
            macs: HashMap::new(),
            locals: HashMap::new(),
            asked: HashMap::new(),
            unsent: HashMap::new(),
            waiting: 0,
            held: 0,
            starved: Vec::new(),
            secret: std::hash::RandomState::new(),
            origin: Instant::now(),
        })
    }

    /// What the queue of a side waits on.
    pub fn poll_fd(&self, side: Side) -> RawFd {
        match side {
            Side::Uplink => self.poll.as_raw_fd(),
            Side::Host => self.host_wake.as_raw_fd(),
        }
    }

    pub(super) const fn side(&mut self, side: Side) -> &mut SideState {
        let [uplink, host] = &mut self.sides;
        match side {
            Side::Uplink => uplink,
            Side::Host => host,
        }
    }

    /// The link header of frames to this MAC; on the uplink there is only the switch.
    pub(super) const fn link(&self, side: Side, mac: Mac) -> Link {
        match side {
            Side::Uplink => Link {
                own: Mac::from_ip(NEXT_HOP),
                to: self.config.uplink_mac,
            },
            Side::Host => Link {
                own: self.config.gateway_mac,
                to: mac,
            },
        }
    }

    /// Our address on a side, in what we say ourselves.
    pub(super) const fn address(&self, side: Side) -> Ipv4Addr {
        match side {
            Side::Uplink => NEXT_HOP,
            Side::Host => self.config.gateway,
        }
    }

    /// Takes a frame from the switch. False for a UDP superframe that has to be cut first.
    pub fn frame(&mut self, side: Side, hdr: &VnetHdr, parts: &[IoSlice<'_>]) -> bool {
        let now = Instant::now();
        let len = parts.iter().map(|p| p.len()).sum();
        let mut gathered = [0; HEAD];
        let first: &[u8] = parts.first().map_or(&[], |p| p);
        let head = if first.len() >= HEAD || first.len() == len {
            first
        } else {
            let mut at = 0;
            for part in parts {
                let room = gathered.get_mut(at..).unwrap_or(&mut []);
                let n = room.len().min(part.len());
                for (to, from) in room.iter_mut().zip(part.iter()) {
                    *to = *from;
                }
                at += n;
            }
            gathered.get(..at).unwrap_or(&[])
        };
        if be16(head, 12) == 0x0806 {
            self.arp(side, head);
            return true;
        }
        let Some(p) = Packet::read(head, len) else {
            // Broadcasts of the bridge domain reach the host side too: IPv6, for one.
            if side == Side::Uplink {
                add(&self.stats.unknown, 1);
            }
            return true;
        };
        // Broadcasts and what is flooded are nobody's business here.
        if side == Side::Host && p.dst != self.config.gateway {
            return true;
        }
        if p.is_fragment() {
            self.fragment(side, &p, head, parts, now);
            return true;
        }
        match p.proto {
            proto::TCP => self.tcp(side, &p, head, parts, hdr, now),
            proto::UDP => return self.udp(side, &p, head, parts, hdr, now),
            proto::ICMP => self.icmp(side, &p, head, parts, now),
            _ => {
                add(&self.stats.unknown, 1);
                self.unreached(side, &p, head, (3, 2, 0));
            }
        }
        true
    }

    /// Whether a checksum that was finished by its sender is right.
    pub(super) fn checksum_holds(&self, hdr: &VnetHdr, p: &Packet, parts: &[IoSlice<'_>]) -> bool {
        if hdr.needs_csum || hdr.data_valid {
            return true;
        }
        let sum =
            wire::pseudo(p.src, p.dst, p.proto, p.end - p.l4) + wire::sum_parts(parts, p.l4, p.end);
        dataplane::frame::checksum::finish(sum) == 0
    }

    fn arp(&mut self, side: Side, head: &[u8]) {
        match (side, read_arp(head)) {
            (Side::Uplink, Some((1, mac, EXTERNAL, NEXT_HOP))) => {
                let own = (Mac::from_ip(NEXT_HOP), NEXT_HOP);
                let reply = wire::arp(2, own, (mac, EXTERNAL));
                self.say(side, reply, VnetHdr::PLAIN);
            }
            // The switch itself answers for the gateway.
            (Side::Host, Some((2, mac, sender, target))) if target == self.config.gateway => {
                self.learn(sender, mac);
            }
            _ => {}
        }
    }

    /// Has the switch read this frame.
    pub(super) fn say(&mut self, side: Side, bytes: Vec<u8>, hdr: VnetHdr) {
        let out = &mut self.side(side).out;
        match out.len() < OUT {
            true => out.push_back((bytes, hdr)),
            false => add(&self.stats.queue_full, 1),
        }
    }

    /// Whether a side has something to say.
    pub fn answers(&self, side: Side) -> bool {
        let [uplink, host] = &self.sides;
        let state = match side {
            Side::Uplink => uplink,
            Side::Host => host,
        };
        state.has_something()
    }

    /// After a batch was written to us: the worker that reads is told that there is something,
    /// unless it is the one that wrote, and asks.
    pub fn flush(&mut self, own: bool) {
        for side in [Side::Uplink, Side::Host] {
            let state = self.side(side);
            if own || state.woken || !state.has_something() {
                continue;
            }
            state.woken = true;
            // An error: the counter is full, so it is told already.
            let _ = match side {
                Side::Uplink => self.waker.wake(),
                Side::Host => rustix::io::write(&self.host_wake, &1u64.to_ne_bytes())
                    .map(|_| ())
                    .map_err(io::Error::from),
            };
        }
        self.arm();
    }

    /// Appends what a side has to say to `batch`. `Ok(true)`: there may be more.
    pub fn fill(&mut self, side: Side, batch: &mut Batch, budget: usize) -> io::Result<bool> {
        let now = Instant::now();
        self.side(side).woken = false;
        let mut more = false;
        if side == Side::Uplink {
            more = self.harvest(now)?;
            self.run_timers(now);
        }
        while !batch.is_full() && batch.bytes() <= budget {
            let Some((bytes, hdr)) = self.side(side).out.pop_front() else {
                break;
            };
            batch.push(&bytes, hdr);
        }
        while !batch.is_full() && batch.bytes() <= budget && self.side(side).out.is_empty() {
            let Some(key) = self.side(side).acks.pop() else {
                break;
            };
            self.ack(key, batch);
        }
        while !batch.is_full() && batch.bytes() <= budget && self.side(side).out.is_empty() {
            let Some(token) = self.side(side).ready.pop_front() else {
                break;
            };
            self.serve(token, batch, now);
        }
        // What this call made for the other side.
        self.flush(true);
        Ok(more || self.side(side).has_something())
    }

    /// Takes what the sockets report. True when there may be more of it.
    fn harvest(&mut self, now: Instant) -> io::Result<bool> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let polled = self.poll.poll(&mut events, Some(Duration::ZERO));
        let mut count = 0;
        if polled.is_ok() {
            for e in &events {
                count += 1;
                match e.token() {
                    WAKER => {}
                    TIMER => {
                        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
                        self.armed = None;
                    }
                    token => {
                        let (key, kind) = Key::from_token(token);
                        match kind {
                            TCP => self.tcp_event(key, e, now),
                            LISTEN => self.listener_event(key),
                            _ => self.datagram_event(key, e.is_error()),
                        }
                    }
                }
            }
        }
        self.events = events;
        match polled {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => Err(e),
            _ => Ok(count == EVENTS),
        }
    }

    /// Reads one socket into the batch's next slot.
    fn serve(&mut self, token: Token, batch: &mut Batch, now: Instant) {
        let (key, kind) = Key::from_token(token);
        match kind {
            TCP => self.tcp_serve(key, batch, now),
            LISTEN => self.accept(key, now),
            _ => self.datagram_serve(key, batch, now),
        }
    }

    fn run_timers(&mut self, now: Instant) {
        while let Some(Reverse((when, token))) = self.timers.peek().copied() {
            if when > now {
                break;
            }
            self.timers.pop();
            let (key, kind) = Key::from_token(token);
            match kind {
                TCP => self.tcp_timeout(key, now),
                _ => self.datagrams_timeout(key, now),
            }
        }
    }

    /// Sets the timer to the earliest entry, if it is not set to an earlier time already.
    fn arm(&mut self) {
        let Some(Reverse((when, _))) = self.timers.peek().copied() else {
            return;
        };
        if self.armed.is_some_and(|at| at <= when) {
            return;
        }
        let wait = when.saturating_duration_since(Instant::now());
        let wait = wait.max(Duration::from_micros(1));
        let spec = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(wait.subsec_nanos()),
            },
        };
        if timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec).is_ok() {
            self.armed = Some(when);
        }
    }

    /// Watches a descriptor for everything.
    pub(super) fn watch(&self, fd: RawFd, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut SourceFd(&fd), token, interest)
    }
}
