//! Level 2: where frames come from and go to.
//!
//! A port has one [`PortQueue`] per worker. The worker that owns a queue is the only one that
//! reads or writes by it, so nothing here is shared but descriptors ([`PortQueue::share`]).

pub mod coalesce;
mod coalesce_run;
pub mod egress;
pub mod fault;
pub mod filter;
pub mod headers;
pub mod memory;
mod onward;
pub mod pcap;
pub mod pcap_hdr;
pub mod pcap_port;
mod pcap_writer;
pub mod segment;
pub mod stack;
mod stack_acks;
pub mod stack_wire;
pub mod sys;
#[cfg(test)]
pub(crate) mod testing;

use crate::frame::{Batch, VnetHdr};
use std::io::IoSlice;
use std::os::fd::RawFd;

/// What a port's queue can take as it is. What it can't, the tx stage finishes in software.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Caps {
    /// Partial checksums (`NEEDS_CSUM`).
    pub csum: bool,
    /// TCP over IPv4 superframes.
    pub tso4: bool,
    /// TCP over IPv6 superframes.
    pub tso6: bool,
    /// UDP superframes of at most 64 datagrams (`GSO_UDP_L4`).
    pub uso: bool,
    /// TCP over IPv4 superframes of more bytes than an IP packet's length can say, which is 0 then:
    /// what Linux calls BIG TCP. Only its own stack takes them.
    pub big: bool,
}

impl Caps {
    /// Everything that a frame on a wire could have been cut from: all but `big`.
    pub const ALL: Caps = Caps {
        csum: true,
        tso4: true,
        tso6: true,
        uso: true,
        big: false,
    };
    /// Only whole, finished frames.
    pub const NONE: Caps = Caps {
        csum: false,
        tso4: false,
        tso6: false,
        uso: false,
        big: false,
    };
}

/// Why a queue can't be read any more.
#[derive(Debug, thiserror::Error)]
pub enum RecvError {
    /// The device is gone: its namespace was deleted, or the interface was.
    #[error("the port's device is gone")]
    Gone,
    /// Something else; the port stays and is tried again.
    #[error("reading from the port failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Why a frame could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The device's queue is full; the frame is lost.
    #[error("the port's queue is full")]
    Full,
    /// The device is gone.
    #[error("the port's device is gone")]
    Gone,
    /// The device refuses this kind of frame (EINVAL): for a superframe, the caller may segment
    /// and try again.
    #[error("the port refused the frame")]
    Refused,
    /// Something else.
    #[error("writing to the port failed: {0}")]
    Io(#[from] std::io::Error),
}

/// One worker's end of a port.
pub trait PortQueue: Send {
    /// What [`PortQueue::send`] takes without help.
    fn caps(&self) -> Caps;

    /// Whether whoever reads it seems to pass on what it gets, and would have to cut what is beyond
    /// 64 KiB.
    fn passes_on(&self) -> bool {
        false
    }

    /// Appends what has come in to `batch` until it is full, holds more than `budget` bytes, or
    /// nothing is left. `Ok(true)` says that more may be waiting.
    fn recv(&mut self, batch: &mut Batch, budget: usize) -> Result<bool, RecvError>;

    /// How many queues it reads that are served in turn, at least one: flows are spread over them,
    /// so that a small exchange doesn't wait behind what a bulk stream has queued.
    fn lanes(&self) -> u8 {
        1
    }

    /// [`PortQueue::recv`] from one of them.
    fn recv_lane(
        &mut self,
        _lane: u8,
        batch: &mut Batch,
        budget: usize,
    ) -> Result<bool, RecvError> {
        self.recv(batch, budget)
    }

    /// [`PortQueue::poll_fd`] of one of them.
    fn lane_fd(&self, _lane: u8) -> Option<RawFd> {
        self.poll_fd()
    }

    /// Another end of this queue, by which a second worker writes too, and reads the lanes that it is
    /// given: never one that the other reads at the time. `None`: it has but one end.
    fn share(&self) -> Option<Box<dyn PortQueue>> {
        None
    }

    /// Writes one frame (or superframe) whose bytes are `parts` one after the other.
    fn send(&mut self, hdr: &VnetHdr, parts: &[IoSlice<'_>]) -> Result<(), SendError>;

    /// Frames that came in since the last call and were lost before they could be read.
    fn lost(&mut self) -> u64 {
        0
    }

    /// Ends a batch: a port that gathers frames writes them now.
    fn flush(&mut self) {}

    /// Whether there is an answer to what was written, which the descriptor need not tell of.
    /// Asked after each batch, of whatever port; `None`: nothing here ever answers by itself.
    fn answers(&mut self) -> Option<bool> {
        None
    }

    /// The descriptor to wait on, if the queue reads from one. `None`: nothing to read here
    /// (write-only queue), or a port that is polled (memory).
    fn poll_fd(&self) -> Option<RawFd>;
}
