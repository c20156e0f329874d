//! Level 3: maps tuples to tuples. Knows rules and ports, no connections.

pub mod rules;

pub use rules::{Publication, PublishError, RuleReport};
