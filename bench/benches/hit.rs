//! The established path, with the floor beside it: frames of 64 bytes, one core, ports that take
//! everything. Criterion prints packets per second.
//!
//! `--test` runs small numbers of flows only. A group's switch is built when its first bench runs,
//! so a filter does not pay for millions of flows that it leaves out.

#![allow(clippy::unwrap_used, reason = "a bench that cannot be set up ends")]

use bench::bars::Scale;
use bench::lab::{Draw, Flow, Lab, Room};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::flow::Dir;
use dataplane::port::Caps;
use std::cell::{OnceCell, RefCell};
use std::time::Duration;

fn hits(c: &mut Criterion) {
    for flow in Flow::BOTH {
        for &n in Scale::of_bench().flows {
            let cell = OnceCell::new();
            let lab = || {
                cell.get_or_init(|| {
                    let mut lab = Lab::new(Room::for_connections(n.max(64))).unwrap();
                    lab.open(flow, n).unwrap();
                    RefCell::new(lab)
                })
            };
            let mut g = c.benchmark_group(format!("hit/{}/{n}", flow.name()));
            g.throughput(Throughput::Elements(1));
            for (dir, way) in [(Dir::Orig, "there"), (Dir::Reply, "back")] {
                for draw in Draw::BOTH {
                    for size in [32, 64] {
                        let case = format!("{way}, {}, batches of {size}", draw.name());
                        g.bench_function(format!("{case}/switch"), |b| {
                            let mut lab = lab().borrow_mut();
                            let mut pass =
                                lab.established(flow, dir, n).drawn(draw).batches_of(size);
                            b.iter_custom(|frames| lab.run_decide(&mut pass, frames));
                        });
                        g.bench_function(format!("{case}/switch, with sending"), |b| {
                            let mut lab = lab().borrow_mut();
                            let mut pass =
                                lab.established(flow, dir, n).drawn(draw).batches_of(size);
                            b.iter_custom(|frames| lab.run(&mut pass, frames));
                        });
                        g.bench_function(format!("{case}/floor"), |b| {
                            let lab = lab().borrow();
                            let mut pass =
                                lab.established(flow, dir, n).drawn(draw).batches_of(size);
                            b.iter_custom(|frames| lab.floor_routed(&mut pass, dir, frames));
                        });
                    }
                }
            }
            g.finish();
            if let Some(lab) = cell.get() {
                lab.borrow().nothing_lost().unwrap();
            }
        }
    }
}

/// A superframe is rewritten once: 64 KiB cost what 64 bytes do.
fn superframes(c: &mut Criterion) {
    let room = Room {
        caps: Caps::ALL,
        ..Room::for_connections(64)
    };
    let mut lab = Lab::new(room).unwrap();
    lab.open(Flow::Dnat, 1).unwrap();
    let mut g = c.benchmark_group("superframe");
    g.throughput(Throughput::Elements(1));
    // As many as the worker's budget lets into a batch; filling them is not timed.
    g.bench_function("64 KiB", |b| {
        let mut pass = lab.superframes(64_000).batches_of(8);
        b.iter_custom(|frames| lab.run(&mut pass, frames));
    });
    g.bench_function("64 B", |b| {
        let mut pass = lab.with_payload(Flow::Dnat, Dir::Orig, 1, 0).batches_of(8);
        // With caches that copying superframes left as cold.
        let mut beside = lab.superframes(64_000).batches_of(8);
        b.iter_custom(|frames| lab.run_beside(&mut pass, &mut beside, frames));
    });
    g.finish();
}

criterion_group! {
    name = all;
    config = Criterion::default().measurement_time(Duration::from_millis(600)).warm_up_time(Duration::from_millis(200)).sample_size(10);
    targets = hits, superframes
}
criterion_main!(all);
