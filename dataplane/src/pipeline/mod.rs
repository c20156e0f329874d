//! Level 5: the journey of a batch, as a plain list of stages.
//!
//! parse → guard → look up → { hit | bridge | slow path } → rewrite → tx
//!
//! Two kinds of hit: a *bridged* frame whose destination MAC the FDB knows, and a *routed* frame
//! whose key stands in the flow index under a decision that still holds, or does once its next hop
//! was asked anew (where ports and configuration are those of the decision). Everything else is the
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
mod stages;
#[cfg(test)]
mod tests;
mod tick;
pub mod tx;
mod verdicts;

use crate::base::counters::Counters;
use crate::base::{Instant, PortId, Reason, Tick};
use crate::conntrack::Wheel;
use crate::flow::index::Candidate;
use crate::frame::batch::BATCH;
use crate::frame::{Batch, Frame};
use crate::slow::ctx::{Out, Timer, Verdict};
use crate::slow::ports::PortTable;
use crate::slow::settings::{Set, Settings};
use crate::slow::switch::Switch;
use crossbeam_utils::CachePadded;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use look::Look;
use stages::AHEAD;
pub use tx::Tx;
use verdicts::Verdicts;

/// One worker's end of the switch.
pub struct Engine {
    sw: Arc<Switch>,
    settings: Settings,
    /// What it writes for every frame, in cache lines that nobody else has a part of.
    work: CachePadded<Work>,
}

/// One worker's own state. It stands apart from the shared switch so that a batch borrows that
/// instead of counting one more holder: the count lies beside what all workers read.
struct Work {
    worker: usize,
    looks: Box<[Look]>,
    /// The record that each frame of the batch needs, none where the frame before needs the same;
    /// behind the last, [`AHEAD`] times none. Cells, since one is read while another is filled.
    ahead: Box<[Cell<Candidate>]>,
    /// Where `ahead` may not be none: before here.
    filled: usize,
    /// Those without a record in the first place where it may be.
    missed: Vec<usize>,
    /// Frames of the batch that have been looked at.
    looked: usize,
    verdicts: Verdicts,
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
            ahead: vec![Cell::default(); BATCH + AHEAD].into(),
            filled: 0,
            missed: Vec::with_capacity(BATCH),
            looked: 0,
            verdicts: Verdicts::new(),
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
            work: CachePadded::new(work),
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
        self.work.verdicts.said()
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

impl Work {
    fn transmit(&mut self, ports: &PortTable, counters: &Counters, batch: &Batch, tx: &mut dyn Tx) {
        let verdicts = match self.plain {
            true => self.verdicts.said(),
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
        self.verdicts.len = 0;
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
            self.quarantine(batch, self.verdicts.len, ingress);
            counters.drop(ingress, Reason::Panic);
            self.verdicts.push(Verdict::Drop(Reason::Panic));
        }
        sw.conntrack.epochs.leave(self.worker);
        for (deadline, timer) in self.timers.drain(..) {
            self.wheel.insert(deadline, timer);
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
