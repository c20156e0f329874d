//! Checksums: full sums of several lengths beside etherparse's, and the deltas that
//! NAT uses instead.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::frame::checksum::{apply, combine, delta_u16, delta_u32, finish, sum};
use std::hint::black_box;

fn benches(c: &mut Criterion) {
    let mut g = c.benchmark_group("checksum");
    for len in [20usize, 64, 1460, 65_480] {
        let data: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
        let theirs = |d: &[u8]| {
            let sum = etherparse::checksum::Sum16BitWords::new().add_slice(d);
            // Its words are in the machine's order.
            u16::from_be(sum.ones_complement())
        };
        assert_eq!(finish(sum(&data, 0)), theirs(&data));
        g.throughput(Throughput::Bytes(len as u64));
        g.bench_function(format!("{len}/ours"), |b| {
            b.iter(|| finish(sum(black_box(&data), 0)));
        });
        g.bench_function(format!("{len}/etherparse"), |b| {
            b.iter(|| theirs(black_box(&data)));
        });
    }
    g.throughput(Throughput::Elements(1));
    g.bench_function("delta of an address and a port, applied", |b| {
        b.iter(|| {
            let d = combine(
                delta_u32(black_box(0x0a00_0002), black_box(0xc000_0201)),
                delta_u16(black_box(80), black_box(5000)),
            );
            apply(black_box(0x1234), d)
        });
    });
    g.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
