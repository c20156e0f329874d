use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn advance(w: &mut Wheel<u32>, now: Tick) -> Vec<u32> {
    let mut out = Vec::new();
    w.advance(now, &mut out);
    out.sort_unstable();
    out
}

#[test]
fn never_early_and_late_by_less_than_a_slot() {
    for start in [0, 1, 63, 64, 12_345, u32::MAX - 1000] {
        for after in [1, 2, 63, 64, 65, 4_095, 4_096, 300_000, 7_440_000] {
            let start = Tick(start);
            let mut w = Wheel::new(start);
            w.insert(start.plus(after), 7);
            assert_eq!(advance(&mut w, start.plus(after - 1)), [], "early");
            assert_eq!(w.len(), 1);
            assert_eq!(advance(&mut w, start.plus(after + SLOT_MS - 1)), [7]);
            assert!(w.is_empty());
        }
    }
}

#[test]
fn a_deadline_in_the_past_comes_out_next() {
    let mut w = Wheel::new(Tick(5));
    w.insert(Tick(5), 1);
    w.insert(Tick(u32::MAX), 2);
    assert_eq!(w.next_deadline(), Some(Tick(5)));
    assert_eq!(advance(&mut w, Tick(5)), [1, 2]);
    assert_eq!(w.next_deadline(), None);
}

#[test]
fn time_does_not_go_back() {
    let mut w = Wheel::new(Tick(1_000));
    w.insert(Tick(2_000), 1);
    assert_eq!(advance(&mut w, Tick(900)), []);
    assert_eq!(advance(&mut w, Tick(2_100)), [1]);
    w.insert(Tick(2_050), 2);
    assert_eq!(advance(&mut w, Tick(900)), [2], "due already");
}

#[test]
fn polling_by_next_deadline_wakes_few_times_and_fires_in_time() {
    let mut now = Tick(u32::MAX - 3_000_000);
    let deadline = now.plus(7_440_000);
    let mut w = Wheel::new(now);
    w.insert(deadline, 9);
    for wakes in 1.. {
        let next = w.next_deadline().expect("an entry waits");
        assert!(next.reached(now) && next != now, "polling would spin");
        now = next;
        if advance(&mut w, now) == [9] {
            assert!(wakes <= LEVELS && now.reached(deadline));
            assert!(now.since(deadline) < SLOT_MS);
            break;
        }
    }
}

#[test]
fn a_long_sleep_visits_slots_not_milliseconds() {
    let mut w = Wheel::new(Tick(0));
    for i in 0..10_000 {
        w.insert(Tick(i * 3_000), i);
    }
    // Were this a walk over milliseconds or units, it would take minutes.
    for round in 0..200_u32 {
        let sleep = Tick(0).plus((round + 1) * 20_000_000);
        advance(&mut w, sleep);
        w.insert(sleep.plus(i32::MAX as u32), 1);
    }
    assert_eq!(w.len(), 108, "24 days are 107.4 rounds of 20,000 s");
}

#[test]
fn a_steady_load_reuses_its_memory() {
    let mut w = Wheel::new(Tick(0));
    let mut out = Vec::new();
    for i in 0..1_000 {
        w.insert(Tick(1 + i * 7), i);
    }
    let nodes = w.nodes.len();
    for step in 1..5_000_u32 {
        w.advance(Tick(step * 50), &mut out);
        for item in out.drain(..) {
            w.insert(Tick(step * 50).plus(1 + item * 7), item);
        }
    }
    assert_eq!((w.len(), w.nodes.len()), (1_000, nodes));
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u32),
    Advance(u32),
}

fn span() -> impl Strategy<Value = u32> {
    prop_oneof![
        0..200_u32,
        0..10_000_u32,
        0..500_000_u32,
        0..20_000_000_u32,
        0..(i32::MAX as u32 / 2),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => span().prop_map(Op::Insert),
        2 => span().prop_map(Op::Advance),
    ]
}

proptest! {
    /// Against a map ordered by deadline: the same entries come out of each advance, but for
    /// those within the last slot, which may wait; and `next_deadline` is never too late.
    #[test]
    fn fires_what_an_ordered_map_fires(
        start in prop_oneof![any::<u32>(), (u32::MAX - 100_000)..=u32::MAX],
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut now = u64::from(start);
        let mut wheel = Wheel::new(Tick(start));
        let mut model: BTreeMap<(u64, u32), ()> = BTreeMap::new();
        let mut id = 0;
        for op in ops {
            match op {
                Op::Insert(after) => {
                    let deadline = now + u64::from(after);
                    wheel.insert(Tick(deadline as u32), id);
                    model.insert((deadline, id), ());
                    id += 1;
                }
                Op::Advance(by) => {
                    now += u64::from(by);
                    let mut fired = Vec::new();
                    wheel.advance(Tick(now as u32), &mut fired);
                    for item in fired {
                        let key = model.keys().find(|k| k.1 == item).copied();
                        let (deadline, _) = key.expect("fired twice");
                        prop_assert!(deadline <= now, "early");
                        model.remove(&(deadline, item));
                    }
                    if let Some(((deadline, _), ())) = model.first_key_value() {
                        prop_assert!(deadline + u64::from(SLOT_MS) > now, "late");
                    }
                }
            }
            prop_assert_eq!(wheel.len(), model.len());
            match (wheel.next_deadline(), model.first_key_value()) {
                (None, None) => {}
                (Some(next), Some(((deadline, _), ()))) => {
                    let wait = next.since(Tick(now as u32));
                    prop_assert!(now + u64::from(wait) < (*deadline).max(now) + u64::from(SLOT_MS));
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
