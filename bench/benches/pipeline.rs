//! The whole pipeline in memory for everything that is not an established routed flow: bridging,
//! new connections, what the switch answers itself.

#![allow(clippy::unwrap_used, reason = "a bench that cannot be set up ends")]

use bench::lab::Lab;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::base::PortId;
use dataplane::frame::VnetHdr;
use dataplane::port::Caps;
use std::time::Duration;

/// Container to container by the FDB, source and destination drawn from so many addresses.
fn bridge(c: &mut Criterion) {
    for macs in [2u32, 1_000, 16_000] {
        let mut g = c.benchmark_group(format!("l2-{macs}"));
        g.throughput(Throughput::Elements(1));
        let mut lab = Lab::new(64, 2 * macs, Caps::NONE).unwrap();
        let mut pass = lab.bridged(macs);
        let flooded = lab.totals().flooded;
        for size in [32, 64] {
            pass = pass.batches_of(size);
            g.bench_function(format!("pipeline, batches of {size}"), |b| {
                b.iter_custom(|frames| pass.run(&mut lab, frames));
            });
        }
        g.bench_function("floor", |b| {
            b.iter_custom(|frames| pass.floor_bridged(&lab, frames));
        });
        assert_eq!((lab.totals().flooded, lab.totals().dropped()), (flooded, 0));
        g.finish();
    }
}

/// First packets of connections from outside: rules, record, two index entries, timer. The table
/// is made anew, outside the time, when `upto` connections are in it.
fn new_connections(c: &mut Criterion) {
    const TABLE: u32 = 65_536;
    let mut g = c.benchmark_group("new-connection");
    g.throughput(Throughput::Elements(1));
    for (name, from, upto) in [
        ("0 to 50 % full", 0, TABLE / 2),
        ("50 to 90 % full", TABLE / 2, TABLE / 10 * 9),
    ] {
        g.bench_function(name, |b| {
            b.iter_custom(|frames| {
                let (mut left, mut spent) = (frames, Duration::ZERO);
                while left > 0 {
                    let mut lab = Lab::new(TABLE, 64, Caps::ALL).unwrap();
                    let up = lab.uplink();
                    lab.first_packets(up, 0..from);
                    let n = u32::try_from(left).unwrap_or(u32::MAX).min(upto - from);
                    spent += lab.first_packets(up, from..from + n);
                    assert_eq!(lab.totals().dropped(), 0);
                    left -= u64::from(n);
                }
                spent
            });
        });
    }
    g.finish();
}

fn answers(c: &mut Criterion) {
    let mut g = c.benchmark_group("answer");
    g.throughput(Throughput::Elements(1));
    let mut lab = Lab::new(64, 64, Caps::ALL).unwrap();
    for (name, mut pass) in [
        ("arp reply", lab.arp()),
        ("icmp time exceeded", lab.expiring()),
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
        assert!(
            made > 0 || asked == 0,
            "{name}: {made} answers to {asked} frames"
        );
        eprintln!("{name}: {made} answers to {asked} frames");
    }
    g.finish();
}

/// A frame that no parser takes costs no more than one that it does.
fn refused(c: &mut Criterion) {
    let mut g = c.benchmark_group("refused");
    g.throughput(Throughput::Elements(1));
    let mut lab = Lab::new(64, 64, Caps::ALL).unwrap();
    let mut short = bench::lab::Pass::new(PortId(1), vec![(vec![2; 20], VnetHdr::PLAIN)]);
    g.bench_function("truncated", |b| {
        b.iter_custom(|frames| short.run(&mut lab, frames));
    });
    assert!(lab.totals().balance().is_ok());
    g.finish();
}

criterion_group! {
    name = all;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500)).sample_size(20);
    targets = bridge, new_connections, answers, refused
}
criterion_main!(all);
