//! The stages of a batch, one loop each: what is looked up for all frames before any is acted on.

use super::Work;
use super::act::{At, act};
use super::bridge::Heard;
use super::express::{self, Lane};
use super::verdicts::Verdicts;
use crate::base::counters::Counters;
use crate::base::{Instant, PortId, Role};
use crate::flow::index::Candidate;
use crate::frame::Batch;
use crate::frame::batch::BATCH;
use crate::guard::Guard;
use crate::slow::ctx::{Ctx, Out, Verdict};
use crate::slow::next_hop::Hops;
use crate::slow::settings::Set;
use crate::slow::switch::Switch;

/// So many frames before it is needed a record is asked for. A core has some two dozen requests for
/// cache lines under way at a time, and of what a whole batch asks for at once a part is lost.
pub(super) const AHEAD: usize = 16;

/// Of the first [`AHEAD`] records one is asked for behind so many look-ups.
const PACE: usize = BATCH / AHEAD;

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
    /// The batched stages: parse all and guard those that take no lane, hash all and fetch their
    /// buckets, find all, fetch the first ones' records. The cache misses of a batch overlap.
    #[inline(never)]
    pub(super) fn look_up(
        &mut self,
        sw: &Switch,
        set: Set<'_>,
        batch: &mut Batch,
        ingress: PortId,
    ) {
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
        for (n, (look, ahead)) in looks.iter_mut().zip(&self.ahead).enumerate() {
            if look.find_candidate(&sw.conntrack, &mut last, ahead) {
                self.missed.push(n);
            }
            if n % PACE == 0
                && let Some(record) = self.ahead.get(n / PACE)
            {
                sw.conntrack.fetch(record.get());
            }
        }
        // What a longer batch before it left behind its end.
        let longer = std::mem::replace(&mut self.filled, self.looked);
        for none in self.ahead.get(self.looked..longer).unwrap_or_default() {
            none.set(Candidate::default());
        }
        // What a short batch left over.
        let (fetched, first) = (self.looked.div_ceil(PACE), self.looked.min(AHEAD));
        for record in self.ahead.get(fetched..first).unwrap_or_default() {
            sw.conntrack.fetch(record.get());
        }
    }

    /// The same for frames whose records are in their second bucket, and for first packets.
    fn look_further(&mut self, sw: &Switch, set: Set<'_>) {
        let (looks, rules) = (&mut self.looks, set.rules);
        for n in &self.missed {
            looks.get(*n).inspect(|look| look.expect_rule(rules));
        }
        let ahead = &self.ahead;
        self.missed.retain(|n| {
            let (Some(look), Some(ahead)) = (looks.get_mut(*n), ahead.get(*n)) else {
                return false;
            };
            let none = look.find_second_candidate(sw, rules);
            ahead.set(look.candidate);
            if *n < AHEAD {
                sw.conntrack.fetch(look.candidate);
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
    pub(super) fn act_all(
        &mut self,
        sw: &Switch,
        set: Set<'_>,
        counters: &Counters,
        batch: &mut Batch,
        ingress: PortId,
        now: Instant,
    ) {
        let Set { cfg, ports, rules } = set;
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
        let frames = batch.frames_mut();
        // As long as all take the lane, their verdicts say all that is to be sent.
        if self.plain {
            let Verdicts { all, len } = &mut self.verdicts;
            let done = *len;
            let frames = frames.get_mut(done..).unwrap_or_default();
            let looks = self.looks.get(done..).unwrap_or_default();
            let ahead = self.ahead.get(done + AHEAD..).unwrap_or_default();
            let verdicts = all.get_mut(done..).unwrap_or_default();
            for (((frame, look), ahead), v) in frames.iter_mut().zip(looks).zip(ahead).zip(verdicts)
            {
                sw.conntrack.fetch(ahead.get());
                match express::pass(&mut ctx, frame, look, &at, &mut heard) {
                    Ok(port) => *v = Verdict::To(port),
                    Err(_) => break,
                }
                *len += 1;
            }
        }
        let done = self.verdicts.len;
        let looks = self.looks.get_mut(done..).unwrap_or_default();
        let ahead = self.ahead.get(done + AHEAD..).unwrap_or_default();
        let rest = frames.get_mut(done..).unwrap_or_default();
        for (((frame, look), ahead), slot) in
            rest.iter_mut().zip(looks).zip(ahead).zip(done as u16..)
        {
            if std::mem::take(&mut self.plain) {
                list_slots(self.verdicts.said(), ctx.out);
            }
            sw.conntrack.fetch(ahead.get());
            let v = match express::pass_or_event(&mut ctx, frame, look, &at, &mut heard) {
                Some(v) => v,
                None => {
                    ctx.slot = Some(slot);
                    act(&mut ctx, frame, look, &at, &mut heard)
                }
            };
            match v {
                Verdict::To(port) => ctx.out.push(Out::Slot(slot, port)),
                _ => ctx.settle(ingress, v),
            }
            self.verdicts.push(v);
        }
    }
}
