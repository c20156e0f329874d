//! The external ports of one protocol: who has which, and which rest.
//!
//! A port that its last user gave back may rest (RFC 6888 REQ-8): it stays in the set of taken
//! ports, so that nobody finds it, and only who had it gets it back at once. What still comes from
//! outside for the old mapping then doesn't reach another host.

use super::ports::Endpoint;
use super::portset::{Parity, PortSet};
use crate::base::Tick;
use crate::base::mem::Table;
use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Marks an owner that has the port now; without it, it is who had it last.
const PRESENT: u64 = 1 << 48;

/// How many resting ports are looked at for one of the wanted range and parity.
const LOOK: usize = 1_024;

/// Ports that the host may be seen to use itself at a time. Who forges what shows it must not leave
/// masquerade without any.
const HOST_USES: usize = 256;
/// Time after which the host is thought not to use such a port any more, ms.
const HOST_RESTS: u32 = 60_000;
/// Time after which more ports are asked for again, ms.
const ASK_AGAIN: u32 = 1_000;

pub(super) struct Space {
    taken: PortSet,
    /// Mappings that use each port: above 1 only when it is shared.
    users: Table<AtomicU32>,
    /// The inside endpoint that took the port for itself: [`PRESENT`], address, port. 0: nobody
    /// ever did.
    owner: Table<AtomicU64>,
    count: AtomicU32,
    lent: Lent,
    rest_ms: u32,
    rest: Mutex<Rest>,
}

/// What a host that shares its address lends.
#[derive(Default)]
struct Lent {
    shared: AtomicBool,
    /// Ports that are the host's: they stand in `taken` too.
    hosts: PortSet,
    /// Ports that are lent for masquerade.
    ports: AtomicU32,
    /// First and last of them.
    span: AtomicU32,
    /// Ports that are in use or rest.
    busy: AtomicU32,
    /// When more were asked for that have not come yet, as a tick with its lowest bit set; 0: they
    /// were not.
    asked: AtomicU32,
    /// Whether more are lent when they are asked for.
    more: AtomicBool,
    /// Lent ports that the host was seen to use itself, and when last.
    seen: Mutex<HashMap<u16, Tick>>,
}

/// Ports that rest. Each is in `queue` at most once, so both are bounded by the number of ports.
#[derive(Default)]
struct Rest {
    /// Given back since the time was last told.
    fresh: Vec<u16>,
    /// About in the order in which they were given back, with the time of that.
    queue: VecDeque<(u16, Tick)>,
    /// Those in `queue`: since when they rest; `None` when they were taken again.
    since: HashMap<u16, Option<Tick>>,
}

fn pack((ip, port): Endpoint) -> u64 {
    u64::from(ip.to_bits()) << 16 | u64::from(port)
}

impl Space {
    /// All ports free. They rest for `rest_ms`; 0: not at all.
    pub(super) fn new(rest_ms: u32) -> Space {
        Space {
            taken: PortSet::new(),
            users: Table::zeroed(1 << 16),
            owner: Table::zeroed(1 << 16),
            count: AtomicU32::new(0),
            lent: Lent::default(),
            rest_ms,
            rest: Mutex::default(),
        }
    }

    /// Bytes of the tables by port.
    pub(super) fn bytes(&self) -> u64 {
        self.users.bytes() + self.owner.bytes()
    }

    fn rest(&self) -> MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `port` if nobody has it; one that rests only for the endpoint that had it.
    pub(super) fn claim(&self, port: u16, inside: Endpoint) -> bool {
        if self.taken.insert(port) {
            self.lent.busy.fetch_add(1, SeqCst);
        } else if !self.resume(port, inside) {
            return false;
        }
        self.settle(port, inside);
        true
    }

    /// The same for the endpoint that is published by this very port, which may be the host's to
    /// lend.
    pub(super) fn claim_own(&self, port: u16, inside: Endpoint) -> bool {
        if self.claim(port, inside) {
            return true;
        }
        let unused = |u: &AtomicU32| u.compare_exchange(0, 1, SeqCst, SeqCst).is_ok();
        let got = self.lent.hosts.contains(port) && self.cells(port).0.is_some_and(unused);
        if got {
            self.lent.busy.fetch_add(1, SeqCst);
            self.settle(port, inside);
        }
        got
    }

    fn resume(&self, port: u16, inside: Endpoint) -> bool {
        let had_it = |o: &AtomicU64| o.load(SeqCst) == pack(inside);
        self.rest_ms > 0
            && !self.lent.hosts.contains(port)
            && self.cells(port).1.is_some_and(had_it)
            && self.rest().take(port)
    }

    fn settle(&self, port: u16, inside: Endpoint) {
        if let (Some(users), Some(owner)) = self.cells(port) {
            owner.store(PRESENT | pack(inside), SeqCst);
            users.store(1, SeqCst);
        }
        self.count.fetch_add(1, SeqCst);
    }

    /// Takes the port of a range that has rested longest, of this parity if there is one.
    pub(super) fn claim_resting(
        &self,
        range: (u16, u16),
        parity: Parity,
        published: &PortSet,
        inside: Endpoint,
    ) -> Option<u16> {
        let port = {
            let mut rest = self.rest();
            let ours = |p: u16| !published.contains(p) && !self.lent.hosts.contains(p);
            let fits = |p: u16| (range.0..=range.1).contains(&p) && ours(p);
            let port = rest
                .oldest(|p| fits(p) && (parity == Parity::Any || parity == Parity::of(p)))
                .or_else(|| rest.oldest(fits))?;
            rest.take(port);
            port
        };
        self.settle(port, inside);
        Some(port)
    }

    /// Joins the users of `port`. False if it has none (any more).
    pub(super) fn share(&self, port: u16) -> bool {
        let more = |n: u32| if n > 0 { n.checked_add(1) } else { None };
        self.cells(port)
            .0
            .is_some_and(|u| u.fetch_update(SeqCst, SeqCst, more).is_ok())
    }

    /// Leaves `port`; the last user frees it.
    pub(super) fn leave(&self, port: u16, inside: Endpoint) {
        let (Some(users), Some(owner)) = self.cells(port) else {
            return;
        };
        // If another endpoint has it, it stays.
        let me = pack(inside);
        let _ = owner.compare_exchange(PRESENT | me, me, SeqCst, SeqCst);
        if users.fetch_sub(1, SeqCst) == 1 {
            self.count.fetch_sub(1, SeqCst);
            if self.rest_ms > 0 {
                self.rest().fresh.push(port);
            } else {
                self.free(port);
            }
        }
    }

    /// Frees the ports that have rested for long enough at `now`. Costs what ends.
    pub(super) fn advance(&self, now: Tick) {
        if self.rest_ms == 0 {
            return;
        }
        let mut rest = self.rest();
        rest.stamp(now);
        while let Some((port, at)) = rest.queue.front().copied() {
            match rest.since.get(&port).copied().flatten() {
                Some(since) if now.since(since) < self.rest_ms => {
                    if since == at {
                        return;
                    }
                    // Taken and given back once more: its time began again.
                    rest.queue.pop_front();
                    rest.queue.push_back((port, since));
                    continue;
                }
                Some(_) => self.free(port),
                None => {}
            }
            rest.queue.pop_front();
            rest.since.remove(&port);
        }
    }

    fn free(&self, port: u16) {
        self.lent.busy.fetch_sub(1, SeqCst);
        // What the host has taken back meanwhile stays its own.
        if !self.lent.hosts.contains(port) {
            self.taken.remove(port);
        }
    }

    /// From now on all ports are the host's but those that it lends.
    pub(super) fn share_with_host(&self) {
        self.lent.shared.store(true, SeqCst);
        self.lent.hosts.insert_range(0, u16::MAX);
        self.taken.insert_range(0, u16::MAX);
    }

    /// Takes a port from the host, or gives it back; one in use is given back with its last user.
    pub(super) fn lend(&self, port: u16, ours: bool) {
        let users = |u: &AtomicU32| u.load(SeqCst);
        if ours {
            self.lent.hosts.remove(port);
            // One that rests is free when its time is over.
            if self.cells(port).0.map_or(0, users) == 0 && !self.rest().has(port) {
                self.taken.remove(port);
            }
        } else {
            self.lent.hosts.insert(port);
            self.taken.insert(port);
        }
    }

    /// The host uses a lent port itself: nobody else gets it until it has not for a while.
    pub(super) fn host_uses(&self, port: u16, now: Tick) {
        let mut seen = self.seen();
        let lent = !self.lent.hosts.contains(port);
        if seen.contains_key(&port) || lent && seen.len() < HOST_USES {
            seen.insert(port, now);
            self.lend(port, false);
        }
    }

    /// Takes ports back that the host does not use any more. Costs as many as it does.
    pub(super) fn take_back(&self, now: Tick) {
        self.seen().retain(|port, at| {
            let still = now.since(*at) < HOST_RESTS;
            if !still {
                self.lend(*port, true);
            }
            still
        });
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<u16, Tick>> {
        let seen = &self.lent.seen;
        seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many ports for masquerade are lent, between which numbers.
    pub(super) fn lent(&self, ports: u32, span: (u16, u16)) {
        self.lent.ports.store(ports, SeqCst);
        let span = u32::from(span.0) << 16 | u32::from(span.1);
        self.lent.span.store(span, SeqCst);
        self.lent.asked.store(0, SeqCst);
    }

    /// The numbers between which the lent ports are; `None` when all ports are our own.
    pub(super) fn span(&self) -> Option<(u16, u16)> {
        let span = self.lent.span.load(SeqCst);
        let shared = self.lent.shared.load(SeqCst);
        shared.then_some(((span >> 16) as u16, span as u16))
    }

    /// Whether half of the lent ports are taken: said once in a while until more are lent.
    pub(super) fn is_short(&self, now: Tick) -> bool {
        let l = &self.lent;
        if !l.shared.load(SeqCst) || l.busy.load(SeqCst) * 2 < l.ports.load(SeqCst) {
            return false;
        }
        let asked = l.asked.load(SeqCst);
        // However long ago that was; the mark is never ahead of the time.
        let due = asked == 0 || now.0.wrapping_sub(asked) >= ASK_AGAIN;
        let mark = now.0.wrapping_sub(1) | 1;
        due && l
            .asked
            .compare_exchange(asked, mark, SeqCst, SeqCst)
            .is_ok()
    }

    /// Whether more are lent when they are asked for.
    pub(super) fn expects_more(&self) -> bool {
        self.lent.more.load(SeqCst)
    }

    /// Says whether they are.
    pub(super) fn expect_more(&self, more: bool) {
        self.lent.more.store(more, SeqCst);
    }

    /// See [`PortSet::find_free`].
    pub(super) fn find_free(
        &self,
        published: &PortSet,
        range: (u16, u16),
        parity: Parity,
        start: u16,
    ) -> Option<u16> {
        self.taken.find_free(published, range, parity, start)
    }

    /// The inside endpoint that has `port` for itself, or had it first if it is shared now.
    pub(super) fn owner(&self, port: u16) -> Option<Endpoint> {
        let v = self.cells(port).1?.load(SeqCst);
        (v & PRESENT != 0).then(|| (Ipv4Addr::from_bits((v >> 16) as u32), v as u16))
    }

    /// Ports that somebody has.
    pub(super) fn in_use(&self) -> u32 {
        self.count.load(SeqCst)
    }

    fn cells(&self, port: u16) -> (Option<&AtomicU32>, Option<&AtomicU64>) {
        let i = usize::from(port);
        (self.users.get(i), self.owner.get(i))
    }
}

impl Rest {
    /// Gives those that came since the last call their time, which is at least the true one.
    fn stamp(&mut self, now: Tick) {
        for port in std::mem::take(&mut self.fresh) {
            if self.since.insert(port, Some(now)).is_none() {
                self.queue.push_back((port, now));
            }
        }
    }

    /// Whether `port` rests.
    fn has(&self, port: u16) -> bool {
        self.fresh.contains(&port) || self.since.get(&port).is_some_and(Option::is_some)
    }

    /// Ends the rest of `port`. False if it doesn't rest.
    fn take(&mut self, port: u16) -> bool {
        if let Some(i) = self.fresh.iter().position(|p| *p == port) {
            self.fresh.swap_remove(i);
            return true;
        }
        self.since.get_mut(&port).and_then(Option::take).is_some()
    }

    fn oldest(&self, fits: impl Fn(u16) -> bool) -> Option<u16> {
        let rests = |p: &u16| self.since.get(p).is_some_and(Option::is_some);
        let queued = self.queue.iter().map(|(p, _)| *p).filter(rests);
        let mut all = queued.chain(self.fresh.iter().copied()).take(LOOK);
        all.find(|p| fits(*p))
    }
}

#[cfg(test)]
#[path = "space_tests.rs"]
mod tests;
