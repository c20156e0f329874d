//! A switch in memory with connections in it, and batches of their frames.
//!
//! The engine is called directly and its ports are sinks, so what is timed is the pipeline and
//! nothing else. A batch is rewritten in place, so it has to be made anew before each pass: that
//! is left out of the time ([`Pass::run`] gives the engine's share only), for the floor alike.

use crate::Result;
use crate::floor;
use crate::frames::{expiring, tcp, tcp_super, tuple, udp};
use dataplane::base::{Config, Instant, Mac, PortId, PortSpec, Proto, Role, UplinkConfig};
use dataplane::frame::{Batch, VnetHdr, emit};
use dataplane::nat::Publication;
use dataplane::pipeline::Engine;
use dataplane::port::Caps;
use dataplane::port::memory::Sink;
use dataplane::slow::switch::Switch;
use dataplane::worker::Queues;
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

/// What a flow goes through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// From outside to the published port.
    Dnat,
    /// From a container to the outside.
    Masquerade,
}

/// The switch, its ports, and one engine.
pub struct Lab {
    sw: Arc<Switch>,
    engine: Engine,
    queues: Queues,
    web: PortId,
    db: PortId,
    up: PortId,
    now: Instant,
}

/// Frames of one port, sent again and again in a mixed order.
pub struct Pass {
    /// The port that they come in by.
    pub ingress: PortId,
    frames: Vec<(Vec<u8>, VnetHdr)>,
    batch: Batch,
    size: usize,
    seed: u64,
}

fn mac(ip: Ipv4Addr) -> Mac {
    Mac::from_ip(ip)
}

impl Lab {
    /// An empty one for up to `connections` connections and `macs` MAC addresses, whose ports take
    /// what `caps` say.
    ///
    /// # Errors
    /// When a port or publication is refused.
    pub fn new(connections: u32, macs: u32, caps: Caps) -> Result<Lab> {
        let mut cfg = Config::new(Ipv4Addr::new(10, 0, 0, 0), 24, GW);
        cfg.uplink = Some(UplinkConfig {
            ip: UP,
            prefix: 24,
            mac: mac(UP),
            next_hop: PEER,
            mtu: 1500,
        });
        cfg.limits.connections = connections;
        cfg.limits.half_open_per_port = connections;
        cfg.limits.connections_per_port = connections;
        cfg.limits.fdb = macs.max(64);
        let now = Instant::from_secs(1);
        let sw = Arc::new(Switch::new(cfg, 1));
        let mut queues = Queues::default();
        let mut add = |name: &str, role, ip: Ipv4Addr| -> Result<PortId> {
            let spec = PortSpec {
                name: name.into(),
                role,
                mac: mac(ip),
                ip: Some(ip),
                mtu: 1500,
            };
            let id = sw.add_port(spec, now.tick())?;
            queues.set(id, Some(Box::new(Sink::new(caps).0)));
            Ok(id)
        };
        add("sw0", Role::Host, GW)?;
        let web = add("web", Role::Access, WEB)?;
        let db = add("db", Role::Access, DB)?;
        let up = add("uplink", Role::Uplink, PEER)?;
        sw.publish(Publication {
            proto: Proto::TCP,
            host_ip: None,
            first: 5000,
            last: 5000,
            ip: WEB,
            port: 80,
        })?;
        let engine = Engine::new(Arc::clone(&sw), 0, now);
        let mut lab = Lab {
            sw,
            engine,
            queues,
            web,
            db,
            up,
            now,
        };
        let hello = emit::arp_reply(mac(PEER), PEER, mac(UP), UP);
        lab.one(lab.up, hello.bytes());
        Ok(lab)
    }

    /// The shared switch.
    pub fn switch(&self) -> &Arc<Switch> {
        &self.sw
    }

    fn one(&mut self, by: PortId, frame: &[u8]) {
        let mut batch = Batch::new(1);
        batch.push(frame, VnetHdr::PLAIN);
        self.process(&mut batch, by);
    }

    /// Takes a batch through the pipeline.
    #[inline]
    pub fn process(&mut self, batch: &mut Batch, ingress: PortId) {
        self.engine
            .process(batch, ingress, self.now, &mut self.queues);
    }

    /// The client's side of the n-th DNAT connection, and the container's.
    fn dnat(n: u32) -> (dataplane::base::Tuple, dataplane::base::Tuple) {
        let client = Ipv4Addr::from_bits(FAR + n / 50_000);
        let port = 10_000 + (n % 50_000) as u16;
        (
            tuple(Proto::TCP, client, port, UP, 5000),
            tuple(Proto::TCP, WEB, 80, client, port),
        )
    }

    /// The n-th connection from inside, and what it answers to.
    fn masquerade(n: u32) -> (dataplane::base::Tuple, dataplane::base::Tuple) {
        let server = Ipv4Addr::from_bits(FAR + n / 50_000);
        let port = 10_000 + (n % 50_000) as u16;
        (
            tuple(Proto::TCP, WEB, port, server, 80),
            tuple(Proto::TCP, server, 80, UP, port),
        )
    }

    /// The frame that opens the n-th connection from outside.
    pub fn syn(n: u32) -> Vec<u8> {
        tcp(mac(UP), mac(PEER), &Lab::dnat(n).0, 100, 0, SYN, 0)
    }

    /// Opens `n` connections by a whole handshake; gives the first client's frames behind it,
    /// with `payload` bytes each.
    ///
    /// # Errors
    /// When not all of them are there afterwards.
    pub fn open(&mut self, flow: Flow, n: u32, payload: usize) -> Result<Pass> {
        let (out, back) = match flow {
            Flow::Dnat => (self.up, self.web),
            Flow::Masquerade => (self.web, self.up),
        };
        // Destination and source MAC of both directions.
        let (om, bm) = match flow {
            Flow::Dnat => ((mac(UP), mac(PEER)), (mac(GW), mac(WEB))),
            Flow::Masquerade => ((mac(GW), mac(WEB)), (mac(UP), mac(PEER))),
        };
        let before = self.sw.conntrack.slab.live().count();
        let mut frames = Vec::with_capacity(n as usize);
        for i in 0..n {
            let (o, r) = match flow {
                Flow::Dnat => Lab::dnat(i),
                Flow::Masquerade => Lab::masquerade(i),
            };
            self.one(out, &tcp(om.0, om.1, &o, 100, 0, SYN, 0));
            self.one(back, &tcp(bm.0, bm.1, &r, 900, 101, SYN | ACK, 0));
            self.one(out, &tcp(om.0, om.1, &o, 101, 901, ACK, 0));
            frames.push((tcp(om.0, om.1, &o, 101, 901, ACK, payload), VnetHdr::PLAIN));
        }
        let live = self.sw.conntrack.slab.live().count() - before;
        if live != n as usize {
            return Err(format!("{live} of {n} connections are open: {:?}", self.totals()).into());
        }
        Ok(Pass::new(out, frames))
    }

    /// Superframes of `payload` bytes of one DNAT connection (opened before).
    pub fn superframes(&self, payload: usize) -> Pass {
        let (o, _) = Lab::dnat(0);
        Pass::new(
            self.up,
            vec![tcp_super(mac(UP), mac(PEER), &o, 101, 901, payload)],
        )
    }

    /// Frames from one container to the other, under `n` source and destination MACs that have
    /// been learned; 64 bytes each.
    pub fn bridged(&mut self, n: u32) -> Pass {
        let far = |side: u8, i: u32| {
            let [_, b, c, d] = i.to_be_bytes();
            Mac([2, side, 0, b, c, d])
        };
        let t = tuple(Proto::UDP, WEB, 4000, DB, 4001);
        let half = (n / 2).max(1);
        for i in 0..half {
            self.one(self.db, &udp(far(1, i), far(2, i), &t.reversed(), 22));
        }
        let frames: Vec<_> = (0..half)
            .map(|i| (udp(far(2, i), far(1, i), &t, 22), VnetHdr::PLAIN))
            .collect();
        for (f, _) in &frames {
            self.one(self.web, f);
        }
        Pass::new(self.web, frames)
    }

    /// ARP requests of a container for its gateway.
    pub fn arp(&self) -> Pass {
        let ask = emit::arp_request(mac(WEB), WEB, GW, None);
        Pass::new(self.web, vec![(ask.bytes().to_vec(), VnetHdr::PLAIN)])
    }

    /// Frames of a container whose TTL ends here.
    pub fn expiring(&self) -> Pass {
        let t = tuple(Proto::UDP, WEB, 4000, Ipv4Addr::from_bits(FAR), 33_434);
        let f = expiring(udp(mac(GW), mac(WEB), &t, 22));
        Pass::new(self.web, vec![(f, VnetHdr::PLAIN)])
    }

    /// Moves the clock, which refills rate limits.
    pub fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
    }

    /// The uplink's port.
    pub fn uplink(&self) -> PortId {
        self.up
    }

    /// Sends the first packets of these connections from outside, in batches of 64; gives the time
    /// that the pipeline took.
    pub fn first_packets(&mut self, by: PortId, which: std::ops::Range<u32>) -> Duration {
        let mut batch = Batch::default();
        let mut spent = Duration::ZERO;
        for n in which.clone() {
            batch.push(&Lab::syn(n), VnetHdr::PLAIN);
            if batch.is_full() || n + 1 == which.end {
                let begun = std::time::Instant::now();
                self.process(&mut batch, by);
                spent += begun.elapsed();
                batch.clear();
            }
        }
        spent
    }

    /// All counters.
    pub fn totals(&self) -> dataplane::base::counters::Totals {
        dataplane::base::counters::Totals::sum(&self.sw.counters)
    }
}

impl Pass {
    /// Of frames that come in by `ingress`.
    pub fn new(ingress: PortId, frames: Vec<(Vec<u8>, VnetHdr)>) -> Pass {
        Pass {
            ingress,
            frames,
            batch: Batch::default(),
            size: dataplane::frame::batch::BATCH,
            seed: 0x2545_f491_4f6c_dd1d,
        }
    }

    /// The same with batches of `size` frames (64 at first).
    #[must_use]
    pub fn batches_of(mut self, size: usize) -> Pass {
        self.size = size;
        self
    }

    /// Fills the batch with frames of flows drawn uniformly.
    pub fn refill(&mut self) {
        self.batch.clear();
        for _ in 0..self.size {
            // xorshift64 (Marsaglia 2003)
            self.seed ^= self.seed << 13;
            self.seed ^= self.seed >> 7;
            self.seed ^= self.seed << 17;
            let at = (self.seed >> 11) as usize % self.frames.len().max(1);
            if let Some((bytes, hdr)) = self.frames.get(at) {
                self.batch.push(bytes, *hdr);
            }
        }
    }

    /// Fills the batch and takes it through the pipeline.
    pub fn send(&mut self, lab: &mut Lab) {
        self.refill();
        lab.process(&mut self.batch, self.ingress);
    }

    /// Takes at least `frames` frames through `work` and gives the time for just that many; the
    /// filling in between is not counted.
    pub fn time(&mut self, frames: u64, mut work: impl FnMut(&mut Batch, PortId)) -> Duration {
        let mut spent = Duration::ZERO;
        let mut done = 0u64;
        while done < frames {
            self.refill();
            let begun = std::time::Instant::now();
            work(&mut self.batch, self.ingress);
            spent += begun.elapsed();
            done += self.batch.len() as u64;
        }
        spent.mul_f64(frames as f64 / done.max(1) as f64)
    }

    /// The time of `frames` frames in the pipeline.
    pub fn run(&mut self, lab: &mut Lab, frames: u64) -> Duration {
        self.time(frames, |b, ingress| lab.process(b, ingress))
    }

    /// The time of `frames` frames in the floor's routed loop, over the same tables.
    pub fn floor_routed(&mut self, lab: &Lab, frames: u64) -> Duration {
        let zone = match self.ingress == lab.up {
            true => dataplane::flow::Zone::Uplink,
            false => dataplane::flow::Zone::Inside,
        };
        let mut floor = floor::Routed::default();
        self.time(frames, |b, _| floor.pass(&lab.sw, zone, b))
    }

    /// The time of `frames` frames in the floor's bridged loop, over the same table.
    pub fn floor_bridged(&mut self, lab: &Lab, frames: u64) -> Duration {
        let now = lab.now.tick();
        let mut floor = floor::Bridged;
        self.time(frames, |b, _| {
            std::hint::black_box(floor.pass(&lab.sw, b, now));
        })
    }
}
