//! A switch whose ports are vectors and whose clock is an argument.

use crate::plan::Failure;
use dataplane::base::counters::Totals;
use dataplane::base::{Instant, PortId};
use dataplane::frame::Frame;
use dataplane::nat::Publication;
use dataplane::port::Caps;
use dataplane::port::memory::MemoryPort;
use dataplane::slow::{Config, PortSpec, Verdict};
use dataplane::worker::Inline;
use std::time::Duration;

/// Longest pause that is waited through by its timers; a longer one counts as this long.
const LONGEST_PAUSE: Duration = Duration::from_secs(7 * 86_400);
/// Most timers in one pause; with a timer a millisecond that is five minutes.
const MOST_TICKS: usize = 300_000;

/// What the switch is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its configuration.
    pub config: Config,
    /// Its ports, in the order of their numbers.
    pub ports: Vec<PortSpec>,
    /// Its published ports.
    pub publications: Vec<Publication>,
    /// What every port takes unfinished.
    pub caps: Caps,
    /// Workers that frames are given to.
    pub workers: usize,
}

/// A frame that left the switch.
#[derive(Clone, Debug)]
pub struct Output {
    /// When.
    pub at: Instant,
    /// Index of the port in [`Setup::ports`].
    pub port: usize,
    /// The frame.
    pub frame: Frame,
}

/// What became of a frame that was fed.
#[derive(Clone, Debug)]
pub struct Fate {
    /// What was decided; `None` if the frame is too long for a device to have delivered it.
    pub verdict: Option<Verdict>,
    /// What left the switch in consequence, in the order of the ports.
    pub outputs: Vec<Output>,
}

/// The switch.
pub struct Lab {
    switch: Inline,
    ports: Vec<(PortId, MemoryPort)>,
    now: Instant,
}

impl Lab {
    /// Starts it at time zero.
    ///
    /// # Errors
    /// When the setup contradicts itself.
    pub fn new(setup: &Setup) -> Result<Lab, Failure> {
        let now = Instant::ZERO;
        let mut switch = Inline::new(setup.config.clone(), setup.workers, now);
        let mut ports = Vec::new();
        for spec in &setup.ports {
            let (memory, queues) = MemoryPort::new(setup.workers, setup.caps);
            let id = switch
                .add_port(spec.clone(), queues, now)
                .map_err(Failure::refused)?;
            ports.push((id, memory));
        }
        for p in &setup.publications {
            switch.switch().publish(*p).map_err(Failure::refused)?;
        }
        Ok(Lab { switch, ports, now })
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Lets time pass until `to`, timer by timer, and gives what the switch sent of its own.
    pub fn advance(&mut self, to: Instant) -> Vec<Output> {
        let to = to.min(self.now + LONGEST_PAUSE);
        let mut outputs = Vec::new();
        for _ in 0..MOST_TICKS {
            match self.switch.next_deadline(self.now) {
                Some(at) if at < to => {
                    // A deadline that has passed fires now, and time goes on all the same.
                    self.now = at.max(self.now + Duration::from_millis(1)).min(to);
                }
                _ => break,
            }
            self.switch.tick(self.now);
            self.collect(&mut outputs);
        }
        if to > self.now {
            self.now = to;
            self.switch.tick(to);
            self.collect(&mut outputs);
        }
        outputs
    }

    /// Gives the frame to a worker as come in by the port with this index.
    pub fn feed(&mut self, port: usize, worker: usize, frame: Frame) -> Fate {
        let mut outputs = Vec::new();
        let mut verdict = None;
        if let Some((id, memory)) = self.ports.get(port) {
            let worker = worker % self.switch.workers().max(1);
            memory.push_frame(worker, frame);
            if let Ok(1..) = self.switch.serve(worker, *id, self.now) {
                verdict = self.switch.verdicts(worker).first().copied();
            }
        }
        self.collect(&mut outputs);
        Fate { verdict, outputs }
    }

    /// The index of the port with this number.
    pub fn index(&self, id: PortId) -> Option<usize> {
        self.ports.iter().position(|(p, _)| *p == id)
    }

    /// All counters.
    pub fn totals(&self) -> Totals {
        self.switch.totals()
    }

    fn collect(&self, outputs: &mut Vec<Output>) {
        for (port, (_, memory)) in self.ports.iter().enumerate() {
            outputs.extend(memory.take().into_iter().map(|frame| Output {
                at: self.now,
                port,
                frame,
            }));
        }
    }
}
