//! What belongs to no connection: bridging by the FDB with its floor beside it, what the switch
//! answers itself, what no parser takes. `--test` runs small tables only.

#![allow(clippy::unwrap_used, reason = "a bench that cannot be set up ends")]

use bench::bars::Scale;
use bench::lab::{Lab, Room};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::port::Caps;
use std::cell::{OnceCell, RefCell};
use std::time::Duration;

fn l2(c: &mut Criterion) {
    for &n in Scale::of_bench().macs {
        let cell = OnceCell::new();
        let lab = || {
            cell.get_or_init(|| {
                // The table's bound is twice its content, so that nothing is evicted.
                let mut lab = Lab::new(Room::for_macs(2 * n)).unwrap();
                let pass = lab.bridged(n);
                let flooded = lab.totals().flooded;
                (RefCell::new((lab, pass)), flooded)
            })
        };
        let mut g = c.benchmark_group(format!("l2/{n}"));
        g.throughput(Throughput::Elements(1));
        for size in [32, 64] {
            g.bench_function(format!("batches of {size}/switch"), |b| {
                let (lab, pass) = &mut *lab().0.borrow_mut();
                pass.set_batches_of(size);
                b.iter_custom(|frames| lab.run_decide(pass, frames));
            });
            g.bench_function(format!("batches of {size}/switch, with sending"), |b| {
                let (lab, pass) = &mut *lab().0.borrow_mut();
                pass.set_batches_of(size);
                b.iter_custom(|frames| lab.run(pass, frames));
            });
            g.bench_function(format!("batches of {size}/floor"), |b| {
                let (lab, pass) = &mut *lab().0.borrow_mut();
                pass.set_batches_of(size);
                b.iter_custom(|frames| lab.floor_bridged(pass, frames));
            });
        }
        g.finish();
        if let Some((lab, flooded)) = cell.get() {
            let lab = &lab.borrow().0;
            lab.nothing_lost().unwrap();
            assert_eq!(lab.totals().flooded, *flooded);
        }
    }
}

fn answers(c: &mut Criterion) {
    let mut g = c.benchmark_group("answer");
    g.throughput(Throughput::Elements(1));
    let mut lab = Lab::new(Room {
        caps: Caps::ALL,
        ..Room::for_connections(64)
    })
    .unwrap();
    for (name, mut pass) in [
        ("ARP reply", lab.arp()),
        ("ICMP time exceeded", lab.expiring()),
    ] {
        let before = lab.totals().originated;
        let mut asked = 0u64;
        g.bench_function(name, |b| {
            b.iter_custom(|frames| {
                pass.time(frames, |batch, ingress| {
                    // Errors are limited by rate: time enough for the next batch passes.
                    lab.advance(Duration::from_secs(10));
                    asked += batch.len() as u64;
                    lab.process(batch, ingress);
                })
            });
        });
        let made = lab.totals().originated - before;
        assert_eq!(made, asked, "{name}: {made} answers to {asked} frames");
    }
    g.finish();
}

/// A frame that no parser takes costs no more than one that it does.
fn refused(c: &mut Criterion) {
    let mut g = c.benchmark_group("refused");
    g.throughput(Throughput::Elements(1));
    let mut lab = Lab::new(Room::for_connections(64)).unwrap();
    let mut short = lab.truncated();
    g.bench_function("truncated", |b| {
        b.iter_custom(|frames| lab.run(&mut short, frames));
    });
    assert!(lab.totals().balance().is_ok());
    g.finish();
}

criterion_group! {
    name = all;
    config = Criterion::default().measurement_time(Duration::from_millis(600)).warm_up_time(Duration::from_millis(200)).sample_size(10);
    targets = l2, answers, refused
}
criterion_main!(all);
