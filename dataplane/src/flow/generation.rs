//! The number that makes cached decisions void.
//!
//! Every change that could alter a decision bumps it: an FDB entry that moved or went, a
//! neighbour's new MAC, a port gone, another outside. A hit whose record was decided under another
//! number is not one until the record was stamped anew. A rule decides once, when a connection opens,
//! so none that comes or goes voids what others decided.
//! 0 is never current, so a record stamped 0 is always decided anew.
//!
//! Most changes are of a next hop: an address that moved, a neighbour with another MAC. All else that
//! a decision answers (may its sender send this, is it ours, by which address does it leave) follows
//! from the configuration and the ports, and where those stayed as they were only the next hop is
//! asked anew (`slow::next_hop`). So the number at which they changed last is kept beside the current
//! one.

use crate::base::sync::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

/// The current generation in the low half; in the high one the number that the last change of
/// configuration or ports made. One word, so that nobody sees the one without the other.
pub struct Generation(AtomicU64);

impl Default for Generation {
    fn default() -> Generation {
        Generation::at(1, 1)
    }
}

impl Generation {
    /// Never current either: stands in a record while a decision is written into it.
    pub const LOCKED: u32 = u32::MAX;

    /// Numbers back as far as which a decision is renewed. A record that was left alone for longer
    /// takes the slow path once; a number that has come round is then taken for one of before as
    /// seldom as can be.
    const REACH: u32 = 1 << 16;

    fn at(now: u32, settled: u32) -> Generation {
        Generation(AtomicU64::new(word(now, settled)))
    }

    /// The current number. Take it *before* reading what a decision rests on, and stamp the
    /// decision with it: a change in between then voids the decision.
    #[inline]
    pub fn get(&self) -> u32 {
        self.0.load(Acquire) as u32
    }

    /// The current number, if what was decided under `stamp` needs no more than its next hop asked
    /// anew: neither configuration nor ports have changed since. The number is to be used as that of
    /// [`Generation::get`].
    pub fn renews(&self, stamp: u32) -> Option<u32> {
        let both = self.0.load(Acquire);
        let (now, settled) = (both as u32, (both >> 32) as u32);
        let age = now.wrapping_sub(stamp);
        let stamped = stamp != 0 && stamp != Generation::LOCKED;
        (stamped && age <= Generation::REACH && age <= now.wrapping_sub(settled)).then_some(now)
    }

    /// Voids the next hop of every decision made so far.
    pub fn bump(&self) {
        self.step(|settled, _| settled);
    }

    /// Voids every decision made so far, all that it answers: configuration or ports have changed.
    pub fn bump_settings(&self) {
        self.step(|_, next| next);
    }

    fn step(&self, settled: impl Fn(u32, u32) -> u32) {
        let next = |both: u64| {
            let next = match (both as u32).wrapping_add(1) {
                0 | Generation::LOCKED => 1,
                n => n,
            };
            Some(word(next, settled((both >> 32) as u32, next)))
        };
        // Never fails: there is always a next number.
        let _ = self.0.fetch_update(AcqRel, Acquire, next);
    }
}

fn word(now: u32, settled: u32) -> u64 {
    u64::from(settled) << 32 | u64::from(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_that_are_never_current_are_passed_over() {
        let g = Generation::at(u32::MAX - 2, 1);
        g.bump();
        assert_eq!(g.get(), u32::MAX - 1);
        g.bump();
        assert_eq!(g.get(), 1);
        assert_eq!(Generation::default().get(), 1);
    }

    #[test]
    fn only_what_was_decided_since_the_settings_changed_is_renewed() {
        for first in [1, 1000, u32::MAX - 4] {
            let g = Generation::at(first, first);
            let before = g.get();
            g.bump();
            assert_eq!(g.renews(before), Some(g.get()));
            g.bump_settings();
            let (settled, older) = (g.get(), before);
            assert_eq!((g.renews(older), g.renews(settled)), (None, Some(settled)));
            for _ in 0..5 {
                g.bump();
            }
            assert_eq!(g.renews(settled), Some(g.get()));
            assert_eq!(g.renews(older), None);
            assert_eq!(g.renews(g.get().wrapping_add(1)), None, "not of now");
            assert_eq!((g.renews(0), g.renews(Generation::LOCKED)), (None, None));
        }
    }

    #[test]
    fn what_is_very_old_is_not_renewed() {
        let g = Generation::at(Generation::REACH + 2, 1);
        assert_eq!((g.renews(2), g.renews(1)), (Some(g.get()), None));
    }
}
