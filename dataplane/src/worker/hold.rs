//! The two lanes of a long exchange, which are read so often that nobody has to be told of their
//! frames: epoll does not watch them meanwhile.
//!
//! Of a lane that is watched, every frame costs whoever sends it an entry on epoll's list, under the
//! lock that the worker's own look at events takes, and that look another one at the lane, which was
//! read long before: half a microsecond a hop here. Lanes that are held have to be read: by
//! [`super::wait::Wait`], which gives them back before it blocks.

use super::lane::{Lane, unwatch};
use mio::Registry;
use std::os::fd::RawFd;

/// Rounds of which one looks at events, and at the lane by which nothing is expected. Whoever else
/// has a frame waits for as many reads: some three microseconds, or the exchange's own frames.
const LOOKS: u32 = 8;

/// The lanes that are not watched.
#[derive(Default)]
pub(super) struct Hold {
    lanes: Vec<(Lane, RawFd)>,
    /// Rounds since the last that looked at events.
    rounds: u32,
}

impl Hold {
    /// Whether all lanes are watched.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Those that are not.
    pub(super) fn lanes(&self) -> impl Iterator<Item = Lane> {
        self.lanes.iter().map(|&(lane, _)| lane)
    }

    /// Holds lanes that are watched.
    pub(super) fn take(&mut self, registry: &Registry, lanes: [(Lane, RawFd); 2]) {
        let held = lanes.into_iter().filter(|&(_, fd)| unwatch(registry, fd));
        self.lanes.extend(held);
        self.rounds = 0;
    }

    /// Has all of them watched again. Those of which that fails are held on.
    pub(super) fn release(&mut self, registry: &Registry) {
        self.lanes
            .retain(|&(lane, fd)| lane.watch(registry, fd).is_err());
    }

    /// A lane is gone.
    pub(super) fn forget(&mut self, lane: Lane) {
        self.lanes.retain(|&(l, _)| l != lane);
    }

    /// A round begins. Whether it is one that only reads the lane by which a frame is expected.
    pub(super) fn only_reads(&mut self) -> bool {
        self.rounds = (self.rounds + 1) % LOOKS;
        self.rounds != 0
    }
}
