//! What happens without a frame: connections expire, neighbours are asked again, tables age.

use super::{Engine, Tx, Work};
use crate::base::Instant;
use crate::conntrack::state;
use crate::flow::record::flags;
use crate::frame::{Batch, parse};
use crate::slow::ctx::{Ctx, Timer};
use crate::slow::next_hop::Hops;
use crate::slow::switch::Switch;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How often the shared tables are looked at.
const SHARED: Duration = Duration::from_millis(100);
/// FDB entries looked at each time.
const SWEEP: usize = 256;

impl Engine {
    /// Does what is due at `now`. Cheap when nothing is. Worker 0 looks after the shared tables.
    pub fn tick(&mut self, now: Instant, batch: &mut Batch, tx: &mut dyn Tx) {
        let Engine { sw, work, .. } = self;
        work.expire(sw, now);
        work.let_waiting_go(sw, now, batch, tx);
        work.look_after_shared(sw, now, batch, tx);
    }

    /// When [`Engine::tick`] next has something to do.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let Engine { sw, work, .. } = self;
        let wheel = work
            .wheel
            .next_deadline()
            .map(|t| now + Duration::from_millis(u64::from(t.since(now.tick()))));
        let shared = if work.worker == 0 {
            let neigh = sw
                .neigh
                .next_deadline()
                .map(|t| now + Duration::from_millis(u64::from(t.since(now.tick()))));
            let groups = sw
                .groups
                .next_deadline()
                .map(|t| now + Duration::from_millis(u64::from(t.since(now.tick()))));
            [neigh, groups, sw.frags.next_deadline()]
                .into_iter()
                .flatten()
                .min()
        } else {
            None
        };
        let shared = shared.map(|t| t.max(work.next_tick));
        [wheel, shared, sw.waiting.deadline()]
            .into_iter()
            .flatten()
            .min()
    }
}

impl Work {
    fn look_after_shared(&mut self, sw: &Switch, now: Instant, batch: &mut Batch, tx: &mut dyn Tx) {
        if self.worker != 0 || now < self.next_tick {
            return;
        }
        self.next_tick = now + SHARED;
        self.without_a_batch(sw, now, batch, tx, |ctx| {
            ctx.neighbours_tick();
            ctx.groups_tick();
            let lost = sw.frags.expire(now);
            ctx.lose(lost);
        });
        sw.fdb.sweep(now.tick(), SWEEP);
    }

    /// Frames that waited for a port: tried again when ports were lent, refused when none came.
    fn let_waiting_go(&mut self, sw: &Switch, now: Instant, batch: &mut Batch, tx: &mut dyn Tx) {
        let Some((frames, in_vain)) = sw.waiting.take(now) else {
            return;
        };
        if in_vain {
            // That of the other protocol may be on its way.
            let waited = frames
                .iter()
                .filter_map(|(_, f)| parse::parse(f.bytes(), &f.hdr).ok());
            waited.for_each(|p| sw.external.expect_more(p.tuple.proto, false));
        }
        self.without_a_batch(sw, now, batch, tx, |ctx| ctx.let_go(frames));
    }

    /// Does something that may send frames which came in no batch.
    fn without_a_batch(
        &mut self,
        sw: &Switch,
        now: Instant,
        batch: &mut Batch,
        tx: &mut dyn Tx,
        work: impl FnOnce(&mut Ctx<'_>),
    ) {
        let Some(counters) = sw.counters(self.worker) else {
            return;
        };
        let (ports, cfg, rules) = (sw.ports(), sw.cfg(), sw.rules.view());
        batch.clear();
        counters.unsettle();
        sw.conntrack.epochs.enter(self.worker);
        work(&mut Ctx {
            sw,
            cfg: &cfg,
            ports: &ports,
            rules: &rules,
            counters,
            now,
            slot: None,
            hops: Hops::default(),
            worker: self.worker,
            out: &mut self.out,
            timers: &mut self.timers,
        });
        sw.conntrack.epochs.leave(self.worker);
        for (deadline, timer) in self.timers.drain(..) {
            self.wheel.insert(deadline, timer);
        }
        self.tx
            .send(&[], &mut self.out, batch, &ports, counters, tx);
        counters.settle();
    }

    /// Turns the wheel: each timer that fires looks again before it ends its connection.
    fn expire(&mut self, sw: &Switch, now: Instant) {
        let tick = now.tick();
        self.wheel.advance(tick, &mut self.fired);
        if self.fired.is_empty() {
            return;
        }
        let ct = &sw.conntrack;
        ct.epochs.enter(self.worker);
        for t in self.fired.drain(..) {
            let Some(r) = ct.slab.get(t.id) else { continue };
            if r.incarnation.load(Relaxed) != t.incarnation || !r.has(flags::LIVE) {
                continue;
            }
            if ct.expired(r, tick) {
                sw.forget(t.id);
            } else if t.closing && state::is_established(r.state.load(Relaxed)) {
                // Revived: the long timer stands for it still.
                r.flags.fetch_and(!flags::CLOSING_TIMER, Relaxed);
            } else {
                self.wheel.insert(ct.deadline(r), Timer { ..t });
            }
        }
        ct.epochs.leave(self.worker);
    }
}
