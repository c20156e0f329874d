//! Medians and spreads, and figures as people read them.

use serde::Serialize;
use std::fmt;

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

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, min, max) = (figure(self.median), figure(self.min), figure(self.max));
        write!(f, "{median} ({min}–{max})")
    }
}

/// A figure with three significant digits, or whole with separated thousands.
pub fn figure(v: f64) -> String {
    let digits = match v.abs() {
        a if a >= 100.0 => return thousands(&format!("{v:.0}")),
        a if a >= 10.0 => 1,
        a if a >= 1.0 || a == 0.0 => 2,
        a if a >= 0.1 => 3,
        _ => 4,
    };
    format!("{v:.digits$}")
}

/// A count with separated thousands.
pub fn count(n: u64) -> String {
    thousands(&n.to_string())
}

fn thousands(whole: &str) -> String {
    let mut out = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
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
        assert_eq!(figure(0.0), "0.00");
        assert_eq!(figure(0.01234), "0.0123");
        assert_eq!(figure(0.1234), "0.123");
        assert_eq!(figure(1.234), "1.23");
        assert_eq!(figure(12.34), "12.3");
        assert_eq!(figure(123.4), "123");
        assert_eq!(figure(1_234_567.8), "1,234,568");
        assert_eq!(
            (count(0), count(100), count(1_234_567)),
            ("0".into(), "100".into(), "1,234,567".into())
        );
        let s = Spread::of([1.0, 2.0, 1000.0]).unwrap();
        assert_eq!(s.to_string(), "2.00 (1.00–1,000)");
    }
}
