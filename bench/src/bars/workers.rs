//! Two workers against one.

use super::{Line, Scale, median, mega};
use crate::Result;
use crate::lab::pass::timed;
use crate::lab::{Flow, Lab, Pass, Room, Worker};
use dataplane::flow::Dir;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Work for one worker.
pub struct Job {
    worker: Worker,
    pass: Pass,
}

/// Jobs of `n` flows each, none of which two have in common, one for each worker of the lab.
pub fn jobs(lab: &Lab, n: u32) -> Vec<Job> {
    (0u32..)
        .zip(0..lab.switch().workers())
        .map(|(i, w)| Job {
            // Worker 0 is made anew: the lab's own stays behind and does nothing.
            worker: lab.worker(w),
            pass: lab.established(Flow::Dnat, Dir::Orig, n).starting_at(i * n),
        })
        .collect()
}

/// All jobs at once, for `span`: frames a second of each, in its own pipeline time.
pub fn together(jobs: &mut [Job], span: Duration, now: dataplane::base::Instant) -> Vec<f64> {
    let start = Barrier::new(jobs.len());
    let start = &start;
    std::thread::scope(|s| {
        let all: Vec<_> = jobs
            .iter_mut()
            .map(|Job { worker, pass }| {
                s.spawn(move || {
                    start.wait();
                    let (begun, mut n, mut spent) = (Instant::now(), 0u64, Duration::ZERO);
                    while begun.elapsed() < span {
                        let by = pass.ingress;
                        let batch = pass.refill();
                        spent += timed(|| worker.process(batch, by, now));
                        n += batch.len() as u64;
                    }
                    n as f64 / spent.as_secs_f64().max(1e-9)
                })
            })
            .collect();
        all.into_iter().map(|t| t.join().unwrap_or(0.0)).collect()
    })
}

/// All workers open so many connections each at once: connections a second of each.
pub fn open_together(lab: &Lab, workers: &mut [Worker], each: u32) -> Vec<f64> {
    let start = Barrier::new(workers.len());
    let (start, now) = (&start, lab.now());
    std::thread::scope(|s| {
        let all: Vec<_> = (0u32..)
            .zip(workers)
            .map(|(i, worker)| {
                let mut openings = lab.openings();
                s.spawn(move || {
                    start.wait();
                    let t = openings.open(worker, i * each..(i + 1) * each, now);
                    f64::from(each) / t.as_secs_f64().max(1e-9)
                })
            })
            .collect();
        all.into_iter().map(|t| t.join().unwrap_or(0.0)).collect()
    })
}

fn line(what: &str, bar: f64, one: Vec<f64>, two: Vec<f64>) -> Line {
    let ratios = one.iter().zip(&two).map(|(o, t)| t / o.max(1.0)).collect();
    let (ratio, one, two) = (median(ratios), median(one), median(two));
    Line {
        what: what.into(),
        figure: format!("{} together, {ratio:.2} ×", mega(1e9 / two)),
        beside: format!("one worker {}", mega(1e9 / one)),
        bar: format!("≥ {bar:.1} × one worker (goal 2)"),
        met: Some(ratio >= bar),
    }
}

pub(super) fn two(scale: Scale, out: &mut dyn FnMut(Line)) -> Result<()> {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Err("two workers need two cores".into());
    }
    let room = Room {
        workers: 2,
        ..Room::for_connections(scale.table)
    };
    let n = scale.table.min(100_000) / 4;
    let mut lab = Lab::new(room)?;
    lab.open(Flow::Dnat, 2 * n)?;
    let mut jobs = jobs(&lab, n);
    let (mut one, mut two) = (Vec::new(), Vec::new());
    let span = scale.span / 8;
    for round in 0..=scale.rounds {
        let alone = together(jobs.get_mut(..1).unwrap_or_default(), span, lab.now());
        let both = together(&mut jobs, span, lab.now());
        if round > 0 {
            one.push(alone.iter().sum());
            two.push(both.iter().sum());
        }
    }
    lab.nothing_lost()?;
    out(line("two workers, disjoint flows", 1.8, one, two));

    let lab = Lab::new(room)?;
    let mut workers: Vec<Worker> = (0..2).map(|i| lab.worker(i)).collect();
    let each = scale.table / 4;
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for round in 0..=scale.rounds {
        let alone = open_together(&lab, workers.get_mut(..1).unwrap_or_default(), each);
        let mut gone = lab.forget(0..each);
        let both = open_together(&lab, &mut workers, each);
        gone += lab.forget(0..2 * each);
        if gone != 3 * each {
            return Err("some connections were not there".into());
        }
        if round > 0 {
            one.push(alone.iter().sum());
            two.push(both.iter().sum());
        }
    }
    lab.nothing_lost()?;
    out(line("two workers, all flows new", 1.5, one, two));
    Ok(())
}
