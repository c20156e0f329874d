//! A worker without a thread: an engine and its sinks.

use dataplane::base::{Instant, PortId};
use dataplane::frame::Batch;
use dataplane::pipeline::Engine;
use dataplane::port::Caps;
use dataplane::port::memory::Sink;
use dataplane::slow::switch::Switch;
use dataplane::worker::Queues;
use std::sync::Arc;

/// One engine whose ports take everything.
pub struct Worker {
    engine: Engine,
    queues: Queues,
}

impl Worker {
    pub(super) fn new(
        sw: &Arc<Switch>,
        n: usize,
        ports: &[(PortId, Caps)],
        now: Instant,
    ) -> Worker {
        let mut queues = Queues::default();
        for (id, caps) in ports {
            queues.set(*id, Some(Box::new(Sink::new(*caps).0)));
        }
        Worker {
            engine: Engine::new(Arc::clone(sw), n, now),
            queues,
        }
    }

    /// Takes a batch through the pipeline.
    #[inline]
    pub fn process(&mut self, batch: &mut Batch, ingress: PortId, now: Instant) {
        self.engine.process(batch, ingress, now, &mut self.queues);
    }

    /// All of it but sending, which [`Worker::transmit`] has to do next.
    #[inline]
    pub fn decide(&mut self, batch: &mut Batch, ingress: PortId, now: Instant) {
        self.engine.decide(batch, ingress, now);
    }

    /// Sends what [`Worker::decide`] decided.
    pub fn transmit(&mut self, batch: &Batch) {
        self.engine.transmit(batch, &mut self.queues);
    }

    /// Does what is due without a frame.
    pub fn tick(&mut self, batch: &mut Batch, now: Instant) {
        self.engine.tick(now, batch, &mut self.queues);
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}
