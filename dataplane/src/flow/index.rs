//! The index of routed flows: a fixed table of atomic slots, two candidate buckets a key.
//!
//! A bucket is one cache line of eight slots. A slot names a record and the direction whose key
//! it stands for, and carries 15 bits of the key's hash so that a foreign slot is passed over
//! without touching its record. Entries never move, so a reader needs neither lock nor version:
//! it sees a slot before or after a change. Only the slow path writes.
//!
//! A key's first bucket is preferred until it holds `CROWDED` entries, so that nearly every
//! look-up ends there: at half fill one entry in eleven stands in its second bucket. With two
//! choices of eight slots and the table at most half full, an insert that finds both buckets taken
//! is out of reach of chance (below 1e-10 at 50 %); the hash is keyed, so it is out of reach of
//! intent too. It is refused as [`Full`].

use super::key::FlowKey;
use super::record::{Dir, Record, flags};
use super::slab::{RecordId, Slab};
use crate::base::hash::Keyed;
use crate::base::mem::prefetch;
use crate::base::sync::{AtomicU64, Table, Zeroable};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

const TAKEN: u64 = 1 << 63;
const TAG_SHIFT: u32 = 48;
const TAG_MASK: u64 = 0x7fff << TAG_SHIFT;
const DIR_BIT: u64 = 1 << 32;
/// Entries in its first bucket from which on a key looks for a better place.
const CROWDED: u32 = 5;

/// Slots of a bucket: a cache line. (A model has few keys, and each load more to explore.)
const WAYS: usize = if cfg!(loom) { 2 } else { 8 };

#[derive(Zeroable)]
#[repr(C, align(64))]
struct Bucket {
    slots: [AtomicU64; WAYS],
}

impl Bucket {
    /// A bit for each slot of which `is` says so. All are looked at, without a branch: where an
    /// entry stands is chance, which no branch predictor foretells.
    #[inline(always)]
    fn slots_that(&self, is: impl Fn(u64) -> bool) -> u32 {
        let mut found = 0;
        for (n, slot) in self.slots.iter().enumerate() {
            found |= u32::from(is(slot.load(Acquire))) << n;
        }
        found
    }

    /// Whether the tag of any slot is this one ([`tag_of`]). Less than to say which.
    #[inline(always)]
    fn has_tag(&self, tag: u64) -> bool {
        let differing = |s: &AtomicU64| s.load(Acquire) >> TAG_SHIFT ^ tag;
        self.slots.iter().map(differing).fold(1, u64::min) == 0
    }
}

/// What stands in the high bits of the taken slots of keys with this hash.
#[inline(always)]
const fn tag_of(hash: u64) -> u64 {
    (TAKEN | (hash & TAG_MASK)) >> TAG_SHIFT
}

/// The record and direction of a taken slot.
#[inline(always)]
const fn entry(slot: u64) -> (RecordId, Dir) {
    let dir = if slot & DIR_BIT == 0 {
        Dir::Orig
    } else {
        Dir::Reply
    };
    (slot as RecordId, dir)
}

/// A slot whose tag is a key's, as it was when it was looked at; or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Candidate(u64);

impl Candidate {
    /// Whether there is none.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Its record and direction.
    #[inline(always)]
    pub fn get(self) -> Option<(RecordId, Dir)> {
        (self.0 != 0).then(|| entry(self.0))
    }
}

/// Both buckets of a key are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// The index.
pub struct Index {
    buckets: Table<Bucket>,
    mask: usize,
    keyed: Keyed,
}

impl Index {
    /// An index for up to `connections` connections (two entries each) at half fill or below:
    /// 32 to 64 bytes a connection.
    pub fn new(connections: u32, keyed: Keyed) -> Index {
        let slots = (connections as usize).saturating_mul(4).max(8 * WAYS);
        let buckets = (slots / WAYS).next_power_of_two();
        Index {
            buckets: Table::zeroed(buckets),
            mask: buckets - 1,
            keyed,
        }
    }

    /// Bytes of the table.
    pub const fn bytes(&self) -> u64 {
        self.buckets.bytes()
    }

    /// The keyed hash of a key; the other calls take it back.
    #[inline]
    pub fn hash(&self, k: &FlowKey) -> u64 {
        self.keyed.hash2(k.a, k.b)
    }

    #[inline]
    fn pair(&self, hash: u64) -> (usize, usize) {
        let one = hash as usize & self.mask;
        let two = (hash >> 24) as usize & self.mask;
        (
            one,
            if two == one {
                one ^ (1 & self.mask)
            } else {
                two
            },
        )
    }

    #[inline]
    fn value(hash: u64, id: RecordId, dir: Dir) -> u64 {
        TAKEN | (hash & TAG_MASK) | if dir == Dir::Reply { DIR_BIT } else { 0 } | u64::from(id)
    }

    /// Brings the first bucket near; call for a whole batch before [`Index::candidate`].
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some(b) = self.buckets.get(self.pair(hash).0) {
            prefetch(b);
        }
    }

    /// Brings the second bucket near, when the first has no candidate.
    #[inline]
    pub fn prefetch_second(&self, hash: u64) {
        if let Some(b) = self.buckets.get(self.pair(hash).1) {
            prefetch(b);
        }
    }

    /// A record in the key's first bucket whose tag matches, and the direction: not yet compared.
    /// Prefetch it, then ask [`Index::known`].
    #[inline]
    pub fn candidate(&self, hash: u64) -> Candidate {
        self.candidate_in(self.pair(hash).0, hash)
    }

    /// The same in the second bucket.
    #[inline]
    pub fn second_candidate(&self, hash: u64) -> Candidate {
        self.candidate_in(self.pair(hash).1, hash)
    }

    #[inline]
    fn candidate_in(&self, at: usize, hash: u64) -> Candidate {
        let want = tag_of(hash);
        let Some(bucket) = self.buckets.get(at) else {
            return Candidate::default();
        };
        let (front, rest) = bucket.slots.split_at(WAYS / 2);
        // Without a branch for each: where an entry stands is chance. But slots fill from the
        // front, so the second half is seldom needed.
        let find = |half: &[AtomicU64]| {
            half.iter().fold(0, |found, slot| {
                let s = slot.load(Acquire);
                if s >> TAG_SHIFT == want { s } else { found }
            })
        };
        Candidate(match find(front) {
            0 => find(rest),
            found => found,
        })
    }

    /// As [`Index::find`], for a key of which a candidate was found before.
    #[inline]
    pub fn known<'s>(
        &self,
        k: &FlowKey,
        hash: u64,
        candidate: Candidate,
        slab: &'s Slab,
    ) -> Option<(RecordId, Dir, &'s Record)> {
        // A live record with this key is the connection, wherever its number came from.
        if let Some((id, dir)) = candidate.get()
            && let Some(r) = slab.get(id)
            && r.key(dir) == *k
            && r.has(flags::LIVE)
        {
            return Some((id, dir, r));
        }
        let (id, dir) = self.find(k, hash, slab)?;
        Some((id, dir, slab.get(id)?))
    }

    /// The live connection that has this key, and the direction for which it is the key.
    #[inline]
    pub fn find(&self, k: &FlowKey, hash: u64, slab: &Slab) -> Option<(RecordId, Dir)> {
        let (one, two) = self.pair(hash);
        self.find_in(one, k, hash, slab)
            .or_else(|| self.find_in(two, k, hash, slab))
    }

    #[inline]
    fn find_in(&self, at: usize, k: &FlowKey, hash: u64, slab: &Slab) -> Option<(RecordId, Dir)> {
        let b = self.buckets.get(at)?;
        let tag = tag_of(hash);
        if !b.has_tag(tag) {
            return None;
        }
        let mut found = b.slots_that(|s| s >> TAG_SHIFT == tag);
        while found != 0 {
            let slot = b.slots.get(found.trailing_zeros() as usize)?;
            let (id, dir) = entry(slot.load(Acquire));
            if let Some(r) = slab.get(id)
                && r.key(dir) == *k
                && r.has(flags::LIVE)
            {
                return Some((id, dir));
            }
            found &= found - 1;
        }
        None
    }

    /// Adds an entry. The caller holds the lock of the key's stripe and has looked whether the
    /// key is there already; other keys may be inserted and removed at the same time.
    ///
    /// # Errors
    /// [`Full`] when both buckets are taken; nothing was changed.
    pub fn insert(&self, hash: u64, id: RecordId, dir: Dir) -> Result<(), Full> {
        let value = Index::value(hash, id, dir);
        let (one, two) = self.pair(hash);
        let (mut first, mut other, mut free) = (one, two, self.free_slots(one));
        if free.count_ones() <= (WAYS as u32).saturating_sub(CROWDED) {
            let there = self.free_slots(two);
            if there.count_ones() > free.count_ones() {
                (first, other, free) = (two, one, there);
            }
        }
        let done = self.put(first, free, value) || self.put(other, self.free_slots(other), value);
        done.then_some(()).ok_or(Full)
    }

    /// A bit for each free slot of a bucket.
    #[inline]
    fn free_slots(&self, at: usize) -> u32 {
        let bucket = self.buckets.get(at);
        bucket.map_or(0, |b| b.slots_that(|s| s == 0))
    }

    /// Puts an entry into one of these slots of a bucket. False when others took them all meanwhile.
    #[inline]
    fn put(&self, at: usize, mut free: u32, value: u64) -> bool {
        while free != 0 {
            let slots = self.buckets.get(at).map(|b| &b.slots);
            let slot = slots.and_then(|s| s.get(free.trailing_zeros() as usize));
            let take = |s: &AtomicU64| s.compare_exchange(0, value, AcqRel, Relaxed).is_ok();
            if slot.is_some_and(take) {
                return true;
            }
            free &= free - 1;
        }
        false
    }

    /// Removes the entry that [`Index::insert`] made. True if it was there.
    pub fn remove(&self, hash: u64, id: RecordId, dir: Dir) -> bool {
        let value = Index::value(hash, id, dir);
        let (one, two) = self.pair(hash);
        [one, two]
            .into_iter()
            .filter_map(|at| self.buckets.get(at))
            .flat_map(|b| &b.slots)
            .any(|slot| {
                slot.load(Relaxed) == value
                    && slot.compare_exchange(value, 0, AcqRel, Relaxed).is_ok()
            })
    }
}

impl Record {
    /// Brings both lines of the record near.
    #[inline]
    pub fn prefetch(&self) {
        prefetch(self);
        prefetch(&self.state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Proto, Tuple};
    use crate::flow::epoch::Epochs;
    use crate::flow::key::Zone;
    use std::net::Ipv4Addr;

    fn key(n: u32) -> FlowKey {
        FlowKey::new(
            Zone::Inside,
            &Tuple {
                src: Ipv4Addr::from_bits(0x0a00_0000 + (n >> 16)),
                dst: Ipv4Addr::new(192, 0, 2, 2),
                sport: n as u16,
                dport: 80,
                proto: Proto::TCP,
            },
        )
    }

    #[test]
    fn every_entry_of_a_table_at_its_limit_is_found_and_removed() {
        let n = 50_000u32;
        let (e, slab) = (Epochs::new(1), Slab::new(n));
        let index = Index::new(n, Keyed::with_key([7, 8, 9]));
        for i in 0..n {
            let (id, r) = slab.take(&e).unwrap();
            let reply = FlowKey {
                a: key(i).a.rotate_left(32),
                b: key(i).b,
            };
            r.set_key(Dir::Orig, key(i));
            r.set_key(Dir::Reply, reply);
            r.set(flags::LIVE);
            index.insert(index.hash(&key(i)), id, Dir::Orig).unwrap();
            index.insert(index.hash(&reply), id, Dir::Reply).unwrap();
        }
        for i in 0..n {
            let h = index.hash(&key(i));
            let (id, dir) = index.find(&key(i), h, &slab).unwrap();
            assert_eq!((slab.get(id).unwrap().key(dir), dir), (key(i), Dir::Orig));
            assert!(
                index
                    .find(&key(i + n), index.hash(&key(i + n)), &slab)
                    .is_none()
            );
            assert!(index.remove(h, id, dir) && !index.remove(h, id, dir));
            assert!(index.find(&key(i), h, &slab).is_none());
        }
    }
}
