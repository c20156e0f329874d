//! The event loop of the relay: one thread, edge-triggered, nothing done that isn't asked for.

pub(crate) mod publish;

use super::pipes::Pool;
use super::slab::{Key, Slab};
use super::socket::{self, Upstream};
use super::stats::{Stats, add, set};
use super::tcp::{Conn, Next, SCRATCH, Tools, Which};
use super::udp::{Around, Bounds, Udp};
use super::{Command, RelayConfig, RelayId, limits};
use crossbeam_channel::{Receiver, TryRecvError};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, getpeername, sockopt::socket_error};
use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

// Kinds of tokens.
const WAKER: u8 = 0;
const LISTENER: u8 = 1;
const CLIENT: u8 = 2;
const UPSTREAM: u8 = 3;
const UDP_PORT: u8 = 4;
const UDP_SESSION: u8 = 5;

/// Connections accepted from one listener before others get their turn.
const ACCEPTS: usize = 64;
/// A listener that could not accept tries again after this, or when a connection ends.
const PAUSE: Duration = Duration::from_millis(100);

/// A listening socket of a published TCP port.
#[derive(Debug)]
struct Listener {
    owner: RelayId,
    fd: OwnedFd,
    target: SocketAddrV4,
}

/// Everything that the thread owns.
pub(super) struct Engine {
    poll: Poll,
    inbox: Receiver<Command>,
    upstream: Upstream,
    /// The interface that listeners ignore.
    uplink: Option<u32>,
    stats: Arc<Stats>,
    started: Instant,
    max_connections: usize,
    limit: usize,
    next_id: u64,
    published: HashSet<RelayId>,
    listeners: Slab<Listener>,
    conns: Slab<Conn>,
    udp: Udp,
    pool: Pool,
    scratch: Vec<u8>,
    /// Tokens whose turn ended with more to do; no edge will come for them.
    again: VecDeque<Token>,
    /// What is in `again`, each once.
    queued: HashSet<Token>,
    /// Listeners that found no descriptor or no room.
    paused: Vec<Key>,
    /// Held so that an accepted connection always finds one descriptor for its second stream.
    reserve: Option<OwnedFd>,
    /// A connection ended, so a paused listener may have room.
    freed: bool,
}

impl Engine {
    pub fn new(
        gateway: Ipv4Addr,
        cfg: RelayConfig,
        limit: usize,
        inbox: Receiver<Command>,
        stats: Arc<Stats>,
    ) -> io::Result<(Engine, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Token(WAKER as usize))?);
        let (connections, sessions, pipes) = limits::shares(limit);
        let bounds = Bounds {
            per_port: cfg.max_sessions_per_port.max(1),
            total: cfg.max_sessions.min(sessions).max(1),
            idle: cfg.udp_idle,
        };
        let engine = Engine {
            poll,
            inbox,
            upstream: Upstream {
                gateway,
                device: cfg.device,
            },
            uplink: None,
            stats,
            started: Instant::now(),
            max_connections: cfg.max_connections.min(connections),
            limit,
            next_id: 1,
            published: HashSet::new(),
            listeners: Slab::new(),
            conns: Slab::new(),
            udp: Udp::new(bounds),
            pool: Pool::new(cfg.max_pipes.min(pipes)),
            scratch: vec![0; SCRATCH],
            again: VecDeque::new(),
            queued: HashSet::new(),
            paused: Vec::new(),
            reserve: None,
            freed: false,
        };
        Ok((engine, waker))
    }

    /// Runs until told to stop, or until nobody is left who could tell.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(1_024);
        let mut resumed = Instant::now();
        let mut swept = Instant::now();
        loop {
            if let Err(e) = self.poll.poll(&mut events, self.timeout()) {
                if e.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                tracing::error!("the localhost relay's poller failed: {e}");
                return;
            }
            let turn = std::mem::take(&mut self.again);
            self.queued.clear();
            for event in &events {
                let (key, kind) = Key::from_token(event.token());
                match kind {
                    CLIENT | UPSTREAM => {
                        let flags = (event.is_readable(), event.is_writable(), event.is_error());
                        self.tcp_event(key, kind, flags);
                    }
                    WAKER => {}
                    _ => self.work(event.token()),
                }
            }
            for token in turn {
                self.work(token);
            }
            if !self.commands() {
                return;
            }
            let now = Instant::now();
            if !self.paused.is_empty() && (self.freed || now - resumed >= PAUSE) {
                resumed = now;
                let listeners = std::mem::take(&mut self.paused);
                listeners
                    .into_iter()
                    .for_each(|k| self.later(k.token(LISTENER)));
            }
            self.freed = false;
            if self.udp.tick().is_some_and(|tick| now - swept >= tick) {
                swept = now;
                self.udp.expire(now - self.started, &self.stats);
            }
            set(&self.stats.pipes_busy, self.pool.busy());
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let pause = (!self.paused.is_empty()).then_some(PAUSE);
        [pause, self.udp.tick()].into_iter().flatten().min()
    }

    /// Goes on with what a token names, whatever the poller said about it.
    fn work(&mut self, token: Token) {
        let (key, kind) = Key::from_token(token);
        let more = match kind {
            LISTENER => self.accept(key),
            CLIENT | UPSTREAM => {
                self.pump(key);
                false
            }
            UDP_PORT => self.with_udp(|udp, around| udp.hear_clients(key, around)),
            UDP_SESSION => self.with_udp(|udp, around| udp.hear_container(key, around)),
            _ => false,
        };
        if more {
            self.later(token);
        }
    }

    /// Queues what has more to do behind the others.
    fn later(&mut self, token: Token) {
        if self.queued.insert(token) {
            self.again.push_back(token);
        }
    }

    fn with_udp(&mut self, act: impl FnOnce(&mut Udp, &mut Around<'_>) -> bool) -> bool {
        let registry = self.poll.registry();
        let mut around = Around {
            upstream: &self.upstream,
            stats: &self.stats,
            scratch: &mut self.scratch,
            now: self.started.elapsed(),
            register: &|fd, key| watch(registry, fd, key.token(UDP_SESSION), Interest::READABLE),
        };
        act(&mut self.udp, &mut around)
    }

    /// Accepts what waits; true when its turn ended with more to accept.
    fn accept(&mut self, key: Key) -> bool {
        for _ in 0..ACCEPTS {
            let Some(listener) = self.listeners.get_mut(key) else {
                return false;
            };
            if self.reserve.is_none() {
                self.reserve = eventfd(0, EventfdFlags::CLOEXEC).ok();
            }
            if self.reserve.is_none() || self.conns.len() >= self.max_connections {
                self.pause(key);
                return false;
            }
            match accept_with(&listener.fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(client) => {
                    add(&self.stats.accepted, 1);
                    let (owner, target) = (listener.owner, listener.target);
                    self.open(owner, client, target);
                }
                Err(Errno::AGAIN) => return false,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    self.pause(key);
                    return false;
                }
                // The connection ended before it was accepted: accept(2) wants these ignored.
                Err(_) => {}
            }
        }
        true
    }

    fn pause(&mut self, listener: Key) {
        add(&self.stats.pauses, 1);
        if !self.paused.contains(&listener) {
            self.paused.push(listener);
        }
    }

    /// Starts the second stream of an accepted connection, or resets the first.
    fn open(&mut self, owner: RelayId, client: OwnedFd, to: SocketAddrV4) {
        socket::stream_options(&client);
        let mut made = self.upstream.tcp(to);
        if matches!(made, Err(Errno::MFILE | Errno::NFILE)) {
            self.reserve = None;
            made = self.upstream.tcp(to);
        }
        let Ok((upstream, connected)) = made else {
            add(&self.stats.refused, 1);
            return socket::reset(client);
        };
        let registry = self.poll.registry();
        let both = Interest::READABLE | Interest::WRITABLE;
        let made = self.conns.try_insert(|key| {
            watch(registry, &client, key.token(CLIENT), both)?;
            watch(registry, &upstream, key.token(UPSTREAM), both)?;
            Ok::<_, io::Error>(Conn::new(owner, client, upstream, connected))
        });
        if let Err(e) = made {
            tracing::warn!("a relayed connection was dropped: {e}");
        }
        set(&self.stats.connections, self.conns.len());
    }

    fn tcp_event(&mut self, key: Key, kind: u8, (readable, writable, error): (bool, bool, bool)) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let which = if kind == CLIENT {
            Which::Client
        } else {
            Which::Upstream
        };
        if !conn.connected && which == Which::Upstream {
            match socket_error(&conn.upstream.fd) {
                Ok(Ok(())) if getpeername(&conn.upstream.fd).is_ok_and(|a| a.is_some()) => {
                    conn.connected = true;
                }
                Ok(Ok(())) => return,
                _ => {
                    add(&self.stats.refused, 1);
                    return self.end(key, true);
                }
            }
        }
        let told = conn.note(which, readable, writable, error);
        if !told || (error && !conn.connected) {
            add(&self.stats.reset, 1);
            return self.end(key, true);
        }
        self.pump(key);
    }

    fn pump(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let mut tools = Tools {
            pool: &mut self.pool,
            scratch: &mut self.scratch,
            stats: &self.stats,
        };
        match conn.pump(&mut tools) {
            Next::Wait => {}
            Next::Again => self.later(key.token(CLIENT)),
            Next::Close => self.end(key, false),
            Next::Reset => {
                add(&self.stats.reset, 1);
                self.end(key, true);
            }
        }
    }

    fn end(&mut self, key: Key, reset: bool) {
        if let Some(conn) = self.conns.remove(key) {
            let (client, upstream) = conn.end(&mut self.pool);
            if reset {
                socket::reset(client);
                socket::reset(upstream);
            }
            self.freed = true;
        }
        set(&self.stats.connections, self.conns.len());
    }

    /// Does what the owner asked; false when it is time to end.
    fn commands(&mut self) -> bool {
        loop {
            // An answer that nobody waits for any more is no error.
            match self.inbox.try_recv() {
                Ok(Command::Publish(publication, answer)) => {
                    let _ = answer.send(self.publish(&publication));
                }
                Ok(Command::Unpublish(id, answer)) => {
                    let known = self.published.remove(&id);
                    self.unpublish(id);
                    let _ = answer.send(known);
                }
                Ok(Command::DeafTo(uplink, answer)) => {
                    let _ = answer.send(self.deaf_to(uplink));
                }
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }
}

fn watch(registry: &Registry, fd: &OwnedFd, token: Token, what: Interest) -> io::Result<()> {
    registry.register(&mut SourceFd(&fd.as_raw_fd()), token, what)
}
