//! Counters without read-modify-write: each worker writes its own block with plain stores, a
//! reader adds the blocks up.
//!
//! The balance that every test asserts, summed over all workers:
//! `rx + originated + copies = tx + drops + consumed + held`.

use super::drop::Reason;
use super::ids::PortId;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicI64, AtomicU64, fence};

/// One monotonic counter, written by one thread, read by any.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning worker may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The current value.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one worker counted for one port.
#[derive(Default)]
pub struct PortCounters {
    /// Frames read from the port (a superframe counts once).
    pub rx_frames: Counter,
    /// Bytes of those frames, Ethernet header included.
    pub rx_bytes: Counter,
    /// Frames given to the port (before coalescing and segmentation).
    pub tx_frames: Counter,
    /// Bytes of those frames.
    pub tx_bytes: Counter,
    /// Frames dropped that came in by the port or could not leave by it.
    pub drops: Counter,
}

/// Plain numbers of one port, summed over workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounts {
    /// Frames read.
    pub rx_frames: u64,
    /// Bytes read.
    pub rx_bytes: u64,
    /// Frames written.
    pub tx_frames: u64,
    /// Bytes written.
    pub tx_bytes: u64,
    /// Frames dropped.
    pub drops: u64,
}

impl PortCounts {
    /// With one worker's block added.
    #[must_use]
    pub fn plus(self, c: &PortCounters) -> PortCounts {
        PortCounts {
            rx_frames: self.rx_frames + c.rx_frames.get(),
            rx_bytes: self.rx_bytes + c.rx_bytes.get(),
            tx_frames: self.tx_frames + c.tx_frames.get(),
            tx_bytes: self.tx_bytes + c.tx_bytes.get(),
            drops: self.drops + c.drops.get(),
        }
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn less(self, earlier: PortCounts) -> PortCounts {
        PortCounts {
            rx_frames: self.rx_frames.saturating_sub(earlier.rx_frames),
            rx_bytes: self.rx_bytes.saturating_sub(earlier.rx_bytes),
            tx_frames: self.tx_frames.saturating_sub(earlier.tx_frames),
            tx_bytes: self.tx_bytes.saturating_sub(earlier.tx_bytes),
            drops: self.drops.saturating_sub(earlier.drops),
        }
    }
}

/// One worker's counters. Two workers' blocks share no pair of cache lines: the one's stores would
/// take the line from the other.
#[repr(align(128))]
pub struct Counters {
    /// Frames read.
    pub rx: Counter,
    /// Frames written (before coalescing and segmentation).
    pub tx: Counter,
    /// Frames that the switch answered or took for itself.
    pub consumed: Counter,
    /// Frames that the switch made (ARP, ICMP).
    pub originated: Counter,
    /// Further copies made by flooding or fragmenting: copies out less one.
    pub copies: Counter,
    /// Frames waiting inside the switch (unresolved neighbour, missing first fragment): up when
    /// held, down when released. The worker that releases need not be the one that held.
    held: AtomicI64,
    /// Routed frames that an index entry decided, those included whose next hop alone was asked anew.
    pub hits: Counter,
    /// Routed frames that took the slow path.
    pub slow: Counter,
    /// Frames bridged to one known port.
    pub bridged: Counter,
    /// Frames flooded.
    pub flooded: Counter,
    /// Batches processed.
    pub batches: Counter,
    /// Writes that carried more than one frame.
    pub coalesced_writes: Counter,
    /// Frames that software segmentation made.
    pub segments: Counter,
    drops: [Counter; Reason::COUNT],
    ports: Box<[PortCounters]>,
    /// Odd while the owner is inside a batch, when the account does not balance.
    sequence: AtomicU64,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters::new(PortId::MAX_PORTS)
    }
}

impl Counters {
    /// All zero, with room for `ports` ports.
    pub fn new(ports: usize) -> Counters {
        Counters {
            rx: Counter::default(),
            tx: Counter::default(),
            consumed: Counter::default(),
            originated: Counter::default(),
            copies: Counter::default(),
            held: AtomicI64::new(0),
            hits: Counter::default(),
            slow: Counter::default(),
            bridged: Counter::default(),
            flooded: Counter::default(),
            batches: Counter::default(),
            coalesced_writes: Counter::default(),
            segments: Counter::default(),
            drops: [const { Counter(AtomicU64::new(0)) }; Reason::COUNT],
            ports: (0..ports).map(|_| PortCounters::default()).collect(),
            sequence: AtomicU64::new(0),
        }
    }

    /// The owner begins a batch: until [`Counters::settle`] the account does not balance.
    pub fn unsettle(&self) {
        self.sequence
            .store(self.sequence.load(Relaxed) | 1, Relaxed);
        fence(Release);
    }

    /// The owner ended its batch: every frame is accounted for again.
    pub fn settle(&self) {
        let next = (self.sequence.load(Relaxed) | 1).wrapping_add(1);
        self.sequence.store(next, Release);
    }

    /// The counters between two batches of their owner. Waits for a short while for the end of a
    /// batch under way; a worker that never ends one is read as it stands.
    fn between_batches(&self) -> Totals {
        for _ in 0..10_000 {
            let before = self.sequence.load(Acquire);
            if before & 1 == 0 {
                let t = self.read();
                fence(Acquire);
                if self.sequence.load(Relaxed) == before {
                    return t;
                }
            }
            std::thread::yield_now();
        }
        self.read()
    }

    fn read(&self) -> Totals {
        Totals {
            rx: self.rx.get(),
            tx: self.tx.get(),
            consumed: self.consumed.get(),
            originated: self.originated.get(),
            copies: self.copies.get(),
            held: self.held(),
            hits: self.hits.get(),
            slow: self.slow.get(),
            bridged: self.bridged.get(),
            flooded: self.flooded.get(),
            batches: self.batches.get(),
            coalesced_writes: self.coalesced_writes.get(),
            segments: self.segments.get(),
            drops: self.drops.iter().map(Counter::get).collect(),
        }
    }

    /// Counts a frame of `port` as lost.
    #[inline]
    pub fn drop(&self, port: PortId, reason: Reason) {
        if let Some(c) = self.drops.get(reason.index()) {
            c.add(1);
        }
        if let Some(p) = self.port(port) {
            p.drops.add(1);
        }
    }

    /// Frames lost under `reason`.
    pub fn drops(&self, reason: Reason) -> u64 {
        self.drops.get(reason.index()).map_or(0, Counter::get)
    }

    /// A frame is kept inside (+1) or let go (-1).
    pub fn hold(&self, delta: i64) {
        self.held
            .store(self.held.load(Relaxed).wrapping_add(delta), Relaxed);
    }

    /// This worker's share of the gauge of held frames; only the sum over workers has a meaning.
    pub fn held(&self) -> i64 {
        self.held.load(Relaxed)
    }

    /// The counters of one port.
    #[inline]
    pub fn port(&self, port: PortId) -> Option<&PortCounters> {
        self.ports.get(port.index())
    }
}

/// A sum over workers at one moment, plain numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// See [`Counters::rx`]; the further fields likewise.
    pub rx: u64,
    /// Frames written.
    pub tx: u64,
    /// Frames consumed.
    pub consumed: u64,
    /// Frames made by the switch.
    pub originated: u64,
    /// Further copies.
    pub copies: u64,
    /// Frames waiting inside.
    pub held: i64,
    /// Index hits.
    pub hits: u64,
    /// Slow-path frames.
    pub slow: u64,
    /// Bridged frames.
    pub bridged: u64,
    /// Flooded frames.
    pub flooded: u64,
    /// Batches.
    pub batches: u64,
    /// Writes of several frames.
    pub coalesced_writes: u64,
    /// Software segments.
    pub segments: u64,
    /// Drops by reason index, length [`Reason::COUNT`].
    pub drops: Vec<u64>,
}

impl Totals {
    /// Adds up the blocks of all workers, each as it stood between two of its batches.
    pub fn sum<'a>(blocks: impl IntoIterator<Item = &'a Counters>) -> Totals {
        let each: Vec<Totals> = blocks.into_iter().map(Counters::between_batches).collect();
        Totals::add(&each)
    }

    /// Adds up sums.
    pub fn add(each: &[Totals]) -> Totals {
        let mut t = Totals {
            drops: vec![0; Reason::COUNT],
            ..Totals::default()
        };
        for c in each {
            t.rx += c.rx;
            t.tx += c.tx;
            t.consumed += c.consumed;
            t.originated += c.originated;
            t.copies += c.copies;
            t.held += c.held;
            t.hits += c.hits;
            t.slow += c.slow;
            t.bridged += c.bridged;
            t.flooded += c.flooded;
            t.batches += c.batches;
            t.coalesced_writes += c.coalesced_writes;
            t.segments += c.segments;
            for (sum, d) in t.drops.iter_mut().zip(&c.drops) {
                *sum += d;
            }
        }
        t
    }

    /// Frames dropped, all reasons.
    pub fn dropped(&self) -> u64 {
        self.drops.iter().sum()
    }

    /// Frames dropped under `reason`.
    pub fn drops(&self, reason: Reason) -> u64 {
        self.drops.get(reason.index()).copied().unwrap_or(0)
    }

    /// `Ok` when every frame is accounted for, else the equation in numbers.
    pub fn balance(&self) -> Result<(), String> {
        let held = u64::try_from(self.held).map_err(|_| format!("held is {}", self.held))?;
        let left = self.rx + self.originated + self.copies;
        let right = self.tx + self.dropped() + self.consumed + held;
        if left == right {
            return Ok(());
        }
        Err(format!(
            "rx {} + originated {} + copies {} = {left}, but tx {} + drops {} + consumed {} + held {held} = {right}",
            self.rx,
            self.originated,
            self.copies,
            self.tx,
            self.dropped(),
            self.consumed
        ))
    }
}
