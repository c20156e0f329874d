//! Several workers on one switch. Criterion prints packets and connections per second of all workers
//! together. Needs two cores; `--test` runs small tables only.

#![allow(clippy::unwrap_used, reason = "a bench that cannot be set up ends")]

use bench::bars::Scale;
use bench::bars::workers::{jobs, open_together, together};
use bench::lab::{Flow, Lab, Room, Worker};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::time::Duration;

/// The time that so many take at these rates together.
fn time_of(n: u64, rates: &[f64]) -> Duration {
    Duration::from_secs_f64(n as f64 / rates.iter().sum::<f64>().max(1.0))
}

fn workers(c: &mut Criterion) {
    let scale = Scale::of_bench();
    let n = scale.table.min(100_000) / 4;
    let mut g = c.benchmark_group("workers");
    g.throughput(Throughput::Elements(1));
    for k in [1usize, 2] {
        let room = Room {
            workers: k,
            ..Room::for_connections(scale.table)
        };
        g.bench_function(format!("{k}, disjoint flows"), |b| {
            let mut lab = Lab::new(room).unwrap();
            lab.open(Flow::Dnat, k as u32 * n).unwrap();
            let mut jobs = jobs(&lab, n);
            b.iter_custom(|frames| {
                let rates = together(&mut jobs, scale.span / 20, lab.now());
                time_of(frames, &rates)
            });
            lab.nothing_lost().unwrap();
        });
        g.bench_function(format!("{k}, all flows new"), |b| {
            let lab = Lab::new(room).unwrap();
            let mut workers: Vec<Worker> = (0..k).map(|i| lab.worker(i)).collect();
            let each = scale.table / 16;
            b.iter_custom(|frames| {
                let rates = open_together(&lab, &mut workers, each);
                let all = k as u32 * each;
                assert_eq!(lab.forget(0..all), all);
                time_of(frames, &rates)
            });
            lab.nothing_lost().unwrap();
        });
    }
    g.finish();
}

criterion_group! {
    name = all;
    config = Criterion::default().measurement_time(Duration::from_millis(600)).warm_up_time(Duration::from_millis(200)).sample_size(10);
    targets = workers
}
criterion_main!(all);
