//! Many sequences, and what they came to.

use super::captures::Captures;
use super::generate;
use super::run::{Outcome, Runner};
use super::sequence::Sequence;
use super::shrink::shrink;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

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
    /// Steps that were left out, because their known difference would have ended the sequence.
    pub left_out: u64,
    /// Known differences: how often each was met.
    pub known: BTreeMap<&'static str, u64>,
    /// The others.
    pub unexplained: Vec<Failure>,
    /// Time taken.
    pub took: Duration,
}

impl Report {
    fn join(&mut self, other: Report) {
        self.sequences += other.sequences;
        self.frames += other.frames;
        self.out += other.out;
        self.left_out += other.left_out;
        for (name, n) in other.known {
            *self.known.entry(name).or_default() += n;
        }
        self.unexplained.extend(other.unexplained);
    }

    fn add(&mut self, o: &Outcome) {
        self.frames += o.frames;
        self.out += o.out;
        for name in &o.known {
            *self.known.entry(name).or_default() += 1;
        }
    }
}

/// Runs sequences, side by side where there are several namespaces: most of their time the kernel
/// waits for itself.
///
/// # Errors
/// When the kernel's side breaks.
///
/// # Panics
/// When one of the threads did.
pub fn run(runners: &mut [Runner], wish: &Wish) -> Result<Report> {
    let captures = Captures::read()?;
    let begin = Instant::now();
    let at = At {
        next: AtomicU64::new(wish.seed),
        failures: AtomicUsize::new(0),
    };
    let mut report = Report {
        seed: wish.seed,
        ..Report::default()
    };
    std::thread::scope(|s| {
        let all: Vec<_> = runners
            .iter_mut()
            .map(|r| s.spawn(|| some(r, wish, &captures, begin, &at)))
            .collect();
        for one in all {
            report.join(one.join().expect("no panic")?);
        }
        Result::Ok(())
    })?;
    report.unexplained.sort_by_key(|u| u.seed);
    report.took = begin.elapsed();
    Ok(report)
}

/// What the threads share.
struct At {
    next: AtomicU64,
    failures: AtomicUsize,
}

/// Runs sequences until there are enough.
fn some(
    runner: &mut Runner,
    wish: &Wish,
    captures: &Captures,
    begin: Instant,
    at: &At,
) -> Result<Report> {
    let mut report = Report::default();
    loop {
        let seed = at.next.fetch_add(1, Relaxed);
        let late = wish.limit.is_some_and(|l| begin.elapsed() > l);
        let failed = at.failures.load(Relaxed) >= wish.failures;
        if seed >= wish.seed.saturating_add(wish.sequences) || late || failed {
            return Ok(report);
        }
        let mut s = match seed % 10 {
            _ if wish.captures => captures.sequence(seed),
            0 => captures.sequence(seed),
            _ => generate::sequence(seed),
        };
        report.sequences += 1;
        let mut o = runner.run(&s, seed)?;
        report.add(&o);
        // What comes behind such a step is compared without it.
        while let Some(at) = o.ended.filter(|at| *at < s.steps.len()) {
            s.steps.remove(at);
            report.left_out += 1;
            o = runner.run(&s, seed)?;
            report.add(&o);
        }
        if let Some(what) = o.unexplained {
            at.failures.fetch_add(1, Relaxed);
            report.unexplained.push(match wish.shrink {
                true => smaller(runner, seed, s, what, &o.kind),
                false => Failure {
                    seed,
                    sequence: s,
                    what,
                },
            });
        }
    }
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
pub fn case(runner: &mut Runner, name: &str, wish: &Wish) -> Result<Option<Sequence>> {
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
            "seed {}: {} sequences, {} unexplained differences; {} frames in, {} out of the kernel, \
             {:.1} s ({:.0} sequences/s)",
            self.seed,
            self.sequences,
            self.unexplained.len(),
            self.frames,
            self.out,
            seconds,
            self.sequences as f64 / seconds.max(0.001)
        )?;
        writeln!(
            f,
            "steps left out, and what follows compared without: {}",
            self.left_out
        )?;
        for (name, n) in &self.known {
            writeln!(f, "known difference {name}: {n}")?;
        }
        Ok(())
    }
}
