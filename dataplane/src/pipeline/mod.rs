//! Level 5: the journey of a batch, as a plain list of stages.
//!
//! parse → guard → look up → { hit | bridge | slow path } → rewrite → tx
//!
//! Two kinds of hit: a *bridged* frame whose destination MAC the FDB knows, and a *routed* frame
//! whose key stands in the flow index under a decision that still holds. Everything else is the
//! slow path's, which leaves an answer in an index for the next frame. What a record can't decide
//! (TTL ≤ 1, options, fragments, larger than the egress MTU, anything but TCP, UDP and ICMP echo)
//! never reaches the index. Nearly all routed frames take a lane of their own, `express`, on which
//! the connection's record stands in for the guard.
//!
//! Frames are acted on in the order in which they came in, so that a flow's frames are never
//! reordered and a verdict is the same whatever batch it came in.

mod act;
mod bridge;
mod express;
mod look;
#[cfg(test)]
mod tests;
mod tick;
pub mod tx;

use crate::base::counters::Counters;
use crate::base::{Instant, PortId, Reason, Role, Tick};
use crate::conntrack::Wheel;
use crate::flow::index::Candidate;
use crate::frame::batch::BATCH;
use crate::frame::{Batch, Frame};
use crate::guard::Guard;
use crate::slow::ctx::{Ctx, Out, Timer, Verdict};
use crate::slow::next_hop::Hops;
use crate::slow::ports::PortTable;
use crate::slow::settings::{Set, Settings};
use crate::slow::switch::Switch;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use act::{At, act};
use bridge::Heard;
use express::Lane;
use look::Look;
pub use tx::Tx;

/// So many frames before it is needed a record is asked for. A core has some two dozen requests for
/// cache lines under way at a time, and of what a whole batch asks for at once a part is lost.
const AHEAD: usize = 16;

/// Of the first [`AHEAD`] records one is asked for behind so many look-ups.
const PACE: usize = 3;

/// One worker's end of the switch.
pub struct Engine {
    sw: Arc<Switch>,
    settings: Settings,
    work: Work,
}

/// One worker's own state. It stands apart from the shared switch so that a batch borrows that
/// instead of counting one more holder: the count lies beside what all workers read.
struct Work {
    worker: usize,
    looks: Box<[Look]>,
    /// The record that each frame of the batch needs, none where the frame before needs the same;
    /// behind the last, [`AHEAD`] times none.
    ahead: Box<[Candidate]>,
    /// Those without a record in the first place where it may be.
    missed: Vec<usize>,
    /// Frames of the batch that have been looked at.
    looked: usize,
    verdicts: Vec<Verdict>,
    /// Whether `verdicts` says all that is to be sent: every frame took the lane, and nothing is in
    /// `out`.
    plain: bool,
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
        let work = Work {
            worker,
            looks: (0..BATCH).map(|_| Look::default()).collect(),
            ahead: vec![Candidate::default(); BATCH + AHEAD].into(),
            missed: Vec::with_capacity(BATCH),
            looked: 0,
            verdicts: Vec::with_capacity(BATCH),
            plain: false,
            out: Vec::with_capacity(2 * BATCH),
            timers: Vec::new(),
            wheel: Wheel::new(now.tick()),
            fired: Vec::new(),
            tx: tx::Stage::default(),
            next_tick: now,
            quarantined: Vec::new(),
        };
        Engine {
            settings: Settings::of(&sw),
            sw,
            work,
        }
    }

    /// The shared switch.
    pub fn switch(&self) -> &Arc<Switch> {
        &self.sw
    }

    /// Bytes of this worker's timers.
    pub fn timer_bytes(&self) -> u64 {
        self.work.wheel.bytes()
    }

    /// What became of each frame of the last batch.
    pub fn verdicts(&self) -> &[Verdict] {
        &self.work.verdicts
    }

    /// Counts frames of a port that were lost before they could be read.
    pub fn lost(&mut self, ingress: PortId, frames: u64) {
        if let Some(counters) = self.sw.counters(self.work.worker) {
            counters.unsettle();
            counters.rx.add(frames);
            (0..frames).for_each(|_| counters.drop(ingress, Reason::RxFull));
            counters.settle();
        }
    }

    /// Takes a batch that came in by `ingress` through all stages, to completion.
    pub fn process(&mut self, batch: &mut Batch, ingress: PortId, now: Instant, tx: &mut dyn Tx) {
        let Engine { sw, settings, work } = self;
        if let Some(counters) = sw.counters(work.worker) {
            let set = settings.load(sw);
            work.decide(sw, set, counters, batch, ingress, now);
            work.transmit(set.ports, counters, batch, tx);
        }
    }

    /// All stages but the last, for whoever times the two apart: what is to be sent is known then,
    /// and the frames are rewritten. [`Engine::transmit`] has to follow with the same batch.
    pub fn decide(&mut self, batch: &mut Batch, ingress: PortId, now: Instant) {
        let Engine { sw, settings, work } = self;
        if let Some(counters) = sw.counters(work.worker) {
            work.decide(sw, settings.load(sw), counters, batch, ingress, now);
        }
    }

    /// The last stage: sends what [`Engine::decide`] decided.
    pub fn transmit(&mut self, batch: &Batch, tx: &mut dyn Tx) {
        let Engine { sw, settings, work } = self;
        if let Some(counters) = sw.counters(work.worker) {
            work.transmit(settings.load(sw).ports, counters, batch, tx);
        }
    }

    /// Frames that made the engine panic since the last call.
    pub fn take_quarantined(&mut self) -> Vec<(PortId, Frame)> {
        std::mem::take(&mut self.work.quarantined)
    }
}

/// Puts what these verdicts send into the list, before what is sent besides.
#[inline(never)]
fn list_slots(verdicts: &[Verdict], out: &mut Vec<Out>) {
    for (slot, v) in (0u16..).zip(verdicts) {
        if let Verdict::To(port) = v {
            out.push(Out::Slot(slot, *port));
        }
    }
}

impl Work {
    fn transmit(&mut self, ports: &PortTable, counters: &Counters, batch: &Batch, tx: &mut dyn Tx) {
        let verdicts = match self.plain {
            true => self.verdicts.as_slice(),
            false => &[],
        };
        self.tx
            .send(verdicts, &mut self.out, batch, ports, counters, tx);
        counters.batches.add(1);
        counters.settle();
    }

    fn decide(
        &mut self,
        sw: &Switch,
        set: Set<'_>,
        counters: &Counters,
        batch: &mut Batch,
        ingress: PortId,
        now: Instant,
    ) {
        self.verdicts.clear();
        self.plain = true;
        self.looked = 0;
        counters.unsettle();
        self.count_rx(counters, batch, ingress);
        sw.conntrack.epochs.enter(self.worker);
        // A frame that makes us panic is set aside; the rest of its batch goes on behind it.
        while !self.survives(batch, |w, b| w.look_up(sw, set, b, ingress)) {
            self.quarantine(batch, self.looked, ingress);
            if let Some(look) = self.looks.get_mut(self.looked) {
                look.lose(Reason::Panic);
            }
            self.looked += 1;
        }
        while !self.survives(batch, |w, b| w.act_all(sw, set, counters, b, ingress, now)) {
            self.quarantine(batch, self.verdicts.len(), ingress);
            counters.drop(ingress, Reason::Panic);
            self.verdicts.push(Verdict::Drop(Reason::Panic));
        }
        sw.conntrack.epochs.leave(self.worker);
        for (deadline, timer) in self.timers.drain(..) {
            self.wheel.insert(deadline, timer);
        }
    }

    /// The batched stages: parse all and guard those that take no lane, hash all and fetch their
    /// buckets, find all, fetch the first ones' records. The cache misses of a batch overlap.
    #[inline(never)]
    fn look_up(&mut self, sw: &Switch, set: Set<'_>, batch: &mut Batch, ingress: PortId) {
        let Set { cfg, ports, .. } = set;
        let role = ports.get(ingress).map_or(Role::Access, |s| s.role);
        let (lane, mut guard) = (Lane::new(cfg, role), None);
        let done = self.looked;
        let frames = batch.frames_mut().get_mut(done..).unwrap_or_default();
        let looks = self.looks.get_mut(done..).unwrap_or_default();
        for (n, (frame, look)) in frames.iter_mut().zip(looks).enumerate() {
            self.looked = done + n;
            if !look.express(sw, &lane, frame) {
                let guard = guard.get_or_insert_with(|| Guard::new(cfg, role));
                look.look(sw, cfg, guard, frame, role);
                look.prefetch(sw);
            }
        }
        self.looked = batch.len();
        self.find(sw);
        if !self.missed.is_empty() {
            self.look_further(sw, set);
        }
    }

    /// Finds each frame's record in its first bucket, and fetches those of the first [`AHEAD`]
    /// frames meanwhile.
    #[inline(always)]
    fn find(&mut self, sw: &Switch) {
        let looks = self.looks.get_mut(..self.looked).unwrap_or_default();
        self.missed.clear();
        let mut last = Default::default();
        for (k, some) in looks.chunks_mut(PACE).enumerate() {
            for (look, n) in some.iter_mut().zip(k * PACE..) {
                let Some(ahead) = self.ahead.get_mut(n) else {
                    break;
                };
                if look.find_candidate(&sw.conntrack, &mut last, ahead) {
                    self.missed.push(n);
                }
            }
            if let Some(record) = self.ahead.get(k).filter(|_| k < AHEAD) {
                sw.conntrack.fetch(*record);
            }
        }
        let behind = self.ahead.get_mut(self.looked..).unwrap_or_default();
        for none in behind.iter_mut().take(AHEAD) {
            *none = Candidate::default();
        }
        // What a short batch left over.
        let fetched = self.looked.div_ceil(PACE);
        for record in self.ahead.get(fetched..AHEAD).unwrap_or_default() {
            sw.conntrack.fetch(*record);
        }
    }

    /// The same for frames whose records are in their second bucket, and for first packets.
    fn look_further(&mut self, sw: &Switch, set: Set<'_>) {
        let (looks, rules) = (&mut self.looks, set.rules);
        for n in &self.missed {
            looks.get(*n).inspect(|look| look.expect_rule(rules));
        }
        let ahead = &mut self.ahead;
        self.missed.retain(|n| {
            let (Some(look), Some(ahead)) = (looks.get_mut(*n), ahead.get_mut(*n)) else {
                return false;
            };
            let none = look.find_second_candidate(sw, rules);
            *ahead = look.candidate;
            if *n < AHEAD {
                sw.conntrack.fetch(*ahead);
            }
            none
        });
        for n in &self.missed {
            looks
                .get(*n)
                .inspect(|look| look.expect_connection(sw, set.cfg, rules));
        }
    }

    /// Acts on the frames that have no verdict yet, in order, and fetches the records of those that
    /// come a little later.
    #[inline(never)]
    fn act_all(
        &mut self,
        sw: &Switch,
        set: Set<'_>,
        counters: &Counters,
        batch: &mut Batch,
        ingress: PortId,
        now: Instant,
    ) {
        let Set { cfg, ports, rules } = set;
        let done = self.verdicts.len();
        let (out, timers) = (&mut self.out, &mut self.timers);
        let mut ctx = Ctx {
            sw,
            cfg,
            ports,
            rules,
            counters,
            now,
            slot: None,
            hops: Hops::default(),
            worker: self.worker,
            out,
            timers,
        };
        let at = At::new(&ctx, ingress);
        let mut heard = Heard::default();
        let frames = batch.frames_mut().get_mut(done..).unwrap_or_default();
        let looks = self.looks.get_mut(done..).unwrap_or_default();
        let ahead = self.ahead.get(done + AHEAD..).unwrap_or_default();
        for (n, ((frame, look), ahead)) in frames.iter_mut().zip(looks).zip(ahead).enumerate() {
            sw.conntrack.fetch(*ahead);
            let slot = (done + n) as u16;
            let v = match express::pass(&mut ctx, frame, look, &at, &mut heard) {
                Some(v) => v,
                None => {
                    if std::mem::take(&mut self.plain) {
                        list_slots(&self.verdicts, ctx.out);
                    }
                    ctx.slot = Some(slot);
                    act(&mut ctx, frame, look, &at, &mut heard)
                }
            };
            // The common case without a look at the others.
            match v {
                Verdict::To(_) if self.plain => {}
                Verdict::To(port) => ctx.out.push(Out::Slot(slot, port)),
                _ => ctx.settle(ingress, v),
            }
            self.verdicts.push(v);
        }
    }

    fn survives(&mut self, batch: &mut Batch, f: impl FnOnce(&mut Work, &mut Batch)) -> bool {
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

    fn count_rx(&self, counters: &Counters, batch: &Batch, ingress: PortId) {
        counters.rx.add(batch.len() as u64);
        if let Some(c) = counters.port(ingress) {
            c.rx_frames.add(batch.len() as u64);
            c.rx_bytes.add(batch.bytes() as u64);
        }
    }
}
