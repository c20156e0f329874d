//! The life of connection records: created, found, refreshed, expired, removed.

use super::state;
use crate::base::hash::Keyed;
use crate::base::quota::Quota;
use crate::base::sync::{Mutex, MutexGuard};
use crate::base::time::millis_u32;
use crate::base::{Limits, Timeouts};
use crate::base::{PortId, Reason, RuleId, Tick, Tuple};
use crate::flow::index::Candidate;
use crate::flow::record::flags;
use crate::flow::{Dir, Epochs, FlowKey, Index, Record, RecordId, Slab, Zone};
use crossbeam_utils::CachePadded;
use std::net::Ipv4Addr;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// Locks that the keys are spread over. (One is enough for the few threads of a model.)
const STRIPES: usize = if cfg!(loom) { 1 } else { 256 };

/// What a new connection is made of.
pub struct New {
    /// Key of the first frame.
    pub orig: FlowKey,
    /// Key of the answers.
    pub reply: FlowKey,
    /// The worker that makes it.
    pub worker: usize,
    /// Port of the first frame.
    pub ingress: PortId,
    /// The published port that made it.
    pub rule: RuleId,
    /// External port (or echo identifier) taken for it.
    pub mapped_port: Option<u16>,
    /// [`flags::DNAT`], [`flags::SNAT`].
    pub flags: u8,
}

/// Why no record was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Another worker made it a moment ago: look again.
    Exists,
    /// A connection of one of the two keys is there whose time is over: forget it and try again.
    Expired(RecordId),
    /// The frame is lost.
    Drop(Reason),
}

/// What a removed connection leaves to be given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Removed {
    /// Tuple of the original direction as it came in.
    pub orig: Tuple,
    /// External port (or echo identifier) that had been taken.
    pub mapped_port: Option<u16>,
}

/// One line of `switchctl conntrack`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnReport {
    /// Tuple of the first frame, as it came in.
    pub orig: Tuple,
    /// Tuple of the answers, as they come in.
    pub reply: Tuple,
    /// TCP state by conntrack's name, empty for other protocols.
    pub state: &'static str,
    /// Frames were seen in both directions.
    pub replied: bool,
    /// Handshake finished, or a UDP flow with answers and more than one exchange.
    pub assured: bool,
    /// Time until it is forgotten, in milliseconds.
    pub expires_ms: u32,
    /// The published port that made it.
    pub rule: RuleId,
}

/// All connections.
pub struct Conntrack {
    /// Records.
    pub slab: Slab,
    /// Where they are found.
    pub index: Index,
    /// When they may be used again.
    pub epochs: Epochs,
    stripes: Box<[Mutex<()>]>,
    timeout_ms: [u32; 256],
    /// The same, at most an hour.
    hit_ms: [u32; 256],
    /// Apart from what hits read.
    live: CachePadded<AtomicU32>,
    per_port: Box<[PortUse]>,
    per_host: Quota,
    limits: Limits,
}

/// The inside host of a connection: who opened it, or to whom it was opened from outside.
fn inside_host(orig: &FlowKey, reply: &FlowKey) -> Ipv4Addr {
    match orig.zone() {
        Zone::Inside => orig.tuple().src,
        Zone::Uplink => reply.tuple().src,
    }
}

#[derive(Default)]
struct PortUse {
    connections: AtomicU32,
    half_open: AtomicU32,
}

impl Conntrack {
    /// Empty tables for `workers` workers (and one more reader, number `workers`: whoever lists or
    /// sweeps from outside).
    pub fn new(limits: Limits, timeouts: &Timeouts, keyed: Keyed, workers: usize) -> Conntrack {
        let mut timeout_ms = [0; 256];
        for (s, ms) in (0u8..=255).zip(&mut timeout_ms) {
            *ms = millis_u32(state::timeout(s, timeouts));
        }
        Conntrack {
            slab: Slab::for_workers(limits.connections, workers),
            index: Index::new(limits.connections, keyed),
            epochs: Epochs::new(workers + 1),
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            timeout_ms,
            hit_ms: timeout_ms.map(|ms| ms.min(3_600_000)),
            live: CachePadded::new(AtomicU32::new(0)),
            per_host: Quota::new(limits.connections_per_host, Reason::HostConnections),
            per_port: (0..PortId::MAX_PORTS).map(|_| PortUse::default()).collect(),
            limits,
        }
    }

    /// Live connections.
    pub fn len(&self) -> u32 {
        self.live.load(Relaxed)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Idle time in milliseconds after which a record of this state byte is forgotten.
    #[inline]
    pub fn timeout_ms(&self, state: u8) -> u32 {
        self.timeout_ms
            .get(usize::from(state))
            .copied()
            .unwrap_or(0)
    }

    /// Silence of both directions after which a record of this state byte is not hit: see
    /// [`Conntrack::too_old_for_a_hit`].
    pub fn hit_ms(&self, state: u8) -> u32 {
        self.hit_ms.get(usize::from(state)).copied().unwrap_or(0)
    }

    /// Whether the record's time is over, or it was idle for so long that the end of a cached
    /// decision ([`crate::flow::Forward::valid_at`]) can't be told.
    #[inline]
    pub fn too_old_for_a_hit(&self, r: &Record, now: Tick) -> bool {
        let limit = self.hit_ms.get(usize::from(r.state.load(Relaxed)));
        limit.is_none_or(|&ms| now.since(r.last_seen()) >= ms)
    }

    /// Whether the record's time is over. Looked at on every hit, so that behaviour does not
    /// depend on when a wheel turns.
    #[inline]
    pub fn expired(&self, r: &Record, now: Tick) -> bool {
        now.since(r.last_seen()) >= self.timeout_ms(r.state.load(Relaxed))
    }

    /// Brings near the record that a frame may need, if there is one.
    #[inline(always)]
    pub fn fetch(&self, candidate: Candidate) {
        if let Some(r) = candidate.get().and_then(|(id, _)| self.slab.get(id)) {
            r.prefetch();
        }
    }

    /// The live, unexpired connection with this key.
    pub fn find(&self, key: &FlowKey, now: Tick) -> Option<(RecordId, Dir)> {
        let (id, dir) = self.index.find(key, self.index.hash(key), &self.slab)?;
        let r = self.slab.get(id)?;
        if self.expired(r, now) {
            None
        } else {
            Some((id, dir))
        }
    }

    /// Makes a record and puts it in the index under both keys. `open` sets the protocol's state
    /// on the fresh record and returns the state byte.
    ///
    /// # Errors
    /// [`Refused::Exists`] when a live connection has the original key already,
    /// [`Refused::Expired`] when one whose time is over has one of the keys,
    /// [`Refused::Drop`] for a clash of the reply key, a full table, a limit, or what `open` says.
    /// Nothing is left behind.
    pub fn create(
        &self,
        new: &New,
        now: Tick,
        open: impl FnOnce(&Record) -> Result<u8, Reason>,
    ) -> Result<RecordId, Refused> {
        let (h_orig, h_reply) = (self.index.hash(&new.orig), self.index.hash(&new.reply));
        let _both = self.lock_both(h_orig, h_reply);
        let taken = |key, hash, refused| {
            let (id, _) = self.index.find(key, hash, &self.slab)?;
            let expired = self.slab.get(id).is_some_and(|r| self.expired(r, now));
            Some(if expired {
                Refused::Expired(id)
            } else {
                refused
            })
        };
        if let Some(refused) = taken(&new.orig, h_orig, Refused::Exists) {
            return Err(refused);
        }
        let clash = Refused::Drop(Reason::NatClash);
        if let Some(refused) = taken(&new.reply, h_reply, clash) {
            return Err(refused);
        }
        let port = self.per_port.get(new.ingress.index());
        if port.is_some_and(|p| p.connections.load(Relaxed) >= self.limits.connections_per_port) {
            return Err(Refused::Drop(Reason::PortLimit));
        }
        let host = inside_host(&new.orig, &new.reply);
        self.per_host.take(host).map_err(Refused::Drop)?;
        let Some((id, r)) = self.slab.take_by(new.worker, &self.epochs) else {
            self.per_host.give_back(host);
            return Err(Refused::Drop(Reason::ConntrackFull));
        };
        let refuse = |reason| {
            self.slab.give_back_unseen(id);
            self.per_host.give_back(host);
            Err(Refused::Drop(reason))
        };
        r.reset();
        let state = match open(r) {
            Ok(s) => s,
            Err(reason) => return refuse(reason),
        };
        let half_open = state::is_half_open(state);
        if half_open
            && port.is_some_and(|p| p.half_open.load(Relaxed) >= self.limits.half_open_per_port)
        {
            return refuse(Reason::HalfOpenLimit);
        }
        r.set_key(Dir::Orig, new.orig);
        r.set_key(Dir::Reply, new.reply);
        r.state.store(state, Relaxed);
        r.ingress.store(new.ingress.0, Relaxed);
        r.rule.store(new.rule.0, Relaxed);
        r.mapped_port.store(new.mapped_port.unwrap_or(0), Relaxed);
        r.touch_both(now);
        let half = if half_open { flags::HALF_OPEN } else { 0 };
        let mapped = if new.mapped_port.is_some() {
            flags::MAPPED
        } else {
            0
        };
        // Whoever sees it live sees the rest.
        r.flags
            .store(flags::LIVE | half | mapped | new.flags, Release);
        if self.index.insert(h_orig, id, Dir::Orig).is_err() {
            r.flags.store(0, Relaxed);
            return refuse(Reason::ConntrackFull);
        }
        if self.index.insert(h_reply, id, Dir::Reply).is_err() {
            r.flags.store(0, Relaxed);
            self.index.remove(h_orig, id, Dir::Orig);
            self.slab.give_back(id, &self.epochs);
            self.per_host.give_back(host);
            return Err(Refused::Drop(Reason::ConntrackFull));
        }
        self.live.fetch_add(1, Relaxed);
        if let Some(p) = port {
            p.connections.fetch_add(1, Relaxed);
            p.half_open.fetch_add(u32::from(half_open), Relaxed);
        }
        Ok(id)
    }

    /// Locks the stripes of two keys, lower number first, so that two creations never wait for
    /// each other in a circle.
    fn lock_both(&self, a: u64, b: u64) -> [Option<MutexGuard<'_, ()>>; 2] {
        let stripe = |h: u64| (h >> 40) as usize % STRIPES;
        let (low, high) = (stripe(a).min(stripe(b)), stripe(a).max(stripe(b)));
        // A stripe protects no data of its own, so a poisoned one is as good.
        let lock = |n: usize| {
            self.stripes
                .get(n)
                .map(|m| m.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let first = lock(low);
        [first, if high == low { None } else { lock(high) }]
    }

    /// A half-open connection got its handshake done (or was given up): it no longer counts
    /// against the half-open limit of its port.
    pub fn no_longer_half_open(&self, r: &Record) {
        let before = r.flags.fetch_and(!flags::HALF_OPEN, AcqRel);
        if before & flags::HALF_OPEN != 0
            && let Some(p) = self.per_port.get(usize::from(r.ingress.load(Relaxed)))
        {
            p.half_open.fetch_sub(1, Relaxed);
        }
    }

    /// Forgets a connection. `None` when another thread was quicker. What it held outside (an
    /// external port) is the caller's to give back.
    pub fn remove(&self, id: RecordId) -> Option<Removed> {
        let r = self.slab.get(id)?;
        self.no_longer_half_open(r);
        let before = r.flags.fetch_and(!flags::LIVE, AcqRel);
        if before & flags::LIVE == 0 {
            return None;
        }
        for dir in Dir::BOTH {
            self.index.remove(self.index.hash(&r.key(dir)), id, dir);
        }
        self.live.fetch_sub(1, Relaxed);
        if let Some(p) = self.per_port.get(usize::from(r.ingress.load(Relaxed))) {
            p.connections.fetch_sub(1, Relaxed);
        }
        let orig = r.key(Dir::Orig);
        self.per_host
            .give_back(inside_host(&orig, &r.key(Dir::Reply)));
        let removed = Removed {
            orig: orig.tuple(),
            mapped_port: (before & flags::MAPPED != 0).then(|| r.mapped_port.load(Acquire)),
        };
        self.slab.give_back(id, &self.epochs);
        Some(removed)
    }

    /// When the record will be forgotten if nothing more comes.
    pub fn deadline(&self, r: &Record) -> Tick {
        r.last_seen().plus(self.timeout_ms(r.state.load(Relaxed)))
    }

    /// The live connections, for people.
    pub fn list(&self, now: Tick) -> Vec<ConnReport> {
        self.slab
            .live()
            .filter(|(_, r)| !self.expired(r, now))
            .filter_map(|(_, r)| r.steady(|r| self.report(r, now)))
            .collect()
    }

    fn report(&self, r: &Record, now: Tick) -> ConnReport {
        let s = r.state.load(Relaxed);
        ConnReport {
            orig: r.key(Dir::Orig).tuple(),
            reply: r.key(Dir::Reply).tuple(),
            state: state::name(s),
            replied: r.has(flags::REPLIED),
            assured: r.has(flags::ASSURED),
            expires_ms: self.timeout_ms(s).saturating_sub(now.since(r.last_seen())),
            rule: r.rule(),
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
