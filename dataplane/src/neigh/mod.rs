//! Level 3: who is on the link. The table of neighbours, and ARP.

pub mod cache;
mod entry;
pub mod queue;
pub mod responder;
#[cfg(test)]
mod responder_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod timer;

pub use cache::Neighbours;
pub use entry::{Confirmed, NeighAction, NeighReport, NeighState, Resolve};
pub use queue::{Held, Hold};
pub use responder::{ArpAction, ArpVerdict, Released};
