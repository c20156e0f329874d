//! A worker at full load beside somebody who changes rules and addresses, and beside nobody.
//!
//! The slowest batches are the machine's too: on a virtual one every core stands still for 100 µs and
//! more several times a second, and the kernel counts that as the thread's own time. So both are
//! measured in turn, and how many batches took longer than the bar is given for both, by the second
//! of the worker's own time.

use super::{Line, Scale, median};
use crate::Result;
use crate::lab::{Flow, Lab, Pass, Room, Worker};
use dataplane::base::PortId;
use dataplane::flow::Dir;
use dataplane::frame::{Batch, VnetHdr};
use rustix::time::{ClockId, clock_gettime};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What the slowest batch but 0.01 % may take, in µs.
const BAR: f64 = 100.0;
/// Between two rounds of changes: with four in each, about 1,000 a second.
const BETWEEN: Duration = Duration::from_millis(4);

/// CPU time of the calling thread.
fn cpu() -> Duration {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        t.tv_sec.unsigned_abs(),
        u32::try_from(t.tv_nsec).unwrap_or(0),
    )
}

/// What each batch of a round took, in µs, the fastest first, and how many changes were made
/// meanwhile.
struct Load {
    micros: Vec<f64>,
    changes: u64,
}

impl Load {
    /// The q-quantile.
    fn at(&self, q: f64) -> f64 {
        let i = (self.micros.len() as f64 * q) as usize;
        let last = self.micros.len().saturating_sub(1);
        self.micros.get(i.min(last)).copied().unwrap_or(0.0)
    }

    /// Batches longer than the bar, by the second of all batches' time.
    fn beyond(&self) -> f64 {
        let slow = self.micros.iter().filter(|t| **t > BAR).count();
        slow as f64 * 1e6 / self.micros.iter().sum::<f64>().max(1.0)
    }
}

/// A worker with its load, and one by whose port addresses move.
struct Pair {
    lab: Lab,
    load: Worker,
    pass: Pass,
    other: Worker,
    moves: [(PortId, Vec<u8>); 2],
}

impl Pair {
    fn new(flows: u32) -> Result<Pair> {
        let mut lab = Lab::new(Room {
            workers: 2,
            ..Room::for_connections(flows.max(64))
        })?;
        lab.open(Flow::Dnat, flows)?;
        Ok(Pair {
            load: lab.worker(0),
            pass: lab.established(Flow::Dnat, Dir::Orig, flows),
            other: lab.worker(1),
            moves: lab.moves(),
            lab,
        })
    }

    /// Full load for `span`, while another thread publishes a port, withdraws it, and moves an
    /// address to and fro about 250 times a second, or does nothing.
    fn run(&mut self, span: Duration, quiet: bool) -> Result<Load> {
        let Pair {
            lab,
            load,
            pass,
            other,
            moves,
        } = self;
        let (done, now) = (AtomicBool::new(false), lab.now());
        let (mut micros, changes) = std::thread::scope(|s| -> Result<_> {
            let worker = s.spawn(|| {
                let mut micros = Vec::with_capacity(1 << 20);
                let begun = Instant::now();
                while begun.elapsed() < span {
                    let by = pass.ingress;
                    let batch = pass.refill();
                    let before = cpu();
                    load.process(batch, by, now);
                    micros.push(cpu().saturating_sub(before).as_secs_f64() * 1e6);
                }
                done.store(true, Relaxed);
                micros
            });
            let mut changes = 0u64;
            let mut batch = Batch::new(1);
            while !done.load(Relaxed) {
                if !quiet {
                    lab.publish_and_withdraw()?;
                    for (by, frame) in moves.iter() {
                        batch.clear();
                        batch.push(frame, VnetHdr::PLAIN);
                        other.process(&mut batch, *by, now);
                    }
                    changes += 4;
                }
                std::thread::sleep(BETWEEN);
            }
            Ok((worker.join().unwrap_or_default(), changes))
        })?;
        micros.sort_by(f64::total_cmp);
        Ok(Load { micros, changes })
    }
}

pub(super) fn change(scale: Scale, out: &mut dyn FnMut(Line)) -> Result<()> {
    let mut pair = Pair::new(scale.most().min(10_000))?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for round in 0..=scale.rounds {
        let quiet = pair.run(scale.span / 2, true)?;
        let busy = pair.run(scale.span, false)?;
        if round > 0 {
            alone.push(quiet);
            beside.push(busy);
        }
    }
    pair.lab.nothing_lost()?;
    let of = |all: &[Load], f: &dyn Fn(&Load) -> f64| median(all.iter().map(f).collect());
    let worst = of(&beside, &|l| l.at(0.9999));
    let batches: usize = beside.iter().map(|l| l.micros.len()).sum();
    let changes: u64 = beside.iter().map(|l| l.changes).sum();
    out(Line {
        what: "a batch of 64 while rules and the FDB change, thread CPU time".into(),
        figure: format!("p99.99 {worst:.1} µs"),
        beside: format!(
            "median {:.1} µs, p99 {:.1} µs; {batches} batches, {changes} changes; without changes \
             p99.99 {:.1} µs; beyond {BAR:.0} µs in a second of batches {:.1}, without changes {:.1}",
            of(&beside, &|l| l.at(0.5)),
            of(&beside, &|l| l.at(0.99)),
            of(&alone, &|l| l.at(0.9999)),
            of(&beside, &Load::beyond),
            of(&alone, &Load::beyond),
        ),
        bar: format!("p99.99 ≤ {BAR:.0} µs"),
        met: Some(worst <= BAR),
    });
    Ok(())
}
