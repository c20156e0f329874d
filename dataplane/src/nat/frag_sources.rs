//! Who has how many fragmented datagrams under way, and who pays when the table is full. All
//! answers cost O(log n), so that a flood pays little more than a look-up.

use super::frag::FragKey;
use crate::flow::Zone;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;

/// A datagram's place in the order of arrival.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Slot(u64);

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Source(u8, Ipv4Addr);

impl Source {
    fn of(key: &FragKey) -> Source {
        let zone = match key.zone {
            Zone::Inside => 0,
            Zone::Uplink => 1,
        };
        Source(zone, key.src)
    }
}

/// The datagrams of one source.
#[derive(Default)]
struct Share {
    all: BTreeSet<Slot>,
    /// Those that wait for their first fragment or are spoilt.
    waiting: BTreeSet<Slot>,
}

/// More datagrams rank higher; of as many, those of the source that has the oldest.
type Rank = (usize, Reverse<Slot>, Source);

fn rank(slots: &BTreeSet<Slot>, source: Source) -> Option<Rank> {
    let oldest = slots.first()?;
    Some((slots.len(), Reverse(*oldest), source))
}

/// Every datagram under way, by age and by source.
#[derive(Default)]
pub(super) struct Sources {
    by_age: BTreeMap<Slot, FragKey>,
    shares: HashMap<Source, Share>,
    by_all: BTreeSet<Rank>,
    by_waiting: BTreeSet<Rank>,
    next: u64,
}

impl Sources {
    /// Enters a datagram; it is waiting.
    pub(super) fn add(&mut self, key: FragKey) -> Slot {
        let slot = Slot(self.next);
        self.next += 1;
        self.by_age.insert(slot, key);
        self.change(&key, |s| {
            s.all.insert(slot);
            s.waiting.insert(slot);
        });
        slot
    }

    /// Says whether it is waiting (or spoilt).
    pub(super) fn set_waiting(&mut self, slot: Slot, key: &FragKey, waiting: bool) {
        self.change(key, |s| {
            if waiting {
                s.waiting.insert(slot);
            } else {
                s.waiting.remove(&slot);
            }
        });
    }

    pub(super) fn remove(&mut self, slot: Slot, key: &FragKey) {
        self.by_age.remove(&slot);
        self.change(key, |s| {
            s.all.remove(&slot);
            s.waiting.remove(&slot);
        });
    }

    /// Datagrams of the source of `key`.
    pub(super) fn count(&self, key: &FragKey) -> usize {
        self.shares.get(&Source::of(key)).map_or(0, |s| s.all.len())
    }

    /// The oldest datagram of all.
    pub(super) fn oldest(&self) -> Option<FragKey> {
        self.by_age.first_key_value().map(|(_, k)| *k)
    }

    /// The oldest waiting datagram of the source of `key`, else its oldest.
    pub(super) fn oldest_of(&self, key: &FragKey) -> Option<FragKey> {
        let share = self.shares.get(&Source::of(key))?;
        self.key(share.waiting.first().or(share.all.first()))
    }

    /// The oldest waiting datagram of the source that has most of them, else the oldest of the
    /// source that has most datagrams.
    pub(super) fn victim(&self) -> Option<FragKey> {
        let (_, Reverse(slot), _) = self.by_waiting.last().or(self.by_all.last())?;
        self.key(Some(slot))
    }

    fn key(&self, slot: Option<&Slot>) -> Option<FragKey> {
        self.by_age.get(slot?).copied()
    }

    /// Changes the share of the source of `key` and its ranks.
    fn change(&mut self, key: &FragKey, f: impl FnOnce(&mut Share)) {
        let source = Source::of(key);
        let share = self.shares.entry(source).or_default();
        if let Some(r) = rank(&share.all, source) {
            self.by_all.remove(&r);
        }
        if let Some(r) = rank(&share.waiting, source) {
            self.by_waiting.remove(&r);
        }
        f(share);
        self.by_all.extend(rank(&share.all, source));
        self.by_waiting.extend(rank(&share.waiting, source));
        if share.all.is_empty() {
            self.shares.remove(&source);
        }
    }

    /// Sizes of all parts, for tests: datagrams, sources, ranks.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 4] {
        [
            self.by_age.len(),
            self.shares.len(),
            self.by_all.len(),
            self.by_waiting.len(),
        ]
    }
}
