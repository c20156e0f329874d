//! The switch in the caller's thread, for replay, tests and benches: frames in, frames out, time
//! as an argument. No thread, no clock, no descriptor.

use super::run::Queues;
use crate::base::counters::Totals;
use crate::base::{Config, Instant, PortId, PortSpec};
use crate::frame::Batch;
use crate::pipeline::Engine;
use crate::port::{PortQueue, RecvError};
use crate::slow::ctx::Verdict;
use crate::slow::ports::AddPortError;
use crate::slow::switch::Switch;
use std::sync::Arc;

/// A switch with engines that the caller drives.
pub struct Inline {
    sw: Arc<Switch>,
    engines: Vec<(Engine, Queues)>,
    batch: Batch,
    ports: Vec<PortId>,
}

impl Inline {
    /// A switch for `workers` engines.
    pub fn new(cfg: Config, workers: usize, now: Instant) -> Inline {
        let workers = workers.max(1);
        let sw = Arc::new(Switch::new(cfg, workers));
        let engines = (0..workers)
            .map(|n| (Engine::new(Arc::clone(&sw), n, now), Queues::default()))
            .collect();
        Inline {
            sw,
            engines,
            batch: Batch::default(),
            ports: Vec::new(),
        }
    }

    /// The shared switch.
    pub fn switch(&self) -> &Arc<Switch> {
        &self.sw
    }

    /// Number of engines.
    pub fn workers(&self) -> usize {
        self.engines.len()
    }

    /// Adds a port with one queue per engine.
    ///
    /// # Errors
    /// See [`AddPortError`]; nothing was changed.
    pub fn add_port(
        &mut self,
        spec: PortSpec,
        queues: Vec<Box<dyn PortQueue>>,
        now: Instant,
    ) -> Result<PortId, AddPortError> {
        let id = self.sw.add_port(spec, now.tick())?;
        let mut queues = queues.into_iter();
        for (_, q) in &mut self.engines {
            q.set(id, queues.next());
        }
        self.ports.push(id);
        Ok(id)
    }

    /// Removes a port and closes its queues.
    pub fn remove_port(&mut self, id: PortId) -> bool {
        for (_, q) in &mut self.engines {
            q.set(id, None);
        }
        self.ports.retain(|p| *p != id);
        self.sw.remove_port(id).is_some()
    }

    /// Reads one batch of a port by engine `worker` and takes it through the pipeline. Gives the
    /// number of frames read.
    ///
    /// # Errors
    /// When the queue can't be read.
    pub fn serve(&mut self, worker: usize, port: PortId, now: Instant) -> Result<usize, RecvError> {
        let Some((engine, queues)) = self.engines.get_mut(worker) else {
            return Ok(0);
        };
        let Some(queue) = queues.get(port) else {
            return Ok(0);
        };
        self.batch.clear();
        queue.recv(&mut self.batch, usize::MAX)?;
        match queue.lost() {
            0 => {}
            n => engine.lost(port, n),
        }
        if !self.batch.is_empty() {
            engine.process(&mut self.batch, port, now, queues);
        }
        Ok(self.batch.len())
    }

    /// What became of the frames of engine `worker`'s last batch, in their order.
    pub fn verdicts(&self, worker: usize) -> &[Verdict] {
        self.engines.get(worker).map_or(&[], |(e, _)| e.verdicts())
    }

    /// Serves every port by every engine until nothing is left to read; gives the number of
    /// frames read. A queue that can't be read counts as empty.
    pub fn drain(&mut self, now: Instant) -> usize {
        let mut total = 0;
        loop {
            let before = total;
            for worker in 0..self.engines.len() {
                for port in self.ports.clone() {
                    total += self.serve(worker, port, now).unwrap_or(0);
                }
            }
            if total == before {
                return total;
            }
        }
    }

    /// Lets timers fire.
    pub fn tick(&mut self, now: Instant) {
        for (engine, queues) in &mut self.engines {
            engine.tick(now, &mut self.batch, queues);
        }
    }

    /// When [`Inline::tick`] next has something to do.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        self.engines
            .iter()
            .filter_map(|(e, _)| e.next_deadline(now))
            .min()
    }

    /// All counters, summed.
    pub fn totals(&self) -> Totals {
        Totals::sum(&self.sw.counters)
    }
}
