//! What came out, as Markdown and as JSON.

mod row;
mod setting;
mod spread;
mod table;

pub use row::{Comparison, Other, Row, Runs};
pub use setting::{Setting, default_congestion_control};
pub use spread::{Spread, count, figure};
pub use table::{HEAD, lines, sections};

use serde::Serialize;

/// Why there is no comparison.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Note {
    /// The measure, and the network if it is about one.
    pub measure: String,
    /// The reason.
    pub why: String,
}

impl Note {
    /// A note.
    pub fn new(measure: impl ToString, why: impl ToString) -> Note {
        Note {
            measure: measure.to_string(),
            why: why.to_string(),
        }
    }
}

/// All that came out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Whether the bars mean anything for runs made like this.
    pub judged: bool,
    /// Why they don't.
    #[serde(skip)]
    pub why_not_judged: &'static str,
    /// One per measure.
    pub rows: Vec<Row>,
    /// What can't be had here.
    pub left_out: Vec<Note>,
    /// What failed, or contradicts itself.
    pub refused: Vec<Note>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Cores;
    use crate::measure::{Measure, Sample, Unit};
    use crate::nets::{Side, Way};
    use crate::traffic::Job;
    use std::collections::BTreeMap;

    pub(super) fn measure(unit: Unit) -> Measure {
        Measure {
            name: "a",
            title: "a title",
            way: Way::L2,
            unit,
            job: Job::Ping,
            of: Side::Switchd,
            bars: &[],
        }
    }

    pub(super) fn runs(side: Side, values: &[f64]) -> Runs {
        let sample = |value: &f64| Sample {
            value: *value,
            cpu: Cores {
                switch: 0.25,
                programs: 1.0,
                machine: 1.5,
                stolen: 0.1,
            },
            latency: None,
            beside_gbit: None,
            sent: 5,
            arrived: 5,
            lost: BTreeMap::new(),
        };
        Runs {
            side,
            samples: values.iter().map(sample).collect(),
        }
    }

    #[test]
    fn the_json_has_all_runs() {
        let all = vec![
            runs(Side::Twin, &[1.0, 2.0]),
            runs(Side::Switchd, &[3.0, 4.0]),
        ];
        let report = Report {
            rows: vec![Row::new(&measure(Unit::Gbit), &[], true, all)],
            left_out: vec![Note::new("b", "no nft")],
            ..Report::default()
        };
        let json = serde_json::to_value(&report).unwrap();
        let row = &json["rows"][0];
        assert_eq!(
            (row["name"].as_str(), row["unit"].as_str()),
            (Some("a"), Some("Gbit/s"))
        );
        assert_eq!(row["runs"][0]["side"], "twin");
        assert_eq!(row["runs"][1]["samples"][1]["value"], 4.0);
        assert_eq!(row["runs"][1]["samples"][1]["cpu"]["stolen"], 0.1);
        assert_eq!(json["left_out"][0]["why"], "no nft");
    }
}
