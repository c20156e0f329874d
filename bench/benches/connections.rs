//! Connections that come and go: first packets at several fills of the table, whole lives, many
//! rules, scarce ports. Criterion prints connections per second. `--test` runs small tables only.

#![allow(clippy::unwrap_used, reason = "a bench that cannot be set up ends")]

use bench::bars::Scale;
use bench::lab::flows::Flow;
use bench::lab::pass::timed;
use bench::lab::{Lab, Room};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::base::{Proto, Tuple};
use dataplane::flow::Dir;
use std::time::Duration;

/// Opens `wanted` connections in portions that are forgotten again, untimed.
fn portions(wanted: u64, portion: u32, mut one: impl FnMut(u32) -> Duration) -> Duration {
    let (mut left, mut spent) = (wanted, Duration::ZERO);
    while left > 0 {
        let n = u32::try_from(left).unwrap_or(u32::MAX).min(portion);
        spent += one(n);
        left -= u64::from(n);
    }
    spent
}

fn new(c: &mut Criterion) {
    let table = Scale::of_bench().table;
    let mut g = c.benchmark_group("new");
    g.throughput(Throughput::Elements(1));
    for percent in [0, 50, 90] {
        g.bench_function(format!("{percent} % full"), |b| {
            let mut lab = Lab::new(Room::for_connections(table)).unwrap();
            let mut openings = lab.openings();
            let fill = table / 100 * percent;
            lab.first_packets(&mut openings, 0..fill);
            b.iter_custom(|wanted| {
                portions(wanted, table / 16, |n| {
                    let t = lab.first_packets(&mut openings, fill..fill + n);
                    assert_eq!(lab.forget(fill..fill + n), n);
                    t
                })
            });
            lab.nothing_lost().unwrap();
        });
    }
    g.finish();
}

fn lives(c: &mut Criterion) {
    let scale = Scale::of_bench();
    let mut g = c.benchmark_group("lives");
    g.throughput(Throughput::Elements(1));
    // Two different numbers in a small run too.
    for live in [10_000.min(scale.most() / 4), scale.most()] {
        g.bench_function(format!("six frames and expiry, {live} live"), |b| {
            let mut lab = Lab::new(Room::for_connections(live + live / 16 + 4096)).unwrap();
            let mut lives = lab.lives(live);
            lives.settle(&mut lab, live).unwrap();
            b.iter_custom(|wanted| {
                let batches = u32::try_from(wanted.div_ceil(64)).unwrap();
                let s = lives.run(&mut lab, batches);
                (s.set_up + s.tear_down).mul_f64(wanted as f64 / f64::from(batches * 64))
            });
            lab.nothing_lost().unwrap();
        });
    }
    g.finish();
}

fn rules(c: &mut Criterion) {
    let table = Scale::of_bench().table;
    let mut g = c.benchmark_group("rules");
    g.throughput(Throughput::Elements(1));
    for (rules, each) in [(1u16, 1u16), (65_000, 1), (10_000, 6)] {
        let rules = u32::from(rules).min(table / 16) as u16;
        g.bench_function(format!("{rules} of {each} ports"), |b| {
            let mut lab = Lab::unpublished(Room::for_connections(table)).unwrap();
            lab.publish_many(rules, each).unwrap();
            let ports = u32::from(rules) * u32::from(each);
            let port = move |i: u32| 1 + (i.wrapping_mul(40_503) % ports) as u16;
            let mut openings = lab.openings();
            b.iter_custom(|wanted| {
                portions(wanted, table / 16, |n| {
                    let t = lab.first_packets_to(&mut openings, 0..n, port);
                    let gone = lab.forget_tuples((0..n).map(|i| Tuple {
                        dport: port(i),
                        ..Flow::Dnat.tuple(Dir::Orig)(i)
                    }));
                    assert_eq!(gone, n);
                    t
                })
            });
            lab.nothing_lost().unwrap();
        });
    }
    g.finish();
}

fn ports(c: &mut Criterion) {
    let mut g = c.benchmark_group("port choice");
    g.throughput(Throughput::Elements(1));
    for percent in [0u32, 99] {
        g.bench_function(format!("{percent} % taken"), |b| {
            let lab = Lab::new(Room::for_connections(64)).unwrap();
            let sw = lab.switch();
            for i in (0..64_512).filter(|i| i % 100 < percent) {
                sw.take_external(
                    Proto::TCP,
                    Lab::inside_endpoint(i),
                    lab.now().tick(),
                    |_| true,
                )
                .unwrap();
            }
            let (mut next, mut held) = (1_000_000u32, Vec::with_capacity(64));
            b.iter_custom(|wanted| {
                portions(wanted, 64, |n| {
                    let t = timed(|| {
                        for _ in 0..n {
                            next += 1009;
                            let e = Lab::inside_endpoint(next % 8_000_000 + 1_000_000);
                            held.push((
                                e,
                                sw.take_external(Proto::TCP, e, lab.now().tick(), |_| true)
                                    .unwrap(),
                            ));
                        }
                    });
                    for (e, p) in held.drain(..) {
                        sw.external.release(Proto::TCP, e, p);
                    }
                    t
                })
            });
        });
    }
    g.finish();
}

criterion_group! {
    name = all;
    config = Criterion::default().measurement_time(Duration::from_millis(600)).warm_up_time(Duration::from_millis(200)).sample_size(10);
    targets = new, lives, rules, ports
}
criterion_main!(all);
