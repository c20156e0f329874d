//! Fragments: RFC 4787 REQ-14, RFC 791, RFC 1858, RFC 3128, RFC 5722's reasoning.

use crate::common::{lost, pass, s};
use dataplane::base::{Reason, Tuple};
use switchd_tests::memory::check::Seen;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{DB, FAR, Host, Lab, PEER, UP, WEB, config};

fn out() -> Tuple {
    udp_tuple(WEB, 7, FAR, 53)
}

/// The parts of a datagram of 120 bytes of payload, 32 of IP payload in each.
fn parts(from: &Host, t: &Tuple, id: u16) -> Vec<Vec<u8>> {
    let data: Vec<u8> = (0..120).collect();
    fragments(&from.routed(&Ip::may_fragment(id), t, &udp(t, &data)), 32)
}

/// What the fragments that `to` got make together.
#[track_caller]
fn whole(lab: &Lab, to: &Host) -> Seen {
    let got: Vec<Vec<u8>> = lab.got(to).into_iter().map(|g| g.bytes).collect();
    let whole = reassemble(&got).expect("no hole");
    Seen::new(&dataplane::frame::Frame::from_bytes(&whole))
}

#[test]
fn req_14_in_order_and_reversed_through_every_translation() {
    for reversed in [false, true] {
        let mut lab = Lab::ready();
        let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
        for (n, (from, t, to)) in [
            (&web, out(), &up),
            (&up, udp_tuple(PEER, 9, UP, 5_000), &web),
            (&db, udp_tuple(DB, 9, UP, 5_001), &web),
        ]
        .into_iter()
        .enumerate()
        {
            let mut all = parts(from, &t, n as u16);
            if reversed {
                all.reverse();
            }
            all.iter().for_each(|f| lab.send(from, f));
            assert_eq!(whole(&lab, to).data().len(), 120);
            lab.silence();
        }
    }
}

#[test]
fn req_14_two_datagrams_interleaved() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    let (a, b) = (
        parts(&web, &out(), 1),
        parts(&web, &udp_tuple(WEB, 8, FAR, 53), 2),
    );
    for i in [3, 0, 1, 2] {
        lab.send(&web, &a[i]);
        lab.send(&web, &b[(i + 2) % 4]);
    }
    let mut by_id = std::collections::HashMap::<u16, Vec<Vec<u8>>>::new();
    for g in lab.got(&lab.up) {
        by_id.entry(g.p.ip_id).or_default().push(g.bytes);
    }
    assert_eq!(by_id.len(), 2);
    assert!(by_id.values().all(|p| reassemble(p).is_some()));
}

#[test]
fn req_14a_a_flood_of_fragments_leaves_whole_packets_and_others_datagrams_alone() {
    let mut cfg = config();
    cfg.limits.fragments = 32;
    let mut lab = Lab::ready_with(cfg);
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    let t = udp_tuple(DB, 7, FAR, 53);
    let good = parts(&db, &t, 9);
    lab.send(&db, &good[0]);
    for id in 0..2_000 {
        lab.send(&web, &parts(&web, &out(), id)[1]);
    }
    let (datagrams, held) = lab.sw.switch().frags.len();
    assert!(datagrams <= 32 && held <= 32, "{datagrams} {held}");
    good[1..].iter().for_each(|f| lab.send(&db, f));
    assert_eq!(whole(&lab, &up).data().len(), 120);
    pass(&mut lab, &web, &out(), &udp(&out(), b"whole"), &up);
    lab.wait(s(16));
    assert_eq!(lab.sw.switch().frags.len(), (0, 0));
}

#[test]
fn first_fragment_missing_the_others_are_dropped_when_their_time_is_over() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    for f in &parts(&web, &out(), 1)[1..] {
        lab.send(&web, f);
    }
    lab.silence();
    assert_eq!(lab.sw.totals().held, 3);
    lab.wait(s(14));
    assert_eq!(lab.sw.totals().held, 3);
    lab.wait(s(2));
    assert_eq!(
        (lab.sw.totals().held, lab.drops(Reason::FragTimeout)),
        (0, 3)
    );
    lab.silence();
    assert_eq!(lab.connections(), 0);
}

/// The first comes when the others were given up: the datagram is short, and no port is guessed.
#[test]
fn a_first_fragment_that_comes_too_late_passes_alone() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let all = parts(&web, &out(), 1);
    lab.send(&web, &all[2]);
    lab.wait(s(16));
    lab.learn_outside();
    lab.clear();
    lab.send(&web, &all[0]);
    assert_eq!(lab.only(&up).p.frag_off, 0);
}

#[test]
fn overlapping_in_every_way_spoils_the_datagram() {
    // Offset and length in eighths; the second overlaps the first.
    for ((a, la), (b, lb)) in [
        ((0, 4), (2, 4)),
        ((2, 4), (0, 4)),
        ((2, 4), (3, 1)),
        ((3, 1), (2, 4)),
        ((2, 4), (2, 3)),
        ((0, 4), (0, 3)),
        ((4, 2), (3, 2)),
    ] {
        let mut lab = Lab::ready();
        let (web, up) = (lab.web.clone(), lab.up.clone());
        let data = [5; 56];
        let whole = web.routed(&Ip::may_fragment(3), &out(), &udp(&out(), &data));
        let cut = |at: u16, len: u16| {
            let ip = Ip {
                offset: at * 8,
                mf: true,
                ..Ip::may_fragment(3)
            };
            let from = 34 + usize::from(at) * 8;
            web.routed(&ip, &out(), &whole[from..from + usize::from(len) * 8])
        };
        lab.send(&web, &cut(a, la));
        let before = lab.got(&up).len();
        lab.send(&web, &cut(b, lb));
        lab.send(&web, &cut(6, 1));
        assert!(lab.got(&up).is_empty(), "{a}+{la} {b}+{lb}");
        assert_eq!(before, usize::from(a == 0), "only a first one had gone on");
        assert!(lab.drops(Reason::FragOverlap) >= 2);
        assert_eq!(lab.sw.totals().held, 0);
    }
}

#[test]
fn a_duplicate_is_dropped_and_harms_nothing() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let all = parts(&web, &out(), 1);
    for f in [&all[1], &all[1], &all[0], &all[0], &all[2], &all[3]] {
        lab.send(&web, f);
    }
    assert_eq!(whole(&lab, &up).data().len(), 120);
    assert_eq!(lab.drops(Reason::FragOverlap), 2);
}

/// RFC 1858 section 3 and RFC 3128: a first fragment that hides part of the TCP header.
#[test]
fn a_tiny_first_fragment_does_not_get_past_the_tracker() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    let t = tcp_tuple(WEB, 7, FAR, 80);
    let whole = web.routed(&Ip::may_fragment(3), &t, &tcp(&t, 1, 0, SYN, &[0; 20]));
    for f in fragments(&whole, 8) {
        lab.send(&web, &f);
    }
    lab.silence();
    assert_eq!(lab.drops(Reason::L4Truncated), 1);
    assert_eq!(lab.connections(), 0);
    // A second one at offset 8 after a full first overlaps it.
    let whole = web.routed(&Ip::may_fragment(4), &t, &tcp(&t, 1, 0, SYN, &[0; 20]));
    lab.send(&web, &fragments(&whole, 24)[0]);
    lab.clear();
    let ip = Ip {
        offset: 8,
        ..Ip::may_fragment(4)
    };
    lab.send(&web, &web.routed(&ip, &t, &[0; 16]));
    lab.silence();
    assert_eq!(lab.drops(Reason::FragOverlap), 1);
    lab.wait(s(20));
}

#[test]
fn impossible_offsets_and_lengths_are_dropped() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    let piece = |offset, mf, len: usize| {
        let ip = Ip {
            offset,
            mf,
            ..Ip::may_fragment(9)
        };
        web.routed(&ip, &out(), &vec![0; len])
    };
    for f in [
        piece(65_528, false, 24),
        piece(8, true, 12),
        piece(8, false, 0),
        piece(8, true, 0),
    ] {
        lab.send(&web, &f);
    }
    lab.silence();
    assert_eq!(lab.drops(Reason::FragMalformed), 4);
    assert_eq!(lab.sw.switch().frags.len(), (0, 0));
}

#[test]
fn more_than_64_fragments_are_refused() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    let data = vec![1; 8 * 80];
    let whole = web.routed(&Ip::may_fragment(9), &out(), &udp(&out(), &data));
    for f in fragments(&whole, 8) {
        lab.send(&web, &f);
    }
    assert_eq!(lab.got(&lab.up).len(), 64);
    assert!(lab.drops(Reason::FragTooMany) > 0);
}

/// RFC 4459, Linux' IPSKB_FRAG_PMTU: fragments that say don't-fragment and fit are passed on.
#[test]
fn fragments_with_dont_fragment_pass_where_they_fit() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let data = [7; 120];
    let ip = Ip {
        id: 5,
        ..Ip::default()
    };
    for f in fragments(&web.routed(&ip, &out(), &udp(&out(), &data)), 32) {
        // `fragments` writes the field anew.
        let mut f = f;
        f[20] |= 0x40;
        f[24..26].copy_from_slice(&[0, 0]);
        let sum = !naive_sum(&[&f[14..34]]);
        f[24..26].copy_from_slice(&sum.to_be_bytes());
        lab.send(&web, &f);
    }
    assert_eq!(lab.got(&up).len(), 4);
}

#[test]
fn a_fragment_of_what_was_refused_is_refused_too() {
    let mut lab = Lab::ready();
    let up = lab.up.clone();
    let t = udp_tuple(PEER, 9, UP, 4_000);
    for order in [[0, 1, 2, 3], [3, 2, 1, 0]] {
        let all = parts(&up, &t, order[0] as u16);
        order.iter().for_each(|i| lab.send(&up, &all[*i]));
    }
    lab.silence();
    assert_eq!(lab.drops(Reason::NotPublished), 8);
    assert_eq!(lab.sw.totals().held, 0);
    lost(&mut lab, &up, &t, &udp(&t, b""));
}
