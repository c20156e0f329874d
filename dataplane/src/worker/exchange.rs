//! Which lane the next frame will come by, while a worker carries nothing but one exchange.
//!
//! In a request/response exchange, or a ping, single frames come by two lanes in turn. Whoever
//! reads the other lane at once finds the answer that a write brought about before that returned,
//! and needs no event: an `epoll_wait` that has one costs 1.3 µs here, an empty read 0.35.

use super::lane::Lane;

/// Single frames by lanes in turn after which this is taken for an exchange.
const ENOUGH: u32 = 4;
/// Single frames by the same two lanes after which the exchange is taken for a long one.
const LONG: u32 = 64;
/// Most lanes that are ready at a time in an exchange.
const LANES: usize = 2;
/// Guesses, if each finds a frame, until events are looked at: a request and its answer. Others
/// wait no longer for them.
const GUESSES: u8 = 2;

/// What the last frames say of the next.
#[derive(Default)]
pub(super) struct Exchange {
    /// The lanes that had a frame last, the latest first.
    recent: [Option<Lane>; 2],
    /// Frames in a row that came alone, and not by the lane of the one before.
    alternating: u32,
    /// The last of these, as many as came by the lane of the one before the last: by two lanes.
    same: u32,
    /// Guesses since events were looked at.
    guesses: u8,
    /// Whether a frame came since the last one.
    found: bool,
}

impl Exchange {
    /// Whether nothing but an exchange is going on.
    pub(super) const fn is_on(&self) -> bool {
        self.alternating >= ENOUGH
    }

    /// A lane had this many frames.
    pub(super) fn found(&mut self, lane: Lane, frames: usize) {
        self.found = true;
        let [last, before] = self.recent;
        let changes = last != Some(lane);
        if changes {
            self.recent = [Some(lane), last];
        }
        if !changes || frames > 1 {
            return self.end();
        }
        self.alternating = self.alternating.saturating_add(1);
        self.same = match before == Some(lane) {
            true => self.same.saturating_add(1),
            false => 0,
        };
    }

    /// Something else came.
    fn end(&mut self) {
        (self.alternating, self.same) = (0, 0);
    }

    /// So many lanes were ready at a time.
    pub(super) fn ready(&mut self, lanes: usize) {
        self.guesses = 0;
        if lanes > LANES {
            self.end();
        }
    }

    /// The lane to be read before events are looked at.
    pub(super) fn guess(&mut self) -> Option<Lane> {
        let wrong = self.guesses > 0 && !self.found;
        if !self.is_on() || wrong || self.guesses >= GUESSES {
            return None;
        }
        self.guesses += 1;
        self.found = false;
        self.expected()
    }

    /// The lane by which an exchange goes on.
    pub(super) fn expected(&self) -> Option<Lane> {
        let [_, before] = self.recent;
        before.filter(|_| self.is_on())
    }

    /// The lanes of an exchange that goes on by the same two for long.
    pub(super) fn settled(&self) -> Option<[Lane; 2]> {
        let [last, before] = self.recent;
        let both = last.zip(before).map(<[Lane; 2]>::from);
        both.filter(|_| self.same >= LONG)
    }

    /// Whether an exchange goes on, by both of these lanes.
    pub(super) fn goes_on_by(&self, mut lanes: impl Iterator<Item = Lane>) -> bool {
        self.is_on() && lanes.all(|l| self.recent.contains(&Some(l)))
    }

    /// A lane is gone.
    pub(super) fn forget(&mut self, lane: Lane) {
        if self.recent.contains(&Some(lane)) {
            *self = Exchange::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::PortId;

    fn lane(n: u16) -> Lane {
        PortId(n).into()
    }

    /// Frames by these lanes, one at a time.
    fn after(lanes: &[u16]) -> Exchange {
        let mut e = Exchange::default();
        for n in lanes {
            e.ready(1);
            e.found(lane(*n), 1);
        }
        e.ready(0);
        e
    }

    #[test]
    fn the_other_lane_is_guessed_until_that_is_wrong_and_twice_at_most() {
        let mut e = after(&[1, 2, 1, 2]);
        assert_eq!((e.guess(), e.guess()), (Some(lane(1)), None));
        e.ready(0);
        assert_eq!(e.guess(), Some(lane(1)));
        e.found(lane(1), 1);
        assert_eq!(e.guess(), Some(lane(2)));
        e.found(lane(2), 1);
        assert_eq!(e.guess(), None, "others have to be looked for");
        e.ready(0);
        assert_eq!(e.guess(), Some(lane(1)));
        assert_eq!(after(&[1, 2, 1]).guess(), None, "too early");
    }

    #[test]
    fn bursts_one_way_streams_and_crowds_are_no_exchange() {
        assert_eq!(after(&[1, 1, 1, 1, 1, 1]).guess(), None);
        assert_eq!(after(&[1, 2, 1, 2, 2]).guess(), None);
        let mut e = after(&[1, 2, 1, 2]);
        e.found(lane(1), 2);
        assert!(!e.is_on());
        let mut e = after(&[1, 2, 1, 2]);
        e.ready(3);
        assert!(!e.is_on());
    }

    #[test]
    fn a_lane_that_is_gone_is_not_guessed() {
        let mut e = after(&[1, 2, 1, 2]);
        e.forget(lane(3));
        assert!(e.is_on());
        e.forget(lane(1));
        assert_eq!(e.guess(), None);
    }
}
