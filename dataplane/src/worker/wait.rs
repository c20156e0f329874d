//! How a worker waits: mio, after a short spin. The only file of the worker that knows of
//! descriptors.
//!
//! Descriptors are watched by edge (`EPOLLET`): an event puts its port on the ready list, and the
//! worker keeps it there ([`Wait::again`]) until a read says that nothing is left. An error or a
//! hang-up is an event too, so the next read finds out. Because an edge comes once, a port whose
//! reads keep failing can't make the worker run in circles: [`Wait::failed`] sets it aside for a
//! while.
//!
//! ```text
//! loop {
//!     while let Some(port) = wait.next_ready() {
//!         match recv(port) { more => wait.again(port), failed => wait.failed(port, now), .. }
//!     }
//!     wait.turn(now, next_timer)?;      // harvest; spin; block
//!     now = clock();
//! }
//! ```

use super::spin::Spin;
use crate::base::PortId;
use crate::base::time::Instant;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
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

/// What the wait found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn {
    /// The waker was used: look at the command channel.
    pub woken: bool,
    /// The worker slept, so that time has passed: read the clock.
    pub slept: bool,
}

/// One worker's wait.
pub struct Wait {
    poll: Poll,
    events: Events,
    ready: VecDeque<PortId>,
    is_ready: Box<[bool]>,
    /// Ports of the ready list that belong to the current round.
    round: usize,
    aside: Vec<(PortId, Instant)>,
    spin: Spin,
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
            is_ready: vec![false; PortId::MAX_PORTS].into_boxed_slice(),
            round: 0,
            aside: Vec::new(),
            spin: Spin::new(spin),
        };
        Ok((wait, waker))
    }

    /// Watches `fd`, which must stay open until [`Wait::remove`]. The port is ready at once, for
    /// what came in before.
    pub fn add(&mut self, port: PortId, fd: RawFd) -> io::Result<()> {
        let token = Token(port.index());
        let mut source = SourceFd(&fd);
        self.poll
            .registry()
            .register(&mut source, token, Interest::READABLE)?;
        self.mark(port);
        Ok(())
    }

    /// Forgets a port. To be called before `fd` is closed.
    pub fn remove(&mut self, port: PortId, fd: RawFd) {
        // Fails only for a descriptor that was never added, which is the wanted state.
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        self.aside.retain(|&(p, _)| p != port);
        if let Some(at) = self.ready.iter().position(|&p| p == port) {
            self.ready.remove(at);
            if at < self.round {
                self.round -= 1;
            }
        }
        if let Some(flag) = self.is_ready.get_mut(port.index()) {
            *flag = false;
        }
    }

    /// Puts a port on the ready list.
    pub fn mark(&mut self, port: PortId) {
        if let Some(flag) = self.is_ready.get_mut(port.index())
            && !*flag
        {
            *flag = true;
            self.ready.push_back(port);
        }
    }

    /// The next ready port of this round; `None` ends the round. The port leaves the list: say
    /// [`Wait::again`] if its read left something behind.
    pub fn next_ready(&mut self) -> Option<PortId> {
        if self.round == 0 {
            return None;
        }
        self.round -= 1;
        let port = self.ready.pop_front()?;
        if let Some(flag) = self.is_ready.get_mut(port.index()) {
            *flag = false;
        }
        Some(port)
    }

    /// The port may have more: it takes its place at the end of the next round.
    pub fn again(&mut self, port: PortId) {
        self.mark(port);
    }

    /// Reading failed for a reason that may pass: the port is ready again in [`SET_ASIDE`].
    pub fn failed(&mut self, port: PortId, now: Instant) {
        self.aside.retain(|&(p, _)| p != port);
        self.aside.push((port, now + SET_ASIDE));
    }

    /// Ends a round and begins the next. Ports that became ready since join the list. If there
    /// are none at all the call returns to be called again while the spin lasts, then blocks:
    /// until an event, the waker, or `next_timer`.
    pub fn turn(&mut self, now: Instant, next_timer: Option<Instant>) -> io::Result<Turn> {
        self.take_back(now);
        let block = self.ready.is_empty() && !self.spin.go_on(now);
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
                Token(port) => self.mark(PortId(u16::try_from(port).unwrap_or(u16::MAX))),
            }
        }
        self.events = events;
        self.round = self.ready.len();
        if self.round > 0 {
            self.spin.worked();
        }
        Ok(Turn { woken, slept })
    }

    /// Ports that were set aside and may be tried again.
    fn take_back(&mut self, now: Instant) {
        while let Some(at) = self.aside.iter().position(|&(_, when)| when <= now) {
            let (port, _) = self.aside.swap_remove(at);
            self.mark(port);
        }
    }

    fn until(&self, now: Instant, next_timer: Option<Instant>) -> Option<Duration> {
        let aside = self.aside.iter().map(|&(_, when)| when);
        aside.chain(next_timer).min().map(|t| t.since(now))
    }
}

#[cfg(test)]
#[path = "wait_tests.rs"]
mod tests;
