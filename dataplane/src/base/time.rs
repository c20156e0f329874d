//! Time as an argument. Nothing in this crate reads a clock.

use std::ops::Add;
use std::time::Duration;

/// Nanoseconds since an origin that the caller chose (the daemon: its start).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// The origin.
    pub const ZERO: Instant = Instant(0);

    /// `n` milliseconds after the origin.
    pub const fn from_millis(n: u64) -> Instant {
        Instant(n * 1_000_000)
    }

    /// `n` seconds after the origin.
    pub const fn from_secs(n: u64) -> Instant {
        Instant(n * 1_000_000_000)
    }

    /// Whole milliseconds since the origin.
    pub const fn millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The coarse time that tables store.
    pub const fn tick(self) -> Tick {
        Tick((self.0 / 1_000_000) as u32)
    }

    /// Eighths of a second modulo 2^16 (2.3 hours), for decisions that hold for minutes.
    pub const fn eighth(self) -> u16 {
        (self.0 / 125_000_000) as u16
    }

    /// Time since `earlier`, zero if `earlier` is later.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, d: Duration) -> Instant {
        Instant(
            self.0
                .saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// Coarse time: milliseconds modulo 2^32 (49.7 days). Compared by wrapping difference, so spans
/// of up to 24 days are told apart; no table keeps an idle entry that long.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Tick(pub u32);

impl Tick {
    /// Milliseconds from `earlier` to `self`; 0 when `earlier` is later (another worker's clock
    /// may be a batch ahead).
    pub const fn since(self, earlier: Tick) -> u32 {
        let d = self.0.wrapping_sub(earlier.0);
        if d > i32::MAX as u32 { 0 } else { d }
    }

    /// `ms` milliseconds later.
    #[must_use]
    pub const fn plus(self, ms: u32) -> Tick {
        Tick(self.0.wrapping_add(ms))
    }

    /// Whether `self` is at or after `other`.
    pub const fn reached(self, other: Tick) -> bool {
        self.0.wrapping_sub(other.0) <= i32::MAX as u32
    }
}

/// A duration as whole milliseconds for [`Tick`] arithmetic, capped at 24 days.
pub fn millis_u32(d: Duration) -> u32 {
    u32::try_from(d.as_millis())
        .unwrap_or(u32::MAX)
        .min(i32::MAX as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_wrap() {
        let a = Tick(u32::MAX - 5);
        assert_eq!(a.plus(10).since(a), 10);
        assert_eq!(a.since(a.plus(10)), 0);
        assert!(a.plus(10).reached(a) && !a.reached(a.plus(10)) && a.reached(a));
    }
}
