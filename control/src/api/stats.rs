//! What goes over the API about counters; see [`super::types`].

use crate::uplink::sockets::SocketsReport;
use serde::{Deserialize, Serialize};

/// Every counter.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Stats {
    /// rx + originated + copies = tx + drops + consumed + held.
    pub balance: Balance,
    /// The sum over all workers.
    pub total: Counters,
    /// One per worker.
    pub workers: Vec<Counters>,
    /// Every reason for which frames are lost, also those at 0.
    pub drops: Vec<Drop>,
    /// How full the tables are.
    pub tables: Tables,
    /// The localhost relay; null when it is off.
    pub localhost: Option<Localhost>,
    /// The engine of `--uplink sockets`; null with another uplink.
    pub sockets: Option<SocketsReport>,
}

/// How full the tables are, and what became of FDB entries since the start.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tables {
    /// Live connections.
    pub connections: u64,
    /// External ports and identifiers that masquerade holds.
    pub external_ports: u64,
    /// Neighbours.
    pub neighbours: u64,
    /// FDB entries.
    pub fdb: u64,
    /// FDB entries made by learning.
    pub fdb_learned: u64,
    /// FDB entries that changed their port.
    pub fdb_moved: u64,
    /// FDB entries thrown out for want of room.
    pub fdb_evicted: u64,
    /// FDB entries that expired.
    pub fdb_aged: u64,
}

/// What the host's listeners did.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Localhost {
    /// Sockets that listen.
    pub listeners: u64,
    /// TCP connections now.
    pub connections: u64,
    /// TCP connections accepted since the start.
    pub accepted: u64,
    /// Of them: reset because nothing answered behind the published port.
    pub refused: u64,
    /// Of them: ended by a reset of either side.
    pub reset: u64,
    /// TCP bytes moved to containers.
    pub bytes_in: u64,
    /// TCP bytes moved to clients.
    pub bytes_out: u64,
    /// UDP sessions now.
    pub sessions: u64,
    /// UDP datagrams moved to containers.
    pub datagrams_in: u64,
    /// UDP datagrams moved to clients.
    pub datagrams_out: u64,
    /// UDP datagrams lost here.
    pub datagrams_dropped: u64,
}

/// Both sides of the account of frames.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Balance {
    /// rx + originated + copies.
    pub came: i64,
    /// tx + drops + consumed + held.
    pub went: i64,
    /// Whether the two are equal. Read while frames move, they may differ by what is under way.
    pub holds: bool,
}

/// A worker's counters, or their sum.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Frames read.
    pub rx: u64,
    /// Frames written.
    pub tx: u64,
    /// Frames lost.
    pub drops: u64,
    /// Frames that the switch answered or took for itself.
    pub consumed: u64,
    /// Frames that the switch made.
    pub originated: u64,
    /// Further copies made by flooding or fragmenting.
    pub copies: u64,
    /// Frames waiting inside (a worker's share may be negative).
    pub held: i64,
    /// Routed frames that the flow index decided.
    pub hits: u64,
    /// Routed frames that took the slow path.
    pub slow: u64,
    /// Frames bridged to one known port.
    pub bridged: u64,
    /// Frames flooded.
    pub flooded: u64,
    /// Batches.
    pub batches: u64,
    /// Writes that carried more than one frame.
    pub coalesced_writes: u64,
    /// Frames that software segmentation made.
    pub segments: u64,
}

/// A reason for loss and how often it struck.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Drop {
    /// Its stable name.
    pub reason: String,
    /// What it means.
    pub sentence: String,
    /// Frames lost.
    pub frames: u64,
}
