//! An established flow costs no allocation, neither by the pipeline nor by the tx stage.

use allocation_counter::measure;
use bench::lab::{Flow, Lab, Pass};
use dataplane::port::Caps;

/// Batches behind the first few, which may let the lists grow to their size.
fn allocations(lab: &mut Lab, mut pass: Pass) -> u64 {
    for _ in 0..4 {
        pass.send(lab);
    }
    let (hits, bridged) = (lab.totals().hits, lab.totals().bridged);
    let found = measure(|| {
        for _ in 0..100 {
            pass.send(lab);
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
        for flow in [Flow::Dnat, Flow::Masquerade] {
            for flows in [1, 500] {
                let mut lab = Lab::new(1024, 64, caps).unwrap();
                let pass = lab.open(flow, flows, 1_000).unwrap();
                assert_eq!(allocations(&mut lab, pass), 0, "{flow:?} {flows} {caps:?}");
            }
        }
    }
}

#[test]
fn bridged_frames_allocate_nothing() {
    for caps in [Caps::ALL, Caps::NONE] {
        let mut lab = Lab::new(64, 1024, caps).unwrap();
        let pass = lab.bridged(100);
        assert_eq!(allocations(&mut lab, pass), 0, "{caps:?}");
    }
}

#[test]
fn the_counter_counts() {
    let found = measure(|| drop(std::hint::black_box(vec![1u8; 100])));
    assert_eq!(found.count_total, 1);
}
