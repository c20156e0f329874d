//! Ticks that sort: for tables that keep an order of time beside them.

use super::Tick;

/// Widens ticks, which wrap, to 64 bits, which sort. Knows one moment under both numbers; any
/// other tick is as far from it in one as in the other.
#[derive(Clone, Copy, Default)]
pub struct WideClock(Option<(Tick, u64)>);

/// The first moment. Ticks before it get positive numbers too.
const ORIGIN: u64 = 1 << 33;

impl WideClock {
    /// Time goes on to `now`. Never backwards.
    pub fn advance(&mut self, now: Tick) {
        self.0 = Some(match self.0 {
            None => (now, ORIGIN),
            Some((last, wide)) => match now.since(last) {
                0 => (last, wide),
                d => (now, wide + u64::from(d)),
            },
        });
    }

    /// The moment to which it was advanced.
    pub fn now(&self) -> Option<Tick> {
        self.0.map(|(now, _)| now)
    }

    /// A tick in the past (or now) as a number that sorts.
    pub fn past(&self, t: Tick) -> u64 {
        let (now, wide) = self.0.unwrap_or((t, ORIGIN));
        wide - u64::from(now.since(t))
    }

    /// A tick in the future (or past) as a number that sorts.
    pub fn future(&self, t: Tick) -> u64 {
        let (now, wide) = self.0.unwrap_or((t, ORIGIN));
        if t.reached(now) {
            wide + u64::from(t.since(now))
        } else {
            wide - u64::from(now.since(t))
        }
    }

    /// The tick of a number that [`WideClock::future`] gave; now for one that has passed.
    pub fn tick(&self, wide: u64) -> Option<Tick> {
        let (now, at) = self.0?;
        Some(now.plus(u32::try_from(wide.saturating_sub(at)).unwrap_or(i32::MAX as u32)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_across_the_wrap_of_ticks() {
        let mut c = WideClock::default();
        assert_eq!((c.now(), c.tick(0)), (None, None));
        c.advance(Tick(u32::MAX - 10));
        let before = c.past(Tick(u32::MAX - 20));
        let after = c.future(Tick(5));
        assert_eq!(after - before, 26);
        c.advance(Tick(5));
        assert_eq!((c.past(Tick(5)), c.now()), (after, Some(Tick(5))));
        c.advance(Tick(u32::MAX));
        assert_eq!(c.now(), Some(Tick(5)), "never backwards");
        assert_eq!(c.future(Tick(u32::MAX - 20)), before);
        assert_eq!(c.tick(c.future(Tick(9))), Some(Tick(9)));
        assert_eq!(c.tick(before), Some(Tick(5)));
    }
}
