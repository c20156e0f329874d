//! Fragments: virtual reassembly. Read RFC 4787 REQ-14, RFC 5722 and RFC 6864 first.
//!
//! Only the first fragment of a datagram carries its ports. Later ones are told the tuple that
//! the first one had; those that come before it are held, and given out, in the order in which
//! they came, when it does. Nothing is put together: each fragment goes on by itself.
//!
//! What is refused:
//! - A fragment that overlaps another spoils its datagram: what is held of it is dropped and so
//!   is what still comes. An exact repetition of a known fragment (same offset, length and
//!   more-fragments bit) is only dropped itself: what its bytes were meant to change has gone on.
//! - Ends that contradict each other, more than 64 fragments or more held bytes than the largest
//!   datagram needs spoil the datagram too.
//! - An impossible fragment (past 65,535, empty, not a multiple of 8 bytes though more follow) is
//!   dropped and changes nothing.
//!
//! When the table is full, somebody pays: the source with most datagrams whose first fragment is
//! missing (or that are spoilt) loses its oldest of these; only if there is none, the source with
//! most datagrams loses its oldest. One source has a quarter of the table at most, and beyond
//! that pays by itself. So a flood of fragments without a first one harms neither the datagrams
//! that come in order nor whole packets.

use super::frag_datagram::{Datagram, State};
pub use super::frag_datagram::{Fragment, HeldFragment, Lost, MAX_FRAGMENTS, MAX_HELD_BYTES};
use super::frag_sources::Sources;
use super::prf::Prf;
use crate::base::hash::Keyed;
use crate::base::{Instant, PortId, Proto, Reason, Tuple};
use crate::flow::Zone;
use crate::frame::Frame;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Counters of IP identifications; destinations share them.
const ID_COUNTERS: usize = 4_096;

/// What the fragments of one datagram have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FragKey {
    /// Where it comes from.
    pub zone: Zone,
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address, before translation.
    pub dst: Ipv4Addr,
    /// IP protocol.
    pub proto: Proto,
    /// IP identification.
    pub ip_id: u16,
}

/// What becomes of a fragment.
#[derive(Debug)]
pub enum FragVerdict {
    /// It is the first one: process it by its own tuple, then the released ones.
    First {
        /// Held ones in order of arrival; each is to be translated like this one. They no longer
        /// count as held.
        released: Vec<HeldFragment>,
        /// See [`FragVerdict::Translate::ip_id`].
        ip_id: Option<u16>,
    },
    /// A later one whose first one has passed.
    Translate {
        /// The tuple of the datagram as it came in, from the first fragment.
        tuple: Tuple,
        /// For datagrams from inside: the identification to carry outside if the source address
        /// is translated, so that those of two containers don't meet (RFC 6864).
        ip_id: Option<u16>,
    },
    /// A copy of it is held.
    Held,
    /// Not this one.
    Drop(Reason),
}

/// A verdict, and what it cost others.
#[derive(Debug)]
pub struct Offered {
    /// About the fragment that was offered.
    pub verdict: FragVerdict,
    /// Held frames that were dropped by this.
    pub lost: Vec<Lost>,
}

#[derive(Default)]
struct Table {
    datagrams: HashMap<FragKey, Datagram>,
    sources: Sources,
}

/// All fragmented datagrams under way. Shared by the workers, used in the slow path only.
pub struct FragTable {
    table: Mutex<Table>,
    limit: usize,
    timeout: Duration,
    ids: Box<[AtomicU16]>,
    id_hash: Keyed,
}

impl FragTable {
    /// Room for `limit` datagrams, each for `timeout` from its first fragment to arrive.
    /// `seed` is the secret behind the IP identifications.
    pub fn new(limit: u32, timeout: Duration, seed: [u64; 3]) -> FragTable {
        let prf = Prf::new(seed);
        let key = [prf.draw(), prf.draw(), prf.draw()];
        FragTable {
            table: Mutex::default(),
            limit: limit as usize,
            timeout,
            ids: (0..ID_COUNTERS)
                .map(|_| AtomicU16::new(prf.draw_port(0, u16::MAX)))
                .collect(),
            id_hash: Keyed::with_key(key),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A fresh IP identification for a datagram that leaves with an address of ours as source:
    /// 65,536 of them in turn for each destination and protocol.
    pub fn ip_id(&self, dst: Ipv4Addr, proto: Proto) -> u16 {
        let h = self
            .id_hash
            .hash2(u64::from(dst.to_bits()), u64::from(proto.0));
        let n = self
            .ids
            .get(h as usize % ID_COUNTERS)
            .map_or(0, |c| c.fetch_add(1, Relaxed));
        n.wrapping_add((h >> 48) as u16)
    }

    /// Decides about the fragment `f` of the datagram `key`, which came in by `ingress` at `now`.
    /// `first` is the datagram's tuple when `f` carries the L4 header (offset 0). `hold` makes
    /// the copy to be held, and is called only for that.
    pub fn offer(
        &self,
        now: Instant,
        key: FragKey,
        f: Fragment,
        first: Option<Tuple>,
        ingress: PortId,
        hold: impl FnOnce() -> Frame,
    ) -> Offered {
        let mut lost = Vec::new();
        let verdict = if !f.is_possible() {
            FragVerdict::Drop(Reason::FragMalformed)
        } else if self.limit == 0 {
            FragVerdict::Drop(Reason::FragTableFull)
        } else {
            let hold = move || HeldFragment {
                ingress,
                frame: hold(),
            };
            self.lock().offer(self, now, key, f, first, hold, &mut lost)
        };
        Offered { verdict, lost }
    }

    /// Drops what is held of `key` and what still comes of it, under `reason`: the first fragment
    /// was refused.
    pub fn refuse(&self, key: &FragKey, reason: Reason) -> Vec<Lost> {
        let mut lost = Vec::new();
        self.lock().spoil(key, reason, &mut lost);
        lost
    }

    /// Forgets the datagrams whose time is over at `now`. Held frames are lost under
    /// [`Reason::FragTimeout`]. Costs what expires.
    pub fn expire(&self, now: Instant) -> Vec<Lost> {
        let mut lost = Vec::new();
        let mut t = self.lock();
        while let Some(key) = t.sources.oldest()
            && t.datagrams
                .get(&key)
                .is_none_or(|d| d.since + self.timeout <= now)
        {
            if !t.remove(&key, Reason::FragTimeout, &mut lost) {
                break;
            }
        }
        lost
    }

    /// When [`FragTable::expire`] next has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let t = self.lock();
        let oldest = t.sources.oldest()?;
        t.datagrams.get(&oldest).map(|d| d.since + self.timeout)
    }

    /// Datagrams under way, and frames held of them.
    pub fn len(&self) -> (usize, usize) {
        let t = self.lock();
        let held = t.datagrams.values().map(|d| d.held.len()).sum();
        (t.datagrams.len(), held)
    }
}

impl Table {
    fn offer(
        &mut self,
        shared: &FragTable,
        now: Instant,
        key: FragKey,
        f: Fragment,
        first: Option<Tuple>,
        hold: impl FnOnce() -> HeldFragment,
        lost: &mut Vec<Lost>,
    ) -> FragVerdict {
        // Left over from before the identification came round.
        if self
            .datagrams
            .get(&key)
            .is_some_and(|d| d.since + shared.timeout <= now)
        {
            self.remove(&key, Reason::FragTimeout, lost);
        }
        if !self.datagrams.contains_key(&key) {
            self.make_room(&key, shared.limit, lost);
            let slot = self.sources.add(key);
            self.datagrams.insert(key, Datagram::new(slot, now));
        }
        let Some(d) = self.datagrams.get_mut(&key) else {
            return FragVerdict::Drop(Reason::FragTableFull);
        };
        if let State::Spoilt(reason) = d.state {
            return FragVerdict::Drop(reason);
        }
        let admitted = match d.admit(f) {
            // A first fragment too short for its ports.
            Ok(()) if f.offset == 0 && first.is_none() => Err(Some(Reason::FragMalformed)),
            other => other,
        };
        match admitted {
            Ok(()) => {}
            Err(None) => return FragVerdict::Drop(Reason::FragOverlap),
            Err(Some(reason)) => {
                self.spoil(&key, reason, lost);
                return FragVerdict::Drop(reason);
            }
        }
        let verdict = match (&d.state, first) {
            (State::Known(tuple, ip_id), _) => FragVerdict::Translate {
                tuple: *tuple,
                ip_id: *ip_id,
            },
            (_, Some(tuple)) if f.offset == 0 => {
                let ip_id = (key.zone == Zone::Inside).then(|| shared.ip_id(key.dst, key.proto));
                d.state = State::Known(tuple, ip_id);
                d.held_bytes = 0;
                self.sources.set_waiting(d.slot, &key, false);
                FragVerdict::First {
                    released: std::mem::take(&mut d.held),
                    ip_id,
                }
            }
            _ => {
                let h = hold();
                d.held_bytes += h.frame.len();
                if d.held_bytes > MAX_HELD_BYTES {
                    self.spoil(&key, Reason::FragTooMany, lost);
                    return FragVerdict::Drop(Reason::FragTooMany);
                }
                d.held.push(h);
                return FragVerdict::Held;
            }
        };
        if d.is_complete() {
            self.remove(&key, Reason::FragTimeout, lost);
        }
        verdict
    }

    /// Sees to it that one more datagram of the source of `key` may come.
    fn make_room(&mut self, key: &FragKey, limit: usize, lost: &mut Vec<Lost>) {
        let quota = (limit / 4).max(1);
        let victim = if self.sources.count(key) >= quota {
            self.sources.oldest_of(key)
        } else if self.datagrams.len() >= limit {
            self.sources.victim()
        } else {
            return;
        };
        if let Some(victim) = victim {
            self.remove(&victim, Reason::FragTableFull, lost);
        }
    }

    fn spoil(&mut self, key: &FragKey, reason: Reason, lost: &mut Vec<Lost>) {
        if let Some(d) = self.datagrams.get_mut(key) {
            d.state = State::Spoilt(reason);
            d.parts = Vec::new();
            d.drop_held(reason, lost);
            self.sources.set_waiting(d.slot, key, true);
        }
    }

    /// False when there was none.
    fn remove(&mut self, key: &FragKey, reason: Reason, lost: &mut Vec<Lost>) -> bool {
        let Some(mut d) = self.datagrams.remove(key) else {
            return false;
        };
        self.sources.remove(d.slot, key);
        d.drop_held(reason, lost);
        true
    }
}

#[cfg(test)]
#[path = "frag_tests.rs"]
mod tests;
