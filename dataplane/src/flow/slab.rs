//! The fixed slab of connection records, and which of them are free.

use super::epoch::Epochs;
use super::record::{Record, flags};
use crate::base::sync::{Mutex, MutexGuard, Table, fence};
use std::collections::VecDeque;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// A record's number in the slab.
pub type RecordId = u32;

#[derive(Default)]
struct Free {
    /// Records from here on were never used.
    fresh: u32,
    /// Used before and free again.
    ready: Vec<RecordId>,
    /// Freed, but perhaps still seen by a worker: (stamp, record), oldest first.
    limbo: VecDeque<(u64, RecordId)>,
}

/// Free records that a worker has at hand, on a line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Stash(Mutex<Vec<RecordId>>);

/// How many records a worker takes from the common list at a time.
const PORTION: usize = 64;

/// All connection records. A record is taken and given back by the slow path only.
pub struct Slab {
    records: Table<Record>,
    free: Mutex<Free>,
    /// By worker, so that those that open connections at the same time don't wait for each other.
    stashes: Box<[Stash]>,
}

impl Slab {
    /// Room for `capacity` connections (128 bytes each, untouched ones cost nothing).
    pub fn new(capacity: u32) -> Slab {
        Slab::for_workers(capacity, 1)
    }

    /// The same for several workers that take records.
    pub fn for_workers(capacity: u32, workers: usize) -> Slab {
        Slab {
            stashes: (0..workers.max(1)).map(|_| Stash::default()).collect(),
            records: Table::zeroed(capacity as usize),
            free: Mutex::new(Free::default()),
        }
    }

    fn free_list(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of records.
    pub fn capacity(&self) -> u32 {
        self.records.len() as u32
    }

    /// Bytes of the records, and of the list of those that were given back.
    pub fn bytes(&self) -> (u64, u64) {
        let f = self.free_list();
        let list = f.ready.capacity() * size_of::<RecordId>()
            + f.limbo.capacity() * size_of::<(u64, RecordId)>();
        (self.records.bytes(), list as u64)
    }

    /// The record, free or not.
    #[inline]
    pub fn get(&self, id: RecordId) -> Option<&Record> {
        self.records.get(id as usize)
    }

    /// Takes a free record; its incarnation is a new one. `None` when all are in use.
    pub fn take(&self, epochs: &Epochs) -> Option<(RecordId, &Record)> {
        self.take_by(0, epochs)
    }

    /// The same for one worker of several.
    pub fn take_by(&self, worker: usize, epochs: &Epochs) -> Option<(RecordId, &Record)> {
        let id = self
            .stash(worker)
            .and_then(|mut own| {
                if own.is_empty() {
                    self.portion(epochs, &mut own);
                }
                own.pop()
            })
            // What others have at hand is free as well.
            .or_else(|| (0..self.stashes.len()).find_map(|w| self.stash(w)?.pop()))?;
        let r = self.get(id)?;
        // Before all that the new connection stores, for `Record::steady`.
        let next = r.incarnation.load(Relaxed).wrapping_add(1);
        r.incarnation.store(next, Release);
        fence(Release);
        Some((id, r))
    }

    fn stash(&self, worker: usize) -> Option<MutexGuard<'_, Vec<RecordId>>> {
        let s = self.stashes.get(worker)?;
        Some(s.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Moves up to a portion of free records from the common list, the first to be taken last.
    fn portion(&self, epochs: &Epochs, to: &mut Vec<RecordId>) {
        let mut f = self.free_list();
        let safe = if f.ready.is_empty() && !f.limbo.is_empty() {
            epochs.safe_below()
        } else {
            0
        };
        while let Some(&(stamp, id)) = f.limbo.front() {
            if stamp >= safe {
                break;
            }
            f.limbo.pop_front();
            f.ready.push(id);
        }
        let left = f.ready.len().saturating_sub(PORTION);
        to.extend(f.ready.drain(left..));
        let fresh = (PORTION - to.len()).min((self.capacity() - f.fresh) as usize) as u32;
        to.extend((f.fresh..f.fresh + fresh).rev());
        f.fresh += fresh;
    }

    /// Gives a record back that no index entry names any more.
    pub fn give_back(&self, id: RecordId, epochs: &Epochs) {
        let stamp = epochs.retire();
        self.free_list().limbo.push_back((stamp, id));
    }

    /// Gives a record back that was never in the index.
    pub fn give_back_unseen(&self, id: RecordId) {
        self.free_list().ready.push(id);
    }

    /// The live records, in slab order, each as it was when it became live or later.
    pub fn live(&self) -> impl Iterator<Item = (RecordId, &Record)> {
        let used = self.free_list().fresh;
        self.records
            .iter()
            .take(used as usize)
            .enumerate()
            .filter(|(_, r)| r.flags.load(Acquire) & flags::LIVE != 0)
            .map(|(i, r)| (i as RecordId, r))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_record_waits_for_the_batch_that_may_see_it() {
        let e = Epochs::new(1);
        let s = Slab::new(2);
        let (a, r) = s.take(&e).unwrap();
        let first = r.incarnation.load(Relaxed);
        let (b, _) = s.take(&e).unwrap();
        assert_ne!(a, b);
        assert!(s.take(&e).is_none(), "full");
        e.enter(0);
        s.give_back(a, &e);
        assert!(
            s.take(&e).is_none(),
            "the batch under way may still hold it"
        );
        e.leave(0);
        let (again, r) = s.take(&e).unwrap();
        assert_eq!(again, a);
        assert_ne!(r.incarnation.load(Relaxed), first);
    }
}
