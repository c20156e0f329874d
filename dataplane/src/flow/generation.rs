//! The number that makes cached decisions void.
//!
//! Every change that could alter a decision bumps it: an FDB entry that moved or went, a
//! neighbour's new MAC, a rule added or removed, a port gone. A hit whose record was decided
//! under another number goes to the slow path, which decides anew and stamps the record.
//! 0 is never current, so a record stamped 0 is always decided anew.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

/// The current generation.
pub struct Generation(AtomicU32);

impl Default for Generation {
    fn default() -> Generation {
        Generation(AtomicU32::new(1))
    }
}

impl Generation {
    /// The current number. Take it *before* reading what a decision rests on, and stamp the
    /// decision with it: a change in between then voids the decision.
    #[inline]
    pub fn get(&self) -> u32 {
        self.0.load(Acquire)
    }

    /// Voids every decision made so far.
    pub fn bump(&self) {
        if self.0.fetch_add(1, AcqRel) == u32::MAX {
            self.0.fetch_add(1, AcqRel);
        }
    }
}
