use super::testing::{M1, M2, P, REACH, frame, ip, resolve, table, tags};
use super::*;
use crate::base::{Mac, Reason, Tick};
use crate::flow::Zone;
use crate::frame::Frame;

/// The unicast targets of the questions, or the tags of the frames given up.
fn act(n: &Neighbours, ms: u32) -> Vec<Result<Option<Mac>, Vec<u8>>> {
    n.tick(Tick(ms))
        .into_iter()
        .map(|a| match a {
            NeighAction::SendArp { unicast_to, .. } => Ok(unicast_to),
            NeighAction::GiveUp { held, .. } => Err(tags(&held)),
        })
        .collect()
}

#[test]
fn a_neighbour_that_answers_gets_what_waited_in_order() {
    let n = table();
    assert_eq!(n.next_deadline(), None);
    assert_eq!(resolve(&n, 2, 0), Resolve::Pending { first: true });
    assert_eq!(resolve(&n, 2, 5), Resolve::Pending { first: false });
    for tag in 0..3 {
        assert!(matches!(
            n.hold(Zone::Inside, ip(2), frame(tag), P),
            Hold::Held
        ));
    }
    let c = n.confirm(Zone::Inside, ip(2), M1, Tick(9), false).unwrap();
    assert!(c.changed);
    assert_eq!(tags(&c.held), [0, 1, 2]);
    assert!(c.held.iter().all(|h| h.ingress == P));
    assert_eq!(resolve(&n, 2, 10), Resolve::Known(M1));
    assert_eq!(n.next_deadline(), None);
    // A frame that was on its way to hold() meanwhile comes back with the MAC.
    match n.hold(Zone::Inside, ip(2), frame(9), P) {
        Hold::Ready(mac, f) => assert_eq!((mac, f.bytes()[0]), (M1, 9)),
        other => panic!("{other:?}"),
    }
    // The zones do not share entries.
    let other = n.resolve(Zone::Uplink, ip(2), Tick(10));
    assert_eq!(other, Resolve::Pending { first: true });
}

#[test]
fn silence_is_asked_thrice_then_fails_and_may_be_tried_again() {
    let n = table();
    let t = u32::MAX - 1_500; // the tick wraps on the way
    let at = |ms: u32| t.wrapping_add(ms);
    assert_eq!(resolve(&n, 2, t), Resolve::Pending { first: true });
    n.hold(Zone::Inside, ip(2), frame(7), P);
    assert_eq!(n.next_deadline(), Some(Tick(at(1_000))));
    assert_eq!(act(&n, at(999)), []);
    assert_eq!(act(&n, at(1_000)), [Ok(None)]);
    assert_eq!(act(&n, at(1_000)), []);
    assert_eq!(act(&n, at(2_000)), [Ok(None)]);
    assert_eq!(act(&n, at(3_000)), [Err(vec![7])]);
    assert_eq!(resolve(&n, 2, at(3_001)), Resolve::Failed);
    assert!(matches!(
        n.hold(Zone::Inside, ip(2), frame(7), P),
        Hold::Refused(Reason::HostUnreachable)
    ));
    assert_eq!(n.list(Tick(at(3_500)))[0].state, NeighState::Failed);
    assert_eq!(resolve(&n, 2, at(5_999)), Resolve::Failed);
    assert_eq!(resolve(&n, 2, at(6_000)), Resolve::Pending { first: true });
    assert_eq!(act(&n, at(7_000)), [Ok(None)]);
    assert_eq!(act(&n, at(8_000)), [Ok(None)]);
    assert_eq!(act(&n, at(9_000)), [Err(vec![])]);
    assert_eq!(act(&n, at(69_000)), []);
    assert!(n.is_empty(), "forgotten after a minute");
    assert_eq!(n.next_deadline(), None);
}

#[test]
fn an_old_entry_is_asked_again_only_when_used_and_stays_usable() {
    let n = table();
    n.seed(Zone::Inside, ip(2), M1, Tick(0));
    assert_eq!(resolve(&n, 2, REACH - 1), Resolve::Known(M1));
    assert_eq!(n.next_deadline(), None);
    let t = 2 * REACH;
    assert_eq!(n.list(Tick(t))[0].state, NeighState::Stale);
    assert_eq!(n.list(Tick(t))[0].idle_ms, t);
    assert_eq!(act(&n, t), []);
    assert_eq!(resolve(&n, 2, t), Resolve::Known(M1));
    assert_eq!(n.next_deadline(), Some(Tick(t)));
    assert_eq!(act(&n, t), [Ok(Some(M1))]);
    assert_eq!(act(&n, t + 1_000), [Ok(None)]);
    assert_eq!(resolve(&n, 2, t + 1_500), Resolve::Known(M1));
    // It answers: everything as before, and nothing cached was wrong.
    let before = n.generation();
    n.confirm(Zone::Inside, ip(2), M1, Tick(t + 1_600), false);
    assert_eq!((n.generation(), n.next_deadline()), (before, None));
    assert_eq!(n.list(Tick(t + 1_600))[0].state, NeighState::Reachable);
    // The next time it does not.
    let t = t + 1_600 + REACH;
    assert_eq!(resolve(&n, 2, t), Resolve::Known(M1));
    let all: Vec<_> = (0..4).flat_map(|s| act(&n, t + s * 1_000)).collect();
    assert_eq!(all, [Ok(Some(M1)), Ok(None), Ok(None), Err(vec![])]);
    assert_eq!(resolve(&n, 2, t + 3_000), Resolve::Failed);
    assert_ne!(n.generation(), before);
}

#[test]
fn a_new_mac_voids_what_was_cached() {
    let n = table();
    n.seed(Zone::Inside, ip(2), M1, Tick(0));
    let before = n.generation();
    let c = n.confirm(Zone::Inside, ip(2), M2, Tick(1), false).unwrap();
    assert!(c.changed);
    assert_ne!(n.generation(), before);
    assert_eq!(resolve(&n, 2, 2), Resolve::Known(M2));
    assert!(n.confirm(Zone::Inside, ip(3), M2, Tick(1), false).is_none());
    assert_eq!(n.len(), 1);
    // A permanent entry is not moved, and not failed by silence.
    n.pin(Zone::Inside, ip(2), M1, Tick(3)).unwrap();
    assert!(
        !n.confirm(Zone::Inside, ip(2), M2, Tick(4), true)
            .unwrap()
            .changed
    );
    assert_eq!(resolve(&n, 2, 100 * REACH), Resolve::Known(M1));
    assert_eq!(
        n.expires_ms(Zone::Inside, ip(2), Tick(100 * REACH)),
        u32::MAX
    );
    assert_eq!(act(&n, 100 * REACH), []);
    let before = n.generation();
    n.forget_mac(Zone::Uplink, M1);
    assert_eq!(n.generation(), before);
    n.forget_mac(Zone::Inside, M1);
    assert_ne!(n.generation(), before);
    assert!(n.is_empty());
}

#[test]
fn a_permanent_entry_is_moved_by_hand_alone() {
    let n = table();
    n.pin(Zone::Inside, ip(2), M1, Tick(0)).unwrap();
    let before = n.generation();
    n.pin(Zone::Inside, ip(2), M1, Tick(1)).unwrap();
    assert_eq!(n.generation(), before, "nothing is new");
    n.pin(Zone::Inside, ip(2), M2, Tick(2)).unwrap();
    assert_ne!(n.generation(), before);
    assert_eq!(resolve(&n, 2, 3), Resolve::Known(M2));
}

#[test]
fn only_news_is_told_as_news() {
    let n = table();
    resolve(&n, 2, 0);
    let news = |mac, at| n.seed(Zone::Inside, ip(2), mac, Tick(at)).unwrap().changed;
    assert!(news(M1, 1), "it was asked for");
    assert!(!news(M1, 2));
    assert!(news(M2, 3));
}

#[test]
fn one_side_is_forgotten_with_what_waits_there() {
    let n = table();
    for zone in [Zone::Inside, Zone::Uplink] {
        n.seed(zone, ip(2), M1, Tick(0));
        n.resolve(zone, ip(3), Tick(0));
        assert!(matches!(n.hold(zone, ip(3), frame(1), P), Hold::Held));
    }
    assert!(n.is_pending(Zone::Uplink, ip(3)) && !n.is_pending(Zone::Uplink, ip(2)));
    assert_eq!(n.forget_zone(Zone::Uplink).len(), 1);
    assert!(!n.is_pending(Zone::Uplink, ip(3)) && n.is_pending(Zone::Inside, ip(3)));
    assert_eq!(n.len(), 2);
    assert_eq!(resolve(&n, 2, 1), Resolve::Known(M1));
}

#[test]
fn queues_are_bounded_by_frames_and_bytes() {
    let n = table();
    let hold = |last: u8, f: Frame| n.hold(Zone::Inside, ip(last), f, P);
    resolve(&n, 2, 0);
    for tag in 0..16 {
        assert!(matches!(hold(2, frame(tag)), Hold::Held));
    }
    assert!(matches!(
        hold(2, frame(16)),
        Hold::Refused(Reason::NeighQueueFull)
    ));
    resolve(&n, 3, 0);
    let big = || Frame::from_bytes(&vec![0; 65_536]);
    for _ in 0..4 {
        assert!(matches!(hold(3, big()), Hold::Held));
    }
    assert!(matches!(
        hold(3, frame(0)),
        Hold::Refused(Reason::NeighQueueFull)
    ));
    assert!(matches!(
        hold(9, frame(0)),
        Hold::Refused(Reason::NeighTableFull)
    ));
    assert_eq!(n.forget(Zone::Inside, ip(2)).len(), 16);
    assert_eq!(n.forget(Zone::Inside, ip(3)).len(), 4);
    // What was let go counts no longer: 32 neighbours of 256 KiB are the most.
    let n = Neighbours::new(100, REACH);
    let mut held = 0;
    for last in 0..40 {
        resolve(&n, last, 0);
        for _ in 0..4 {
            held += usize::from(matches!(
                n.hold(Zone::Inside, ip(last), big(), P),
                Hold::Held
            ));
        }
    }
    assert_eq!(held * 65_536, queue::TOTAL_BYTES);
    let back: usize = (0..40).map(|l| n.forget(Zone::Inside, ip(l)).len()).sum();
    assert_eq!(back, held);
    resolve(&n, 1, 0);
    assert!(matches!(n.hold(Zone::Inside, ip(1), big(), P), Hold::Held));
}

#[test]
fn a_full_table_forgets_the_least_wanted_but_never_who_is_asked() {
    let n = Neighbours::new(3, REACH);
    n.pin(Zone::Inside, ip(1), M1, Tick(0)).unwrap();
    n.seed(Zone::Inside, ip(2), M1, Tick(1));
    n.seed(Zone::Inside, ip(3), M1, Tick(2));
    assert_eq!(resolve(&n, 2, 50), Resolve::Known(M1)); // 3 is now the least wanted
    let before = n.generation();
    assert_eq!(resolve(&n, 4, 60), Resolve::Pending { first: true });
    assert_ne!(n.generation(), before);
    let ips: Vec<_> = n.list(Tick(60)).iter().map(|r| r.ip).collect();
    assert_eq!(ips, [ip(1), ip(2), ip(4)]);
    assert_eq!(resolve(&n, 5, 70), Resolve::Pending { first: true });
    // Left are a permanent one and two that are being asked for.
    assert_eq!(resolve(&n, 6, 80), Resolve::Pending { first: false });
    assert!(matches!(
        n.hold(Zone::Inside, ip(6), frame(0), P),
        Hold::Refused(Reason::NeighTableFull)
    ));
    assert!(n.confirm(Zone::Inside, ip(6), M2, Tick(80), true).is_none());
    // Failed ones make room.
    for s in 1..=3 {
        n.tick(Tick(70 + s * 1_000));
    }
    assert_eq!(resolve(&n, 6, 3_100), Resolve::Pending { first: true });
    assert_eq!(n.len(), 3);
}

#[test]
fn threads_release_every_frame_once() {
    let n = Neighbours::new(64, REACH);
    let count = |held: Vec<Held>| held.len();
    let (sent, back) = std::thread::scope(|s| {
        let n = &n;
        let senders: Vec<_> = (0..2u32)
            .map(|seed| {
                s.spawn(move || {
                    let (mut sent, mut back) = (0, 0);
                    for i in 0..20_000u32 {
                        let to = ip(((i * 7 + seed) % 16) as u8);
                        let now = Tick(i);
                        match i % 5 {
                            0 => {
                                let c = n.confirm(Zone::Inside, to, M1, now, true);
                                back += c.map_or(0, |c| count(c.held));
                            }
                            1 if i % 3 == 0 => back += count(n.forget(Zone::Inside, to)),
                            2 => {
                                for a in n.tick(now) {
                                    if let NeighAction::GiveUp { held, .. } = a {
                                        back += count(held);
                                    }
                                }
                            }
                            _ => {
                                if let Resolve::Pending { .. } = n.resolve(Zone::Inside, to, now) {
                                    match n.hold(Zone::Inside, to, frame(0), P) {
                                        Hold::Held => sent += 1,
                                        Hold::Ready(mac, _) => assert_eq!(mac, M1),
                                        Hold::Refused(_) => {}
                                    }
                                }
                            }
                        }
                    }
                    (sent, back)
                })
            })
            .collect();
        senders
            .into_iter()
            .map(|t| t.join().unwrap())
            .fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    });
    let left: usize = (0..16).map(|l| n.forget(Zone::Inside, ip(l)).len()).sum();
    assert!(sent > 100, "{sent}");
    assert_eq!(sent, back + left);
    assert!(n.is_empty());
    assert_eq!(n.next_deadline(), None);
}
