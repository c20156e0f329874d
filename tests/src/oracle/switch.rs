//! The switch's side: in memory, with as many workers as one likes, each frame to one at random.

use super::kernel::is_own_affair;
use super::{OUTSIDE, Out, PORTS, Published, Wire};
use crate::memory::packet::{arp, eth};
use crate::memory::{PEER, UP, config, mac, spec};
use dataplane::base::{Config, Instant, Reason, Role, RuleId, Timeouts};
use dataplane::frame::VnetHdr;
use dataplane::nat::Publication;
use dataplane::port::Caps;
use dataplane::port::fault::Rng;
use dataplane::port::memory::MemoryPort;
use dataplane::worker::Inline;
use std::time::Duration;

const BEGIN: Instant = Instant::from_secs(1);

/// A switch and its ports.
pub struct Switch {
    inline: Inline,
    ports: Vec<MemoryPort>,
    rules: Vec<(Published, RuleId)>,
    now: Instant,
    workers: usize,
    rng: Rng,
    /// Frames dropped since the last exchange began, by reason.
    dropped: Vec<Reason>,
}

fn small(timeouts: Timeouts) -> Config {
    let mut cfg = config();
    cfg.timeouts = timeouts;
    cfg.limits.connections = 256;
    cfg.limits.connections_per_port = 256;
    cfg.limits.half_open_per_port = 256;
    cfg.limits.fdb = 64;
    cfg.limits.neighbours = 64;
    cfg.limits.fragments = 64;
    cfg
}

impl Switch {
    /// A fresh one, whose hosts were all heard.
    ///
    /// # Panics
    /// When a port is refused.
    pub fn new(workers: usize, seed: u64, timeouts: Timeouts) -> Switch {
        let now = BEGIN;
        let mut inline = Inline::new(small(timeouts), workers, now);
        let mut ports = Vec::new();
        for (i, ip) in PORTS.into_iter().enumerate() {
            let role = if i == OUTSIDE {
                Role::Uplink
            } else {
                Role::Access
            };
            let (port, queues) = MemoryPort::new(workers, Caps::NONE);
            inline
                .add_port(
                    spec(["web", "db", "app", "up"][i], role, ip, 1500),
                    queues,
                    now,
                )
                .expect("a port");
            ports.push(port);
        }
        for (i, ip) in PORTS.into_iter().enumerate().take(OUTSIDE) {
            let hello = eth(mac(crate::memory::GW), mac(ip), 0x88b5, &[0; 46]);
            ports[i].push(0, &hello, VnetHdr::PLAIN);
        }
        let answer = arp(mac(UP), 2, (mac(PEER), PEER), (mac(UP), UP));
        ports[OUTSIDE].push(0, &answer, VnetHdr::PLAIN);
        inline.drain(now);
        let mut switch = Switch {
            inline,
            ports,
            rules: Vec::new(),
            now,
            workers,
            rng: Rng::new(seed),
            dropped: Vec::new(),
        };
        switch.take();
        switch
    }

    /// Publishes ports.
    ///
    /// # Panics
    /// When one is refused.
    pub fn publish(&mut self, all: &[Published]) {
        for p in all {
            let publication = Publication {
                proto: p.0,
                host_ip: None,
                first: p.1,
                last: p.1,
                ip: p.2.0,
                port: p.2.1,
            };
            let id = self.inline.switch().publish(publication);
            self.rules.push((*p, id.expect("a publication")));
        }
    }

    /// Withdraws a port.
    pub fn unpublish(&mut self, one: &Published) {
        if let Some(at) = self.rules.iter().position(|r| r.0 == *one) {
            let (_, id) = self.rules.remove(at);
            self.inline.switch().unpublish(id);
        }
    }

    /// Lets its time be this long after its beginning.
    pub fn at(&mut self, since: Duration) {
        self.now = BEGIN + since;
    }

    /// Sends frames in, one after the other, and gives what comes out.
    ///
    /// # Panics
    /// When a frame is not accounted for, or made the engine panic.
    pub fn exchange(&mut self, wires: &[Wire]) -> Vec<Out> {
        let before = self.drops();
        let mut out = Vec::new();
        for w in wires {
            let queue = self.rng.next_u64() as usize % self.workers;
            self.ports[w.port].push(queue, &w.bytes, w.hdr);
            self.inline.drain(self.now);
            out.extend(self.take());
        }
        if let Err(e) = self.inline.totals().balance() {
            panic!("{e}");
        }
        let after = self.drops();
        assert_eq!(
            after[Reason::Panic.index()],
            0,
            "the engine panicked: {wires:02x?}"
        );
        let more = |r: &&Reason| after[r.index()] > before[r.index()];
        self.dropped = Reason::ALL.iter().filter(more).copied().collect();
        // By port, in order for each: that is all that the kernel's TAPs tell.
        out.sort_by_key(|o| o.port);
        out
    }

    /// Why frames were dropped in the last exchange.
    pub fn dropped(&self) -> &[Reason] {
        &self.dropped
    }

    fn drops(&self) -> Vec<u64> {
        let sw = self.inline.switch();
        Reason::ALL.iter().map(|r| sw.drops(*r)).collect()
    }

    fn take(&mut self) -> Vec<Out> {
        let ports = self.ports.iter().enumerate();
        ports
            .flat_map(|(i, p)| p.take().into_iter().map(move |f| Out::new(i, f.bytes())))
            .filter(|o| !is_own_affair(&o.bytes))
            .collect()
    }
}
