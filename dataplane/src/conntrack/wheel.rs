//! A hierarchical timer wheel over [`Tick`]s.
//!
//! Time is cut into units of [`SLOT_MS`] milliseconds, counted without wrapping from the tick
//! that [`Wheel::new`] was given. Level 0 has 64 slots of one unit, each further level 64 slots
//! that are 64 times as long. An entry stands at the level of the highest base-64 digit in which
//! its unit differs from the current one, so whatever stands at a lower level is due earlier, and
//! when the current time enters a slot its entries either are due or move to lower levels.
//!
//! - `insert` is O(1). `advance` visits occupied slots only (at most 384 in all), however long
//!   it was not called, and moves an entry at most once per level during its life.
//! - Entries never come out early. They come out late by less than [`SLOT_MS`] beyond the delay
//!   with which `advance` is called, short timers and long ones alike.
//! - Nothing is cancelled: the owner recognises stale entries (a record's incarnation moved on,
//!   or the record was seen since) and inserts again where needed.
//! - Entries live in one arena with a free list, so memory is the largest number of entries that
//!   there ever was at a time, and a steady load allocates nothing.

use crate::base::Tick;

/// Milliseconds of a level-0 slot: the precision of the wheel.
pub const SLOT_MS: u32 = 1 << SLOT_BITS;

const SLOT_BITS: u32 = 6;
/// log2 of the slots of a level.
const LEVEL_BITS: u32 = 6;
const SLOTS: usize = 1 << LEVEL_BITS;
/// 64^6 units of 64 ms are 139 years: no carry of a running switch leaves the top level.
const LEVELS: usize = 6;
/// End of a list.
const NIL: u32 = u32::MAX;

/// One entry, linked into its slot's list or into the free list.
#[derive(Clone, Copy)]
struct Node<T> {
    /// First unit in which the entry is due.
    unit: u64,
    next: u32,
    item: T,
}

#[derive(Clone)]
struct Level {
    /// Bit n: slot n is not empty.
    occupied: u64,
    heads: [u32; SLOTS],
}

/// The wheel. See the module's text for its promises.
pub struct Wheel<T> {
    levels: [Level; LEVELS],
    nodes: Vec<Node<T>>,
    free: u32,
    len: usize,
    /// Entries that were due when they were inserted; they come out at the next `advance`.
    due: Vec<T>,
    /// Entries that `advance` takes from a slot and that are not due yet; kept for its capacity.
    moving: Vec<u32>,
    /// Milliseconds without wrapping; the low 32 bits are the last tick that was seen.
    now_ms: u64,
}

impl<T: Copy> Wheel<T> {
    /// An empty wheel at time `now`.
    pub fn new(now: Tick) -> Wheel<T> {
        const EMPTY: Level = Level {
            occupied: 0,
            heads: [NIL; SLOTS],
        };
        Wheel {
            levels: [EMPTY; LEVELS],
            nodes: Vec::new(),
            free: NIL,
            len: 0,
            due: Vec::new(),
            moving: Vec::new(),
            now_ms: u64::from(now.0),
        }
    }

    /// Entries in the wheel, stale ones included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the arena.
    pub const fn bytes(&self) -> u64 {
        (self.nodes.capacity() * size_of::<Node<T>>()) as u64
    }

    /// Adds an entry that comes out of the first [`Wheel::advance`] at or (by less than
    /// [`SLOT_MS`]) after `deadline`. One whose deadline is not after the wheel's time (up to 24
    /// days before it) comes out of the next `advance`.
    ///
    /// The wheel links at most 2^32 - 1 entries; what is inserted beyond that comes out of the
    /// next `advance`, so the owner loses none.
    pub fn insert(&mut self, deadline: Tick, item: T) {
        self.len += 1;
        let ahead = deadline.since(Tick(self.now_ms as u32));
        let unit = (self.now_ms + u64::from(ahead)).div_ceil(u64::from(SLOT_MS));
        let node = if ahead == 0 {
            None
        } else {
            self.allocate(unit, item)
        };
        match node {
            Some(n) => self.link(n, unit),
            None => self.due.push(item),
        }
    }

    /// Moves the wheel to `now` and appends what is due to `out`, in no particular order. A `now`
    /// that is earlier than the wheel's time leaves the time as it is; so does, because ticks
    /// wrap, one that is more than 24 days later.
    pub fn advance(&mut self, now: Tick, out: &mut Vec<T>) {
        self.len -= self.due.len();
        out.append(&mut self.due);
        let target_ms = self.now_ms + u64::from(now.since(Tick(self.now_ms as u32)));
        let target = target_ms >> SLOT_BITS;
        while let Some((level, slot, start)) = self.first_slot() {
            if start > target {
                break;
            }
            let mut n = self.take(level, slot);
            while let Some(node) = self.nodes.get_mut(n as usize) {
                let next = node.next;
                if node.unit <= target {
                    out.push(node.item);
                    node.next = self.free;
                    self.free = n;
                    self.len -= 1;
                } else {
                    self.moving.push(n);
                }
                n = next;
            }
        }
        self.now_ms = target_ms;
        while let Some(n) = self.moving.pop() {
            if let Some(node) = self.nodes.get(n as usize) {
                self.link(n, node.unit);
            }
        }
    }

    /// The earliest tick at which [`Wheel::advance`] may have something to do, for the timeout of
    /// a poll: never later than the tick at which the next entry comes out. It can be earlier,
    /// when entries are to be moved between levels; that is at most five times in an entry's life.
    pub fn next_deadline(&self) -> Option<Tick> {
        if !self.due.is_empty() {
            return Some(Tick(self.now_ms as u32));
        }
        let (_, _, start) = self.first_slot()?;
        Some(Tick((start << SLOT_BITS) as u32))
    }

    fn unit(&self) -> u64 {
        self.now_ms >> SLOT_BITS
    }

    /// The occupied slot that begins first: (level, slot, its first unit).
    fn first_slot(&self) -> Option<(usize, u32, u64)> {
        let (level, l) = self
            .levels
            .iter()
            .enumerate()
            .find(|(_, l)| l.occupied != 0)?;
        let slot = l.occupied.trailing_zeros();
        let shift = LEVEL_BITS * level as u32;
        // All digits above this one are the current time's, all below are 0. The slot lies after
        // the current one, so no digit above changes on the way to it.
        let above = (self.unit() >> shift) >> LEVEL_BITS << LEVEL_BITS;
        Some((level, slot, (above | u64::from(slot)) << shift))
    }

    /// Empties a slot: the head of its list.
    fn take(&mut self, level: usize, slot: u32) -> u32 {
        let Some(l) = self.levels.get_mut(level) else {
            return NIL;
        };
        l.occupied &= !(1 << slot);
        match l.heads.get_mut(slot as usize) {
            Some(head) => std::mem::replace(head, NIL),
            None => NIL,
        }
    }

    /// A node from the free list, or a new one.
    fn allocate(&mut self, unit: u64, item: T) -> Option<u32> {
        let node = Node {
            unit,
            next: NIL,
            item,
        };
        if let Some(old) = self.nodes.get_mut(self.free as usize) {
            let n = std::mem::replace(&mut self.free, old.next);
            *old = node;
            return Some(n);
        }
        let n = u32::try_from(self.nodes.len()).ok().filter(|&n| n != NIL)?;
        self.nodes.push(node);
        Some(n)
    }

    /// Links a node, whose unit lies after the current one, into the slot that it belongs to.
    fn link(&mut self, n: u32, unit: u64) {
        let differs = unit ^ self.unit();
        let level = (differs.checked_ilog2().unwrap_or(0) / LEVEL_BITS).min(LEVELS as u32 - 1);
        let slot = (unit >> (LEVEL_BITS * level)) as usize % SLOTS;
        let Some(l) = self.levels.get_mut(level as usize) else {
            return;
        };
        if let (Some(head), Some(node)) = (l.heads.get_mut(slot), self.nodes.get_mut(n as usize)) {
            l.occupied |= 1 << slot;
            node.next = std::mem::replace(head, n);
        }
    }
}

#[cfg(test)]
mod tests;
