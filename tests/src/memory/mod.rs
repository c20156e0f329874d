//! A switch in memory with five ports, hand-made frames and virtual time.
//!
//! `sw0` and three containers inside, one uplink. Whoever drops a [`Lab`] asserts that every
//! frame is accounted for and that no frame made the engine panic.

pub mod check;
pub mod model;
pub mod net;
pub mod odd;
pub mod packet;
pub mod scenes;
pub mod shared;

use check::Seen;
use dataplane::base::{
    Config, Instant, Mac, PortId, PortSpec, Proto, Reason, Role, RuleId, Tuple, UplinkConfig,
};
use dataplane::frame::VnetHdr;
use dataplane::nat::Publication;
use dataplane::port::Caps;
use dataplane::port::memory::MemoryPort;
use dataplane::worker::Inline;
use packet::{Ip, arp, eth, ipv4};
use std::net::Ipv4Addr;
use std::time::Duration;

/// The gateway.
pub const GW: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The container behind the published ports.
pub const WEB: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// Another container.
pub const DB: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
/// A third one.
pub const APP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 4);
/// The switch's own external address.
pub const UP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// A neighbour outside, and the next hop to the rest of the world.
pub const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// A host behind that next hop.
pub const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// The MAC of an address' interface.
pub const fn mac(ip: Ipv4Addr) -> Mac {
    Mac::from_ip(ip)
}

/// The configuration that the labs start from: 10.0.0.0/24 inside, 192.0.2.1/24 outside.
pub fn config() -> Config {
    let mut cfg = Config::new(Ipv4Addr::new(10, 0, 0, 0), 24, GW);
    cfg.uplink = Some(UplinkConfig {
        ip: UP,
        prefix: 24,
        mac: mac(UP),
        next_hop: PEER,
        mtu: 1500,
    });
    cfg.limits.connections = 4_096;
    cfg
}

/// A port and the interface at its other end.
#[derive(Clone)]
pub struct Host {
    /// Its port.
    pub id: PortId,
    /// The outside end of the port.
    pub port: MemoryPort,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its part.
    pub role: Role,
}

impl Host {
    /// Its MAC.
    pub const fn mac(&self) -> Mac {
        mac(self.ip)
    }

    /// An IPv4 frame to the router that this host has: the gateway, or the switch's uplink leg.
    pub fn routed(&self, ip: &Ip, t: &Tuple, l4: &[u8]) -> Vec<u8> {
        let router = match self.role {
            Role::Uplink => mac(UP),
            _ => mac(GW),
        };
        eth(router, self.mac(), 0x0800, &ipv4(ip, t, l4))
    }
}

/// The lab.
pub struct Lab {
    /// The switch.
    pub sw: Inline,
    /// Virtual time.
    pub now: Instant,
    /// `sw0`.
    pub host: Host,
    /// 10.0.0.2
    pub web: Host,
    /// 10.0.0.3
    pub db: Host,
    /// 10.0.0.4
    pub app: Host,
    /// The uplink, with PEER at its other end.
    pub up: Host,
    caps: Caps,
    /// What [`model`] took from the ports last.
    seen: Vec<(usize, Vec<u8>, [u8; 10])>,
}

impl Default for Lab {
    fn default() -> Lab {
        Lab::new(config())
    }
}

impl Lab {
    /// A switch of this configuration with one worker and ports that take everything.
    pub fn new(cfg: Config) -> Lab {
        Lab::with(cfg, 1, Caps::ALL)
    }

    /// The same with any number of workers and any capabilities.
    pub fn with(cfg: Config, workers: usize, caps: Caps) -> Lab {
        let now = Instant::from_secs(1);
        let mtu = cfg.mtu;
        let mut sw = Inline::new(cfg, workers, now);
        let mut add = |name: &str, role, ip: Ipv4Addr| {
            let (port, queues) = MemoryPort::new(workers, caps);
            let spec = spec(name, role, ip, mtu);
            let id = sw.add_port(spec, queues, now).expect("a port");
            Host { id, port, ip, role }
        };
        let host = add("sw0", Role::Host, GW);
        let web = add("web", Role::Access, WEB);
        let db = add("db", Role::Access, DB);
        let app = add("app", Role::Access, APP);
        let up = add("uplink", Role::Uplink, PEER);
        Lab {
            sw,
            now,
            host,
            web,
            db,
            app,
            up,
            caps,
            seen: Vec::new(),
        }
    }

    /// A lab whose uplink neighbour is known, with TCP and UDP ports 5000 to 5009 of the uplink
    /// published for ports 80 to 89 of `web`.
    pub fn ready() -> Lab {
        Lab::ready_with(config())
    }

    /// The same with another configuration.
    pub fn ready_with(cfg: Config) -> Lab {
        let mut lab = Lab::new(cfg);
        lab.publish(Proto::TCP, (5000, 5009), (WEB, 80));
        lab.publish(Proto::UDP, (5000, 5009), (WEB, 80));
        lab.learn_outside();
        lab
    }

    /// All ports.
    pub fn hosts(&self) -> [&Host; 5] {
        [&self.host, &self.web, &self.db, &self.app, &self.up]
    }

    /// How many frames each of them got.
    pub fn spread(&self) -> [usize; 5] {
        self.hosts().map(|h| self.got(h).len())
    }

    /// Publishes a range of external ports for a container.
    pub fn publish(&self, proto: Proto, ports: (u16, u16), to: (Ipv4Addr, u16)) -> RuleId {
        let p = Publication {
            proto,
            host_ip: None,
            first: ports.0,
            last: ports.1,
            ip: to.0,
            port: to.1,
        };
        self.sw.switch().publish(p).expect("a publication")
    }

    /// PEER answers an ARP request.
    pub fn learn_outside(&mut self) {
        let answer = arp(mac(UP), 2, (mac(PEER), PEER), (mac(UP), UP));
        self.send(&self.up.clone(), &answer);
    }

    /// Sends a finished frame in by a port and runs the switch.
    pub fn send(&mut self, by: &Host, frame: &[u8]) {
        self.send_hdr(by, frame, VnetHdr::PLAIN);
    }

    /// The same with a header.
    pub fn send_hdr(&mut self, by: &Host, frame: &[u8], hdr: VnetHdr) {
        by.port.push(0, frame, hdr);
        self.run();
    }

    /// Sends an ordinary routed packet.
    pub fn route(&mut self, by: &Host, t: &Tuple, l4: &[u8]) {
        self.send(by, &by.routed(&Ip::default(), t, l4));
    }

    /// Serves all ports until nothing is left to read.
    pub fn run(&mut self) {
        self.sw.drain(self.now);
        self.balance();
    }

    /// Lets time pass, with every timer at its time.
    pub fn wait(&mut self, d: Duration) {
        let end = self.now + d;
        // A deadline that does not move on is not served again before the end.
        for _ in 0..1_000_000 {
            match self.sw.next_deadline(self.now) {
                Some(at) if at <= end => {
                    self.now = at.max(self.now + Duration::from_millis(1)).min(end);
                    self.sw.tick(self.now);
                    if self.now == end {
                        break;
                    }
                }
                _ => break,
            }
        }
        self.now = end;
        self.sw.tick(self.now);
        self.balance();
    }

    /// What a port got since it was last asked; each frame is verified.
    pub fn got(&self, h: &Host) -> Vec<Seen> {
        h.port.take().iter().map(Seen::new).collect()
    }

    /// The only frame that a port got.
    #[track_caller]
    pub fn only(&self, h: &Host) -> Seen {
        let mut got = self.got(h);
        assert_eq!(got.len(), 1, "frames at {}: {got:?}", h.ip);
        got.remove(0)
    }

    /// Asserts that no port got anything.
    #[track_caller]
    pub fn silence(&self) {
        for h in self.hosts() {
            let got = self.got(h);
            assert!(got.is_empty(), "frames at {}: {got:?}", h.ip);
        }
    }

    /// Forgets what the ports got.
    pub fn clear(&self) {
        for h in self.hosts() {
            h.port.take();
        }
    }

    /// Frames dropped under a reason so far.
    pub fn drops(&self, reason: Reason) -> u64 {
        self.sw.switch().drops(reason)
    }

    /// Live connections.
    pub fn connections(&self) -> usize {
        self.sw.switch().conntrack.list(self.now.tick()).len()
    }

    /// Asserts that every frame is accounted for.
    #[track_caller]
    pub fn balance(&self) {
        if let Err(e) = self.sw.totals().balance() {
            panic!("{e}");
        }
        assert_eq!(
            self.drops(Reason::Panic),
            0,
            "a frame made the engine panic"
        );
    }

    /// Asserts that nothing is remembered that should have expired.
    #[track_caller]
    pub fn assert_empty(&self) {
        let sw = self.sw.switch();
        assert_eq!(sw.conntrack.len(), 0, "connections");
        assert_eq!(sw.external.mappings(), 0, "external mappings");
        assert_eq!(sw.frags.len(), (0, 0), "fragments");
        assert_eq!(self.sw.totals().held, 0, "held frames");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.balance();
        }
    }
}

/// A port as the labs make it.
pub fn spec(name: &str, role: Role, ip: Ipv4Addr, mtu: u16) -> PortSpec {
    PortSpec {
        name: name.into(),
        role,
        mac: mac(ip),
        ip: Some(ip),
        mtu,
    }
}
