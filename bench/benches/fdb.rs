//! The FDB: looking up and refreshing an address, with 2 to 16,384 in it, drawn uniformly.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::base::hash::Keyed;
use dataplane::base::{Mac, PortId, Tick};
use dataplane::l2::Fdb;

fn mac(i: u32) -> Mac {
    let [a, b, c, d] = i.to_be_bytes();
    Mac([2, 0, a, b, c, d])
}

fn benches(c: &mut Criterion) {
    let mut g = c.benchmark_group("fdb");
    g.throughput(Throughput::Elements(1));
    for n in [2u32, 1_000, 16_384] {
        // The table's bound is twice its content, so that nothing is evicted.
        let fdb = Fdb::new(2 * n.max(64) as usize, Keyed::with_key([1, 2, 3]), 300_000);
        let port = |i: u32| PortId((i % 100) as u16);
        for i in 0..n {
            fdb.learn(0, mac(i), port(i), Tick(1));
        }
        let mut i = 0u32;
        let mut next = || {
            i = i.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
            (i >> 8) % n
        };
        g.bench_function(format!("lookup/{n}"), |b| {
            b.iter(|| {
                let n = next();
                let found = fdb.lookup(0, mac(n), Tick(1));
                assert_eq!(found, Some(port(n)));
            });
        });
        g.bench_function(format!("learn a known one/{n}"), |b| {
            b.iter(|| {
                let n = next();
                fdb.learn(0, mac(n), port(n), Tick(1))
            });
        });
    }
    g.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
