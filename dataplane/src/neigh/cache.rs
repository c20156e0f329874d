//! The neighbour table: IPv4 address to MAC, per zone. Reachability is kept as in RFC 4861's
//! neighbour states, with ARP as the question.
//!
//! An entry that was confirmed is used until `reach` has passed. If it is used after that, it is
//! asked again, first at its own MAC and then by broadcast, and stays in use meanwhile; only
//! three unanswered questions make it fail. Reads of a fresh entry take a shard of the `dashmap`
//! for reading; everything else goes one at a time under the lock of `Order`, which is taken
//! before any shard.

use super::entry::{Confirmed, NeighReport, NeighState, Neighbour, Resolve, key, unkey};
use super::queue::{Held, Hold, Order};
use crate::base::hash::KeyedState;
use crate::base::{Mac, PortId, Reason, Tick};
use crate::flow::{Generation, Zone};
use crate::frame::Frame;
use dashmap::DashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Milliseconds between two questions.
pub const RETRY_MS: u32 = 1_000;
/// Questions before a neighbour is given up.
pub const TRIES: u8 = 3;
/// Milliseconds for which a failed neighbour is not asked again.
pub const NEGATIVE_MS: u32 = 3_000;
/// Milliseconds after which a failed neighbour that nobody wants is forgotten.
pub const FAILED_KEEP_MS: u32 = 60_000;

/// The neighbour table, shared by all workers.
pub struct Neighbours {
    pub(super) table: DashMap<u64, Neighbour, KeyedState>,
    order: Mutex<Order>,
    /// Earliest due tick with bit 32 set, 0 for none: read without the lock.
    next: AtomicU64,
    limit: usize,
    reach_ms: u32,
    pub(super) generation: Arc<Generation>,
}

impl Neighbours {
    /// An empty table of at most `limit` neighbours, each asked again when it is used `reach_ms`
    /// milliseconds after it was last confirmed.
    pub fn new(limit: usize, reach_ms: u32) -> Neighbours {
        Neighbours {
            table: DashMap::with_hasher(KeyedState::random()),
            order: Mutex::default(),
            next: AtomicU64::new(0),
            limit: limit.max(1),
            reach_ms: reach_ms.clamp(1, i32::MAX as u32),
            generation: Arc::default(),
        }
    }

    /// The same table, which from now on bumps a generation that others bump too.
    #[must_use]
    pub fn sharing(mut self, generation: Arc<Generation>) -> Neighbours {
        self.generation = generation;
        self
    }

    /// Changes whenever a MAC that was given out is no longer right. Never 0.
    pub fn generation(&self) -> u32 {
        self.generation.get()
    }

    /// The MAC of a neighbour that somebody wants to send to.
    pub fn resolve(&self, zone: Zone, ip: Ipv4Addr, now: Tick) -> Resolve {
        let key = key(zone, ip);
        if let Some(n) = self.table.get(&key) {
            n.used.store(now.0, Relaxed);
            match n.state {
                NeighState::Permanent => return Resolve::Known(n.mac),
                NeighState::Reachable if now.since(n.since) < self.reach_ms => {
                    return Resolve::Known(n.mac);
                }
                NeighState::Stale if n.due.is_some() => return Resolve::Known(n.mac),
                NeighState::Incomplete => return Resolve::Pending { first: false },
                NeighState::Failed if now.since(n.since) < NEGATIVE_MS => return Resolve::Failed,
                _ => {}
            }
        }
        self.resolve_slow(key, now)
    }

    /// For how many milliseconds [`Neighbours::resolve`] will go on to give the same MAC without
    /// asking anew; 0 when it is in doubt already.
    pub fn expires_ms(&self, zone: Zone, ip: Ipv4Addr, now: Tick) -> u32 {
        match self.table.get(&key(zone, ip)) {
            Some(n) if n.state == NeighState::Permanent => u32::MAX,
            Some(n) if n.state == NeighState::Reachable => {
                self.reach_ms.saturating_sub(now.since(n.since))
            }
            _ => 0,
        }
    }

    /// Whether an answer of this neighbour is being waited for.
    pub fn is_pending(&self, zone: Zone, ip: Ipv4Addr) -> bool {
        self.table
            .get(&key(zone, ip))
            .is_some_and(|n| n.state == NeighState::Incomplete)
    }

    fn resolve_slow(&self, key: u64, now: Tick) -> Resolve {
        let mut order = self.lock(now);
        if let Some(mut n) = self.table.get_mut(&key) {
            return match n.state {
                NeighState::Permanent => Resolve::Known(n.mac),
                NeighState::Reachable if now.since(n.since) < self.reach_ms => {
                    Resolve::Known(n.mac)
                }
                NeighState::Reachable | NeighState::Stale => {
                    n.state = NeighState::Stale;
                    if n.due.is_none() {
                        n.tries = 0;
                        self.schedule(&mut order, key, &mut n, Some(now));
                    }
                    Resolve::Known(n.mac)
                }
                NeighState::Incomplete => Resolve::Pending { first: false },
                NeighState::Failed if now.since(n.since) < NEGATIVE_MS => Resolve::Failed,
                NeighState::Failed => {
                    self.ask(&mut order, key, &mut n, now);
                    Resolve::Pending { first: true }
                }
            };
        }
        if !self.make_room(&mut order) {
            return Resolve::Pending { first: false }; // hold() will say why there is no waiting
        }
        let mut n = Neighbour::new(NeighState::Incomplete, Mac::ZERO, now);
        self.ask(&mut order, key, &mut n, now);
        self.table.insert(key, n);
        Resolve::Pending { first: true }
    }

    /// Keeps a frame until its neighbour answers. Refused under [`Reason::NeighQueueFull`] beyond
    /// 16 frames or 256 KiB for one neighbour or 8 MiB for all, [`Reason::NeighTableFull`] when
    /// [`Neighbours::resolve`] could make no entry, [`Reason::HostUnreachable`] when it has just
    /// failed. The frame's buffer is kept as it is: give one that is no larger than needed.
    pub fn hold(&self, zone: Zone, ip: Ipv4Addr, frame: Frame, ingress: PortId) -> Hold {
        let mut order = self.relock();
        let Some(mut n) = self.table.get_mut(&key(zone, ip)) else {
            return Hold::Refused(Reason::NeighTableFull);
        };
        match n.state {
            NeighState::Incomplete => {
                if n.queue.push(Held { ingress, frame }, &mut order.held) {
                    Hold::Held
                } else {
                    Hold::Refused(Reason::NeighQueueFull)
                }
            }
            NeighState::Failed => Hold::Refused(Reason::HostUnreachable),
            _ => Hold::Ready(n.mac, frame),
        }
    }

    /// Notes that `ip` answered as `mac`. Without `create` an unknown neighbour stays unknown.
    /// `None`: nothing was noted (unknown, or no room). A permanent entry stays as it is.
    pub fn confirm(
        &self,
        zone: Zone,
        ip: Ipv4Addr,
        mac: Mac,
        now: Tick,
        create: bool,
    ) -> Option<Confirmed> {
        let key = key(zone, ip);
        if !create && !self.table.contains_key(&key) {
            return None; // most ARP broadcasts are about somebody else: no lock for those
        }
        let mut order = self.lock(now);
        if !self.table.contains_key(&key) {
            if !create || !self.make_room(&mut order) {
                return None;
            }
            let mut n = Neighbour::new(NeighState::Reachable, mac, now);
            self.schedule(&mut order, key, &mut n, None);
            self.table.insert(key, n);
            return Some(Confirmed {
                changed: true,
                held: Vec::new(),
            });
        }
        let mut n = self.table.get_mut(&key)?;
        if n.state == NeighState::Permanent {
            return Some(Confirmed {
                changed: false,
                held: Vec::new(),
            });
        }
        let changed = n.mac != mac || !n.usable();
        let outdated = n.usable() && n.mac != mac;
        n.state = NeighState::Reachable;
        n.mac = mac;
        n.since = now;
        n.tries = 0;
        self.schedule(&mut order, key, &mut n, None);
        let held = n.queue.take(&mut order.held);
        drop(n);
        if outdated {
            self.generation.bump();
        }
        Some(Confirmed { changed, held })
    }

    /// What is known from elsewhere (a port's own MAC and address when it is attached): as if the
    /// neighbour had just answered.
    pub fn seed(&self, zone: Zone, ip: Ipv4Addr, mac: Mac, now: Tick) -> Option<Confirmed> {
        self.confirm(zone, ip, mac, now, true)
    }

    /// Makes an entry that stays until it is forgotten. `None`: no room.
    pub fn pin(&self, zone: Zone, ip: Ipv4Addr, mac: Mac, now: Tick) -> Option<Confirmed> {
        let done = self.confirm(zone, ip, mac, now, true)?;
        let mut order = self.lock(now);
        let key = key(zone, ip);
        let mut n = self.table.get_mut(&key)?;
        let outdated = n.mac != mac;
        n.state = NeighState::Permanent;
        n.mac = mac;
        self.schedule(&mut order, key, &mut n, None);
        drop(n);
        if outdated {
            self.generation.bump();
        }
        Some(done)
    }

    /// Removes a neighbour. Its waiting frames come back, to be dropped and counted.
    pub fn forget(&self, zone: Zone, ip: Ipv4Addr) -> Vec<Held> {
        let mut order = self.relock();
        let held = self.remove(&mut order, key(zone, ip));
        self.publish(&order);
        held
    }

    /// Removes every neighbour on `zone`'s side. Waiting frames come back, to be dropped and
    /// counted.
    pub fn forget_zone(&self, zone: Zone) -> Vec<Held> {
        let mut order = self.relock();
        let there = self.table.iter().filter(|n| unkey(*n.key()).0 == zone);
        let keys: Vec<u64> = there.map(|n| *n.key()).collect();
        let lost = keys
            .into_iter()
            .flat_map(|key| self.remove(&mut order, key));
        let lost = lost.collect();
        self.publish(&order);
        lost
    }

    /// Removes every neighbour on `zone`'s side that has this MAC: its port went away.
    pub fn forget_mac(&self, zone: Zone, mac: Mac) {
        let mut order = self.relock();
        let keys: Vec<u64> = self
            .table
            .iter()
            .filter(|n| n.usable() && n.mac == mac && unkey(*n.key()).0 == zone)
            .map(|n| *n.key())
            .collect();
        for key in keys {
            self.remove(&mut order, key); // a usable entry holds no frames
        }
        self.publish(&order);
    }

    /// When [`Neighbours::tick`] has something to do; maybe in the past.
    #[inline]
    pub fn next_deadline(&self) -> Option<Tick> {
        match self.next.load(Relaxed) {
            0 => None,
            n => Some(Tick(n as u32)),
        }
    }

    /// Every neighbour, by side and address.
    pub fn list(&self, now: Tick) -> Vec<NeighReport> {
        let mut all: Vec<(u64, NeighReport)> = self
            .table
            .iter()
            .map(|n| {
                let (zone, ip) = unkey(*n.key());
                let idle = now.since(n.since);
                let state = match n.state {
                    NeighState::Reachable if idle >= self.reach_ms => NeighState::Stale,
                    s => s,
                };
                let report = NeighReport {
                    ip,
                    mac: n.usable().then_some(n.mac),
                    zone,
                    state,
                    idle_ms: if state == NeighState::Permanent {
                        0
                    } else {
                        idle
                    },
                };
                (*n.key(), report)
            })
            .collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all.into_iter().map(|(_, report)| report).collect()
    }

    /// Neighbours in the table.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    fn relock(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock(&self, now: Tick) -> MutexGuard<'_, Order> {
        let mut order = self.relock();
        order.clock.advance(now);
        order
    }

    pub(super) fn publish(&self, order: &Order) {
        let next = order.next().map_or(0, |t| (1 << 32) | u64::from(t.0));
        self.next.store(next, Relaxed);
    }

    /// Starts over: the caller sends the first question.
    fn ask(&self, order: &mut Order, key: u64, n: &mut Neighbour, now: Tick) {
        n.state = NeighState::Incomplete;
        n.since = now;
        n.tries = 1;
        self.schedule(order, key, n, Some(now.plus(RETRY_MS)));
    }

    /// Puts the entry where its state belongs in both orders.
    pub(super) fn schedule(
        &self,
        order: &mut Order,
        key: u64,
        n: &mut Neighbour,
        due: Option<Tick>,
    ) {
        if let Some(old) = n.due.take() {
            order.due.remove(&(old, key));
        }
        if let Some(due) = due {
            let at = order.clock.future(due);
            order.due.insert((at, key));
            n.due = Some(at);
        }
        if let Some(old) = n.idle.take() {
            order.idle.remove(&(old, key));
        }
        if !matches!(n.state, NeighState::Incomplete | NeighState::Permanent) {
            let at = n.last(order);
            order.idle.insert((at, key));
            n.idle = Some(at);
        }
        self.publish(order);
    }

    pub(super) fn remove(&self, order: &mut Order, key: u64) -> Vec<Held> {
        let Some((_, mut n)) = self.table.remove(&key) else {
            return Vec::new();
        };
        if let Some(due) = n.due {
            order.due.remove(&(due, key));
        }
        if let Some(idle) = n.idle {
            order.idle.remove(&(idle, key));
        }
        if n.usable() {
            self.generation.bump();
        }
        n.queue.take(&mut order.held)
    }

    /// Throws out the neighbour that nobody wanted or heard for longest, if the table is full.
    /// False when all are permanent or being asked for.
    fn make_room(&self, order: &mut Order) -> bool {
        while self.table.len() >= self.limit {
            let Some(&(at, key)) = order.idle.first() else {
                return false;
            };
            let real = self.table.get_mut(&key).map(|mut n| {
                let real = n.last(order).max(at);
                n.idle = Some(real);
                real
            });
            if let Some(real) = real.filter(|&real| real > at) {
                order.idle.remove(&(at, key)); // it was used since: not the oldest
                order.idle.insert((real, key));
                continue;
            }
            order.idle.remove(&(at, key));
            self.remove(order, key);
        }
        true
    }
}
