//! What a connection costs in memory, all tables together: arithmetic, no timing.

use super::{Line, Scale};
use crate::Result;
use crate::lab::{Flow, Lab, Room};

const BAR: u64 = 256;

/// Bytes of tables that hold so many connections, as they stand.
#[derive(Clone, Copy, Debug)]
pub struct PerConnection {
    /// Connections in the tables, which have room for no more.
    pub connections: u32,
    /// Records.
    pub records: u64,
    /// The index.
    pub index: u64,
    /// Timers.
    pub timers: u64,
    /// External ports and the mappings that hold them.
    pub mappings: u64,
    /// Lists of free and of closing connections.
    pub lists: u64,
}

impl PerConnection {
    /// All of it, for one connection.
    pub fn bytes(&self) -> u64 {
        let all = self.records + self.index + self.timers + self.mappings + self.lists;
        all.div_ceil(u64::from(self.connections.max(1)))
    }
}

/// Fills the tables of a switch for `n` connections by whole lives: with what `flow` needs, and
/// with all timers set that a connection has in its life.
///
/// # Errors
/// When a connection is refused.
pub fn per_connection(flow: Flow, n: u32) -> Result<PerConnection> {
    let mut lab = Lab::new(Room::for_connections(n))?;
    lab.open(flow, n)?;
    lab.close(flow, n)?;
    let m = lab.switch().memory();
    Ok(PerConnection {
        connections: lab.switch().conntrack.len(),
        records: m.records,
        index: m.index,
        timers: lab.timer_bytes(),
        mappings: m.mappings,
        lists: m.lists,
    })
}

pub(super) fn lines(scale: Scale, out: &mut dyn FnMut(Line)) -> Result<()> {
    for flow in Flow::BOTH {
        let p = per_connection(flow, scale.table)?;
        let each = |v: u64| v / u64::from(p.connections.max(1));
        out(Line {
            what: format!(
                "memory per connection, {}, table of {} full",
                flow.name(),
                p.connections
            ),
            figure: format!("{} B", p.bytes()),
            beside: format!(
                "records {}, index {}, timers {}, mappings {}, lists {}",
                each(p.records),
                each(p.index),
                each(p.timers),
                each(p.mappings),
                each(p.lists)
            ),
            bar: format!("≤ {BAR} B (goal 192)"),
            met: Some(p.bytes() <= BAR),
        });
    }
    Ok(())
}
