//! How a worker waits: mio, after a short spin.
//!
//! Descriptors are watched by edge (`EPOLLET`): an event puts its lane on the ready list, and the
//! worker keeps it in sight ([`Wait::again`]) until a read says that nothing is left. An error or a
//! hang-up is an event too, so the next read finds out. Because an edge comes once, a lane whose
//! reads keep failing can't make the worker run in circles: [`Wait::failed`] sets it aside for a
//! while.
//!
//! A lane that had more than one read takes is served behind those that just became ready, and one
//! such lane a round, so that what is new never waits for more than one batch of a bulk stream (the
//! idea of sparse flows in RFC 8290 §4.1). Among such lanes each has a turn of many rounds.
//!
//! In an exchange the next lane is known without an event (`exchange.rs`). It ends a round,
//! so that between a frame and its answer no timer is looked at. If it lasts, its lanes are not even
//! watched (`hold.rs`).
//!
//! ```text
//! loop {
//!     while let Some(lane) = wait.next_ready() {
//!         match recv(lane) { more => wait.again(lane, bytes), failed => wait.failed(lane, now), .. }
//!     }
//!     if let Some(lanes) = wait.settled() { wait.hold(lanes) }
//!     wait.turn(now, next_timer)?;      // harvest; spin; block
//!     now = clock();
//! }
//! ```

use super::exchange::Exchange;
use super::hold::Hold;
use super::lane::{Lane, lanes, unwatch};
use super::spin::Spin;
use crate::base::PortId;
use crate::base::time::Instant;
use crate::port::PortQueue;
use mio::{Events, Poll, Token, Waker};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

/// Longest spin before a worker blocks, unless told otherwise. It begins with what a wake-up costs,
/// and grows only while that proves a little too short.
pub const SPIN: Duration = Duration::from_micros(200);
/// How long a port whose read failed is left alone.
pub const SET_ASIDE: Duration = Duration::from_millis(10);

const WAKER: Token = Token(usize::MAX);
/// Events taken in one call; what is beyond comes with the next.
const EVENTS: usize = 256;

/// Bytes for which a lane with a backlog is served before the next one is. Streams that alternate
/// with each superframe cost a quarter of their throughput, since each wakes a receiver of its own.
const STAY: usize = 2 << 20;
/// What a round counts for at least, since small frames take their time too.
const ROUND: usize = 64 << 10;

/// What the wait found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Turn {
    /// The waker was used: look at the command channel.
    pub woken: bool,
    /// The worker did not only look: it blocked.
    pub slept: bool,
}

/// One worker's wait.
pub struct Wait {
    poll: Poll,
    events: Events,
    ready: VecDeque<Lane>,
    /// Bits of lanes that are on one of the two lists, by port.
    is_ready: Box<[u8]>,
    /// Lanes of the ready list that belong to the current round.
    round: usize,
    aside: Vec<(Lane, Instant)>,
    /// Lanes whose last read left something behind.
    backlog: VecDeque<Lane>,
    /// Whether the round has yet to serve one of those.
    one: bool,
    /// The lane of those that is served, and for how many more bytes it is.
    current: Option<Lane>,
    left: usize,
    spin: Spin,
    exchange: Exchange,
    held: Hold,
}

impl Wait {
    /// A wait that watches nothing yet, and the handle by which other threads end it. It spins for
    /// `spin` at most; zero always blocks at once.
    pub fn new(spin: Duration) -> io::Result<(Wait, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let wait = Wait {
            poll,
            events: Events::with_capacity(EVENTS),
            ready: VecDeque::with_capacity(EVENTS),
            is_ready: vec![0; PortId::MAX_PORTS].into_boxed_slice(),
            round: 0,
            aside: Vec::new(),
            backlog: VecDeque::new(),
            one: false,
            current: None,
            left: 0,
            spin: Spin::new(spin),
            exchange: Exchange::default(),
            held: Hold::default(),
        };
        Ok((wait, waker))
    }

    /// Watches all lanes of a port's queue, which must live until [`Wait::remove_queue`].
    pub fn add_queue(&mut self, port: PortId, queue: &dyn PortQueue) -> io::Result<()> {
        lanes(port, queue).try_for_each(|(lane, fd)| self.add(lane, fd))
    }

    /// Forgets a port's queue. To be called before it is closed.
    pub fn remove_queue(&mut self, port: PortId, queue: &dyn PortQueue) {
        lanes(port, queue).for_each(|(lane, fd)| self.remove(lane, fd));
    }

    /// Watches `fd`, which must stay open until [`Wait::remove`]. The lane is ready at once, for
    /// what came in before.
    pub fn add(&mut self, lane: impl Into<Lane>, fd: RawFd) -> io::Result<()> {
        let lane = lane.into();
        lane.watch(self.poll.registry(), fd)?;
        self.mark(lane);
        Ok(())
    }

    /// Forgets a lane. To be called before `fd` is closed.
    pub fn remove(&mut self, lane: impl Into<Lane>, fd: RawFd) {
        let lane = lane.into();
        // One that is held, or was never added, is not watched, which is the wanted state.
        unwatch(self.poll.registry(), fd);
        self.held.forget(lane);
        self.exchange.forget(lane);
        self.aside.retain(|&(l, _)| l != lane);
        self.backlog.retain(|&l| l != lane);
        if let Some(at) = self.ready.iter().position(|&l| l == lane) {
            self.ready.remove(at);
            if at < self.round {
                self.round -= 1;
            }
        }
        self.leaves(lane);
    }

    /// Puts a lane on the ready list.
    pub fn mark(&mut self, lane: impl Into<Lane>) {
        let lane = lane.into();
        if self.is_new(lane) {
            self.ready.push_back(lane);
        }
    }

    /// Whether the lane is on neither list, to be put on one.
    fn is_new(&mut self, lane: Lane) -> bool {
        let Some(bits) = self.is_ready.get_mut(lane.port.index()) else {
            return false;
        };
        let before = *bits;
        *bits |= 1 << lane.lane;
        *bits != before
    }

    /// Notes that the lane is on no list.
    fn leaves(&mut self, lane: Lane) {
        if let Some(bits) = self.is_ready.get_mut(lane.port.index()) {
            *bits &= !(1 << lane.lane);
        }
    }

    /// The next ready lane of this round, and where none is left the one by which an exchange goes
    /// on; `None` ends the round. It leaves the list: say [`Wait::again`] if its read left something
    /// behind.
    pub fn next_ready(&mut self) -> Option<Lane> {
        let lane = if self.round > 0 {
            self.round -= 1;
            self.ready.pop_front()?
        } else if std::mem::take(&mut self.one) {
            let lane = self.backlog.pop_front()?;
            if self.current != Some(lane) {
                self.current = Some(lane);
                self.left = STAY;
            }
            lane
        } else {
            return self.guess();
        };
        self.leaves(lane);
        Some(lane)
    }

    /// Whether there may be nothing but an exchange.
    fn may_guess(&self) -> bool {
        self.spin.may_begin() && self.backlog.is_empty()
    }

    /// The lane by which an exchange goes on, if there is nothing but one.
    fn guess(&mut self) -> Option<Lane> {
        if !self.may_guess() {
            return None;
        }
        let lane = self.exchange.guess()?;
        if let Some(at) = self.ready.iter().position(|&l| l == lane) {
            self.ready.remove(at);
            self.leaves(lane);
        }
        Some(lane)
    }

    /// The next ready lane of this round that is one of `port`'s, before its turn.
    pub fn next_ready_of(&mut self, port: PortId) -> Option<Lane> {
        let round = self.ready.iter().take(self.round);
        let at = round.into_iter().position(|l| l.port == port)?;
        let lane = self.ready.remove(at)?;
        self.round -= 1;
        self.leaves(lane);
        Some(lane)
    }

    /// The lane may have more than the `bytes` that were read. In its turn it is served again, until
    /// others get theirs.
    pub fn again(&mut self, lane: impl Into<Lane>, bytes: usize) {
        let lane = lane.into();
        if !self.is_new(lane) {
            return;
        }
        if self.current == Some(lane) && self.left > 0 {
            self.left = self.left.saturating_sub(bytes.max(ROUND));
            self.backlog.push_front(lane);
        } else {
            self.current = None;
            self.backlog.push_back(lane);
        }
    }

    /// Reading failed for a reason that may pass: the lane is ready again in [`SET_ASIDE`].
    pub fn failed(&mut self, lane: impl Into<Lane>, now: Instant) {
        let lane = lane.into();
        self.aside.retain(|&(l, _)| l != lane);
        self.aside.push((lane, now + SET_ASIDE));
    }

    /// Ends a round and begins the next. Lanes that became ready since join the list. If there
    /// are none at all the call returns to be called again while the spin lasts, then blocks:
    /// until an event, the waker, or `next_timer`.
    pub fn turn(&mut self, now: Instant, next_timer: Option<Instant>) -> io::Result<Turn> {
        self.take_back(now);
        let idle = self.ready.is_empty() && self.backlog.is_empty();
        let block = idle && !self.spin.go_on(now);
        if !self.held.is_empty() {
            if block || !self.exchange.goes_on_by(self.held.lanes()) {
                self.held.release(self.poll.registry());
            } else if idle && self.held.only_reads() {
                // Nothing but the guess.
                (self.round, self.one) = (0, false);
                self.exchange.ready(0);
                return Ok(Turn::default());
            }
        }
        let timeout = match block {
            false => Some(Duration::ZERO),
            true => self.until(now, next_timer),
        };
        let slept = timeout != Some(Duration::ZERO);
        match self.poll.poll(&mut self.events, timeout) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
            Err(_) => self.events.clear(),
            Ok(()) => {}
        }
        let mut woken = false;
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for e in &events {
            match e.token() {
                WAKER => woken = true,
                token => self.mark(Lane::of(token)),
            }
        }
        self.events = events;
        self.round = self.ready.len();
        self.exchange.ready(self.round);
        self.one = !self.backlog.is_empty();
        if self.round > 0 || self.one {
            self.spin.worked();
        }
        self.round += self.mark_held();
        Ok(Turn { woken, slept })
    }

    /// Puts the lanes of which nobody tells on the ready list, but for the one that will be guessed.
    /// Gives how many.
    fn mark_held(&mut self) -> usize {
        let before = self.ready.len();
        let guessed = self.exchange.expected().filter(|_| self.may_guess());
        let held = std::mem::take(&mut self.held);
        let unread = held.lanes().filter(|&lane| Some(lane) != guessed);
        unread.for_each(|lane| self.mark(lane));
        self.held = held;
        self.ready.len() - before
    }

    /// Whether frames come singly, by two lanes in turn, and are polled for: a lane is best read for
    /// one frame then.
    pub fn in_exchange(&self) -> bool {
        self.exchange.is_on() && self.spin.may_begin()
    }

    /// The lanes of an exchange that has gone on for so long that [`Wait::hold`] is worth its calls.
    pub fn settled(&self) -> Option<[Lane; 2]> {
        let may = self.held.is_empty() && self.spin.may_begin();
        self.exchange.settled().filter(|_| may)
    }

    /// Stops watching lanes and their descriptors, which were added, while their exchange goes on:
    /// they are read without events.
    pub fn hold(&mut self, lanes: [(Lane, RawFd); 2]) {
        self.held.take(self.poll.registry(), lanes);
    }

    /// A read of the lane gave this many frames, more than none.
    pub fn found(&mut self, lane: Lane, frames: usize) {
        self.exchange.found(lane, frames);
        self.spin.worked();
    }

    /// Lanes that were set aside and may be tried again.
    fn take_back(&mut self, now: Instant) {
        while let Some(at) = self.aside.iter().position(|&(_, when)| when <= now) {
            let (lane, _) = self.aside.swap_remove(at);
            self.mark(lane);
        }
    }

    fn until(&self, now: Instant, next_timer: Option<Instant>) -> Option<Duration> {
        let aside = self.aside.iter().map(|&(_, when)| when);
        // Lanes that can't be watched are read as those are that can't be read.
        let held = (!self.held.is_empty()).then_some(now + SET_ASIDE);
        aside
            .chain(held)
            .chain(next_timer)
            .min()
            .map(|t| t.since(now))
    }
}

#[cfg(test)]
#[path = "wait_tests.rs"]
mod tests;
