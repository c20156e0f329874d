//! The queues that a worker reads, and how epoll is told of them.

use crate::base::PortId;
use crate::port::PortQueue;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use std::io;
use std::os::fd::RawFd;

/// One of the queues that a worker reads of a port ([`PortQueue::lanes`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Lane {
    /// The port.
    pub port: PortId,
    /// Its number there, below `MOST`.
    pub lane: u8,
}

/// Most lanes of a port.
const MOST: u8 = 8;
const _: () = assert!(crate::port::sys::tap::LANES <= MOST);

impl Lane {
    /// By which epoll tells of it.
    const fn token(self) -> Token {
        Token(self.port.0 as usize | (self.lane as usize) << 16)
    }

    /// The one of which epoll told so.
    pub(super) const fn of(token: Token) -> Lane {
        Lane {
            port: PortId(token.0 as u16),
            lane: (token.0 >> 16) as u8,
        }
    }

    /// Has epoll tell of the lane, by edges: at once, if there is something to be read.
    pub(super) fn watch(self, registry: &Registry, fd: RawFd) -> io::Result<()> {
        registry.register(&mut SourceFd(&fd), self.token(), Interest::READABLE)
    }
}

/// Has epoll tell of a lane no more. True if it did before.
pub(super) fn unwatch(registry: &Registry, fd: RawFd) -> bool {
    registry.deregister(&mut SourceFd(&fd)).is_ok()
}

/// The lanes of a queue that can be waited for, and their descriptors.
pub(super) fn lanes(port: PortId, queue: &dyn PortQueue) -> impl Iterator<Item = (Lane, RawFd)> {
    (0..queue.lanes().min(MOST))
        .filter_map(move |lane| Some((Lane { port, lane }, queue.lane_fd(lane)?)))
}

/// The port's only lane.
impl From<PortId> for Lane {
    fn from(port: PortId) -> Lane {
        Lane { port, lane: 0 }
    }
}
