//! The number that makes cached decisions void.
//!
//! Every change that could alter a decision bumps it: an FDB entry that moved or went, a
//! neighbour's new MAC, a port gone, another outside. A hit whose record was decided under another
//! number goes to the slow path, which decides anew and stamps the record. A rule decides once, when
//! a connection opens, so none that comes or goes voids what others decided.
//! 0 is never current, so a record stamped 0 is always decided anew.

use crate::base::sync::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

/// The current generation.
pub struct Generation(AtomicU32);

impl Default for Generation {
    fn default() -> Generation {
        Generation(AtomicU32::new(1))
    }
}

impl Generation {
    /// Never current either: stands in a record while a decision is written into it.
    pub const LOCKED: u32 = u32::MAX;

    /// The current number. Take it *before* reading what a decision rests on, and stamp the
    /// decision with it: a change in between then voids the decision.
    #[inline]
    pub fn get(&self) -> u32 {
        self.0.load(Acquire)
    }

    /// Voids every decision made so far.
    pub fn bump(&self) {
        let next = |n: u32| match n.wrapping_add(1) {
            0 | Generation::LOCKED => Some(1),
            n => Some(n),
        };
        // Never fails: there is always a next number.
        let _ = self.0.fetch_update(AcqRel, Acquire, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_that_are_never_current_are_passed_over() {
        let g = Generation(AtomicU32::new(u32::MAX - 2));
        g.bump();
        assert_eq!(g.get(), u32::MAX - 1);
        g.bump();
        assert_eq!(g.get(), 1);
        assert_eq!(Generation::default().get(), 1);
    }
}
