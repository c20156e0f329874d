//! Fragments of translated packets: all orders, overlapping, repeated, a flood.

use dataplane::base::{Proto, Reason};
use std::time::Duration;
use switchd_tests::memory::check::Seen;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{DB, FAR, Lab, UP, WEB, config};

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for p in permutations(n - 1) {
        for at in 0..n {
            let mut q = p.clone();
            q.insert(at, n - 1);
            all.push(q);
        }
    }
    all
}

#[test]
fn fragments_are_translated_in_every_order_and_direction() {
    let data: Vec<u8> = (0..400u32).map(|n| n as u8).collect();
    for order in permutations(4) {
        let mut lab = Lab::ready();
        let (web, up) = (lab.web.clone(), lab.up.clone());
        let cases = [
            (
                up.clone(),
                tuple(Proto::UDP, (FAR, 9), (UP, 5_000)),
                web.clone(),
            ),
            (
                web.clone(),
                tuple(Proto::UDP, (WEB, 7), (FAR, 53)),
                up.clone(),
            ),
            (
                web.clone(),
                tuple(Proto::UDP, (WEB, 8), (UP, 5_001)),
                web.clone(),
            ),
        ];
        for (from, t, to) in cases {
            let whole = from.routed(&Ip::may_fragment(9), &t, &udp(&t, &data));
            let parts = fragments(&whole, 104);
            for &i in &order {
                lab.send(&from, &parts[i]);
            }
            let got: Vec<Vec<u8>> = lab.got(&to).into_iter().map(|s| s.bytes).collect();
            assert_eq!(got.len(), 4, "{t} in order {order:?}");
            let whole = reassemble(&got).expect("no hole");
            let f = dataplane::frame::Frame::from_bytes(&whole);
            let s = Seen::new(&f); // verifies the checksum over all of it
            assert_eq!(s.data(), data);
            lab.silence();
        }
        assert_eq!(lab.sw.switch().frags.len(), (0, 0));
    }
}

#[test]
fn fragmented_answers_and_pings_find_their_way_back() {
    let mut lab = Lab::ready();
    let (db, up) = (lab.db.clone(), lab.up.clone());
    let t = tuple(Proto::ICMP, (DB, 300), (FAR, 0));
    let data = vec![9; 2_000];
    for f in fragments(
        &db.routed(&Ip::may_fragment(1), &t, &ping(300, 1, &data)),
        1_480,
    ) {
        lab.send(&db, &f);
    }
    let out: Vec<Vec<u8>> = lab.got(&up).into_iter().map(|s| s.bytes).collect();
    let out = Seen::new(&dataplane::frame::Frame::from_bytes(
        &reassemble(&out).unwrap(),
    ));
    let back = out.tuple().reversed();
    let answer = up.routed(&Ip::may_fragment(2), &back, &pong(back.dport, 1, &data));
    let mut parts = fragments(&answer, 1_480);
    parts.reverse();
    for f in &parts {
        lab.send(&up, f);
    }
    let got: Vec<Vec<u8>> = lab.got(&db).into_iter().map(|s| s.bytes).collect();
    assert_eq!(reassemble(&got).unwrap()[34..], pong(300, 1, &data));
}

#[test]
fn overlapping_fragments_spoil_their_datagram_and_repeated_ones_only_themselves() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = tuple(Proto::UDP, (WEB, 7), (FAR, 53));
    let whole = web.routed(&Ip::may_fragment(9), &t, &udp(&t, &[1; 88]));
    let parts = fragments(&whole, 32);
    lab.send(&web, &parts[0]);
    lab.send(&web, &parts[0]);
    assert_eq!(lab.drops(Reason::FragOverlap), 1);
    lab.send(&web, &parts[1]);
    lab.send(&web, &parts[2]);
    assert_eq!(lab.got(&up).len(), 3, "all of it passed once");

    let whole = web.routed(&Ip::may_fragment(10), &t, &udp(&t, &[1; 88]));
    let (parts, odd) = (fragments(&whole, 32), fragments(&whole, 40));
    lab.send(&web, &parts[1]);
    lab.send(&web, &odd[1]);
    assert_eq!(lab.drops(Reason::FragOverlap), 3, "the held one too");
    for f in &parts {
        lab.send(&web, f);
    }
    assert_eq!(lab.drops(Reason::FragOverlap), 6);
    lab.silence();
    assert_eq!(lab.sw.totals().held, 0);
}

#[test]
fn a_flood_of_fragments_harms_neither_whole_packets_nor_datagrams_in_order() {
    let mut cfg = config();
    cfg.limits.fragments = 16;
    let mut lab = Lab::ready_with(cfg);
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    let t = tuple(Proto::UDP, (DB, 7), (FAR, 53));
    let flood = tuple(Proto::UDP, (WEB, 7), (FAR, 53));
    let good = fragments(&db.routed(&Ip::may_fragment(1), &t, &udp(&t, &[1; 88])), 32);
    lab.send(&db, &good[0]);
    for id in 0..500 {
        let whole = web.routed(&Ip::may_fragment(id), &flood, &udp(&flood, &[1; 88]));
        lab.send(&web, &fragments(&whole, 32)[1]);
    }
    assert!(lab.sw.switch().frags.len().0 <= 16);
    assert!(lab.drops(Reason::FragTableFull) > 400);
    lab.send(&db, &good[1]);
    lab.send(&db, &good[2]);
    assert_eq!(lab.got(&up).len(), 3);
    lab.route(&db, &t, &udp(&t, b"whole"));
    assert_eq!(lab.only(&up).data(), b"whole");
    lab.wait(Duration::from_secs(16));
    assert_eq!(lab.sw.totals().held, 0);
    assert_eq!(lab.sw.switch().frags.len(), (0, 0));
}
