//! One neighbour: its state, and how others see it.

use super::queue::{Held, Order, Queue};
use crate::base::{Mac, Tick};
use crate::flow::Zone;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// What is known about a neighbour; the names are those of `ip neigh`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NeighState {
    /// Asked for, no answer yet, no MAC.
    Incomplete,
    /// Confirmed not long ago.
    Reachable,
    /// Confirmed, but long ago; still used.
    Stale,
    /// Does not answer.
    Failed,
    /// Set by hand, never asked for.
    Permanent,
}

/// What is to be done with a frame for a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolve {
    /// Send it there.
    Known(Mac),
    /// Give it to [`Neighbours::hold`](super::Neighbours::hold).
    Pending {
        /// The caller is the first to ask: send an ARP request now.
        first: bool,
    },
    /// It does not answer: host unreachable.
    Failed,
}

/// What [`Neighbours::confirm`](super::Neighbours::confirm) did.
#[derive(Debug)]
pub struct Confirmed {
    /// The MAC is another than before.
    pub changed: bool,
    /// Frames that waited for it, in order of arrival.
    pub held: Vec<Held>,
}

/// What [`Neighbours::tick`](super::Neighbours::tick) wants done.
#[derive(Debug)]
pub enum NeighAction {
    /// Send an ARP request.
    SendArp {
        /// On which side.
        zone: Zone,
        /// For this address.
        ip: Ipv4Addr,
        /// To this MAC alone; `None`: broadcast.
        unicast_to: Option<Mac>,
    },
    /// Nobody answered: drop these frames, with an ICMP host unreachable each.
    GiveUp {
        /// On which side.
        zone: Zone,
        /// The address.
        ip: Ipv4Addr,
        /// The frames that waited.
        held: Vec<Held>,
    },
}

/// One neighbour, as `switchctl neigh` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighReport {
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its MAC, if known.
    pub mac: Option<Mac>,
    /// Its side.
    pub zone: Zone,
    /// Its state.
    pub state: NeighState,
    /// Milliseconds since it was confirmed (Incomplete, Failed: since it was first asked for or
    /// given up); 0 when permanent.
    pub idle_ms: u32,
}

pub(super) struct Neighbour {
    pub state: NeighState,
    pub mac: Mac,
    /// When it was confirmed, first asked for, or given up.
    pub since: Tick,
    /// When it was last wanted.
    pub used: AtomicU32,
    /// Questions asked since the last answer.
    pub tries: u8,
    /// Under which time it stands in [`Order::due`] and [`Order::idle`].
    pub due: Option<u64>,
    pub idle: Option<u64>,
    pub queue: Queue,
}

pub(super) fn key(zone: Zone, ip: Ipv4Addr) -> u64 {
    ((zone as u64) << 32) | u64::from(ip.to_bits())
}

pub(super) fn unkey(key: u64) -> (Zone, Ipv4Addr) {
    let zone = if key >> 32 == 0 {
        Zone::Inside
    } else {
        Zone::Uplink
    };
    (zone, Ipv4Addr::from_bits(key as u32))
}

impl Neighbour {
    pub fn new(state: NeighState, mac: Mac, now: Tick) -> Neighbour {
        Neighbour {
            state,
            mac,
            since: now,
            used: AtomicU32::new(now.0),
            tries: 0,
            due: None,
            idle: None,
            queue: Queue::default(),
        }
    }

    /// Whether `mac` may be used.
    pub fn usable(&self) -> bool {
        matches!(
            self.state,
            NeighState::Reachable | NeighState::Stale | NeighState::Permanent
        )
    }

    /// When it was last wanted or heard.
    pub fn last(&self, order: &Order) -> u64 {
        let used = Tick(self.used.load(Relaxed));
        order.clock.past(used).max(order.clock.past(self.since))
    }
}
