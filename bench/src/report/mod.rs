//! Medians, spreads and ratios, as Markdown and as JSON.

use crate::measure::{Bar, Measure, Sample, Unit};
use crate::nets::Side;
use serde::Serialize;
use std::fmt::Write;

/// Middle, least and most of some figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one; the mean of the two middle ones of an even number.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of at least one figure.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut v: Vec<f64> = values.into_iter().collect();
        v.sort_by(f64::total_cmp);
        let upper = *v.get(v.len() / 2)?;
        let lower = *v.get((v.len() - 1) / 2)?;
        Some(Spread {
            median: f64::midpoint(lower, upper),
            min: *v.first()?,
            max: *v.last()?,
        })
    }
}

/// The runs of a measure on one network.
#[derive(Clone, Debug, Serialize)]
pub struct Runs {
    /// The network.
    pub side: Side,
    /// As they were made; the runs of one place on all sides were made one after the other.
    pub samples: Vec<Sample>,
}

/// switchd compared with another network.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The other network.
    pub to: Side,
    /// Its figures.
    pub other: Spread,
    /// switchd's figures.
    pub switchd: Spread,
    /// switchd / other, round by round.
    pub ratio: Spread,
    /// What the ratio has to reach, or to stay below where less is better.
    pub bar: Option<f64>,
    /// What it should reach.
    pub goal: Option<f64>,
    /// Whether the median ratio reaches the bar; true where there is none.
    pub reached: bool,
    /// Median of the cores that switchd's process kept busy.
    pub switchd_cores: f64,
    /// Medians of the cores that the machine kept busy: other, switchd.
    pub machine_cores: (f64, f64),
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
    /// All runs.
    pub runs: Vec<Runs>,
    /// What they come to.
    pub comparisons: Vec<Comparison>,
}

impl Row {
    /// Sums up. Bars without runs on their network are left out.
    pub fn new(m: &Measure, bars: &[Bar], runs: Vec<Runs>) -> Row {
        let comparisons = bars.iter().filter_map(|b| compare(m.unit, b, &runs));
        Row {
            name: m.name,
            title: m.title,
            unit: m.unit,
            comparisons: comparisons.collect(),
            runs,
        }
    }
}

fn compare(unit: Unit, bar: &Bar, runs: &[Runs]) -> Option<Comparison> {
    let of = |side| runs.iter().find(|r| r.side == side).map(|r| &r.samples);
    let (other, own) = (of(bar.to)?, of(Side::Switchd)?);
    let values = |s: &[Sample]| Spread::of(s.iter().map(|s| s.value));
    let machine = |s: &[Sample]| Spread::of(s.iter().map(|s| s.cpu.machine));
    let ratio = Spread::of(other.iter().zip(own).map(|(o, s)| s.value / o.value))?;
    Some(Comparison {
        to: bar.to,
        other: values(other)?,
        switchd: values(own)?,
        ratio,
        bar: bar.bar,
        goal: bar.goal,
        reached: bar.bar.is_none_or(|b| unit.reaches(ratio.median, b)),
        switchd_cores: Spread::of(own.iter().map(|s| s.cpu.switch))?.median,
        machine_cores: (machine(other)?.median, machine(own)?.median),
    })
}

/// A figure with three significant digits and separated thousands.
fn figure(v: f64) -> String {
    if v < 100.0 {
        let digits = if v < 10.0 { 2 } else { 1 };
        return format!("{v:.digits$}");
    }
    let whole = format!("{v:.0}");
    let mut out = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

fn spread(s: &Spread) -> String {
    format!("{} ({}–{})", figure(s.median), figure(s.min), figure(s.max))
}

/// The table's head.
pub const HEAD: &str = "\
| measure | unit | beside | its median (spread) | switchd: median (spread) | ratio (spread) | bar | goal | cores: switchd | cores: machine, other / switchd |
|---|---|---|---|---|---|---|---|---|---|";

/// A line of the table for each comparison.
pub fn lines(r: &Row) -> String {
    let sign = if r.unit.more_is_better() {
        "≥"
    } else {
        "≤"
    };
    let mut out = String::new();
    for c in &r.comparisons {
        let bar = match (c.bar, c.reached) {
            (None, _) => "–".to_owned(),
            (Some(b), true) => format!("{sign} {b}"),
            (Some(b), false) => format!("{sign} {b} missed"),
        };
        let goal = c.goal.map_or("–".to_owned(), |g| g.to_string());
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | **{:.2}** ({:.2}–{:.2}) | {bar} | {goal} | {:.2} | {:.2} / {:.2} |",
            r.title,
            r.unit.name(),
            c.to.name(),
            spread(&c.other),
            spread(&c.switchd),
            c.ratio.median,
            c.ratio.min,
            c.ratio.max,
            c.switchd_cores,
            c.machine_cores.0,
            c.machine_cores.1,
        );
    }
    out
}

/// Where and how the table was made.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    /// `uname -r`.
    pub kernel: String,
    /// CPU model.
    pub cpu: String,
    /// Cores.
    pub cores: usize,
    /// Seconds of each run.
    pub seconds: f64,
    /// Further flags of switchd.
    pub flags: Vec<String>,
}

impl Setting {
    /// Of this machine.
    pub fn here(seconds: f64, flags: &[String]) -> Setting {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let model = cpu
            .lines()
            .find_map(|l| l.strip_prefix("model name"))
            .unwrap_or("unknown");
        Setting {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: model.trim_start_matches(['\t', ':', ' ']).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            seconds,
            flags: flags.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_numbers() {
        let s = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((s.median, s.min, s.max), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of([4.0, 1.0]).unwrap().median, 2.5);
        assert!(Spread::of([]).is_none());
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(figure(1.234), "1.23");
        assert_eq!(figure(12.34), "12.3");
        assert_eq!(figure(123.4), "123");
        assert_eq!(figure(1_234_567.8), "1,234,568");
    }
}
