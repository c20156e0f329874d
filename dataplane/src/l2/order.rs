//! The order of age in the FDB: who goes first when room is wanted, and what the sweep looks at.

use crate::base::{PortId, WideClock};
use std::collections::{BTreeMap, BTreeSet};

/// Each port's dynamic entries, oldest first. Times are ticks widened to 64 bits so that they
/// sort. A refresh does not come here: it happens on the hit path. So a stamp may be too old, and
/// whoever takes an entry from the front looks at the index and puts it back where it belongs.
#[derive(Default)]
pub(super) struct Order {
    pub ports: BTreeMap<PortId, BTreeSet<(u64, u64)>>,
    pub clock: WideClock,
    /// Where the sweep goes on.
    pub cursor: PortId,
}

impl Order {
    pub fn insert(&mut self, port: PortId, stamp: u64, key: u64) {
        self.ports.entry(port).or_default().insert((stamp, key));
    }

    pub fn remove(&mut self, port: PortId, stamp: u64, key: u64) {
        if let Some(set) = self.ports.get_mut(&port) {
            set.remove(&(stamp, key));
            if set.is_empty() {
                self.ports.remove(&port);
            }
        }
    }

    pub fn first(&self, port: PortId) -> Option<(u64, u64)> {
        self.ports.get(&port)?.first().copied()
    }
}
