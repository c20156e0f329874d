//! Token buckets for the ICMP errors and resets that the switch makes (RFC 1812 section 4.3.2.8).

use crate::base::{Instant, PortId};
use std::sync::{Mutex, PoisonError};

#[derive(Clone, Copy)]
struct Level {
    tokens: u64,
    filled: Instant,
}

/// At most `per_second` in the long run, `burst` at once, towards each port: who provokes errors
/// without end silences nobody else's. One for all workers, so that it does not matter which of
/// them gets the frame.
pub struct Budget {
    per_second: u64,
    burst: u64,
    levels: Box<[Mutex<Level>]>,
}

impl Budget {
    /// Full buckets.
    pub fn new(per_second: u64, burst: u64) -> Budget {
        let full = Level {
            tokens: burst,
            filled: Instant::ZERO,
        };
        Budget {
            per_second,
            burst,
            levels: (0..PortId::MAX_PORTS).map(|_| Mutex::new(full)).collect(),
        }
    }

    /// Takes one for what goes to `port`; false when none is left.
    pub fn take(&self, port: PortId, now: Instant) -> bool {
        let Some(level) = self.levels.get(port.index()) else {
            return false;
        };
        let mut l = level.lock().unwrap_or_else(PoisonError::into_inner);
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
        let taken = |port, t| (0..5).filter(|_| b.take(PortId(port), t)).count();
        let t = Instant::from_secs(5);
        assert_eq!(taken(7, t), 3);
        assert_eq!(taken(7, Instant::from_millis(5_200)), 2);
        assert_eq!(
            taken(7, t),
            0,
            "a clock that is a batch behind gains nothing"
        );
        assert_eq!(taken(8, t), 3, "another port has its own");
        assert!(!b.take(PortId::NONE, t));
    }
}
