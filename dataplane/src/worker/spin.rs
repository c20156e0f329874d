//! How long a worker polls before it blocks.

use crate::base::time::Instant;
use nix::sys::resource::{UsageWho, getrusage};
use std::time::Duration;

/// Whether to poll once more or to block.
///
/// A spin is worth its time when the next frame comes within it, as in a request/response
/// exchange, where it saves the wake-up. Where spins end in vain (a few in a row) the next waits
/// block at once, for longer and longer, and then it is tried again.
///
/// The same goes for spins from which the core was taken: somebody else wants it. Two looks at the
/// clock in one spin are less than a microsecond apart, unless the thread did not run in between;
/// then the kernel is asked whether another thread did (on a virtual machine the core itself may
/// have stood still). Whoever blocks gives the core up at once, and the scheduler gives it back
/// sooner to a sleeper that wakes up than to a thread that has spun its share away.
pub(super) struct Spin {
    length: Duration,
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

/// Spins in vain before some are left out.
const VAIN: u32 = 4;
/// Most waits that are left out before the next try.
const SKIP_MAX: u32 = 64;
/// Waits that are left out after somebody else had the core.
const SKIP_TAKEN: u32 = 256;
/// So long a gap is no interrupt.
const TAKEN: Duration = Duration::from_micros(200);

impl Spin {
    pub(super) fn new(length: Duration) -> Spin {
        Spin::with(length, preemptions)
    }

    fn with(length: Duration, preemptions: fn() -> i64) -> Spin {
        Spin {
            length,
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

    /// Nothing is ready: true to poll again, false to block.
    pub(super) fn go_on(&mut self, now: Instant) -> bool {
        if self.length.is_zero() {
            return false;
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
        self.since = None;
        self.vain = self.vain.saturating_add(1);
        if self.vain >= VAIN {
            self.skip = (1 << (self.vain - VAIN).min(6)).min(SKIP_MAX);
        }
        false
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
        // Then it is tried again, and goes on while nobody does.
        for us in 0..900 {
            assert!(s.go_on(at(t + us)));
        }
        s.worked();
        assert!(s.go_on(at(t + 1_000)));
        // A gap without one more preemption: the machine stood still.
        assert!(s.go_on(at(t + 1_500)));
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
