//! Level 3: the bridge. Which port a frame leaves by, from its addresses alone.

mod evict;
pub mod fdb;
pub mod groups;
mod index;
mod key;
mod order;
#[cfg(test)]
mod tests;

pub use fdb::{Fdb, FdbCounts, FdbReport, Learn};
pub use groups::Groups;
pub use key::FdbKey;

use crate::base::{PortId, Reason, Tick};

/// Where the bridge sends a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum L2 {
    /// By one port, not the one that it came from.
    To(PortId),
    /// By every member of the bridge domain but the one that it came from: broadcast, multicast,
    /// or a unicast address that the FDB does not know.
    Flood,
    /// By none.
    Drop(Reason),
}

/// The forwarding decision of IEEE 802.1Q (section 8.6) for a bridged frame to `dst`. Learning is
/// the caller's, before this, so that a frame to its own sender's address is seen as such.
#[inline]
pub fn decide(fdb: &Fdb, dst: FdbKey, ingress: PortId, now: Tick) -> L2 {
    if dst.is_group() {
        if dst.mac().is_link_local() {
            return L2::Drop(Reason::LinkLocalGroup);
        }
        return L2::Flood;
    }
    match fdb.lookup(dst, now) {
        None => L2::Flood,
        Some(port) if port == ingress => L2::Drop(Reason::SamePort),
        Some(port) => L2::To(port),
    }
}
