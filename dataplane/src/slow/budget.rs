//! A token bucket for the ICMP errors that the switch makes (RFC 1812 section 4.3.2.8).

use crate::base::Instant;
use std::sync::{Mutex, PoisonError};

struct Level {
    tokens: u64,
    filled: Instant,
}

/// At most `per_second` in the long run, `burst` at once. One for all workers, so that it does
/// not matter which of them gets the frame.
pub struct Budget {
    per_second: u64,
    burst: u64,
    level: Mutex<Level>,
}

impl Budget {
    /// A full bucket.
    pub fn new(per_second: u64, burst: u64) -> Budget {
        Budget {
            per_second,
            burst,
            level: Mutex::new(Level {
                tokens: burst,
                filled: Instant::ZERO,
            }),
        }
    }

    /// Takes one; false when none is left.
    pub fn take(&self, now: Instant) -> bool {
        let mut l = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let ns_each = 1_000_000_000 / self.per_second.max(1);
        let gained = now.0.saturating_sub(l.filled.0) / ns_each;
        if gained > 0 {
            l.tokens = l.tokens.saturating_add(gained).min(self.burst);
            l.filled = Instant(l.filled.0 + gained * ns_each);
        }
        let ok = l.tokens > 0;
        l.tokens = l.tokens.saturating_sub(1);
        ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_then_trickles() {
        let b = Budget::new(10, 3);
        let t = Instant::from_secs(5);
        assert_eq!((0..5).filter(|_| b.take(t)).count(), 3);
        assert_eq!(
            (0..5)
                .filter(|_| b.take(Instant::from_millis(5_200)))
                .count(),
            2
        );
        assert!(!b.take(t), "a clock that is a batch behind gains nothing");
    }
}
