//! The established path, with the floor beside it: frames of 64 bytes in batches of 64, flows drawn
//! uniformly, one core, ports that take everything. Criterion prints packets per second.
//!
//! `pipeline` writes to ports without offloads, so that the tx stage only hands frames on;
//! `coalescing` writes to ports that take superframes, so that it looks for frames to join and,
//! with many flows, finds none.

#![allow(clippy::unwrap_used, reason = "a bench that cannot be set up ends")]

use bench::lab::{Flow, Lab};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::port::Caps;
use std::time::Duration;

fn hits(c: &mut Criterion) {
    for (flow, name) in [(Flow::Dnat, "dnat"), (Flow::Masquerade, "masquerade")] {
        // One external address has 64,512 ports, of which opening takes 50,000 for each server.
        for n in [1u32, 10_000, 100_000] {
            let mut g = c.benchmark_group(format!("hit-{name}-{n}"));
            g.throughput(Throughput::Elements(1));
            for (kind, caps) in [("pipeline", Caps::NONE), ("coalescing", Caps::ALL)] {
                let mut lab = Lab::new(2 * n.max(64), 64, caps).unwrap();
                let mut pass = lab.open(flow, n, 10).unwrap();
                g.bench_function(kind, |b| {
                    b.iter_custom(|frames| pass.run(&mut lab, frames));
                });
                if kind == "pipeline" {
                    g.bench_function("floor", |b| {
                        b.iter_custom(|frames| pass.floor_routed(&lab, frames));
                    });
                }
                let t = lab.totals();
                assert_eq!((t.balance(), t.dropped()), (Ok(()), 0));
                assert!(t.slow <= u64::from(3 * n), "{t:?}");
            }
            g.finish();
        }
    }
}

fn batches(c: &mut Criterion) {
    let mut g = c.benchmark_group("hit-by-batch");
    g.throughput(Throughput::Elements(1));
    let mut lab = Lab::new(20_000, 64, Caps::NONE).unwrap();
    let mut pass = lab.open(Flow::Dnat, 10_000, 10).unwrap();
    for size in [1usize, 8, 32, 64] {
        pass = pass.batches_of(size);
        g.bench_function(format!("dnat-10000/batches of {size}"), |b| {
            b.iter_custom(|frames| pass.run(&mut lab, frames));
        });
    }
    g.finish();
}

/// A superframe is rewritten once: 64 KiB cost what 64 bytes do.
fn superframes(c: &mut Criterion) {
    let mut g = c.benchmark_group("superframe-dnat");
    g.throughput(Throughput::Elements(1));
    for payload in [2_896usize, 64_000] {
        let mut lab = Lab::new(64, 64, Caps::ALL).unwrap();
        lab.open(Flow::Dnat, 1, 0).unwrap();
        // As many as the worker's budget lets into a batch; filling them is not timed.
        let mut pass = lab.superframes(payload).batches_of(8);
        g.bench_function(format!("{payload} bytes"), |b| {
            b.iter_custom(|frames| pass.run(&mut lab, frames));
        });
        assert_eq!(lab.totals().dropped(), 0);
    }
    g.finish();
}

criterion_group! {
    name = all;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500)).sample_size(20);
    targets = hits, batches, superframes
}
criterion_main!(all);
