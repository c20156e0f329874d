//! A bad wire for tests: loss, duplication, reordering, corruption and delay, the same for the
//! same seed, in virtual time.

use super::Caps;
use super::headers::Headers;
use super::memory::join;
use super::segment::{SegmentError, segment};
use crate::base::Instant;
use crate::frame::{Frame, VnetHdr};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

/// A small random generator (splitmix64): for tests, never for secrets.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The sequence of this seed.
    pub const fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 for `n` = 0.
    pub const fn below(&mut self, n: u64) -> u64 {
        let v = self.next_u64();
        if n == 0 { 0 } else { v % n }
    }

    /// True `n` times in 10,000.
    pub const fn chance(&mut self, n: u32) -> bool {
        self.below(10_000) < n as u64
    }
}

/// How bad the wire is. Chances are in frames of 10,000.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FaultConfig {
    /// Decides everything that follows.
    pub seed: u64,
    /// Frames that never arrive.
    pub loss: u32,
    /// Frames that arrive twice.
    pub duplicate: u32,
    /// Frames that arrive up to `reorder_by` late, so that others overtake them.
    pub reorder: u32,
    /// Largest additional delay of those.
    pub reorder_by: Duration,
    /// TCP and UDP frames with one bit flipped where a checksum sees it.
    pub corrupt: u32,
    /// Time that each frame takes.
    pub delay: Duration,
}

/// What was done to the frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FaultCounts {
    /// Frames put in.
    pub frames: u64,
    /// Never to arrive.
    pub lost: u64,
    /// Sent twice.
    pub duplicated: u64,
    /// Delayed on their own.
    pub reordered: u64,
    /// One bit flipped.
    pub corrupted: u64,
}

/// One direction of a wire.
pub struct Fault {
    cfg: FaultConfig,
    rng: Rng,
    held: BinaryHeap<Reverse<Held>>,
    order: u64,
    counts: FaultCounts,
}

struct Held {
    at: Instant,
    order: u64,
    frame: Frame,
}

impl Held {
    const fn key(&self) -> (u64, u64) {
        (self.at.0, self.order)
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Held) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Held) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Held) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Fault {
    /// An empty wire.
    pub fn new(cfg: FaultConfig) -> Fault {
        Fault {
            cfg,
            rng: Rng::new(cfg.seed),
            held: BinaryHeap::new(),
            order: 0,
            counts: FaultCounts::default(),
        }
    }

    /// What was done so far.
    pub const fn counts(&self) -> FaultCounts {
        self.counts
    }

    /// Changes the wire for the frames to come; the seed's sequence goes on.
    pub const fn set_config(&mut self, cfg: FaultConfig) {
        self.cfg = cfg;
    }

    /// A frame enters at `now`.
    pub fn push(&mut self, now: Instant, frame: Frame) {
        self.counts.frames += 1;
        if self.rng.chance(self.cfg.loss) {
            self.counts.lost += 1;
            return;
        }
        if self.rng.chance(self.cfg.duplicate) {
            self.counts.duplicated += 1;
            self.hold(now, frame.clone());
        }
        if self.rng.chance(self.cfg.corrupt) {
            return self.corrupt(now, frame);
        }
        self.hold(now, frame);
    }

    /// The next frame that has arrived by `now`.
    pub fn pop(&mut self, now: Instant) -> Option<Frame> {
        if self.next_at()? > now {
            return None;
        }
        self.held.pop().map(|Reverse(h)| h.frame)
    }

    /// When the next frame arrives.
    pub fn next_at(&self) -> Option<Instant> {
        self.held.peek().map(|Reverse(h)| h.at)
    }

    /// Frames on the way.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether no frame is on the way.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn hold(&mut self, now: Instant, frame: Frame) {
        let mut delay = self.cfg.delay;
        if self.rng.chance(self.cfg.reorder) {
            let most = u64::try_from(self.cfg.reorder_by.as_nanos()).unwrap_or(u64::MAX);
            delay += Duration::from_nanos(self.rng.below(most).saturating_add(1));
            self.counts.reordered += 1;
        }
        self.order += 1;
        self.held.push(Reverse(Held {
            at: now + delay,
            order: self.order,
            frame,
        }));
    }

    /// Flips a bit in one of the frames that this one stands for. They are finished first: a
    /// partial checksum would be made right over the damage.
    fn corrupt(&mut self, now: Instant, frame: Frame) {
        let mut finished = Vec::new();
        let done = segment(frame.bytes(), &frame.hdr, Caps::NONE, |_, parts| {
            finished.push(join(parts));
            Ok::<(), SegmentError>(())
        });
        if done.is_err() {
            return self.hold(now, frame);
        }
        let victim = self.rng.below(finished.len() as u64) as usize;
        for (i, mut bytes) in finished.into_iter().enumerate() {
            if i == victim && flip(&mut bytes, &mut self.rng) {
                self.counts.corrupted += 1;
            }
            self.hold(now, Frame::with_hdr(&bytes, VnetHdr::PLAIN));
        }
    }
}

/// Flips one bit of what the checksums cover: from the IP header on for IPv4, from the L4 header
/// on for IPv6. A frame without a checksum is left alone.
fn flip(bytes: &mut [u8], rng: &mut Rng) -> bool {
    let Some(h) = Headers::find(bytes) else {
        return false;
    };
    let udp_without = h.csum_offset() == 6 && crate::base::bytes::be16(bytes, h.l4 + 6) == 0;
    if udp_without {
        return false;
    }
    let from = if h.v6 { h.l4 } else { h.l3 };
    let at = from + rng.below((h.end - from) as u64) as usize;
    let bit = rng.below(8);
    match bytes.get_mut(at) {
        Some(b) => *b ^= 1 << bit,
        None => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Gso;
    use crate::port::testing::{Spec, judge};

    fn drain(f: &mut Fault, until: Instant) -> Vec<Frame> {
        std::iter::from_fn(|| f.pop(until)).collect()
    }

    fn numbered(n: u32) -> Frame {
        Frame::from_bytes(&n.to_be_bytes())
    }

    #[test]
    fn a_good_wire_only_delays() {
        let mut f = Fault::new(FaultConfig {
            delay: Duration::from_millis(3),
            ..FaultConfig::default()
        });
        for i in 0..50 {
            f.push(Instant::from_millis(u64::from(i)), numbered(i));
        }
        assert!(f.pop(Instant::from_millis(2)).is_none());
        assert_eq!(f.next_at(), Some(Instant::from_millis(3)));
        let got = drain(&mut f, Instant::from_millis(60));
        assert!(f.is_empty() && got.len() == 50);
        for (i, frame) in got.iter().enumerate() {
            assert_eq!(frame.bytes(), (i as u32).to_be_bytes());
        }
    }

    #[test]
    fn chances_are_kept_and_repeatable() {
        let cfg = FaultConfig {
            seed: 9,
            loss: 1_000,
            duplicate: 500,
            reorder: 2_000,
            reorder_by: Duration::from_millis(1),
            ..FaultConfig::default()
        };
        let run = || {
            let mut f = Fault::new(cfg);
            for i in 0..10_000 {
                f.push(Instant::ZERO, numbered(i));
            }
            let got = drain(&mut f, Instant::from_secs(1));
            let bytes: Vec<_> = got.iter().map(|f| f.bytes().to_vec()).collect();
            (f.counts(), bytes)
        };
        let (c, bytes) = run();
        assert_eq!(run(), (c, bytes.clone()));
        assert!((900..1_100).contains(&c.lost), "{c:?}");
        assert!((400..560).contains(&c.duplicated), "{c:?}");
        assert!((1_600..2_200).contains(&c.reordered), "{c:?}");
        assert_eq!(bytes.len() as u64, 10_000 - c.lost + c.duplicated);
        let overtaken = bytes.windows(2).filter(|w| w[1] < w[0]).count();
        assert!(overtaken > 500, "{overtaken}");
    }

    #[test]
    fn corruption_is_one_bit_that_a_checksum_sees() {
        let mut f = Fault::new(FaultConfig {
            seed: 3,
            corrupt: 10_000,
            ..FaultConfig::default()
        });
        let spec = Spec {
            payload: vec![7; 3000],
            ..Spec::default()
        };
        for _ in 0..200 {
            let (b, mut hdr) = spec.partial();
            hdr.gso = Gso::TcpV4;
            hdr.gso_size = 1000;
            f.push(Instant::ZERO, Frame::with_hdr(&b, hdr));
            let got = drain(&mut f, Instant::ZERO);
            assert_eq!(got.len(), 3);
            let bad = got.iter().filter(|f| judge(f.bytes()).is_err()).count();
            assert_eq!(bad, 1);
        }
        assert_eq!(f.counts().corrupted, 200);
        f.push(Instant::ZERO, numbered(5));
        assert_eq!(f.pop(Instant::ZERO).unwrap().bytes(), 5u32.to_be_bytes());
        assert_eq!(f.counts().corrupted, 200, "no checksum, no damage");
    }
}
