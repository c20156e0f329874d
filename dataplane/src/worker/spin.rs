//! How long a worker polls before it blocks.

use crate::base::time::Instant;
use nix::sys::resource::{UsageWho, getrusage};
use std::time::Duration;

/// Whether to poll once more or to block.
///
/// A spin is worth its time when the next frame comes within it, as in a request/response
/// exchange, where it saves the wake-up. One that a frame would have ended a little later makes the
/// next twice as long, up to a limit: the peer's own wake-up is part of the exchange. Where spins
/// end in vain (a few in a row) the next waits block at once, for longer and longer, and then a
/// short one is tried again.
///
/// The same goes for spins from which the core was taken: somebody else wants it. Two looks at the
/// clock in one spin are less than a microsecond apart, unless the thread did not run in between;
/// then the kernel is asked whether another thread did (on a virtual machine the core itself may
/// have stood still). Whoever blocks gives the core up at once, and the scheduler gives it back
/// sooner to a sleeper that wakes up than to a thread that has spun its share away.
pub(super) struct Spin {
    /// Longest that it may become.
    max: Duration,
    length: Duration,
    /// When the last one began that ended in vain, until the next look at the clock.
    missed: Option<Instant>,
    /// When the spin in progress began.
    since: Option<Instant>,
    /// The last look at the clock in it.
    last: Instant,
    /// Spins in a row that ended in a block.
    vain: u32,
    /// Waits that block at once.
    skip: u32,
    /// How often other threads took the core from this one, ever.
    preemptions: fn() -> i64,
    /// The same when it was last asked for.
    seen: i64,
}

/// Involuntary context switches of the calling thread (getrusage(2), `ru_nivcsw`).
fn preemptions() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |u| u.involuntary_context_switches())
}

/// Length of the first spin: about what a wake-up costs.
const FIRST: Duration = Duration::from_micros(50);
/// What came within so many lengths after a spin began was only just missed (it was late by a
/// wake-up of our own, too).
const JUST: u32 = 4;
/// Spins in vain before some are left out.
const VAIN: u32 = 4;
/// Most waits that are left out before the next try.
const SKIP_MAX: u32 = 64;
/// Waits that are left out after somebody else had the core.
const SKIP_TAKEN: u32 = 256;
/// So long a gap is no interrupt.
const TAKEN: Duration = Duration::from_micros(200);

impl Spin {
    /// Spins of at most `max`; zero: none.
    pub(super) fn new(max: Duration) -> Spin {
        Spin::with(max, preemptions)
    }

    fn with(max: Duration, preemptions: fn() -> i64) -> Spin {
        Spin {
            max,
            length: max.min(FIRST),
            missed: None,
            since: None,
            last: Instant(0),
            vain: 0,
            skip: 0,
            preemptions,
            seen: 0,
        }
    }

    /// Whether another thread had the core since this was last asked, or ever.
    fn taken(&mut self) -> bool {
        let before = std::mem::replace(&mut self.seen, (self.preemptions)());
        self.seen != before
    }

    /// Whether a worker that has nothing to do would poll at all just now.
    pub(super) fn may_begin(&self) -> bool {
        !self.max.is_zero() && self.skip == 0
    }

    /// Nothing is ready: true to poll again, false to block.
    pub(super) fn go_on(&mut self, now: Instant) -> bool {
        if self.max.is_zero() {
            return false;
        }
        if let Some(began) = self.missed.take() {
            self.judge(now.since(began));
        }
        let Some(since) = self.since else {
            if self.skip > 0 {
                self.skip -= 1;
                return false;
            }
            (self.since, self.last) = (Some(now), now);
            return true;
        };
        if now.since(self.last) >= TAKEN && self.taken() {
            self.since = None;
            self.skip = SKIP_TAKEN;
            return false;
        }
        self.last = now;
        if now.since(since) < self.length {
            return true;
        }
        (self.since, self.missed) = (None, Some(since));
        false
    }

    /// A spin ended in a block, and the next frame came `after` its beginning.
    fn judge(&mut self, after: Duration) {
        if after < self.length * JUST && self.length < self.max {
            self.length = (self.length * 2).min(self.max);
            return;
        }
        self.vain = self.vain.saturating_add(1);
        if self.vain >= VAIN {
            self.skip = (1 << (self.vain - VAIN).min(6)).min(SKIP_MAX);
            self.length = self.max.min(FIRST);
        }
    }

    /// Something is ready. If a spin was in progress, it found it.
    pub(super) fn worked(&mut self) {
        if self.since.take().is_some() {
            self.vain = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(us: u64) -> Instant {
        Instant(us * 1000)
    }

    #[test]
    fn spins_while_it_pays() {
        let mut s = Spin::new(Duration::from_micros(50));
        // A frame every 20 µs: never blocks.
        for n in 0..100 {
            assert!(s.go_on(at(n * 20)));
            assert!(s.go_on(at(n * 20 + 19)));
            s.worked();
        }
        // Silence between frames: blocks after 50 µs, and after some of these at once.
        let mut spun = 0;
        for n in 0..1000u64 {
            let t = 10_000 + n * 1000;
            if s.go_on(at(t)) {
                spun += 1;
                assert!(s.go_on(at(t + 49)));
                assert!(!s.go_on(at(t + 50)));
            }
            s.worked();
        }
        assert!((4..40).contains(&spun), "{spun}");
        // Frames close to each other again: found out within SKIP_MAX waits.
        let mut blocked = 0;
        for n in 0..200u64 {
            if !s.go_on(at(2_000_000 + n * 20)) {
                blocked += 1;
            }
            s.worked();
        }
        assert!(blocked <= u64::from(SKIP_MAX), "{blocked}");
    }

    #[test]
    fn grows_while_it_is_only_just_too_short() {
        let mut s = Spin::with(Duration::from_micros(150), || panic!("nothing to ask"));
        let (mut t, mut caught) = (0, Vec::new());
        // A frame every 90 µs, and 30 µs more when it has to wake us.
        for _ in 0..6 {
            let begun = t;
            let mut spinning = true;
            while t < begun + 90 && spinning {
                spinning = s.go_on(at(t));
                t += 1;
            }
            caught.push(spinning);
            t = begun + if spinning { 90 } else { 120 };
            s.worked();
        }
        assert_eq!(caught, [false, true, true, true, true, true]);
        // Never longer than allowed.
        assert!(s.go_on(at(t)));
        assert!(s.go_on(at(t + 99)));
        assert!(!s.go_on(at(t + 100)));
        s.worked();
        assert!(s.go_on(at(t + 250)));
        assert!(s.go_on(at(t + 250 + 149)));
        assert!(!s.go_on(at(t + 250 + 150)));
        // Silence: short again, when it is tried again at all.
        let (mut longest, mut t) = (0, t + 10_000);
        for _ in 0..200 {
            let begun = t;
            while s.go_on(at(t)) {
                t += 1;
            }
            longest = t - begun;
            t = begun + 5_000;
            s.worked();
        }
        assert!(longest <= 50, "{longest}");
    }

    #[test]
    fn blocks_at_once_after_the_core_was_taken() {
        let mut s = Spin::with(Duration::from_millis(1), || 1);
        assert!(s.go_on(at(0)));
        assert!(s.go_on(at(1)));
        // Nearly 3 ms in one step: somebody else ran.
        assert!(!s.go_on(at(2_900)));
        let mut t = 3_000;
        for _ in 0..SKIP_TAKEN {
            assert!(!s.go_on(at(t)));
            s.worked();
            t += 20;
        }
        // Then it is tried again.
        assert!(s.go_on(at(t)));
        // A gap without one more preemption: the machine stood still, nobody wants the core.
        assert!(!s.go_on(at(t + 1_500)));
        s.worked();
        assert!(s.go_on(at(t + 1_600)));
    }

    #[test]
    fn time_at_work_is_no_time_of_somebody_else() {
        let mut s = Spin::with(Duration::from_micros(50), || panic!("nothing to ask"));
        assert!(s.go_on(at(0)));
        s.worked();
        // A long batch lies between two spins.
        assert!(s.go_on(at(5_000)));
        assert!(s.go_on(at(5_001)));
    }

    #[test]
    fn the_kernel_counts_preemptions() {
        assert!(preemptions() >= 0);
        assert!(getrusage(UsageWho::RUSAGE_THREAD).is_ok());
    }
}
