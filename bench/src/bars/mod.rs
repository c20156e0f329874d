//! The bars of the packet path in memory: each row measured by itself in a few seconds, with what
//! it must reach. `bin/bars.rs` prints them.
//!
//! What is compared is interleaved (switch, floor, switch, floor ...) and given as the median of
//! the rounds; a ratio is the median of the rounds' ratios.

mod bridge;
mod change;
mod connections;
mod hits;
mod memory;
mod rules;
pub mod workers;

pub use memory::{PerConnection, per_connection};

use crate::Result;
use std::time::Duration;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Rounds of each comparison.
    pub rounds: usize,
    /// Frames of each round and side.
    pub frames: u64,
    /// Numbers of established flows, the largest also being the number of live connections in
    /// the large case of the connection rate.
    pub flows: &'static [u32],
    /// Numbers of MAC addresses.
    pub macs: &'static [u32],
    /// Size of the table in which connections are opened.
    pub table: u32,
    /// How long each part of what runs on threads runs.
    pub span: Duration,
}

impl Scale {
    /// What the figures in the README are made with.
    pub const FULL: Scale = Scale {
        rounds: 7,
        frames: 1 << 18,
        flows: &[1, 10_000, 100_000, 1_000_000, 4_000_000],
        macs: &[2, 1_000, 100_000],
        table: 1 << 20,
        span: Duration::from_millis(1500),
    };
    /// Whether everything runs at all: the figures mean nothing.
    pub const SMALL: Scale = Scale {
        rounds: 2,
        frames: 1 << 10,
        flows: &[1, 1_000],
        macs: &[2, 100],
        table: 1 << 12,
        span: Duration::from_millis(20),
    };

    /// [`Scale::SMALL`] under `cargo bench -- --test`, else [`Scale::FULL`].
    pub fn of_bench() -> Scale {
        if std::env::args().any(|a| a == "--test") {
            Scale::SMALL
        } else {
            Scale::FULL
        }
    }

    /// Most flows.
    pub fn most(&self) -> u32 {
        self.flows.iter().copied().max().unwrap_or(1)
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Line {
    /// What was measured.
    pub what: String,
    /// The figure.
    pub figure: String,
    /// What it is compared with, if anything.
    pub beside: String,
    /// What must be reached.
    pub bar: String,
    /// Whether it is; `None` where nothing has to be.
    pub met: Option<bool>,
}

impl Line {
    /// As a row of a Markdown table.
    pub fn markdown(&self) -> String {
        let met = match self.met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        };
        format!(
            "| {} | {} | {} | {} | {met} |",
            self.what, self.figure, self.beside, self.bar
        )
    }
}

/// Head of the Markdown table.
pub const HEAD: &str =
    "| in memory, one core | measured | beside | bar | reached |\n|---|---|---|---|---|";

/// A group of rows: its name and what measures it, line by line.
pub type Group = (&'static str, fn(Scale, &mut dyn FnMut(Line)) -> Result<()>);

/// All of them, in the order of the table.
pub const GROUPS: [Group; 10] = [
    ("hit", hits::hits),
    ("l2", bridge::l2),
    ("superframe", hits::superframe),
    ("new", connections::new),
    ("lives", connections::lives),
    ("rules", rules::rules),
    ("ports", rules::ports),
    ("workers", workers::two),
    ("change", change::change),
    ("memory", memory::lines),
];

/// The middle one (the lower of two).
pub fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v.get(v.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

/// Nanoseconds of two things that are done in turn, and their ratio: medians over the rounds.
#[derive(Clone, Copy, Debug)]
struct Versus {
    /// Of the first.
    ours: f64,
    /// Of the second.
    other: f64,
    /// Ours divided by the other.
    ratio: f64,
}

/// Does `ours` and `other`, which each take `n` frames and give their time, in turn.
fn versus(
    scale: Scale,
    mut ours: impl FnMut(u64) -> Duration,
    mut other: impl FnMut(u64) -> Duration,
) -> Versus {
    // A first round for the caches, the lists that grow, and the clock of the CPU.
    ours(scale.frames / 4);
    other(scale.frames / 4);
    let per = |d: Duration| d.as_secs_f64() * 1e9 / scale.frames as f64;
    let pairs: Vec<(f64, f64)> = (0..scale.rounds)
        .map(|_| (per(ours(scale.frames)), per(other(scale.frames))))
        .collect();
    Versus {
        ours: median(pairs.iter().map(|p| p.0).collect()),
        other: median(pairs.iter().map(|p| p.1).collect()),
        ratio: median(pairs.iter().map(|p| p.0 / p.1.max(1e-9)).collect()),
    }
}

/// Millions a second of something that takes so many nanoseconds.
fn mega(ns: f64) -> String {
    format!("{:.1} Mpps", 1e3 / ns.max(1e-9))
}

/// A number of flows or addresses, for people.
fn count(n: u32) -> String {
    match n {
        n if n >= 1_000_000 && n.is_multiple_of(1_000_000) => format!("{} M", n / 1_000_000),
        n if n >= 1_000 && n.is_multiple_of(1_000) => format!("{} k", n / 1_000),
        n => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.0);
        assert_eq!(median(Vec::new()), 0.0);
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(count(1), "1");
        assert_eq!(count(10_000), "10 k");
        assert_eq!(count(4_000_000), "4 M");
        assert_eq!(mega(50.0), "20.0 Mpps");
    }
}
