//! When a freed record may be used again: after every worker has passed a batch boundary.
//!
//! A worker looks a whole batch up before it acts on it, so it may hold the number of a record
//! that another thread has just unlinked. Each worker publishes the epoch in which its batch
//! began; a record freed in epoch `e` is reused when no worker is inside a batch that began at or
//! before `e`. (Quiescent-state-based reclamation: McKenney and Slingwine, 1998.)

use crate::base::sync::{AtomicU64, fence};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release, SeqCst};

const IDLE: u64 = u64::MAX;

#[repr(align(64))]
struct Slot(AtomicU64);

/// The epochs of a fixed number of workers.
pub struct Epochs {
    now: AtomicU64,
    workers: Box<[Slot]>,
}

impl Epochs {
    /// All workers idle.
    pub fn new(workers: usize) -> Epochs {
        Epochs {
            now: AtomicU64::new(1),
            workers: (0..workers.max(1))
                .map(|_| Slot(AtomicU64::new(IDLE)))
                .collect(),
        }
    }

    /// `worker` begins a batch. The fence keeps the look-ups that follow behind the store, and
    /// [`Epochs::safe_below`]'s keeps its loads behind the unlinking: of a worker that looks up and
    /// a thread that frees at the same time, one sees what the other did.
    pub fn enter(&self, worker: usize) {
        if let Some(s) = self.workers.get(worker) {
            s.0.store(self.now.load(Acquire), Release);
            fence(SeqCst);
        }
    }

    /// `worker` holds no record number any more.
    pub fn leave(&self, worker: usize) {
        if let Some(s) = self.workers.get(worker) {
            s.0.store(IDLE, Release);
        }
    }

    /// The stamp for something that was just unlinked.
    pub fn retire(&self) -> u64 {
        self.now.fetch_add(1, AcqRel)
    }

    /// Everything stamped below this may be used again.
    pub fn safe_below(&self) -> u64 {
        fence(SeqCst);
        let now = self.now.load(Acquire);
        self.workers
            .iter()
            .map(|s| s.0.load(Acquire))
            .min()
            .unwrap_or(IDLE)
            .min(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_the_slowest_batch() {
        let e = Epochs::new(2);
        e.enter(0);
        let stamp = e.retire();
        e.enter(1);
        assert!(stamp >= e.safe_below(), "worker 0 began before the free");
        e.leave(0);
        assert!(stamp < e.safe_below(), "worker 1 began after it");
        let later = e.retire();
        assert!(later >= e.safe_below());
        e.leave(1);
        assert!(later < e.safe_below());
    }
}
