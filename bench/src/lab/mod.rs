//! A switch in memory with connections in it, and batches of their frames.
//!
//! The engine is called directly and its ports are sinks, so what is timed is the pipeline and
//! nothing else. Built from here: established flows ([`flows`]), the short lives of connections
//! ([`lives`]), frames that are bridged or answered ([`scenes`]), several workers ([`crew`]).

pub mod crew;
pub mod draw;
pub mod flows;
pub mod lives;
pub mod pass;
pub mod scenes;

pub use crew::Worker;
pub use draw::Draw;
pub use flows::Flow;
pub use pass::Pass;

use crate::Result;
use dataplane::base::counters::Totals;
use dataplane::base::{Config, Instant, Mac, PortId, PortSpec, Proto, Role, UplinkConfig};
use dataplane::frame::{Batch, VnetHdr, emit};
use dataplane::nat::Publication;
use dataplane::port::Caps;
use dataplane::slow::switch::Switch;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

const GW: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const WEB: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const DB: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
const UP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// First of the clients beyond the peer.
const FAR: u32 = Ipv4Addr::new(8, 0, 0, 1).to_bits();
const SYN: u8 = 2;
const ACK: u8 = 16;
/// The published port.
const PUBLISHED: u16 = 5000;

const fn mac(ip: Ipv4Addr) -> Mac {
    Mac::from_ip(ip)
}

/// What a lab has room for.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Connections.
    pub connections: u32,
    /// MAC addresses.
    pub macs: u32,
    /// Workers.
    pub workers: usize,
    /// What the ports take as it is.
    pub caps: Caps,
}

impl Room {
    /// For `connections`, one worker, ports without offloads.
    pub const fn for_connections(connections: u32) -> Room {
        Room {
            connections,
            macs: 64,
            workers: 1,
            caps: Caps::NONE,
        }
    }

    /// For `macs` addresses, one worker, ports without offloads.
    pub const fn for_macs(macs: u32) -> Room {
        Room {
            macs,
            ..Room::for_connections(64)
        }
    }
}

/// The ports by their name.
#[derive(Clone, Copy, Debug)]
pub struct PortIds {
    /// A container with the published port.
    pub web: PortId,
    /// Another container.
    pub db: PortId,
    /// The outside.
    pub up: PortId,
}

/// The switch, its ports, and worker 0.
pub struct Lab {
    sw: Arc<Switch>,
    first: Worker,
    specs: Vec<(PortId, Caps)>,
    ports: PortIds,
    now: Instant,
}

impl Lab {
    /// A switch without connections, one TCP port of it published.
    ///
    /// # Errors
    /// When a port or publication is refused.
    pub fn new(room: Room) -> Result<Lab> {
        let lab = Lab::unpublished(room)?;
        lab.publish(PUBLISHED, PUBLISHED, WEB)?;
        Ok(lab)
    }

    /// The same with nothing published.
    ///
    /// # Errors
    /// When a port is refused.
    pub fn unpublished(room: Room) -> Result<Lab> {
        let mut cfg = Config::new(Ipv4Addr::new(10, 0, 0, 0), 24, GW);
        cfg.uplink = Some(UplinkConfig {
            ip: UP,
            prefix: 24,
            mac: mac(UP),
            next_hop: PEER,
            mtu: 1500,
        });
        cfg.limits.connections = room.connections;
        cfg.limits.half_open_per_port = room.connections;
        cfg.limits.connections_per_port = room.connections;
        cfg.limits.fdb = room.macs.max(64);
        // The clock jumps in some benches: nobody is asked again for the sake of that.
        cfg.timeouts.fdb = Duration::from_secs(1 << 20);
        cfg.timeouts.neigh = Duration::from_secs(1 << 20);
        let now = Instant::from_secs(1);
        let sw = Arc::new(Switch::new(cfg, room.workers));
        let mut specs = Vec::new();
        let mut add = |name: &str, role, ip: Ipv4Addr| -> Result<PortId> {
            let spec = PortSpec {
                name: name.into(),
                role,
                mac: mac(ip),
                ip: Some(ip),
                mtu: 1500,
            };
            let id = sw.add_port(spec, now.tick())?;
            specs.push((id, room.caps));
            Ok(id)
        };
        add("sw0", Role::Host, GW)?;
        let ports = PortIds {
            web: add("web", Role::Access, WEB)?,
            db: add("db", Role::Access, DB)?,
            up: add("uplink", Role::Uplink, PEER)?,
        };
        let first = Worker::new(&sw, 0, &specs, now);
        let mut lab = Lab {
            sw,
            first,
            specs,
            ports,
            now,
        };
        let hello = emit::arp_reply(mac(PEER), PEER, mac(UP), UP);
        lab.one(ports.up, hello.bytes());
        Ok(lab)
    }

    /// Publishes the ports `first..=last` of the container `ip`.
    fn publish(&self, first: u16, last: u16, ip: Ipv4Addr) -> Result<dataplane::base::RuleId> {
        let port = if first == last { 80 } else { first };
        Ok(self.sw.publish(Publication {
            proto: Proto::TCP,
            host_ip: None,
            first,
            last,
            ip,
            port,
        })?)
    }

    /// The shared switch.
    pub fn switch(&self) -> &Arc<Switch> {
        &self.sw
    }

    /// The ports.
    pub fn ports(&self) -> PortIds {
        self.ports
    }

    /// The lab's time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Moves the clock.
    pub fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
    }

    /// A further worker, of number 1 and up, to be driven by a thread of its own.
    pub fn worker(&self, n: usize) -> Worker {
        Worker::new(&self.sw, n, &self.specs, self.now)
    }

    fn one(&mut self, by: PortId, frame: &[u8]) {
        let mut batch = Batch::new(1);
        batch.push(frame, VnetHdr::PLAIN);
        self.process(&mut batch, by);
    }

    /// Takes a batch through worker 0's pipeline.
    #[inline]
    pub fn process(&mut self, batch: &mut Batch, ingress: PortId) {
        self.first.process(batch, ingress, self.now);
    }

    /// Does what is due without a frame.
    pub fn tick(&mut self, batch: &mut Batch) {
        self.first.tick(batch, self.now);
    }

    /// The time of `frames` frames of `pass` in the pipeline.
    pub fn run(&mut self, pass: &mut Pass, frames: u64) -> Duration {
        pass.time(frames, |b, ingress| self.process(b, ingress))
    }

    /// The time of `frames` frames of `pass` when a batch of `beside` is made, but not sent, before
    /// each batch: what that drove out of the caches is missing.
    pub fn run_beside(&mut self, pass: &mut Pass, beside: &mut Pass, frames: u64) -> Duration {
        pass.time_in_part(
            frames,
            |b, by| self.process(b, by),
            |_, _| {
                beside.refill();
            },
        )
    }

    /// The time of `frames` frames up to the verdict, without sending: what the floor does too.
    pub fn run_decide(&mut self, pass: &mut Pass, frames: u64) -> Duration {
        let (first, now) = (std::cell::RefCell::new(&mut self.first), self.now);
        pass.time_in_part(
            frames,
            |b, by| first.borrow_mut().decide(b, by, now),
            |b, _| first.borrow_mut().transmit(b),
        )
    }

    /// Fills a batch and takes it through the pipeline.
    pub fn send(&mut self, pass: &mut Pass) {
        let by = pass.ingress;
        let batch = pass.refill();
        self.first.process(batch, by, self.now);
    }

    /// All counters.
    pub fn totals(&self) -> Totals {
        Totals::sum(&self.sw.counters)
    }

    /// That no frame was lost and all are accounted for.
    ///
    /// # Errors
    /// What does not add up, in numbers.
    pub fn nothing_lost(&self) -> Result<()> {
        let t = self.totals();
        t.balance()?;
        if t.dropped() > 0 {
            return Err(format!("{} frames were dropped: {t:?}", t.dropped()).into());
        }
        Ok(())
    }
}
