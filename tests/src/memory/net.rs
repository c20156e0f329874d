//! Real TCP hosts (smoltcp) around a switch in memory, in virtual time.

use super::check::verify;
use super::{DB, GW, PEER, UP, WEB, spec};
use dataplane::base::{Config, Instant, PortId, Proto, Reason, Role};
use dataplane::frame::{Batch, Frame, VnetHdr};
use dataplane::nat::Publication;
use dataplane::port::fault::{Fault, FaultConfig, Rng};
use dataplane::port::memory::join;
use dataplane::port::stack::{StackConfig, StackPort, Steer};
use dataplane::port::{Caps, PortQueue, RecvError, SendError};
use dataplane::worker::Inline;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A queue that writes down what leaves by it.
struct Noted {
    inner: Box<dyn PortQueue>,
    port: u8,
    /// Nothing damaged comes in, so nothing may go out.
    good_wires: bool,
    digest: Arc<Mutex<(DefaultHasher, u64)>>,
}

impl PortQueue for Noted {
    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    fn recv(&mut self, batch: &mut Batch, budget: usize) -> Result<bool, RecvError> {
        self.inner.recv(batch, budget)
    }

    fn send(&mut self, hdr: &VnetHdr, parts: &[IoSlice<'_>]) -> Result<(), SendError> {
        if self.good_wires {
            let f = Frame::with_hdr(&join(parts), *hdr);
            assert_eq!(verify(&f), Ok(()), "{:02x?}", f.bytes());
        }
        let mut d = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        (self.port, hdr.encode()).hash(&mut d.0);
        for p in parts {
            d.0.write(p);
        }
        d.1 += 1;
        drop(d);
        self.inner.send(hdr, parts)
    }

    fn poll_fd(&self) -> Option<RawFd> {
        None
    }
}

/// What a network is made of.
#[derive(Clone, Copy, Debug)]
pub struct NetConfig {
    /// Decides sequence numbers, faults and steering.
    pub seed: u64,
    /// Workers of the switch; with more than one, hosts use their queues at random.
    pub workers: usize,
    /// Whether hosts send superframes, and half of the ports take them.
    pub offload: bool,
    /// Both wires of every host.
    pub faults: Option<FaultConfig>,
}

/// Hosts by their place in [`Net::hosts`].
pub const HOSTS: [(&str, Ipv4Addr, Role); 4] = [
    ("web", WEB, Role::Access),
    ("db", DB, Role::Access),
    ("app", super::APP, Role::Access),
    ("peer", PEER, Role::Uplink),
];

/// The switch and its hosts.
pub struct Net {
    /// The switch.
    pub sw: Inline,
    /// Virtual time.
    pub now: Instant,
    /// See [`HOSTS`].
    pub hosts: Vec<StackPort>,
    /// Their ports.
    pub ports: Vec<PortId>,
    digest: Arc<Mutex<(DefaultHasher, u64)>>,
}

/// One connection to make: what it is, and how much goes each way.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Place of the client in [`HOSTS`].
    pub client: usize,
    /// Place of the server.
    pub server: usize,
    /// Where the client connects to.
    pub to: SocketAddrV4,
    /// From which port.
    pub local_port: u16,
    /// The port on which the server listens.
    pub listen: u16,
    /// Bytes from client to server and back.
    pub bytes: (usize, usize),
}

/// One end of a connection.
struct End {
    socket: SocketHandle,
    out: Vec<u8>,
    sent: usize,
    got: Vec<u8>,
    closed: bool,
}

/// The bytes that one end of connection `id` sends.
fn content(id: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(id);
    (0..len).map(|_| rng.next_u64() as u8).collect()
}

/// What both ends compare.
fn digest(bytes: &[u8]) -> u64 {
    let mut h = DefaultHasher::new();
    bytes.hash(&mut h);
    h.finish()
}

impl End {
    fn new(host: &mut StackPort, socket: SocketHandle, out: Vec<u8>) -> End {
        // smoltcp stops all its timers when a fast retransmission finds the window shut.
        let second = smoltcp::time::Duration::from_secs(1);
        host.tcp(socket).set_keep_alive(Some(second));
        End {
            socket,
            out,
            sent: 0,
            got: Vec::new(),
            closed: false,
        }
    }

    fn work(&mut self, host: &mut StackPort) {
        host.recv(self.socket, &mut self.got);
        if self.sent < self.out.len() {
            self.sent += host.send(self.socket, &self.out[self.sent..]);
        } else if !self.closed && !self.out.is_empty() && host.tcp(self.socket).may_send() {
            host.close(self.socket);
            self.closed = true;
        }
    }

    fn over(&self, host: &mut StackPort) -> bool {
        self.closed && matches!(host.state(self.socket), State::Closed | State::TimeWait)
    }
}

impl Net {
    /// A switch with TCP ports 5000 to 5009 of the uplink published for ports 80 to 89 of `web`.
    ///
    /// # Panics
    /// When a port or publication is refused.
    pub fn new(cfg: Config, net: NetConfig) -> Net {
        let now = Instant::from_secs(1);
        let mut sw = Inline::new(cfg, net.workers, now);
        let digest = Arc::new(Mutex::new((DefaultHasher::new(), 0)));
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        for (i, (name, ip, role)) in HOSTS.into_iter().enumerate() {
            let seed = net.seed * 100 + i as u64;
            let stack = StackConfig {
                seed,
                buffer: 4_096,
                offload: net.offload,
                steer: match net.workers {
                    1 => Steer::Queue(0),
                    _ => Steer::Random,
                },
                ..StackConfig::new(ip, 24, (role == Role::Access).then_some(GW))
            };
            let caps = if net.offload && i % 2 == 0 {
                Caps::ALL
            } else {
                Caps::NONE
            };
            let (mut host, queues) = StackPort::new(stack, net.workers, caps, now);
            if let Some(f) = net.faults {
                let wire = |n| {
                    Some(Fault::new(FaultConfig {
                        seed: seed ^ n,
                        ..f
                    }))
                };
                host.set_faults(wire(0xa5a5), wire(0x5a5a00));
            }
            let queues = queues
                .into_iter()
                .map(|inner| {
                    Box::new(Noted {
                        inner,
                        port: i as u8,
                        good_wires: net.faults.is_none(),
                        digest: Arc::clone(&digest),
                    }) as Box<dyn PortQueue>
                })
                .collect();
            let id = sw.add_port(spec(name, role, ip, 1500), queues, now);
            ports.push(id.expect("a port"));
            hosts.push(host);
        }
        let p = Publication {
            proto: Proto::TCP,
            host_ip: None,
            first: 5000,
            last: 5009,
            ip: WEB,
            port: 80,
        };
        sw.switch().publish(p).expect("a publication");
        Net {
            sw,
            now,
            hosts,
            ports,
            digest,
        }
    }

    /// Moves frames until none moves, then time on to the next event.
    pub fn step(&mut self) {
        loop {
            let now = self.now;
            let moved: usize = self.hosts.iter_mut().map(|h| h.poll(now)).sum();
            if moved + self.sw.drain(now) == 0 {
                break;
            }
        }
        let now = self.now;
        let hosts = self.hosts.iter_mut().filter_map(|h| h.poll_delay(now));
        let next = hosts
            .map(|d| now + d)
            .chain(self.sw.next_deadline(now))
            .min();
        let least = now + Duration::from_micros(10);
        self.now = next.map_or(now + Duration::from_secs(1), |n| n.max(least));
        self.sw.tick(self.now);
    }

    /// Makes all connections at once and runs until each is over. Every byte of each has arrived
    /// then.
    ///
    /// # Panics
    /// When bytes are lost or differ, or `limit` of virtual time is over.
    pub fn transfer(&mut self, flows: &[Flow], limit: Duration) {
        let end = self.now + limit;
        let mut listening: Vec<(usize, u16)> = flows.iter().map(|f| (f.server, f.listen)).collect();
        listening.sort_unstable();
        for group in listening.chunk_by(|a, b| a == b) {
            let (server, port) = group[0];
            self.hosts[server]
                .listen(port, group.len())
                .expect("a listener");
        }
        listening.dedup();
        let mut clients: Vec<Option<End>> = flows
            .iter()
            .enumerate()
            .map(|(id, f)| {
                let host = &mut self.hosts[f.client];
                let socket = host.connect(f.to, f.local_port).expect("a connection");
                let id = id as u64;
                let mut out = id.to_be_bytes().to_vec();
                out.extend(content(id, f.bytes.0));
                Some(End::new(host, socket, out))
            })
            .collect();
        let mut servers: Vec<(usize, End)> = Vec::new();
        let mut left = flows.len();
        while left > 0 {
            self.step();
            assert!(
                self.now < end,
                "{left} of {} not over: {}",
                flows.len(),
                self.losses()
            );
            for (f, c) in flows.iter().zip(&mut clients) {
                if let Some(c) = c {
                    c.work(&mut self.hosts[f.client]);
                }
            }
            for &(host, port) in &listening {
                while let Some(socket) = self.hosts[host].accept(port) {
                    let end = End::new(&mut self.hosts[host], socket, Vec::new());
                    servers.push((host, end));
                }
            }
            servers.retain_mut(|(host, s)| {
                let host = &mut self.hosts[*host];
                s.work(host);
                let Some(id) = s.got.first_chunk::<8>().map(|b| u64::from_be_bytes(*b)) else {
                    // A connection whose client never knew of it (its first segment was damaged).
                    if host.state(s.socket) == State::Closed {
                        host.remove(s.socket);
                        return false;
                    }
                    return true;
                };
                let f = &flows[id as usize];
                if s.out.is_empty() {
                    s.out = content(!id, f.bytes.1);
                    s.out.push(1); // so that there is something to send
                }
                let Some(c) = &clients[id as usize] else {
                    panic!("connection {id} twice");
                };
                if !s.over(host) || !c.over(&mut self.hosts[f.client]) {
                    return true;
                }
                assert_eq!(digest(&s.got), digest(&c.out), "{f:?} to the server");
                assert_eq!(digest(&c.got), digest(&s.out), "{f:?} to the client");
                assert_eq!(s.got.len(), f.bytes.0 + 8);
                let (cs, ss) = (c.socket, s.socket);
                self.hosts[f.client].remove(cs);
                self.hosts[f.server].remove(ss);
                clients[id as usize] = None;
                left -= 1;
                false
            });
        }
    }

    /// Lets so much time pass that everything is forgotten, and asserts that it is.
    pub fn expire(&mut self) {
        let end = self.now + Duration::from_secs(7_450);
        let mut steps = 0;
        while self.now < end {
            self.step();
            // The hosts are idle: what is left is the switch's own business.
            let next = self.sw.next_deadline(self.now);
            self.now = self.now.max(next.unwrap_or(end).min(end));
            self.sw.tick(self.now);
            steps += 1;
            assert!(steps < 1_000_000, "time stands still at {:?}", self.now);
        }
        let sw = self.sw.switch();
        assert_eq!(sw.conntrack.len(), 0, "connections");
        assert_eq!(sw.external.mappings(), 0, "external mappings");
        assert_eq!(sw.frags.len(), (0, 0), "fragments");
        assert_eq!(self.sw.totals().held, 0, "held frames");
        self.balance();
    }

    /// The drops so far, in words.
    pub fn losses(&self) -> String {
        let sw = self.sw.switch();
        let lost = Reason::ALL.iter().map(|r| (r, sw.drops(*r)));
        lost.filter(|l| l.1 > 0)
            .map(|(r, n)| format!("{n} {r} "))
            .collect()
    }

    /// Asserts that every frame is accounted for.
    pub fn balance(&self) {
        if let Err(e) = self.sw.totals().balance() {
            panic!("{e}");
        }
        assert_eq!(self.sw.switch().drops(Reason::Panic), 0);
    }

    /// A digest of every frame that left the switch, with their number.
    pub fn digest(&self) -> (u64, u64) {
        let d = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        (d.0.finish(), d.1)
    }
}

/// `n` connections by each way in turn: bridged, by a published port, masqueraded, by hairpin.
pub fn every_way(n: u16, first_port: u16, bytes: (usize, usize)) -> Vec<Flow> {
    let (web, db, app, peer) = (0, 1, 2, 3);
    (0..n)
        .map(|i| {
            let (client, server, to, listen) = match i % 4 {
                0 => (app, db, SocketAddrV4::new(DB, 7_000), 7_000),
                1 => (
                    peer,
                    web,
                    SocketAddrV4::new(UP, 5_000 + i / 4 % 10),
                    80 + i / 4 % 10,
                ),
                2 => (
                    [web, db][usize::from(i / 4 % 2)],
                    peer,
                    SocketAddrV4::new(PEER, 9_000),
                    9_000,
                ),
                _ => (
                    [web, db][usize::from(i / 4 % 2)],
                    web,
                    SocketAddrV4::new(UP, 5_001),
                    81,
                ),
            };
            Flow {
                client,
                server,
                to,
                local_port: first_port + i,
                listen,
                bytes,
            }
        })
        .collect()
}
