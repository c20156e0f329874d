//! What the benches share.
//!
//! - [`nets`]: docker0's twin and switchd, each with the same hosts in namespaces of its own;
//! - [`traffic`]: the programs that talk in them;
//! - [`measure`]: the list of measures, and one run of one of them;
//! - [`cpu`]: what a run cost;
//! - [`report`]: medians, ratios, Markdown, JSON.
//!
//! `bin/versus.rs` puts these together. The Criterion benches of the packet path in memory use
//! [`lab`] (a switch with flows in it) and [`floor`] (the least that such work can cost);
//! [`bars`] compares both with what must be reached, for `bin/bars.rs`.

pub mod bars;
pub mod cpu;
pub mod floor;
pub mod frames;
pub mod lab;
pub mod measure;
pub mod nets;
pub mod report;
pub mod traffic;

/// Errors of the benches end in one line on stderr, so a boxed one is enough.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
