//! The measures, and one run of one of them on one network.

mod list;
mod run;

pub use list::MEASURES;
pub use run::{Manner, Sample};

use crate::nets::{Side, Way};
use crate::traffic::Job;
use serde::Serialize;

/// What the figure of a measure is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Unit {
    /// 10^9 bits of payload a second.
    #[serde(rename = "Gbit/s")]
    Gbit,
    /// Exchanges, connections or datagrams a second.
    #[serde(rename = "1/s")]
    PerSecond,
    /// Mean time, µs.
    #[serde(rename = "µs")]
    MeanMicros,
    /// 99th percentile of times, µs.
    #[serde(rename = "µs p99")]
    P99Micros,
    /// Cores that the switch's process keeps busy.
    #[serde(rename = "cores")]
    Cores,
}

impl Unit {
    /// Whether more is better.
    pub const fn more_is_better(self) -> bool {
        matches!(self, Unit::Gbit | Unit::PerSecond)
    }

    /// Whether a ratio, or a figure on its own, reaches a bar.
    pub fn reaches(self, ratio: f64, bar: f64) -> bool {
        match self.more_is_better() {
            true => ratio >= bar,
            false => ratio <= bar,
        }
    }

    /// For tables.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::Gbit => "Gbit/s",
            Unit::PerSecond => "1/s",
            Unit::MeanMicros => "µs",
            Unit::P99Micros => "µs p99",
            Unit::Cores => "cores",
        }
    }
}

/// What the figure of a measure has to reach.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bar {
    /// The network whose figure is the divisor; `None` for a figure that stands on its own.
    pub to: Option<Side>,
    /// What the ratio has to reach, or to stay below where less is better. Without one it is
    /// shown and not judged.
    pub bar: Option<f64>,
    /// What it should reach.
    pub goal: Option<f64>,
}

/// One measure.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// For `--filter` and the JSON.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// Its way through the network.
    pub way: Way,
    /// What the figure is.
    pub unit: Unit,
    /// What the programs do.
    pub job: Job,
    /// Whose figure it is.
    pub of: Side,
    /// What it is compared with.
    pub bars: &'static [Bar],
}

impl Measure {
    /// The bars; with one more that shows the zero-work patch, where that is wished and it can
    /// carry the traffic.
    pub fn bars(&self, patch: bool) -> Vec<Bar> {
        let mut bars = self.bars.to_vec();
        let fits = self.of == Side::Switchd && self.way == Way::L2 && self.job != Job::Silence;
        if patch && fits && !bars.iter().any(|b| b.to == Some(Side::Patch)) {
            bars.push(Bar {
                to: Some(Side::Patch),
                bar: None,
                goal: None,
            });
        }
        bars
    }

    /// The networks of these bars, in the order of a round: the one whose figure it is comes last.
    pub fn sides(&self, bars: &[Bar]) -> Vec<Side> {
        bars.iter().filter_map(|b| b.to).chain([self.of]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_measure_is_judged() {
        for (i, m) in MEASURES.iter().enumerate() {
            assert!(MEASURES[..i].iter().all(|o| o.name != m.name), "{}", m.name);
            assert!(m.bars.iter().any(|b| b.bar.is_some()), "{}", m.name);
            let sides = m.sides(m.bars);
            assert_eq!(
                sides.len(),
                m.bars.iter().filter(|b| b.to.is_some()).count() + 1
            );
            // A goal is beyond its bar.
            for b in m.bars {
                if let (Some(bar), Some(goal)) = (b.bar, b.goal) {
                    assert!(m.unit.reaches(goal, bar), "{}", m.name);
                }
            }
        }
    }

    #[test]
    fn the_patch_is_added_where_it_can_carry_the_traffic() {
        let find = |name| MEASURES.iter().find(|m| m.name == name).unwrap();
        let patches = |name, wished| {
            let bars = find(name).bars(wished);
            bars.iter().filter(|b| b.to == Some(Side::Patch)).count()
        };
        assert_eq!((patches("rr-1", false), patches("rr-1", true)), (0, 1));
        assert_eq!((patches("ping", false), patches("ping", true)), (1, 1));
        assert_eq!((patches("conn-1", true), patches("idle", true)), (0, 0));
        assert_eq!(patches("ports-rr", true), 0);
    }
}
