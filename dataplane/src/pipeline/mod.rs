//! Level 5: the journey of a batch, as a plain list of stages.
//!
//! parse → guard → look up → { hit | bridge | slow path } → rewrite → tx
//!
//! Two kinds of hit: a *bridged* frame whose destination MAC the FDB knows, and a *routed* frame
//! whose key stands in the flow index under a decision that still holds. Everything else is the
//! slow path's, which leaves an answer in an index for the next frame. What a record can't decide
//! (TTL ≤ 1, options, fragments, larger than the egress MTU, anything but TCP, UDP and ICMP echo)
//! never reaches the index.
//!
//! Frames are acted on in the order in which they came in, so that a flow's frames are never
//! reordered and a verdict is the same whatever batch it came in.

mod bridge;
#[cfg(test)]
mod tests;
mod tick;
pub mod tx;

use crate::base::counters::Counters;
use crate::base::{Instant, PortId, Reason, Role, Tick};
use crate::conntrack::Wheel;
use crate::conntrack::{Observed, observe};
use crate::flow::{Dir, FlowKey, RecordId, Zone};
use crate::frame::batch::BATCH;
use crate::frame::parse::bits;
use crate::frame::{Batch, Frame, L3, L4, Parsed, parse};
use crate::guard;
use crate::rewrite;
use crate::slow::ctx::{Ctx, Out, Timer, Verdict};
use crate::slow::ports::PortTable;
use crate::slow::switch::Switch;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub use tx::Tx;

/// What one look at a frame and its port says about the way that it takes.
#[derive(Clone, Copy)]
enum Class {
    /// Lost already.
    Drop(Reason),
    /// ARP: the responder looks first.
    Arp,
    /// Stays in the bridge domain.
    Bridged,
    /// IPv4 to the gateway's address that the switch does not answer itself.
    Host,
    /// Routed, and an index entry may know it.
    Keyed(FlowKey, u64),
    /// Routed, by the slow path in any case.
    Slow(Zone),
}

/// One worker's state: everything else is shared.
pub struct Engine {
    sw: Arc<Switch>,
    worker: usize,
    parsed: Vec<Parsed>,
    class: Vec<Class>,
    verdicts: Vec<Verdict>,
    out: Vec<Out>,
    timers: Vec<(Tick, Timer)>,
    wheel: Wheel<Timer>,
    fired: Vec<Timer>,
    tx: tx::Stage,
    next_tick: Instant,
    quarantined: Vec<(PortId, Frame)>,
}

impl Engine {
    /// The engine of worker number `worker` (below the switch's number of workers).
    pub fn new(sw: Arc<Switch>, worker: usize, now: Instant) -> Engine {
        Engine {
            sw,
            worker,
            parsed: Vec::with_capacity(BATCH),
            class: Vec::with_capacity(BATCH),
            verdicts: Vec::with_capacity(BATCH),
            out: Vec::with_capacity(2 * BATCH),
            timers: Vec::new(),
            wheel: Wheel::new(now.tick()),
            fired: Vec::new(),
            tx: tx::Stage::default(),
            next_tick: now,
            quarantined: Vec::new(),
        }
    }

    /// The shared switch.
    pub fn switch(&self) -> &Arc<Switch> {
        &self.sw
    }

    /// Bytes of this worker's timers.
    pub fn timer_bytes(&self) -> u64 {
        self.wheel.bytes()
    }

    /// What became of each frame of the last batch.
    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// Takes a batch that came in by `ingress` through all stages, to completion.
    pub fn process(&mut self, batch: &mut Batch, ingress: PortId, now: Instant, tx: &mut dyn Tx) {
        let sw = Arc::clone(&self.sw);
        let Some(counters) = sw.counters(self.worker) else {
            return;
        };
        let ports = sw.ports();
        self.verdicts.clear();
        self.parsed.clear();
        self.class.clear();
        counters.unsettle();
        self.count_rx(counters, batch, ingress);
        sw.conntrack.epochs.enter(self.worker);
        // A frame that makes us panic is set aside; the rest of its batch goes on behind it.
        while !self.survives(batch, |e, b| e.look_up(&sw, &ports, b, ingress)) {
            self.quarantine(batch, self.parsed.len(), ingress);
            self.parsed.push(Parsed::default());
            self.class.push(Class::Drop(Reason::Panic));
        }
        while !self.survives(batch, |e, b| {
            e.act_all(&sw, &ports, counters, b, ingress, now)
        }) {
            self.quarantine(batch, self.verdicts.len(), ingress);
            counters.drop(ingress, Reason::Panic);
            self.verdicts.push(Verdict::Drop(Reason::Panic));
        }
        sw.conntrack.epochs.leave(self.worker);
        for (deadline, timer) in self.timers.drain(..) {
            self.wheel.insert(deadline, timer);
        }
        self.tx.send(&mut self.out, batch, &ports, counters, tx);
        counters.batches.add(1);
        counters.settle();
    }

    /// The batched stages: parse and guard all, hash all and fetch their buckets, fetch their
    /// records. The cache misses of a batch overlap.
    fn look_up(&mut self, sw: &Switch, ports: &PortTable, batch: &mut Batch, ingress: PortId) {
        let role = ports.get(ingress).map_or(Role::Access, |s| s.role);
        for frame in batch.frames_mut().iter_mut().skip(self.parsed.len()) {
            let (p, class) = classify(sw, frame, role);
            if let Class::Keyed(_, hash) = class {
                sw.conntrack.index.prefetch(hash);
            }
            self.parsed.push(p);
            self.class.push(class);
        }
        for class in &self.class {
            if let Class::Keyed(_, hash) = class
                && let Some(id) = sw.conntrack.index.candidate(*hash)
                && let Some(r) = sw.conntrack.slab.get(id)
            {
                r.prefetch();
            }
        }
    }

    /// Acts on the frames that have no verdict yet, in order.
    fn act_all(
        &mut self,
        sw: &Switch,
        ports: &PortTable,
        counters: &Counters,
        batch: &mut Batch,
        ingress: PortId,
        now: Instant,
    ) {
        let done = self.verdicts.len();
        let (out, timers) = (&mut self.out, &mut self.timers);
        let mut ctx = Ctx {
            sw,
            ports,
            counters,
            now,
            slot: None,
            out,
            timers,
        };
        let frames = (0u16..)
            .zip(batch.frames_mut())
            .zip(&self.parsed)
            .zip(&self.class);
        for (((slot, frame), p), class) in frames.skip(done) {
            ctx.slot = Some(slot);
            let v = act(&mut ctx, frame, p, class, ingress);
            ctx.settle(ingress, v);
            self.verdicts.push(v);
        }
    }

    fn survives(&mut self, batch: &mut Batch, f: impl FnOnce(&mut Engine, &mut Batch)) -> bool {
        catch_unwind(AssertUnwindSafe(|| f(self, batch))).is_ok()
    }

    fn quarantine(&mut self, batch: &Batch, slot: usize, ingress: PortId) {
        // A few are enough to find the cause.
        if let Some(frame) = batch.frames().get(slot)
            && self.quarantined.len() < 16
        {
            self.quarantined.push((ingress, frame.clone()));
        }
    }

    /// Frames that made the engine panic since the last call.
    pub fn take_quarantined(&mut self) -> Vec<(PortId, Frame)> {
        std::mem::take(&mut self.quarantined)
    }

    fn count_rx(&self, counters: &Counters, batch: &Batch, ingress: PortId) {
        counters.rx.add(batch.len() as u64);
        if let Some(c) = counters.port(ingress) {
            c.rx_frames.add(batch.len() as u64);
            c.rx_bytes.add(batch.bytes() as u64);
        }
    }
}

fn classify(sw: &Switch, frame: &mut Frame, role: Role) -> (Parsed, Class) {
    let mut p = match parse::parse(frame.bytes(), &frame.hdr) {
        Ok(p) => p,
        Err(reason) => return (Parsed::default(), Class::Drop(reason)),
    };
    if let Err(reason) = guard::check(&sw.cfg, role, &p, frame.bytes()) {
        return (p, Class::Drop(reason));
    }
    let zone = match (role, &sw.cfg.uplink) {
        (Role::Uplink, Some(up)) if p.dst == up.mac || p.dst.is_group() => Zone::Uplink,
        (Role::Uplink, _) => return (p, Class::Drop(Reason::NotForUs)),
        _ => Zone::Inside,
    };
    if p.vid != 0 && zone == Zone::Inside {
        return (p, Class::Bridged);
    }
    if p.l3 == L3::Arp && p.vid == 0 {
        return (p, Class::Arp);
    }
    let to_router = zone == Zone::Uplink
        || (p.dst == sw.cfg.gateway_mac && role != Role::Host && p.l3 == L3::Ipv4);
    if !to_router {
        return (p, Class::Bridged);
    }
    if zone == Zone::Inside && p.tuple.dst == sw.cfg.gateway && p.l4 != L4::EchoRequest {
        return (p, Class::Host);
    }
    if p.l3 != L3::Ipv4 || p.vid != 0 || p.dst.is_group() {
        return (p, Class::Drop(Reason::NotRouted));
    }
    if p.has(bits::TAGGED) {
        // A priority tag (VID 0) does not go through a router.
        frame.pop_vlan();
        p = match parse::parse(frame.bytes(), &frame.hdr) {
            Ok(p) => p,
            Err(reason) => return (p, Class::Drop(reason)),
        };
    }
    let plain = p.ttl > 1
        && !p.has(bits::OPTIONS | bits::FRAGMENT)
        && p.l4_error.is_none()
        && matches!(p.l4, L4::Tcp | L4::Udp | L4::EchoRequest | L4::EchoReply);
    if !plain {
        return (p, Class::Slow(zone));
    }
    let key = FlowKey::new(zone, &p.tuple);
    (p, Class::Keyed(key, sw.conntrack.index.hash(&key)))
}

/// The cost tiers branch here: a hit, a bridged frame, or the slow path.
#[inline]
fn act(c: &mut Ctx<'_>, frame: &mut Frame, p: &Parsed, class: &Class, ingress: PortId) -> Verdict {
    match *class {
        Class::Drop(reason) => Verdict::Drop(reason),
        Class::Arp | Class::Bridged => {
            bridge::learn(c, p, ingress);
            if matches!(class, Class::Arp)
                && let Some(v) = c.arp(frame, p, ingress)
            {
                return v;
            }
            bridge::forward(c, frame, p, ingress)
        }
        Class::Host => {
            bridge::learn(c, p, ingress);
            c.to_host(frame, p, ingress)
        }
        Class::Keyed(key, hash) => {
            if key.zone() == Zone::Inside {
                bridge::learn(c, p, ingress);
            }
            if let Some((id, dir)) = c.sw.conntrack.index.find(&key, hash, &c.sw.conntrack.slab)
                && let Some(v) = hit(c, frame, p, id, dir)
            {
                c.counters.hits.add(1);
                return v;
            }
            c.counters.slow.add(1);
            c.route(frame, p, ingress, key.zone())
        }
        Class::Slow(zone) => {
            if zone == Zone::Inside {
                bridge::learn(c, p, ingress);
            }
            c.counters.slow.add(1);
            c.route(frame, p, ingress, zone)
        }
    }
}

/// The established path: no lock, no allocation, no read-modify-write. `None` hands the frame
/// to the slow path, untouched.
#[inline]
fn hit(c: &mut Ctx<'_>, frame: &mut Frame, p: &Parsed, id: RecordId, dir: Dir) -> Option<Verdict> {
    let ct = &c.sw.conntrack;
    let r = ct.slab.get(id)?;
    let tick = c.now.tick();
    let f = r.decided(dir, c.sw.generation())?;
    if !f.valid_at(c.now.eighth())
        || ct.too_old_for_a_hit(r, tick)
        || p.wire_len > u32::from(c.mtu_of(f.egress))
    {
        return None;
    }
    match observe(r, dir, p, frame.bytes(), tick) {
        Observed::Pass => {}
        Observed::Changed => c.state_changed(r, id),
        Observed::Drop(reason) => return Some(Verdict::Drop(reason)),
        Observed::Reopen => return None,
    }
    let out = r.key(dir.other());
    let (_, mac) = c.own(out.zone())?;
    rewrite::apply_forward(frame, p, &f, &out.tuple().reversed(), mac);
    Some(Verdict::To(f.egress))
}
