//! What the runs of a measure come to.

use super::Spread;
use crate::measure::{Bar, Measure, Sample, Unit};
use crate::nets::Side;
use serde::Serialize;

/// The runs of a measure on one network.
#[derive(Clone, Debug, Serialize)]
pub struct Runs {
    /// The network.
    pub side: Side,
    /// As they were made; the runs of one place on all sides were made one after the other.
    pub samples: Vec<Sample>,
}

impl Runs {
    fn median(&self, of: fn(&Sample) -> f64) -> Option<f64> {
        Spread::of(self.samples.iter().map(of)).map(|s| s.median)
    }
}

/// The other side of a comparison.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Other {
    /// The network.
    pub side: Side,
    /// Its figures.
    pub value: Spread,
    /// The first side's figure / this one's, round by round.
    pub ratio: Spread,
    /// Median of the cores that the machine kept busy.
    pub machine_cores: f64,
    /// Median of the cores' time that was stolen.
    pub stolen_cores: f64,
}

/// A figure held against a bar.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Comparison {
    /// The network whose figure it is.
    pub of: Side,
    /// Its figures.
    pub value: Spread,
    /// What it is compared with; `None` if it stands on its own.
    pub other: Option<Other>,
    /// What the ratio (or the figure) has to reach, or to stay below where less is better.
    pub bar: Option<f64>,
    /// What it should reach.
    pub goal: Option<f64>,
    /// Whether the median reaches the bar; null where there is none.
    pub reached: Option<bool>,
    /// Median of the cores that the switch's process kept busy.
    pub switch_cores: f64,
    /// Median of the cores that the machine kept busy.
    pub machine_cores: f64,
    /// Median of the cores' time that was stolen.
    pub stolen_cores: f64,
}

impl Comparison {
    /// What is held against the bar: the median ratio, or the median.
    pub fn judged(&self) -> f64 {
        self.other.map_or(self.value, |o| o.ratio).median
    }
}

/// A measure on all its networks, in interleaved rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The measure's name.
    pub name: &'static str,
    /// Its title.
    pub title: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// What the runs come to.
    pub comparisons: Vec<Comparison>,
    /// All runs.
    pub runs: Vec<Runs>,
}

impl Row {
    /// Sums up. Bars without runs on their network are left out; those of a figure that is not to
    /// be judged are forgotten.
    pub fn new(m: &Measure, bars: &[Bar], judged: bool, runs: Vec<Runs>) -> Row {
        let comparisons = bars.iter().filter_map(|b| {
            let bar = Bar {
                bar: b.bar.filter(|_| judged),
                ..*b
            };
            compare(m, &bar, &runs)
        });
        Row {
            name: m.name,
            title: m.title,
            unit: m.unit,
            comparisons: comparisons.collect(),
            runs,
        }
    }
}

fn compare(m: &Measure, bar: &Bar, runs: &[Runs]) -> Option<Comparison> {
    let of = |side| runs.iter().find(|r| r.side == side);
    let own = of(m.of)?;
    let values = |r: &Runs| Spread::of(r.samples.iter().map(|s| s.value));
    let other = match bar.to {
        None => None,
        Some(side) => {
            let r = of(side)?;
            let pairs = r.samples.iter().zip(&own.samples);
            Some(Other {
                side,
                value: values(r)?,
                ratio: Spread::of(pairs.map(|(o, s)| s.value / o.value))?,
                machine_cores: r.median(|s| s.cpu.machine)?,
                stolen_cores: r.median(|s| s.cpu.stolen)?,
            })
        }
    };
    let mut c = Comparison {
        of: m.of,
        value: values(own)?,
        other,
        bar: bar.bar,
        goal: bar.goal,
        reached: None,
        switch_cores: own.median(|s| s.cpu.switch)?,
        machine_cores: own.median(|s| s.cpu.machine)?,
        stolen_cores: own.median(|s| s.cpu.stolen)?,
    };
    c.reached = bar.bar.map(|b| m.unit.reaches(c.judged(), b));
    Some(c)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{measure, runs};
    use super::*;

    const TWIN: Bar = Bar {
        to: Some(Side::Twin),
        bar: Some(1.6),
        goal: Some(2.5),
    };
    const ALONE: Bar = Bar {
        to: None,
        bar: Some(0.01),
        goal: None,
    };

    #[test]
    fn ratios_are_made_round_by_round() {
        let all = vec![
            runs(Side::Twin, &[10.0, 20.0, 40.0]),
            runs(Side::Switchd, &[15.0, 60.0, 40.0]),
        ];
        let row = Row::new(&measure(Unit::PerSecond), &[TWIN], true, all);
        let c = row.comparisons[0];
        let other = c.other.unwrap();
        // 1.5, 3, 1: not the ratio of the medians, which is 2.
        assert_eq!(
            (other.ratio.median, other.ratio.min, other.ratio.max),
            (1.5, 1.0, 3.0)
        );
        assert_eq!((c.value.median, other.value.median), (40.0, 20.0));
        assert_eq!(c.reached, Some(false));
    }

    #[test]
    fn where_less_is_better_the_bar_is_a_ceiling() {
        let all = || vec![runs(Side::Twin, &[10.0]), runs(Side::Switchd, &[15.0])];
        let reached = |unit| Row::new(&measure(unit), &[TWIN], true, all()).comparisons[0].reached;
        assert_eq!(reached(Unit::MeanMicros), Some(true));
        assert_eq!(reached(Unit::PerSecond), Some(false));
    }

    #[test]
    fn a_figure_may_stand_on_its_own_or_not_be_judged() {
        let all = || vec![runs(Side::Switchd, &[0.02, 0.001, 0.002])];
        let row = Row::new(&measure(Unit::Cores), &[ALONE, TWIN], true, all());
        assert_eq!(row.comparisons.len(), 1, "no runs of the twin");
        assert_eq!(row.comparisons[0].reached, Some(true));
        let row = Row::new(&measure(Unit::Cores), &[ALONE], false, all());
        assert_eq!(
            (row.comparisons[0].bar, row.comparisons[0].reached),
            (None, None)
        );
    }
}
