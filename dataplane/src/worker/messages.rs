//! What a worker and its owner tell each other.

use super::lane::Lane;
use crate::base::{PortId, Proto};
use crate::frame::Frame;
use crate::port::PortQueue;
use crossbeam_channel::Sender;
use std::io;

/// What a worker is told between two batches. What its owner says is acknowledged.
pub enum Command {
    /// A port, and this worker's end of it.
    AddPort(PortId, Option<Box<dyn PortQueue>>, Sender<io::Result<()>>),
    /// Nothing: acknowledged, it says that the worker passed a batch boundary.
    Pass(Sender<io::Result<()>>),
    /// The lane is this worker's from now on: said by the other one of two.
    Take(Lane),
    /// The port is gone: close its queue.
    RemovePort(PortId, Sender<io::Result<()>>),
    /// End.
    Stop,
}

/// What the workers tell their owner.
#[derive(Debug)]
pub enum Event {
    /// The port's device died (its namespace was deleted, or the interface). The owner removes
    /// the port. May come once per worker.
    PortGone(PortId),
    /// A shared address is about to run out of the ports that its host lends. Said once
    /// a second until more are lent.
    PortsShort(Proto),
    /// This frame of this port made a worker panic; the worker goes on.
    Panicked(PortId, Frame),
}
