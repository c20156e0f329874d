//! Published UDP ports: a session for each client, with a socket of its own to the container.
//!
//! A session is (client address, address that the client asked), so an answer leaves from the
//! address that was asked even when the host has several. It ends after an idle time, when
//! the container says "port unreachable", or when a newer one needs its place.

use super::RelayId;
use super::slab::{Key, Slab};
use super::socket::Upstream;
use super::stats::{Stats, add, set};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, cmsg_space, recvmsg, sendmsg,
};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::collections::{HashMap, VecDeque};
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// Datagrams of one socket before others get their turn.
const TURNS: usize = 64;

/// What names a session on its port.
type Peer = (SocketAddrV4, Ipv4Addr);

/// A bound, published port.
#[derive(Debug)]
struct Port {
    owner: RelayId,
    fd: OwnedFd,
    target: SocketAddrV4,
    sessions: HashMap<Peer, Key>,
    /// Every live session once, roughly by age: an entry whose turn is not the session's own is
    /// put back at the end when it comes up.
    ages: VecDeque<(Key, u64)>,
}

/// One client of one port.
#[derive(Debug)]
struct Session {
    port: Key,
    fd: OwnedFd,
    peer: Peer,
    /// When the last datagram passed, since the relay's start.
    last: Duration,
    /// Which datagram of all that was: orders sessions finer than any clock.
    turn: u64,
}

/// Bounds of the tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub per_port: usize,
    pub total: usize,
    pub idle: Duration,
}

/// What every call needs.
pub(super) struct Around<'a> {
    pub upstream: &'a Upstream,
    pub stats: &'a Stats,
    pub scratch: &'a mut [u8],
    pub now: Duration,
    /// Registers a new session's socket with the poller.
    pub register: &'a dyn Fn(&OwnedFd, Key) -> std::io::Result<()>,
}

/// All published UDP ports and their sessions.
#[derive(Debug)]
pub(super) struct Udp {
    ports: Slab<Port>,
    sessions: Slab<Session>,
    bounds: Bounds,
    /// Datagrams so far.
    turn: u64,
}

impl Udp {
    pub const fn new(bounds: Bounds) -> Udp {
        Udp {
            ports: Slab::new(),
            sessions: Slab::new(),
            bounds,
            turn: 0,
        }
    }

    /// Ports that are bound.
    pub fn ports(&self) -> usize {
        self.ports.len()
    }

    /// How often [`Udp::expire`] wants to be called; `None` while there is no session.
    pub fn tick(&self) -> Option<Duration> {
        let tick = (self.bounds.idle / 8).clamp(Duration::from_millis(20), Duration::from_secs(5));
        (self.sessions.len() > 0).then_some(tick)
    }

    /// Takes a bound socket over.
    pub fn add(
        &mut self,
        owner: RelayId,
        fd: OwnedFd,
        target: SocketAddrV4,
        register: impl FnOnce(&OwnedFd, Key) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        let made = self.ports.try_insert(|key| {
            register(&fd, key)?;
            let (sessions, ages) = (HashMap::new(), VecDeque::new());
            Ok(Port {
                owner,
                fd,
                target,
                sessions,
                ages,
            })
        });
        made.map(|_| ())
    }

    /// Does something to the socket of each port, up to the first that refuses.
    pub fn each_port<E>(
        &mut self,
        mut act: impl FnMut(&OwnedFd) -> Result<(), E>,
    ) -> Result<(), E> {
        for key in self.ports.keys_where(|_| true) {
            self.ports.get_mut(key).map_or(Ok(()), |p| act(&p.fd))?;
        }
        Ok(())
    }

    /// Closes the ports and sessions of one publication.
    pub fn remove(&mut self, owner: RelayId, stats: &Stats) {
        for key in self.ports.keys_where(|p| p.owner == owner) {
            if let Some(port) = self.ports.remove(key) {
                for session in port.sessions.into_values() {
                    self.sessions.remove(session);
                }
            }
        }
        set(&stats.sessions, self.sessions.len());
    }

    /// Ends what was idle for too long.
    pub fn expire(&mut self, now: Duration, stats: &Stats) {
        let idle = self.bounds.idle;
        for key in self
            .sessions
            .keys_where(|s| now.saturating_sub(s.last) >= idle)
        {
            self.close(key, stats);
        }
    }

    /// Datagrams of clients; true when its turn ended with more to read.
    pub fn hear_clients(&mut self, key: Key, around: &mut Around<'_>) -> bool {
        for _ in 0..TURNS {
            let Some(port) = self.ports.get_mut(key) else {
                return false;
            };
            match receive(&port.fd, around.scratch) {
                Ok(Some((len, peer))) => self.forward(key, peer, len, around),
                Ok(None) => add(&around.stats.datagrams_dropped, 1),
                Err(Errno::AGAIN) => return false,
                // Errors of single datagrams; the socket goes on.
                Err(_) => {}
            }
        }
        true
    }

    /// Datagrams of the container to one client; true when its turn ended with more to read.
    pub fn hear_container(&mut self, key: Key, around: &mut Around<'_>) -> bool {
        for _ in 0..TURNS {
            let Some(session) = self.sessions.get_mut(key) else {
                return false;
            };
            match recv(&session.fd, &mut *around.scratch, RecvFlags::empty()) {
                Ok((_, n)) => {
                    session.last = around.now;
                    session.turn = self.turn;
                    self.turn += 1;
                    let data = around.scratch.get(..n).unwrap_or_default();
                    let Some(port) = self.ports.get_mut(session.port) else {
                        return false;
                    };
                    match reply(&port.fd, session.peer, data) {
                        Ok(()) => add(&around.stats.datagrams_out, 1),
                        Err(_) => add(&around.stats.datagrams_dropped, 1),
                    }
                }
                Err(Errno::AGAIN) => return false,
                Err(Errno::INTR) => {}
                Err(Errno::CONNREFUSED) => {
                    add(&around.stats.sessions_refused, 1);
                    self.close(key, around.stats);
                    return false;
                }
                // Host unreachable and the like: the container may come back.
                Err(_) => {}
            }
        }
        true
    }

    /// Hands one datagram (the first `len` bytes of the scratch buffer) to the container.
    fn forward(&mut self, port: Key, peer: Peer, len: usize, around: &mut Around<'_>) {
        let found = self
            .ports
            .get_mut(port)
            .and_then(|p| p.sessions.get(&peer).copied());
        let Some(key) = found.or_else(|| self.open(port, peer, around)) else {
            add(&around.stats.datagrams_dropped, 1);
            return;
        };
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.last = around.now;
        session.turn = self.turn;
        self.turn += 1;
        let data = around.scratch.get(..len).unwrap_or_default();
        let sent = send(&session.fd, data, SendFlags::NOSIGNAL).or_else(|e| match e {
            // Told about an earlier datagram; this one was not sent yet.
            Errno::CONNREFUSED => send(&session.fd, data, SendFlags::NOSIGNAL),
            e => Err(e),
        });
        match sent {
            Ok(_) => add(&around.stats.datagrams_in, 1),
            Err(_) => add(&around.stats.datagrams_dropped, 1),
        }
    }

    /// A session for a new client; the longest idle of its port makes room.
    fn open(&mut self, port: Key, peer: Peer, around: &mut Around<'_>) -> Option<Key> {
        let here = self.ports.get_mut(port)?;
        let target = here.target;
        if here.sessions.len() >= self.bounds.per_port || self.sessions.len() >= self.bounds.total {
            self.evict(port, around.stats)?;
        }
        let fd = match around.upstream.udp(target) {
            Err(Errno::MFILE | Errno::NFILE) => {
                self.evict(port, around.stats)?;
                around.upstream.udp(target).ok()?
            }
            made => made.ok()?,
        };
        let made = self.sessions.try_insert(|key| {
            (around.register)(&fd, key)?;
            Ok::<_, std::io::Error>(Session {
                port,
                fd,
                peer,
                last: around.now,
                turn: self.turn,
            })
        });
        let key = made.ok()?;
        let here = self.ports.get_mut(port)?;
        here.sessions.insert(peer, key);
        here.ages.push_back((key, self.turn));
        if here.ages.len() > 2 * here.sessions.len() + 64 {
            let live: std::collections::HashSet<Key> = here.sessions.values().copied().collect();
            here.ages.retain(|(key, _)| live.contains(key));
        }
        set(&around.stats.sessions, self.sessions.len());
        Some(key)
    }

    /// Ends the session of `port` that was idle for the longest time; `None`: it has none.
    fn evict(&mut self, port: Key, stats: &Stats) -> Option<()> {
        loop {
            let ages = &mut self.ports.get_mut(port)?.ages;
            let (key, stamp) = ages.pop_front()?;
            match self.sessions.get_mut(key) {
                None => {}
                Some(session) if session.turn > stamp => ages.push_back((key, session.turn)),
                Some(_) => {
                    add(&stats.sessions_evicted, 1);
                    self.close(key, stats);
                    return Some(());
                }
            }
        }
    }

    fn close(&mut self, key: Key, stats: &Stats) {
        if let Some(session) = self.sessions.remove(key)
            && let Some(port) = self.ports.get_mut(session.port)
        {
            port.sessions.remove(&session.peer);
        }
        set(&stats.sessions, self.sessions.len());
    }
}

/// One datagram into `buffer`: its length, who sent it and the address it was sent to. `None`:
/// from a sender that cannot be answered.
fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> Result<Option<(usize, Peer)>, Errno> {
    let mut control = [0u8; const { cmsg_space::<libc::in_pktinfo>() }];
    let mut parts = [IoSliceMut::new(buffer)];
    let got = recvmsg::<SockaddrIn>(
        fd.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )
    .map_err(|e| Errno::from_raw_os_error(e as i32))?;
    let asked = got.cmsgs().ok().and_then(|mut all| {
        all.find_map(|c| match c {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()))
            }
            _ => None,
        })
    });
    let sender = got.address.map(SocketAddrV4::from);
    let (len, Some(sender), Some(asked)) = (got.bytes, sender, asked) else {
        return Ok(None);
    };
    Ok((sender.port() != 0).then_some((len, (sender, asked))))
}

/// Sends `data` to the client, from the address that it had asked.
fn reply(fd: &OwnedFd, (client, asked): Peer, data: &[u8]) -> Result<(), nix::errno::Errno> {
    let info = libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr {
            s_addr: u32::from_ne_bytes(asked.octets()),
        },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    sendmsg(
        fd.as_raw_fd(),
        &[IoSlice::new(data)],
        &[ControlMessage::Ipv4PacketInfo(&info)],
        MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
        Some(&SockaddrIn::from(client)),
    )
    .map(|_| ())
}
