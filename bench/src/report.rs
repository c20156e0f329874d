//! Medians, spreads and ratios, as Markdown and as JSON.

use crate::measure::{Measure, Sample};
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

/// A measure on both networks, in interleaved pairs.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The measure's name.
    pub name: &'static str,
    /// Its title.
    pub title: &'static str,
    /// Its unit.
    pub unit: crate::measure::Unit,
    /// The runs (twin, switchd), as they were made.
    pub pairs: Vec<(Sample, Sample)>,
    /// Figures of the twin.
    pub twin: Spread,
    /// Figures of switchd.
    pub switchd: Spread,
    /// switchd / twin, pair by pair.
    pub ratio: Spread,
    /// What the ratio has to reach, or to stay below where less is better.
    pub bar: f64,
    /// Whether the median ratio does.
    pub reached: bool,
}

impl Row {
    /// Sums up. `None` without a pair.
    pub fn new(m: &Measure, pairs: Vec<(Sample, Sample)>) -> Option<Row> {
        let twin = Spread::of(pairs.iter().map(|p| p.0.value))?;
        let switchd = Spread::of(pairs.iter().map(|p| p.1.value))?;
        let ratio = Spread::of(pairs.iter().map(|p| p.1.value / p.0.value))?;
        let reached = match m.unit.more_is_better() {
            true => ratio.median >= m.bar,
            false => ratio.median <= m.bar,
        };
        Some(Row {
            name: m.name,
            title: m.title,
            unit: m.unit,
            pairs,
            twin,
            switchd,
            ratio,
            bar: m.bar,
            reached,
        })
    }
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
| measure | unit | twin: median (spread) | switchd: median (spread) | ratio (spread) | bar | cores: switchd | cores: machine, twin / switchd |
|---|---|---|---|---|---|---|---|";

/// One line of the table.
pub fn line(r: &Row) -> String {
    let cores = |f: fn(&(Sample, Sample)) -> f64| {
        Spread::of(r.pairs.iter().map(f)).map_or(0.0, |s| s.median)
    };
    let sign = if r.unit.more_is_better() {
        "≥"
    } else {
        "≤"
    };
    let mut out = String::new();
    let _ = write!(
        out,
        "| {} | {} | {} | {} | **{:.2}** ({:.2}–{:.2}) | {sign} {} {} | {:.2} | {:.2} / {:.2} |",
        r.title,
        r.unit.name(),
        spread(&r.twin),
        spread(&r.switchd),
        r.ratio.median,
        r.ratio.min,
        r.ratio.max,
        r.bar,
        if r.reached { "yes" } else { "no" },
        cores(|p| p.1.cpu.switch),
        cores(|p| p.0.cpu.machine),
        cores(|p| p.1.cpu.machine),
    );
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
