//! The engine as a port of the switch: one queue for each worker, of which the first reads.

use super::dest::Side;
use super::engine::Engine;
use dataplane::frame::{Batch, VnetHdr};
use dataplane::port::{Caps, PortQueue, RecvError, SendError};
use std::io::IoSlice;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A worker's end.
pub struct Queue {
    engine: Arc<Mutex<Engine>>,
    side: Side,
    /// What to wait on, of the queue that reads.
    fd: Option<RawFd>,
}

impl Queue {
    /// The queues of one side.
    pub fn all(engine: &Arc<Mutex<Engine>>, side: Side, count: usize) -> Vec<Box<dyn PortQueue>> {
        let fd = lock(engine).poll_fd(side);
        (0..count.max(1))
            .map(|n| {
                Box::new(Queue {
                    engine: Arc::clone(engine),
                    side,
                    fd: (n == 0).then_some(fd),
                }) as Box<dyn PortQueue>
            })
            .collect()
    }
}

/// A worker that panicked half-way leaves connections that end by themselves.
pub fn lock(engine: &Mutex<Engine>) -> MutexGuard<'_, Engine> {
    engine.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PortQueue for Queue {
    fn caps(&self) -> Caps {
        Caps {
            csum: true,
            tso4: true,
            tso6: false,
            uso: true,
            big: false,
        }
    }

    fn recv(&mut self, batch: &mut Batch, budget: usize) -> Result<bool, RecvError> {
        match self.fd {
            None => Ok(false),
            Some(_) => Ok(lock(&self.engine).fill(self.side, batch, budget)?),
        }
    }

    fn send(&mut self, hdr: &VnetHdr, parts: &[IoSlice<'_>]) -> Result<(), SendError> {
        match lock(&self.engine).frame(self.side, hdr, parts) {
            true => Ok(()),
            false => Err(SendError::Refused),
        }
    }

    fn flush(&mut self) {
        // The worker that reads asks for answers itself.
        lock(&self.engine).flush(self.fd.is_some());
    }

    fn answers(&mut self) -> Option<bool> {
        self.fd?;
        Some(lock(&self.engine).answers(self.side))
    }

    fn poll_fd(&self) -> Option<RawFd> {
        self.fd
    }
}
