//! The engine as the daemon sees it.

use super::Config;
use super::dest::Side;
use super::engine::Engine;
use super::limits::Limits;
use super::listen::ListenError;
use super::queue::{Queue, lock};
use super::stats::{SocketsReport, Stats};
use dataplane::port::PortQueue;
use std::io;
use std::sync::{Arc, Mutex};

/// The engine as its owner sees it.
pub struct Sockets {
    engine: Arc<Mutex<Engine>>,
    stats: Arc<Stats>,
    queues: usize,
}

impl Sockets {
    /// An engine without connections.
    ///
    /// # Errors
    /// When the system gives no descriptors.
    pub fn new(config: Config) -> io::Result<Sockets> {
        let stats = Arc::new(Stats::default());
        let queues = config.queues;
        let engine = Engine::new(config, Limits::here(), Arc::clone(&stats))?;
        Ok(Sockets {
            engine: Arc::new(Mutex::new(engine)),
            stats,
            queues,
        })
    }

    /// The queues of the uplink's port.
    pub fn uplink_queues(&self) -> Vec<Box<dyn PortQueue>> {
        Queue::all(&self.engine, Side::Uplink, self.queues)
    }

    /// The queues of the host's port.
    pub fn host_queues(&self) -> Vec<Box<dyn PortQueue>> {
        Queue::all(&self.engine, Side::Host, self.queues)
    }

    /// Listens for a publication under a number of the caller's; see [`Sockets::unpublish`]. The
    /// switch's rule for it begins with port `external` of [`super::EXTERNAL`].
    ///
    /// # Errors
    /// What the system refuses; nothing listens then.
    pub fn publish(
        &self,
        id: u32,
        p: &dataplane::nat::Publication,
        external: u16,
    ) -> Result<(), ListenError> {
        lock(&self.engine).publish(id, p, external)
    }

    /// Stops listening, and resets what came by it.
    pub fn unpublish(&self, id: u32) {
        lock(&self.engine).unpublish(id);
    }

    /// What it counted.
    pub fn report(&self) -> SocketsReport {
        let engine = lock(&self.engine);
        engine.gauges();
        drop(engine);
        self.stats.report()
    }
}
