//! Frames that wait for a neighbour's MAC, and when each neighbour is due.

use crate::base::{PortId, Reason, Tick, WideClock};
use crate::frame::Frame;
use std::collections::BTreeSet;

/// Most frames that wait for one neighbour.
pub const FRAMES: usize = 16;
/// Most bytes that wait for one neighbour: four superframes.
pub const BYTES: usize = 256 << 10;
/// Most bytes that wait in all.
pub const TOTAL_BYTES: usize = 8 << 20;

/// A frame that waits.
#[derive(Debug)]
pub struct Held {
    /// The port by which it came in.
    pub ingress: PortId,
    /// The frame.
    pub frame: Frame,
}

/// What became of a frame that was to wait.
#[derive(Debug)]
pub enum Hold {
    /// It waits.
    Held,
    /// The neighbour was resolved in between: send it now.
    Ready(crate::base::Mac, Frame),
    /// It was dropped.
    Refused(Reason),
}

/// The frames of one neighbour.
#[derive(Default)]
pub(super) struct Queue {
    frames: Vec<Held>,
    bytes: usize,
}

impl Queue {
    /// Appends a frame, or says that there is no room.
    pub fn push(&mut self, held: Held, total: &mut usize) -> bool {
        let n = held.frame.len();
        if self.frames.len() >= FRAMES || self.bytes + n > BYTES || *total + n > TOTAL_BYTES {
            return false;
        }
        self.bytes += n;
        *total += n;
        self.frames.push(held);
        true
    }

    /// All frames, in order of arrival.
    pub fn take(&mut self, total: &mut usize) -> Vec<Held> {
        *total = total.saturating_sub(self.bytes);
        self.bytes = 0;
        std::mem::take(&mut self.frames)
    }
}

/// What the lock of the table protects beside the entries themselves: the order in which they are
/// due, the order in which they may be thrown out, the sum of waiting bytes. Ticks are widened
/// to 64 bits so that they sort.
#[derive(Default)]
pub(super) struct Order {
    pub clock: WideClock,
    /// (due, key): something is to be done about the entry.
    pub due: BTreeSet<(u64, u64)>,
    /// (last used or confirmed, or earlier, key) of entries that are neither permanent nor
    /// waiting for an answer.
    pub idle: BTreeSet<(u64, u64)>,
    /// Bytes in all queues.
    pub held: usize,
}

impl Order {
    /// The earliest time at which something is due.
    pub fn next(&self) -> Option<Tick> {
        let (due, _) = self.due.first()?;
        self.clock.tick(*due)
    }
}
