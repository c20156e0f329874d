//! Interrupt moderation, as network cards have it, for a one-way stream of datagrams.
//!
//! A worker that comes for each datagram wakes the receiver for each, and a worker that only polls
//! keeps the receiver off its core: where the scheduler then puts the receiver beside the sender, it
//! gets the core in slices of milliseconds and its socket buffer (some 90 datagrams of 1,400 bytes,
//! 280 small ones) overflows in each. So while nothing but a fast stream of datagrams comes, and in
//! small batches, the worker sleeps for a moment behind each: frames gather and are joined, and the
//! scheduler finds its core free for the receiver.
//!
//! TCP needs none of it, since it waits for its receiver, and an exchange would only get slower.

use crate::base::{Instant, PortId};
use crate::frame::Frame;
use crate::port::headers::{Headers, UDP};
use std::time::Duration;

/// Sleep behind a batch, unless told otherwise: about what `rx-usecs` of ethtool(8) is on a card.
pub(super) const PAUSE: Duration = Duration::from_micros(50);
/// How long a stream has to be fast before it is moderated.
const PERIOD: Duration = Duration::from_millis(1);
/// Time between two datagrams of a fast one, at most.
const FAST: Duration = Duration::from_micros(16);
/// A silence that ends a stream: longer than whoever has the core keeps it.
const SILENCE: Duration = Duration::from_millis(10);
/// Frames of a batch behind which more are to gather. Behind larger ones the worker has no time to
/// spare.
const FEW: usize = 16;

/// What the last batches say of the next.
pub(super) struct Moderation {
    pause: Duration,
    /// Where the stream comes from.
    port: Option<PortId>,
    /// When the period in progress began, and when datagrams came last.
    since: Instant,
    last: Instant,
    /// Datagrams in this period.
    datagrams: u32,
    /// Whether they came fast in the one before.
    fast: bool,
    /// Whether the last batch is one to sleep after.
    due: bool,
}

impl Moderation {
    /// Sleeps of `pause`; zero: none.
    pub(super) const fn new(pause: Duration) -> Moderation {
        Moderation {
            pause,
            port: None,
            since: Instant(0),
            last: Instant(0),
            datagrams: 0,
            fast: false,
            due: false,
        }
    }

    /// A port gave these frames, and `more` may be waiting.
    pub(super) fn heard(&mut self, port: PortId, frames: &[Frame], more: bool, now: Instant) {
        self.due = false;
        if self.pause.is_zero() {
            return;
        }
        let goes_on = self.port == Some(port) && now.since(self.last) < SILENCE;
        (self.port, self.last) = (Some(port), now);
        // In a batch of more nobody sleeps, so the rest of it need not be looked at.
        if !goes_on || !frames.iter().take(FEW).all(is_datagram) {
            self.begin(now, false);
            return;
        }
        self.datagrams += frames.len() as u32;
        let lasted = now.since(self.since);
        if lasted >= PERIOD {
            let each = lasted / self.datagrams.max(1);
            // Behind a wait for the core few were read, and many wait.
            self.begin(now, more || each <= FAST);
        }
        self.due = self.fast && frames.len() < FEW;
    }

    /// A period begins.
    const fn begin(&mut self, now: Instant, fast: bool) {
        self.since = now;
        self.datagrams = 0;
        self.fast = fast;
    }

    /// How long to sleep now, once for each batch.
    pub(super) fn pause(&mut self) -> Option<Duration> {
        std::mem::take(&mut self.due).then_some(self.pause)
    }
}

fn is_datagram(frame: &Frame) -> bool {
    Headers::find(frame.bytes()).is_some_and(|at| at.proto == UDP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::testing::Spec;

    const A: PortId = PortId(1);
    const B: PortId = PortId(2);

    fn frames(n: usize, tcp: bool) -> Vec<Frame> {
        let spec = Spec {
            tcp,
            payload: vec![7; 64],
            ..Spec::default()
        };
        (0..n)
            .map(|_| Frame::from_bytes(&spec.finished()))
            .collect()
    }

    /// Batches that came, and how often there was a sleep.
    struct Told {
        m: Moderation,
        us: u64,
        sleeps: u32,
    }

    impl Told {
        fn new() -> Told {
            Told {
                m: Moderation::new(PAUSE),
                us: 1_000,
                sleeps: 0,
            }
        }

        /// `times` batches, one every `us` microseconds.
        fn batches(
            &mut self,
            times: u32,
            us: u64,
            port: PortId,
            frames: &[Frame],
            more: bool,
        ) -> u32 {
            let before = self.sleeps;
            for _ in 0..times {
                self.us += us;
                self.m.heard(port, frames, more, Instant(self.us * 1000));
                self.sleeps += u32::from(self.m.pause().is_some());
                assert_eq!(self.m.pause(), None, "once for each batch");
            }
            self.sleeps - before
        }
    }

    #[test]
    fn a_fast_stream_sleeps_behind_small_batches_once_it_has_lasted() {
        let (one, four, large) = (frames(1, false), frames(4, false), frames(16, false));
        let mut t = Told::new();
        assert_eq!(
            t.batches(100, 10, A, &one, false),
            0,
            "the first millisecond"
        );
        assert_eq!(t.batches(100, 10, A, &one, false), 100);
        // The sleeps themselves make batches larger and fewer.
        assert_eq!(t.batches(100, 60, A, &four, false), 100);
        assert_eq!(t.batches(100, 60, A, &large, true), 0, "no time to spare");
        // Another thread had the core: many wait.
        assert_eq!(t.batches(10, 4_000, A, &four, true), 10);
        assert_eq!(t.batches(10, 20_000, A, &one, false), 0, "a silence");
    }

    #[test]
    fn a_slow_one_is_not_kept_waiting() {
        let mut t = Told::new();
        let (one, ten) = (frames(1, false), frames(10, false));
        assert_eq!(t.batches(1000, 20, A, &one, false), 0, "50,000 a second");
        assert_eq!(t.batches(100, 1_500, A, &ten, false), 0);
    }

    #[test]
    fn exchanges_and_tcp_are_not_moderated() {
        let (udp, tcp) = (frames(2, false), frames(2, true));
        let mut t = Told::new();
        for _ in 0..1000 {
            assert_eq!(t.batches(1, 5, A, &udp, false), 0);
            assert_eq!(t.batches(1, 5, B, &udp, false), 0, "answers come back");
        }
        assert_eq!(t.batches(1000, 5, A, &tcp, false), 0);
        assert!(t.batches(1000, 5, A, &udp, false) > 700);
        assert_eq!(t.batches(1, 5, A, &tcp, false), 0);
        let mixed: Vec<Frame> = frames(2, false)
            .into_iter()
            .chain(frames(1, true))
            .collect();
        assert_eq!(t.batches(1000, 5, A, &mixed, false), 0);
    }

    #[test]
    fn zero_is_never() {
        let mut m = Moderation::new(Duration::ZERO);
        for n in 1..2000 {
            m.heard(A, &frames(1, false), false, Instant(n * 5_000));
            assert_eq!(m.pause(), None);
        }
    }
}
