//! What the benches share.
//!
//! End to end, beside docker0's twin: [`versus`] is the command and its journey. It rests on
//! [`nets`] (docker0's twin, switchd, and a zero-work patch, each with the same hosts in
//! namespaces of its own), [`traffic`] (the programs that talk in them), [`measure`] (the list of
//! measures, and one run of one of them), [`loss`] and [`cpu`] (what a run lost and cost),
//! [`awake`] (the cores' idle states) and [`report`] (medians, ratios, Markdown, JSON).
//!
//! In memory: the Criterion benches of the packet path use [`lab`] (a switch with flows in it)
//! and [`floor`] (the least that such work can cost); [`bars`] compares both with what must be
//! reached, for `bin/bars.rs`.

pub mod awake;
pub mod bars;
pub mod cpu;
pub mod floor;
pub mod frames;
pub mod lab;
pub mod loss;
pub mod measure;
pub mod nets;
pub mod report;
pub mod traffic;
pub mod versus;

/// Errors of the benches end in one line on stderr, so a boxed one is enough.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
