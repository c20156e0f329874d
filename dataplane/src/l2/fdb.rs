//! The forwarding database: MAC address to port, per VLAN. Learned, aged, bounded.
//!
//! Two parts. The truth is a `dashmap` with, under one lock, each port's entries in order of
//! age; new addresses, moves and removals go there. What is known already is answered by the
//! index alone: relaxed loads of one or two cache lines.
//!
//! Aging happens at the look-up: an expired entry is not found, whether or not the sweep has
//! come by to remove it, so nothing that a frame meets depends on when it runs. (It has to run
//! more often than every 24 days, the span of a [`Tick`].)

use super::index::{At, Hit, Index};
use super::key::FdbKey;
use super::order::Order;
use crate::base::hash::Keyed;
use crate::base::sync::{Mutex, MutexGuard};
use crate::base::{Mac, PortId, Tick, Vid};
use crate::flow::Generation;
use dashmap::DashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};

/// What became of a source address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Learn {
    /// It was known, here.
    Known,
    /// It is known from now on.
    New,
    /// It was known behind another port; now here.
    Moved {
        /// The other port.
        from: PortId,
    },
    /// It is a group address, all zero, a static entry of another port, or no room can be made.
    Refused,
}

/// One entry, as `switchctl fdb` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FdbReport {
    /// The address.
    pub mac: Mac,
    /// Its VLAN, 0 for untagged.
    pub vid: Vid,
    /// The port behind which it is.
    pub port: PortId,
    /// Never moved, aged or evicted.
    pub is_static: bool,
    /// Milliseconds since a frame from it was noted; 0 for static entries.
    pub idle_ms: u32,
}

/// Events since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FdbCounts {
    /// Entries made by learning.
    pub learned: u64,
    /// Entries that changed their port.
    pub moved: u64,
    /// Entries thrown out for want of room.
    pub evicted: u64,
    /// Entries removed because they expired.
    pub aged: u64,
}

#[derive(Default)]
pub(super) struct Counts {
    learned: AtomicU64,
    moved: AtomicU64,
    pub evicted: AtomicU64,
    pub aged: AtomicU64,
}

#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub port: PortId,
    pub is_static: bool,
    pub at: At,
    /// Under which time it stands in its port's order: when it was seen, or earlier.
    pub stamp: u64,
}

/// The forwarding database, shared by all workers.
pub struct Fdb {
    pub(super) index: Index,
    pub(super) truth: DashMap<u64, Entry>,
    order: Mutex<Order>,
    capacity: usize,
    pub(super) age_ms: u32,
    refresh_ms: u32,
    generation: Arc<Generation>,
    pub(super) counts: Counts,
}

/// A known address is written to at most this often.
const REFRESH_MS: u32 = 1000;

impl Fdb {
    /// An empty table of at most `capacity` entries (at least 1) that expire after `age_ms`
    /// milliseconds of silence (at most 24 days). Expiry may come early by the refresh interval:
    /// a second, or a sixteenth of the age if that is less.
    pub fn new(capacity: usize, hash: Keyed, age_ms: u32) -> Fdb {
        let age_ms = age_ms.clamp(1, i32::MAX as u32);
        let capacity = capacity.clamp(1, 1 << 24);
        Fdb {
            index: Index::new(capacity, hash),
            truth: DashMap::with_capacity(capacity.min(4096)),
            order: Mutex::default(),
            capacity,
            age_ms,
            refresh_ms: REFRESH_MS.min(age_ms / 16).max(1),
            generation: Arc::default(),
            counts: Counts::default(),
        }
    }

    /// The same table, which from now on bumps a generation that others bump too.
    #[must_use]
    pub fn sharing(mut self, generation: Arc<Generation>) -> Fdb {
        self.generation = generation;
        self
    }

    /// Asks for the cache lines that [`Fdb::lookup`] will read.
    #[inline]
    pub fn prefetch(&self, key: FdbKey) {
        self.index.prefetch(key.to_u64());
    }

    /// The port behind which an address is, if that is known and not expired.
    #[inline]
    pub fn lookup(&self, key: FdbKey, now: Tick) -> Option<PortId> {
        let hit = self.index.find(key.to_u64())?;
        (!self.expired(&hit, now)).then_some(hit.port)
    }

    /// As [`Fdb::lookup`], with the milliseconds for which the answer will stand if nothing is
    /// heard of the address (`u32::MAX` for a static entry).
    pub fn lookup_until(&self, key: FdbKey, now: Tick) -> Option<(PortId, u32)> {
        let hit = self.index.find(key.to_u64())?;
        if hit.is_static {
            return Some((hit.port, u32::MAX));
        }
        let idle = now.since(hit.seen);
        (idle < self.age_ms).then(|| (hit.port, self.age_ms - idle))
    }

    /// Notes that a frame from an address came in by `port`. A known address costs a look-up and, once
    /// a second, a plain store; the rest takes the lock.
    #[inline]
    pub fn learn(&self, key: FdbKey, port: PortId, now: Tick) -> Learn {
        if let Some(hit) = self.index.find(key.to_u64()) {
            if hit.port == port && !self.expired(&hit, now) {
                if !hit.is_static && now.since(hit.seen) >= self.refresh_ms {
                    self.index.touch(hit.at, now);
                }
                return Learn::Known;
            }
            if hit.is_static {
                return Learn::Refused;
            }
        }
        if key.is_group() || key.mac() == Mac::ZERO || port.index() >= PortId::MAX_PORTS {
            return Learn::Refused;
        }
        self.learn_slow(key.to_u64(), port, now)
    }

    #[cold]
    fn learn_slow(&self, key: u64, port: PortId, now: Tick) -> Learn {
        let mut order = self.lock();
        order.clock.advance(now);
        if let Some(hit) = self.index.find(key) {
            if hit.is_static {
                return if hit.port == port {
                    Learn::Known
                } else {
                    Learn::Refused
                };
            }
            if self.expired(&hit, now) {
                self.remove(&mut order, key);
                self.counts.aged.fetch_add(1, Relaxed);
            } else if hit.port == port {
                self.index.touch(hit.at, now);
                return Learn::Known;
            } else {
                self.replace(&mut order, key, hit, port, false, now);
                self.counts.moved.fetch_add(1, Relaxed);
                return Learn::Moved { from: hit.port };
            }
        }
        if !self.insert(&mut order, key, port, false, now) {
            return Learn::Refused;
        }
        self.counts.learned.fetch_add(1, Relaxed);
        Learn::New
    }

    /// Makes an entry that only [`Fdb::forget_port`] removes, in place of a learned one if there
    /// is one. False for a group address or static entries fill the table.
    pub fn insert_static(&self, key: FdbKey, port: PortId) -> bool {
        if key.is_group() || key.mac() == Mac::ZERO || port.index() >= PortId::MAX_PORTS {
            return false;
        }
        let key = key.to_u64();
        let mut order = self.lock();
        let now = order.clock.now().unwrap_or(Tick(0));
        match self.index.find(key) {
            Some(hit) => {
                self.replace(&mut order, key, hit, port, true, now);
                true
            }
            None => self.insert(&mut order, key, port, true, now),
        }
    }

    /// Removes every entry of a port, static ones too. Frames of the port that are still being
    /// processed may bring one back: call it once more when none are.
    pub fn forget_port(&self, port: PortId) {
        let mut order = self.lock();
        let keys: Vec<u64> = self
            .truth
            .iter()
            .filter(|e| e.port == port)
            .map(|e| *e.key())
            .collect();
        for key in keys {
            self.remove(&mut order, key);
        }
    }

    /// Removes expired entries, looking at no more than `budget` entries and ports. Gives the
    /// number removed; the next call goes on where this one stopped.
    pub fn sweep(&self, now: Tick, budget: usize) -> usize {
        let mut order = self.lock();
        order.clock.advance(now);
        let (mut left, mut removed) = (budget, 0);
        let start = order.cursor;
        let ports: Vec<PortId> = order
            .ports
            .range(start..)
            .chain(order.ports.range(..start))
            .map(|(&p, _)| p)
            .take(budget)
            .collect();
        for port in ports {
            order.cursor = port;
            removed += self.expire_port(&mut order, port, now, &mut left);
            if left == 0 {
                return removed;
            }
        }
        order.cursor = PortId(order.cursor.0.wrapping_add(1));
        removed
    }

    /// Every entry that is not expired, by VLAN and address.
    pub fn list(&self, now: Tick) -> Vec<FdbReport> {
        let mut all: Vec<FdbReport> = self
            .truth
            .iter()
            .filter_map(|e| {
                let idle = now.since(self.index.seen(e.at));
                (e.is_static || idle < self.age_ms).then(|| FdbReport {
                    mac: Mac::from_u64(*e.key()),
                    vid: (*e.key() >> 48) as Vid,
                    port: e.port,
                    is_static: e.is_static,
                    idle_ms: if e.is_static { 0 } else { idle },
                })
            })
            .collect();
        all.sort_unstable_by_key(|r| (r.vid, r.mac));
        all
    }

    /// Entries in the table, those that expired and were not swept yet included.
    pub fn len(&self) -> usize {
        self.truth.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.truth.is_empty()
    }

    /// Changes whenever an entry moves or is removed: a decision that was made under another
    /// generation may be outdated. Never 0.
    #[inline]
    pub fn generation(&self) -> u32 {
        self.generation.get()
    }

    /// What happened so far.
    pub fn counts(&self) -> FdbCounts {
        FdbCounts {
            learned: self.counts.learned.load(Relaxed),
            moved: self.counts.moved.load(Relaxed),
            evicted: self.counts.evicted.load(Relaxed),
            aged: self.counts.aged.load(Relaxed),
        }
    }

    #[inline]
    fn expired(&self, hit: &Hit, now: Tick) -> bool {
        !hit.is_static && now.since(hit.seen) >= self.age_ms
    }

    fn lock(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new entry; makes room for it if needed.
    fn insert(
        &self,
        order: &mut Order,
        key: u64,
        port: PortId,
        is_static: bool,
        now: Tick,
    ) -> bool {
        if self.truth.len() >= self.capacity && !self.make_room(order, port, now) {
            return false;
        }
        let Some(at) = self.index.free(key).or_else(|| {
            self.make_way(order, key);
            self.index.free(key)
        }) else {
            return false;
        };
        let stamp = order.clock.past(now);
        let entry = Entry {
            port,
            is_static,
            at,
            stamp,
        };
        self.truth.insert(key, entry);
        if !is_static {
            order.insert(port, stamp, key);
        }
        self.index.store(at, key, port, is_static, now);
        true
    }

    /// Another port (or static) for an entry that exists.
    fn replace(
        &self,
        order: &mut Order,
        key: u64,
        hit: Hit,
        port: PortId,
        is_static: bool,
        now: Tick,
    ) {
        let stamp = order.clock.past(now);
        if let Some(mut e) = self.truth.get_mut(&key) {
            order.remove(e.port, e.stamp, key);
            e.port = port;
            e.stamp = stamp;
            e.is_static = is_static;
        }
        if !is_static {
            order.insert(port, stamp, key);
        }
        self.index.store(hit.at, key, port, is_static, now);
        self.generation.bump();
    }

    pub(super) fn remove(&self, order: &mut Order, key: u64) {
        if let Some((_, e)) = self.truth.remove(&key) {
            order.remove(e.port, e.stamp, key);
            self.index.clear(e.at);
            self.generation.bump();
        }
    }
}
