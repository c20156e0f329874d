//! An established flow costs no allocation, neither by the pipeline nor by the tx stage.

use allocation_counter::measure;
use bench::lab::{Flow, Lab, Pass, Room};
use dataplane::flow::Dir;
use dataplane::port::Caps;

/// Batches behind the first few, which may let the lists grow to their size.
fn allocations(lab: &mut Lab, mut pass: Pass) -> u64 {
    for _ in 0..4 {
        lab.send(&mut pass);
    }
    let (hits, bridged) = (lab.totals().hits, lab.totals().bridged);
    let found = measure(|| {
        for _ in 0..100 {
            lab.send(&mut pass);
        }
    });
    let t = lab.totals();
    assert_eq!((t.balance(), t.dropped()), (Ok(()), 0));
    assert_eq!(t.hits - hits + t.bridged - bridged, 6_400);
    found.count_total
}

#[test]
fn hits_allocate_nothing() {
    for caps in [Caps::ALL, Caps::NONE] {
        for (flow, dir) in Flow::BOTH
            .into_iter()
            .flat_map(|f| Dir::BOTH.map(|d| (f, d)))
        {
            for flows in [1, 500] {
                let mut lab = Lab::new(Room {
                    caps,
                    ..Room::for_connections(1024)
                })
                .unwrap();
                lab.open(flow, flows).unwrap();
                let pass = lab.with_payload(flow, dir, flows, 1_000);
                let n = allocations(&mut lab, pass);
                assert_eq!(n, 0, "{flow:?} {dir:?} {flows} {caps:?}");
            }
        }
    }
}

#[test]
fn bridged_frames_allocate_nothing() {
    for caps in [Caps::ALL, Caps::NONE] {
        let mut lab = Lab::new(Room {
            caps,
            ..Room::for_macs(1024)
        })
        .unwrap();
        let pass = lab.bridged(100);
        assert_eq!(allocations(&mut lab, pass), 0, "{caps:?}");
    }
}

#[test]
fn the_counter_counts() {
    let found = measure(|| drop(std::hint::black_box(vec![1u8; 100])));
    assert_eq!(found.count_total, 1);
}
