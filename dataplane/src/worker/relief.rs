//! A second worker for sustained bulk.
//!
//! A worker that reads all lanes binds several bulk streams to one core. A second one that shared
//! them always would cost all else more wake-ups than it is worth. So it sleeps until the first has
//! been busy for a while with bulk by several lanes; then it is given half of these, and gives each
//! back when its bulk is over. Answers stay with the first.
//!
//! A lane changes hands between two batches of the worker that gives it: all that came by it has been
//! written by then, so its frames stay in order.

use super::lane::Lane;
use super::messages::Command;
use crate::base::{Instant, PortId};
use crossbeam_channel::Sender;
use mio::Waker;
use std::sync::Arc;
use std::time::Duration;

/// How long frames are counted before anything is decided.
const PERIOD: Duration = Duration::from_millis(10);
/// Bytes of a batch of bulk, at least.
const BULK: usize = 32 * 1024;
/// Such batches of a lane in a period that make it a bulk stream's: 0.2 Gbit/s.
const BATCHES: u32 = 8;
/// Periods of bulk before a lane is given, and periods without before it is given back.
const SUSTAINED: u128 = 3;
/// A worker that waits for a fourth of a period or more needs no help.
const SPARE: u32 = 4;

/// The other one of the two.
pub(super) struct Peer {
    pub commands: Sender<Command>,
    pub waker: Arc<Waker>,
}

/// What one of two workers knows of the lanes and of bulk.
#[derive(Default)]
pub(super) struct Relief {
    /// `None`: it is on its own, and nothing here does anything.
    peer: Option<Peer>,
    second: bool,
    /// Of the period in progress: its beginning, how long the worker waited in it, and the lanes'
    /// batches of bulk.
    since: Instant,
    waited: Duration,
    bulk: Vec<(Lane, u32)>,
    /// Of the first: periods in which it needed help.
    pressed: u128,
    /// The lanes that the second one has. It counts the periods that each was without bulk.
    given: Vec<(Lane, u128)>,
}

impl Relief {
    /// One of two: `peer` is the other, and the `second` has only the lanes that it is given.
    pub fn beside(peer: Peer, second: bool) -> Relief {
        Relief {
            peer: Some(peer),
            second,
            ..Relief::default()
        }
    }

    /// Whether ports' lanes are not this worker's when they are added.
    pub fn is_second(&self) -> bool {
        self.second
    }

    /// A lane gave a batch of so many bytes.
    #[inline]
    pub fn served(&mut self, lane: Lane, bytes: usize) {
        if bytes >= BULK && self.peer.is_some() {
            match self.bulk.iter_mut().find(|(l, _)| *l == lane) {
                Some((_, n)) => *n += 1,
                None => self.bulk.push((lane, 1)),
            }
        }
    }

    /// The worker had nothing to do for so long.
    #[inline]
    pub fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// Gives a lane to the other worker, which must be watched by nobody any more.
    pub fn give(&self, lane: Lane) {
        if let Some(peer) = &self.peer {
            // One that can't be told has ended, as this one is about to.
            let _ = peer.commands.send(Command::Take(lane));
            let _ = peer.waker.wake();
        }
    }

    /// The other worker gave this lane.
    pub fn taken(&mut self, lane: Lane, now: Instant) {
        self.given.retain(|(l, _)| *l != lane);
        if self.second {
            if self.given.is_empty() {
                self.begin(now);
            }
            self.given.push((lane, 0));
        }
    }

    /// A port is gone.
    pub fn forget(&mut self, port: PortId) {
        self.given.retain(|(l, _)| l.port != port);
        self.bulk.retain(|(l, _)| l.port != port);
    }

    /// The lanes that the other worker is to have from now on. To be called between batches.
    #[inline]
    pub fn due(&mut self, now: Instant) -> Vec<Lane> {
        let lasted = now.since(self.since);
        if self.peer.is_none() || lasted < PERIOD {
            return Vec::new();
        }
        let spare = self.waited * SPARE >= lasted;
        let periods = lasted.as_nanos() / PERIOD.as_nanos();
        let mut bulk = self.begin(now);
        bulk.retain(|(_, n)| *n >= BATCHES);
        match self.second {
            true => self.back(&bulk, periods),
            false => self.over(&bulk, spare),
        }
    }

    /// A period begins; gives what was counted in the last one.
    fn begin(&mut self, now: Instant) -> Vec<(Lane, u32)> {
        self.since = now;
        self.waited = Duration::ZERO;
        std::mem::take(&mut self.bulk)
    }

    /// What the first one gives: so many that both have as many bulk streams then.
    fn over(&mut self, bulk: &[(Lane, u32)], spare: bool) -> Vec<Lane> {
        let half = bulk.len().saturating_sub(self.given.len()) / 2;
        if half == 0 || spare {
            self.pressed = 0;
            return Vec::new();
        }
        self.pressed += 1;
        if self.pressed < SUSTAINED {
            return Vec::new();
        }
        self.pressed = 0;
        let give: Vec<Lane> = bulk.iter().take(half).map(|(l, _)| *l).collect();
        self.given.extend(give.iter().map(|l| (*l, 0)));
        give
    }

    /// What the second one gives back.
    fn back(&mut self, bulk: &[(Lane, u32)], periods: u128) -> Vec<Lane> {
        for (lane, without) in &mut self.given {
            match bulk.iter().any(|(l, _)| l == lane) {
                true => *without = 0,
                false => *without += periods,
            }
        }
        let over = |&mut (_, without): &mut (Lane, u128)| without >= SUSTAINED;
        self.given.extract_if(.., over).map(|(l, _)| l).collect()
    }
}

#[cfg(test)]
#[path = "relief_tests.rs"]
mod tests;
