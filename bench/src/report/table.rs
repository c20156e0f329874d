//! The report as Markdown.

use super::{Report, Row, count, figure};
use crate::measure::Unit;
use crate::nets::Side;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The table's head.
pub const HEAD: &str = "\
| measure | unit | beside | its median (spread) | switchd: median (spread) | ratio (spread) | bar | goal | cores: switchd | machine busy: other / switchd | stolen: other / switchd |
|---|---|---|---|---|---|---|---|---|---|---|
";

fn sign(unit: Unit) -> &'static str {
    match unit.more_is_better() {
        true => "≥",
        false => "≤",
    }
}

/// A line for each comparison.
pub fn lines(r: &Row) -> String {
    let none = || "–".to_owned();
    let sign = sign(r.unit);
    let mut out = String::new();
    for c in &r.comparisons {
        let bar = match (c.bar, c.reached) {
            (Some(b), Some(false)) => format!("{sign} {b} **missed**"),
            (Some(b), _) => format!("{sign} {b}"),
            (None, _) => none(),
        };
        let o = c.other;
        let pair = |other: Option<f64>, own: f64| match other {
            Some(other) => format!("{other:.2} / {own:.2}"),
            None => format!("– / {own:.2}"),
        };
        let cells = [
            title(r, c.of),
            r.unit.name().to_owned(),
            o.map_or_else(none, |o| o.side.name().to_owned()),
            o.map_or_else(none, |o| o.value.to_string()),
            c.value.to_string(),
            o.map_or_else(none, |o| {
                let r = o.ratio;
                format!("**{:.2}** ({:.2}–{:.2})", r.median, r.min, r.max)
            }),
            bar,
            c.goal.map_or_else(none, |g| g.to_string()),
            format!("{:.2}", c.switch_cores),
            pair(o.map(|o| o.machine_cores), c.machine_cores),
            pair(o.map(|o| o.stolen_cores), c.stolen_cores),
        ];
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out
}

/// With whose figure it is, where that is not switchd as it comes.
fn title(r: &Row, of: Side) -> String {
    match of {
        Side::Switchd => r.title.to_owned(),
        other => format!("{}: {}", other.name(), r.title),
    }
}

/// What follows the table.
pub fn sections(report: &Report) -> String {
    let mut out = String::new();
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            let _ = write!(out, "\n{title}\n\n- {}\n", lines.join("\n- "));
        }
    };
    section(
        "Lost on the way",
        report.rows.iter().flat_map(losses).collect(),
    );
    section(
        "Beside the exchanges",
        report.rows.iter().flat_map(beside).collect(),
    );
    let left_out = report.left_out.iter();
    section(
        "Left out",
        left_out
            .map(|l| format!("{}: {}", l.measure, l.why))
            .collect(),
    );
    let refused = report.refused.iter();
    section(
        "Refused: no comparison",
        refused
            .map(|l| format!("{}: {}", l.measure, l.why))
            .collect(),
    );
    let title = match report.judged {
        true => "Bars missed",
        false => "No bar was judged",
    };
    let missed = missed(report);
    match (report.judged, missed.is_empty()) {
        (true, true) => section(title, vec!["none of what was compared".to_owned()]),
        (true, false) => section(title, missed),
        (false, _) => section(title, vec![report.why_not_judged.to_owned()]),
    }
    out
}

fn missed(report: &Report) -> Vec<String> {
    let mut out = Vec::new();
    for row in &report.rows {
        for c in row.comparisons.iter().filter(|c| c.reached == Some(false)) {
            let beside = c
                .other
                .map_or(String::new(), |o| format!(" × {}", o.side.name()));
            let goal = c.goal.map_or(String::new(), |g| format!(", goal {g}"));
            let (sign, bar) = (sign(row.unit), c.bar.unwrap_or_default());
            let (title, judged) = (title(row, c.of), figure(c.judged()));
            out.push(format!("{title}: {judged}{beside}, bar {sign} {bar}{goal}"));
        }
    }
    out
}

/// What did not arrive, with the counters that explain it, over all rounds.
fn losses(row: &Row) -> Vec<String> {
    let mut out = Vec::new();
    for r in &row.runs {
        let (sent, arrived) = r
            .samples
            .iter()
            .fold((0, 0), |(s, a), x| (s + x.sent, a + x.arrived));
        if sent == arrived {
            continue;
        }
        let mut lost: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, n) in r.samples.iter().flat_map(|s| &s.lost) {
            *lost.entry(name).or_default() += n;
        }
        let mut lost: Vec<(&str, u64)> = lost.into_iter().collect();
        lost.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        let named = lost.iter().map(|(name, n)| format!("{name} {}", count(*n)));
        let named: Vec<String> = named.collect();
        out.push(format!(
            "{} on {}: {} of {} ({:.1} %); counted: {}",
            row.title,
            r.side.name(),
            count(sent - arrived),
            count(sent),
            (sent - arrived) as f64 * 100.0 / sent as f64,
            match named.is_empty() {
                true => "nothing".to_owned(),
                false => named.join(", "),
            }
        ));
    }
    out
}

/// What the bulk stream got meanwhile: a switch that starves it has an easy time.
fn beside(row: &Row) -> Vec<String> {
    let mut out = Vec::new();
    for r in &row.runs {
        let got = r.samples.iter().filter_map(|s| s.beside_gbit);
        if let Some(s) = super::Spread::of(got) {
            let side = r.side.name();
            out.push(format!("{} on {side}: {s} Gbit/s", row.title));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::{measure, runs};
    use super::super::{Note, Row};
    use super::*;
    use crate::measure::Bar;

    const BARS: &[Bar] = &[
        Bar {
            to: Some(Side::Twin),
            bar: Some(1.6),
            goal: Some(2.5),
        },
        Bar {
            to: Some(Side::Patch),
            bar: None,
            goal: None,
        },
    ];

    fn report(judged: bool) -> Report {
        let all = vec![
            runs(Side::Twin, &[10.0]),
            runs(Side::Patch, &[30.0]),
            runs(Side::Switchd, &[15.0]),
        ];
        let row = Row::new(&measure(Unit::PerSecond), BARS, judged, all);
        Report {
            judged,
            why_not_judged: "it was too quick",
            rows: vec![row],
            ..Report::default()
        }
    }

    #[test]
    fn a_line_per_comparison() {
        let text = lines(&report(true).rows[0]);
        let mut lines = text.lines();
        assert_eq!(
            lines.next().unwrap(),
            "| a title | 1/s | twin | 10.0 (10.0–10.0) | 15.0 (15.0–15.0) | **1.50** (1.50–1.50) \
             | ≥ 1.6 **missed** | 2.5 | 0.25 | 1.50 / 1.50 | 0.10 / 0.10 |"
        );
        let patch = lines.next().unwrap();
        assert!(patch.contains("| patch | 30.0"), "{patch}");
        assert!(patch.contains("**0.50** (0.50–0.50) | – | –"), "{patch}");
        assert_eq!(lines.next(), None);
        for line in HEAD.lines().chain(text.lines()) {
            assert_eq!(line.matches('|').count(), 12, "{line}");
        }
    }

    #[test]
    fn what_was_missed_left_out_and_refused_is_listed() {
        let mut r = report(true);
        r.left_out.push(Note::new("a", "no nft"));
        r.refused
            .push(Note::new("b on twin", "2 arrived of 1 that were sent"));
        assert_eq!(
            sections(&r),
            "\nLeft out\n\n- a: no nft\n\
             \nRefused: no comparison\n\n- b on twin: 2 arrived of 1 that were sent\n\
             \nBars missed\n\n- a title: 1.50 × twin, bar ≥ 1.6, goal 2.5\n"
        );
        assert_eq!(
            sections(&report(false)),
            "\nNo bar was judged\n\n- it was too quick\n"
        );
        let none = Report {
            judged: true,
            ..Report::default()
        };
        assert_eq!(
            sections(&none),
            "\nBars missed\n\n- none of what was compared\n"
        );
    }

    #[test]
    fn losses_come_with_their_counters() {
        let mut r = report(true);
        let s = &mut r.rows[0].runs[0].samples[0];
        (s.sent, s.arrived) = (1000, 900);
        s.lost = [
            ("c1 UDP InErrors".to_owned(), 96),
            ("softnet dropped".to_owned(), 4),
        ]
        .into();
        assert!(sections(&r).starts_with(
            "\nLost on the way\n\n- a title on twin: 100 of 1,000 (10.0 %); \
             counted: c1 UDP InErrors 96, softnet dropped 4\n"
        ));
    }
}
