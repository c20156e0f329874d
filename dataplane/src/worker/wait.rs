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

use crate::base::PortId;
use crate::base::time::Instant;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

/// Default length of the spin before a worker blocks: a wake-up costs about as much.
pub const SPIN: Duration = Duration::from_micros(50);
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
    /// A wait that watches nothing yet, and the handle by which other threads end it. A `spin`
    /// of zero always blocks at once.
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

/// Whether to poll once more or to block.
///
/// A spin is worth its time when the next frame comes within it, as in a request/response
/// exchange, where it saves the wake-up. Where spins end in vain (a few in a row) the next waits
/// block at once, for longer and longer, and then it is tried again.
struct Spin {
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
    fn new(length: Duration) -> Spin {
        Spin {
            length,
            since: None,
            vain: 0,
            skip: 0,
        }
    }

    /// Nothing is ready: true to poll again, false to block.
    fn go_on(&mut self, now: Instant) -> bool {
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
    fn worked(&mut self) {
        if self.since.take().is_some() {
            self.vain = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    const A: PortId = PortId(3);
    const B: PortId = PortId(9);

    fn at(us: u64) -> Instant {
        Instant(us * 1000)
    }

    fn pair() -> (UnixStream, UnixStream) {
        let (a, b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        (a, b)
    }

    fn round(w: &mut Wait) -> Vec<PortId> {
        std::iter::from_fn(|| w.next_ready()).collect()
    }

    #[test]
    fn an_edge_comes_once_and_again_keeps_the_port() {
        let (mut w, _waker) = Wait::new(Duration::ZERO).unwrap();
        let (a, mut a2) = pair();
        let (b, mut b2) = pair();
        w.add(A, a.as_raw_fd()).unwrap();
        w.add(B, b.as_raw_fd()).unwrap();
        w.turn(at(0), Some(at(0))).unwrap();
        assert_eq!(round(&mut w), [A, B], "ready when added");
        let t = w.turn(at(0), Some(at(0))).unwrap();
        assert_eq!((round(&mut w), t.woken), (vec![], false));

        a2.write_all(b"x").unwrap();
        b2.write_all(b"y").unwrap();
        w.turn(at(0), None).unwrap();
        let mut first = round(&mut w);
        first.sort();
        assert_eq!(first, [A, B]);
        w.again(B);
        w.again(B);
        w.turn(at(0), None).unwrap();
        assert_eq!(round(&mut w), [B], "once, and A's edge is spent");
    }

    #[test]
    fn a_round_ends_even_if_a_port_always_has_more() {
        let (mut w, _waker) = Wait::new(Duration::ZERO).unwrap();
        w.mark(A);
        w.mark(B);
        w.turn(at(0), None).unwrap();
        let mut seen = Vec::new();
        while let Some(p) = w.next_ready() {
            seen.push(p);
            w.again(p);
        }
        assert_eq!(seen, [A, B]);
    }

    #[test]
    fn hang_up_is_ready_once_and_removal_forgets() {
        let (mut w, _waker) = Wait::new(Duration::ZERO).unwrap();
        let (mut a, a2) = pair();
        w.add(A, a.as_raw_fd()).unwrap();
        w.turn(at(0), None).unwrap();
        assert_eq!(round(&mut w), [A]);
        drop(a2);
        w.turn(at(0), None).unwrap();
        assert_eq!(round(&mut w), [A]);
        assert_eq!(a.read(&mut [0; 4]).unwrap(), 0);
        w.turn(at(0), Some(at(0))).unwrap();
        assert_eq!(round(&mut w), [], "no busy loop on a dead port");
        w.mark(B);
        w.mark(A);
        w.failed(A, at(0));
        w.remove(A, a.as_raw_fd());
        w.turn(at(20_000), None).unwrap();
        assert_eq!(round(&mut w), [B]);
    }

    #[test]
    fn removal_inside_a_round_skips_only_that_port() {
        let (mut w, _waker) = Wait::new(Duration::ZERO).unwrap();
        for n in 0..4 {
            w.mark(PortId(n));
        }
        w.turn(at(0), None).unwrap();
        assert_eq!(w.next_ready(), Some(PortId(0)));
        w.again(PortId(0));
        w.remove(PortId(2), -1);
        assert_eq!(round(&mut w), [PortId(1), PortId(3)]);
        w.turn(at(0), None).unwrap();
        assert_eq!(round(&mut w), [PortId(0)]);
    }

    #[test]
    fn a_failing_port_is_set_aside() {
        let (mut w, _waker) = Wait::new(Duration::ZERO).unwrap();
        w.failed(A, at(0));
        w.failed(A, at(0));
        w.turn(at(0), Some(at(0))).unwrap();
        assert_eq!(round(&mut w), []);
        let begun = std::time::Instant::now();
        let t = w.turn(at(0), None).unwrap();
        assert!(t.slept && begun.elapsed() >= SET_ASIDE, "sleeps until then");
        w.turn(at(10_000), None).unwrap();
        assert_eq!(round(&mut w), [A]);
    }

    #[test]
    fn the_waker_ends_a_block() {
        let (mut w, waker) = Wait::new(Duration::ZERO).unwrap();
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            waker.wake().unwrap();
            waker
        });
        let t = w.turn(at(0), None).unwrap();
        assert_eq!(
            t,
            Turn {
                woken: true,
                slept: true
            }
        );
        drop(other.join().unwrap());
        assert!(!w.turn(at(0), Some(at(0))).unwrap().woken);
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
