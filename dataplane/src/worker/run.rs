//! The loop of one worker thread.

use super::busy::{Busy, WhileBusy};
use super::lane::Lane;
use super::messages::{Command, Event};
use super::moderation::{Moderation, PAUSE};
use super::relief::{Peer, Relief};
use super::wait::{SPIN, Wait};
use crate::base::{Instant, PortId};
use crate::frame::Batch;
use crate::pipeline::{Engine, Tx};
use crate::port::coalesce::MAX_BIG;
use crate::port::{PortQueue, RecvError};
use crossbeam_channel::{Receiver, Sender};
use mio::Waker;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

/// Bytes after which a batch is processed although slots are free: about what stays in the
/// second-level cache between reading and writing.
const BUDGET: usize = 96 * 1024;
/// The same where superframes are joined: with the one that goes beyond, as many as fit. What that
/// spares in writes, wake-ups and ACKs is more than the cache is worth.
const JOINED: usize = MAX_BIG * 7 / 8;
/// Longest time between two looks at the wheel.
const LONGEST: Duration = Duration::from_secs(30);

/// The time, from whoever starts the workers.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// How workers run.
#[derive(Clone)]
pub struct Pace {
    /// How long a worker polls at most before it blocks; zero: it blocks at once.
    pub spin: Duration,
    /// How long a worker sleeps behind a batch of a fast one-way stream of datagrams, so that more
    /// gather; zero: not at all.
    pub pause: Duration,
    /// Whether a single worker gets a second one beside it, for sustained bulk only.
    pub bulk_worker: bool,
    /// Told when a worker gets busy and when it falls idle.
    pub while_busy: Option<WhileBusy>,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            spin: SPIN,
            pause: PAUSE,
            bulk_worker: false,
            while_busy: None,
        }
    }
}

/// One worker's ends of all ports.
#[derive(Default)]
pub struct Queues {
    by_port: Vec<Option<Box<dyn PortQueue>>>,
}

impl Queues {
    /// Puts a queue in; what was there is closed.
    pub fn set(&mut self, port: PortId, queue: Option<Box<dyn PortQueue>>) {
        if port.index() >= self.by_port.len() {
            self.by_port.resize_with(port.index() + 1, || None);
        }
        if let Some(slot) = self.by_port.get_mut(port.index()) {
            *slot = queue;
        }
    }

    /// A port's queue.
    pub fn get(&mut self, port: PortId) -> Option<&mut Box<dyn PortQueue>> {
        self.by_port.get_mut(port.index())?.as_mut()
    }

    /// Whether one of them takes superframes that were joined.
    fn take_big(&self) -> bool {
        self.by_port.iter().flatten().any(|q| q.caps().big)
    }

    fn lane_fd(&mut self, lane: Lane) -> Option<RawFd> {
        self.get(lane.port)?.lane_fd(lane.lane)
    }
}

impl Tx for Queues {
    #[inline]
    fn queue(&mut self, port: PortId) -> Option<&mut dyn PortQueue> {
        match self.by_port.get_mut(port.index()) {
            Some(Some(q)) => Some(&mut **q),
            _ => None,
        }
    }
}

/// One worker.
pub struct Worker {
    engine: Engine,
    queues: Queues,
    batch: Batch,
    wait: Wait,
    /// Ports whose queue may have an answer to what was written to it.
    answering: Vec<PortId>,
    busy: Busy,
    moderation: Moderation,
    relief: Relief,
    commands: Receiver<Command>,
    events: Sender<Event>,
    clock: Clock,
}

impl Worker {
    /// A worker without ports, and the waker that makes it look at its commands.
    ///
    /// # Errors
    /// When the system gives no epoll descriptor.
    pub fn new(
        engine: Engine,
        pace: Pace,
        commands: Receiver<Command>,
        events: Sender<Event>,
        clock: Clock,
    ) -> io::Result<(Worker, Arc<Waker>)> {
        let (wait, waker) = Wait::new(pace.spin)?;
        let worker = Worker {
            engine,
            queues: Queues::default(),
            batch: Batch::default(),
            wait,
            answering: Vec::new(),
            busy: Busy::new(pace.while_busy),
            moderation: Moderation::new(pace.pause),
            relief: Relief::default(),
            commands,
            events,
            clock,
        };
        Ok((worker, waker))
    }

    /// Has another worker beside it: one of them reads all lanes, the `second` those that it is given.
    pub fn beside(&mut self, commands: Sender<Command>, waker: Arc<Waker>, second: bool) {
        self.relief = Relief::beside(Peer { commands, waker }, second);
    }

    /// Gives lanes to the other worker.
    fn give_lanes(&mut self, now: Instant) {
        for lane in self.relief.due(now) {
            if let Some(fd) = self.queues.lane_fd(lane) {
                self.wait.remove(lane, fd);
                self.relief.give(lane);
            }
        }
    }

    /// Has nobody tell of the lanes of an exchange that is polled for.
    fn hold_lanes(&mut self) {
        let Some([a, b]) = self.wait.settled() else {
            return;
        };
        let fds = [a, b].map(|lane| self.queues.lane_fd(lane));
        if let [Some(x), Some(y)] = fds {
            self.wait.hold([(a, x), (b, y)]);
        }
    }

    /// Takes a lane from the other worker. One that can't be watched here goes back: it was watched
    /// there.
    fn take_lane(&mut self, lane: Lane) {
        // Gone with its port, if there is none.
        let Some(fd) = self.queues.lane_fd(lane) else {
            return;
        };
        match self.wait.add(lane, fd) {
            Ok(()) => self.relief.taken(lane, (self.clock)()),
            Err(_) => self.relief.give(lane),
        }
    }

    /// Runs until told to stop.
    pub fn run(mut self) {
        // Where it can't be set, pauses are longer by the usual 50 µs.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let mut before = (self.clock)();
        loop {
            let mut now = (self.clock)();
            self.relief.waited(now.since(before));
            while let Some(lane) = self.wait.next_ready() {
                self.serve(lane, now);
                now = (self.clock)();
            }
            if let Some(pause) = self.moderation.pause() {
                std::thread::sleep(pause);
                now = (self.clock)();
            }
            self.engine.tick(now, &mut self.batch, &mut self.queues);
            self.hear_answers();
            self.give_lanes(now);
            self.hold_lanes();
            let timers = [self.engine.next_deadline(now), self.busy.silence(now)];
            before = now;
            let next = timers.into_iter().flatten().fold(now + LONGEST, Ord::min);
            match self.wait.turn(now, Some(next)) {
                Ok(turn) if turn.woken => {
                    if !self.obey() {
                        return;
                    }
                }
                Ok(_) => {}
                // epoll itself failed, which has no cause that would pass by trying faster.
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    fn serve(&mut self, lane: Lane, now: Instant) {
        let port = lane.port;
        let Some(queue) = self.queues.get(port) else {
            return;
        };
        self.batch.clear();
        // Small frames of the port's other ready lanes come along: answers that are written together
        // cost fewer wake-ups of their receivers.
        let mut lane = lane;
        // In an exchange the answer is not kept waiting for a read that finds nothing.
        let single = self.wait.in_exchange();
        let budget = match single {
            true => 0,
            false if self.batch.joins_supers() => JOINED,
            false => BUDGET,
        };
        let more = loop {
            let more = queue.recv_lane(lane.lane, &mut self.batch, budget);
            match more {
                Ok(false) if !self.batch.is_full() => {}
                _ => break more,
            }
            let Some(next) = self.wait.next_ready_of(port) else {
                break more;
            };
            lane = next;
        };
        if !self.batch.is_empty() {
            self.wait.found(lane, self.batch.len());
            self.relief.served(lane, self.batch.bytes());
            self.busy.frames(now);
            self.moderation
                .heard(port, self.batch.frames(), matches!(more, Ok(true)), now);
            self.engine
                .process(&mut self.batch, port, now, &mut self.queues);
            for (port, frame) in self.engine.take_quarantined() {
                let _ = self.events.try_send(Event::Panicked(port, frame));
            }
        }
        if let Some(queue) = self.queues.get(port) {
            match queue.lost() {
                0 => {}
                n => self.engine.lost(port, n),
            }
        }
        if let Some(proto) = self.engine.switch().external.short(now.tick()) {
            let _ = self.events.try_send(Event::PortsShort(proto));
        }
        self.hear_answers();
        match more {
            Ok(true) if single => self.wait.mark(lane),
            Ok(true) => self.wait.again(lane, self.batch.bytes()),
            Ok(false) => {}
            Err(RecvError::Gone) => {
                let _ = self.events.try_send(Event::PortGone(port));
                self.close(port);
            }
            Err(RecvError::Io(_)) => self.wait.failed(lane, now),
        }
    }

    /// Ports that answer at once are read without a wake-up by their descriptor.
    fn hear_answers(&mut self) {
        for port in &self.answering {
            if self
                .queues
                .get(*port)
                .is_some_and(|q| q.answers() == Some(true))
            {
                self.wait.mark(*port);
            }
        }
    }

    fn close(&mut self, port: PortId) {
        if let Some(queue) = self.queues.get(port) {
            self.wait.remove_queue(port, &**queue);
        }
        self.relief.forget(port);
        self.answering.retain(|p| *p != port);
        self.set(port, None);
    }

    fn set(&mut self, port: PortId, queue: Option<Box<dyn PortQueue>>) {
        self.queues.set(port, queue);
        self.batch.join_supers(self.queues.take_big());
    }

    /// Takes the waiting commands; false means stop.
    fn obey(&mut self) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::AddPort(port, mut queue, done) => {
                    if queue.as_mut().is_some_and(|q| q.answers().is_some()) {
                        self.answering.push(port);
                    }
                    let answer = match &queue {
                        Some(_) if self.relief.is_second() => Ok(()),
                        Some(q) => self.wait.add_queue(port, &**q),
                        None => Ok(()),
                    };
                    self.set(port, queue);
                    let _ = done.send(answer);
                }
                Command::Take(lane) => self.take_lane(lane),
                Command::RemovePort(port, done) => {
                    self.close(port);
                    let _ = done.send(Ok(()));
                }
                Command::Pass(done) => {
                    let _ = done.send(Ok(()));
                }
                Command::Stop => return false,
            }
        }
        true
    }
}
