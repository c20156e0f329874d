//! Level 2: the shared connection records, and the index by which routed frames find them.

pub mod epoch;
pub mod generation;
pub mod index;
pub mod key;
pub mod record;
#[cfg(test)]
mod record_tests;
pub mod slab;

pub use epoch::Epochs;
pub use generation::Generation;
pub use index::Index;
pub use key::{FlowKey, Zone};
pub use record::{Dir, Forward, Record};
pub use slab::{RecordId, Slab};
