//! How long a worker polls before it blocks.

use crate::base::time::Instant;
use std::time::Duration;

/// Whether to poll once more or to block.
///
/// A spin is worth its time when the next frame comes within it, as in a request/response
/// exchange, where it saves the wake-up. Where spins end in vain (a few in a row) the next waits
/// block at once, for longer and longer, and then it is tried again.
pub(super) struct Spin {
    length: Duration,
    /// When the spin in progress began.
    since: Option<Instant>,
    /// Spins in a row that ended in a block.
    vain: u32,
    /// Waits that block at once.
    skip: u32,
}

/// Spins in vain before some are left out.
const VAIN: u32 = 4;
/// Most waits that are left out before the next try.
const SKIP_MAX: u32 = 64;

impl Spin {
    pub(super) fn new(length: Duration) -> Spin {
        Spin {
            length,
            since: None,
            vain: 0,
            skip: 0,
        }
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
            self.since = Some(now);
            return true;
        };
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
}
