//! Many sequences, and what they came to.

use super::captures::Captures;
use super::generate;
use super::run::{Outcome, Runner};
use super::sequence::Sequence;
use super::shrink::shrink;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// How many sequences to run.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// The first sequence's seed; the others follow.
    pub seed: u64,
    /// How many.
    pub sequences: u64,
    /// At most so long.
    pub limit: Option<Duration>,
    /// Make what fails smaller.
    pub shrink: bool,
    /// Only from the captures in `pcaps/`; else one in ten is.
    pub captures: bool,
    /// Stop after so many failures.
    pub failures: usize,
}

/// A sequence with a difference that nobody explains.
#[derive(Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// The sequence, perhaps made smaller.
    pub sequence: Sequence,
    /// The difference in words.
    pub what: String,
}

/// What many sequences came to.
#[derive(Debug, Default)]
pub struct Report {
    /// The first seed.
    pub seed: u64,
    /// Sequences run.
    pub sequences: u64,
    /// Frames in.
    pub frames: u64,
    /// Frames out of the kernel.
    pub out: u64,
    /// Sequences that a known difference ended early.
    pub ended: u64,
    /// Known differences: how often each was met.
    pub known: BTreeMap<&'static str, u64>,
    /// The others.
    pub unexplained: Vec<Failure>,
    /// Time taken.
    pub took: Duration,
}

impl Report {
    fn add(&mut self, o: &Outcome) {
        self.sequences += 1;
        self.frames += o.frames;
        self.out += o.out;
        self.ended += u64::from(o.ended);
        for name in &o.known {
            *self.known.entry(name).or_default() += 1;
        }
    }
}

/// Runs sequences.
///
/// # Errors
/// When the kernel's side breaks.
pub fn run(
    runner: &mut Runner,
    wish: &Wish,
) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
    let captures = Captures::read()?;
    let begin = Instant::now();
    let mut report = Report {
        seed: wish.seed,
        ..Report::default()
    };
    for seed in wish.seed..wish.seed.saturating_add(wish.sequences) {
        if wish.limit.is_some_and(|l| begin.elapsed() > l) {
            break;
        }
        let s = match seed % 10 {
            _ if wish.captures => captures.sequence(seed),
            0 => captures.sequence(seed),
            _ => generate::sequence(seed),
        };
        let o = runner.run(&s, seed)?;
        report.add(&o);
        if let Some(what) = o.unexplained {
            let failure = match wish.shrink {
                true => smaller(runner, seed, s, what, &o.kind),
                false => Failure {
                    seed,
                    sequence: s,
                    what,
                },
            };
            report.unexplained.push(failure);
            if report.unexplained.len() >= wish.failures {
                break;
            }
        }
    }
    report.took = begin.elapsed();
    Ok(report)
}

fn smaller(runner: &mut Runner, seed: u64, s: Sequence, what: String, kind: &str) -> Failure {
    let mut last = what;
    let sequence = shrink(s, |c| match runner.run(c, seed) {
        Ok(Outcome {
            unexplained: Some(w),
            kind: k,
            ..
        }) if k == kind => {
            last = w;
            true
        }
        _ => false,
    });
    Failure {
        seed,
        sequence,
        what: last,
    }
}

/// The smallest sequence found that meets this known difference and no other.
///
/// # Errors
/// When the kernel's side breaks.
pub fn case(
    runner: &mut Runner,
    name: &str,
    wish: &Wish,
) -> Result<Option<Sequence>, Box<dyn std::error::Error + Send + Sync>> {
    for seed in wish.seed..wish.seed.saturating_add(wish.sequences) {
        let s = generate::sequence(seed);
        if !runner.run(&s, seed)?.known.contains(&name) {
            continue;
        }
        let alone = |o: &Outcome| o.known == [name] && o.unexplained.is_none();
        let small = shrink(s, |c| runner.run(c, seed).is_ok_and(|o| alone(&o)));
        if alone(&runner.run(&small, seed)?) {
            return Ok(Some(small));
        }
    }
    Ok(None)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for u in &self.unexplained {
            writeln!(f, "seed {}: {}{}", u.seed, u.sequence, u.what)?;
        }
        let seconds = self.took.as_secs_f64();
        writeln!(
            f,
            "seed {}: {} sequences, {} frames in, {} out of the kernel, {:.1} s ({:.0} sequences/s)",
            self.seed,
            self.sequences,
            self.frames,
            self.out,
            seconds,
            self.sequences as f64 / seconds.max(0.001)
        )?;
        writeln!(f, "unexplained differences: {}", self.unexplained.len())?;
        writeln!(f, "sequences that a known difference ended: {}", self.ended)?;
        for (name, n) in &self.known {
            writeln!(f, "known difference {name}: {n}")?;
        }
        Ok(())
    }
}
