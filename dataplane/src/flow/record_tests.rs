use super::record::{Dir, Forward, Record, flags, place};
use crate::base::sync::Zeroable;
use crate::base::{Mac, PortId, RuleId, Tick};
use crate::flow::Generation;
use std::sync::atomic::Ordering::Relaxed;

/// To the host behind a port.
fn to(port: u16) -> Forward {
    Forward {
        egress: PortId(port),
        dst_mac: Mac([2, 0, 0, 0, 0, port as u8]),
        header_delta: 0,
        l4_delta: 0,
        mtu: 1500,
        until: 0,
    }
}

#[test]
fn forward_round_trip() {
    let r: Record = Zeroable::zeroed();
    let f = Forward {
        egress: PortId(4095),
        dst_mac: Mac([2, 3, 4, 5, 6, 255]),
        header_delta: 0xfffe,
        l4_delta: 1,
        mtu: 0x8000,
        until: 0xabcd,
    };
    r.set_forward(Dir::Reply, &f);
    assert_eq!(r.forward(Dir::Reply), f);
    assert_ne!(r.forward(Dir::Orig), f);
}

#[test]
fn answers_go_somewhere_only_once_it_was_decided() {
    let r: Record = Zeroable::zeroed();
    r.reset();
    // A blank word would be port 0 and the MAC of nobody.
    assert!(!r.answers_go_to(Dir::Orig, place(PortId(0), 0)));
    let f = to(7);
    r.set_forward(Dir::Reply, &f);
    let there = |port, mac: Mac| r.answers_go_to(Dir::Orig, place(port, mac.to_u64()));
    assert!(there(PortId(7), f.dst_mac));
    assert!(!there(PortId(8), f.dst_mac) && !there(PortId(7), Mac::ZERO));
    assert!(!r.answers_go_to(Dir::Reply, place(f.egress, f.dst_mac.to_u64())));
}

#[test]
fn a_decision_is_kept_only_under_the_current_generation() {
    let (r, g): (Record, Generation) = (Zeroable::zeroed(), Generation::default());
    assert_eq!(r.decided(Dir::Orig, g.get()), None);
    r.decide(Dir::Orig, &to(1), g.get(), &g);
    assert_eq!(r.decided(Dir::Orig, g.get()), Some(to(1)));
    assert_eq!(r.decided(Dir::Reply, g.get()), None);
    let late = g.get();
    g.bump();
    assert_eq!(r.decided(Dir::Orig, g.get()), None);
    r.decide(Dir::Orig, &to(2), g.get(), &g);
    r.decide(Dir::Orig, &to(1), late, &g);
    assert_eq!(
        r.decided(Dir::Orig, g.get()),
        Some(to(2)),
        "the late one is void"
    );
    r.generation(Dir::Orig).store(Generation::LOCKED, Relaxed);
    r.decide(Dir::Orig, &to(3), g.get(), &g);
    assert_eq!(r.forward(Dir::Orig), to(2), "another worker is at it");
}

#[test]
fn a_look_at_a_record_that_changes_hands_is_void() {
    let r: Record = Zeroable::zeroed();
    assert_eq!(r.steady(|_| ()), None, "not live");
    r.set(flags::LIVE);
    assert_eq!(r.steady(|r| r.rule()), Some(RuleId(0)));
    let reused = r.steady(|r| r.incarnation.store(1, Relaxed));
    assert_eq!(reused, None);
}

#[test]
fn last_seen_is_the_later_of_both() {
    let r: Record = Zeroable::zeroed();
    r.touch(Dir::Orig, Tick(5));
    r.touch(Dir::Reply, Tick(9));
    assert_eq!(r.last_seen(), Tick(9));
    r.touch(Dir::Orig, Tick(12));
    assert_eq!(r.last_seen(), Tick(12));
}
