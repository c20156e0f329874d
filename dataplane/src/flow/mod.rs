//! Level 2: the shared connection records, and the index by which routed frames find them.

pub mod key;
pub mod record;

pub use key::{FlowKey, Zone};
pub use record::{Dir, Record};
