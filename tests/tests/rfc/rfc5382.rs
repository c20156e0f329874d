//! RFC 5382: TCP through a NAT.

use crate::common::{about, arrives, lost, open, pass, s, sleep, states};
use dataplane::base::{Proto, Reason};
use std::net::Ipv4Addr;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{DB, FAR, Lab, PEER, UP, WEB};

const THIRD: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

#[test]
fn req_1_one_mapping_for_every_destination() {
    let mut lab = Lab::ready();
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    open(&mut lab, &db, &tcp_tuple(DB, 4_000, FAR, 80), &up);
    let port = open(&mut lab, &web, &tcp_tuple(WEB, 4_000, FAR, 80), &up)
        .back
        .dport;
    assert_ne!(port, 4_000);
    for (dst, dport) in [(FAR, 81), (PEER, 80), (THIRD, 9)] {
        let c = open(&mut lab, &web, &tcp_tuple(WEB, 4_000, dst, dport), &up);
        assert_eq!((c.back.dst, c.back.dport), (UP, port));
    }
}

#[test]
fn req_2_every_valid_sequence_of_segments_passes() {
    // Three-way handshake, both closes; the others have tests of their own.
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let c = open(&mut lab, &web, &tcp_tuple(WEB, 4_000, FAR, 80), &up);
    assert!(c.say(&mut lab, 101, 901, ACK | PSH, b"data"));
    assert!(c.answer(&mut lab, 901, 105, ACK, b""));
    assert!(c.answer(&mut lab, 901, 105, FIN | ACK, b""));
    assert!(c.say(&mut lab, 105, 902, FIN | ACK, b""));
    assert!(c.answer(&mut lab, 902, 106, ACK, b""));
    assert_eq!(states(&lab), ["TIME_WAIT"]);
}

#[test]
fn req_2a_simultaneous_open() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = tcp_tuple(WEB, 4_000, FAR, 4_000);
    let back = pass(&mut lab, &web, &t, &tcp(&t, 100, 0, SYN, b""), &up)
        .tuple()
        .reversed();
    pass(&mut lab, &up, &back, &tcp(&back, 900, 0, SYN, b""), &web);
    assert_eq!(states(&lab), ["SYN_SENT2"]);
    pass(&mut lab, &web, &t, &tcp(&t, 100, 901, SYN | ACK, b""), &up);
    pass(
        &mut lab,
        &up,
        &back,
        &tcp(&back, 900, 101, SYN | ACK, b""),
        &web,
    );
    assert_eq!(states(&lab), ["ESTABLISHED"]);
    pass(&mut lab, &web, &t, &tcp(&t, 101, 901, ACK, b"x"), &up);
    pass(&mut lab, &up, &back, &tcp(&back, 901, 102, ACK, b"y"), &web);
}

/// Declared: address and port-dependent filtering.
#[test]
fn req_3_only_who_was_spoken_to_gets_in() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    open(&mut lab, &web, &tcp_tuple(WEB, 4_000, FAR, 80), &up);
    for (src, sport) in [(FAR, 81), (PEER, 80)] {
        let t = tcp_tuple(src, sport, UP, 4_000);
        lost(&mut lab, &up, &t, &tcp(&t, 1, 0, SYN, b""));
    }
    assert_eq!(lab.drops(Reason::NotPublished), 2);
}

/// Policy: a SYN that nobody asked for is dropped without a word, in the first six seconds and
/// after them.
#[test]
fn req_4a_an_unsolicited_syn_is_not_answered() {
    let mut lab = Lab::ready();
    let up = lab.up.clone();
    let t = tcp_tuple(FAR, 80, UP, 4_000);
    for _ in 0..10 {
        lost(&mut lab, &up, &t, &tcp(&t, 900, 0, SYN, b""));
        lab.wait(s(1));
    }
    lab.silence();
    assert_eq!(lab.connections(), 0);
    assert_eq!(lab.drops(Reason::NotPublished), 10);
}

#[test]
fn req_4_a_syn_that_goes_out_meanwhile_makes_it_a_simultaneous_open() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = tcp_tuple(FAR, 80, UP, 4_000);
    lost(&mut lab, &up, &t, &tcp(&t, 900, 0, SYN, b""));
    lab.wait(s(3));
    let out = tcp_tuple(WEB, 4_000, FAR, 80);
    pass(&mut lab, &web, &out, &tcp(&out, 100, 0, SYN, b""), &up);
    // The unsolicited one was dropped silently; sent again, it gets through.
    pass(&mut lab, &up, &t, &tcp(&t, 900, 0, SYN, b""), &web);
    assert_eq!(states(&lab), ["SYN_SENT2"]);
}

#[test]
fn req_5_established_for_two_hours_and_four_minutes() {
    for (silence, alive) in [(7_439, true), (7_440, false)] {
        let mut lab = Lab::ready();
        let (web, up) = (lab.web.clone(), lab.up.clone());
        let c = open(&mut lab, &web, &tcp_tuple(WEB, 4_000, FAR, 80), &up);
        sleep(&mut lab, s(silence));
        assert_eq!(c.answer(&mut lab, 901, 101, ACK, b"x"), alive);
    }
}

#[test]
fn req_5_transitory_for_four_minutes() {
    for (silence, alive) in [(239, true), (240, false)] {
        // Opening.
        let mut lab = Lab::ready();
        let (web, up) = (lab.web.clone(), lab.up.clone());
        let t = tcp_tuple(WEB, 4_000, FAR, 80);
        let back = pass(&mut lab, &web, &t, &tcp(&t, 100, 0, SYN, b""), &up)
            .tuple()
            .reversed();
        sleep(&mut lab, s(silence));
        let syn_ack = tcp(&back, 900, 101, SYN | ACK, b"");
        assert_eq!(arrives(&mut lab, &up, &back, &syn_ack, &web), alive);
        // Closing: the last ACK that was lost is sent again.
        let c = open(&mut lab, &web, &tcp_tuple(WEB, 4_001, FAR, 80), &up);
        assert!(c.say(&mut lab, 101, 901, FIN | ACK, b""));
        assert!(c.answer(&mut lab, 901, 102, FIN | ACK, b""));
        assert!(c.say(&mut lab, 102, 902, ACK, b""));
        sleep(&mut lab, s(silence));
        assert_eq!(c.answer(&mut lab, 901, 102, FIN | ACK, b""), alive);
    }
}

#[test]
fn req_6_no_payload_is_changed() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let c = open(&mut lab, &web, &tcp_tuple(WEB, 4_000, FAR, 21), &up);
    let l4 = tcp(&c.out, 101, 901, ACK | PSH, b"EPRT |1|10.0.0.2|4000|\r\n");
    let seen = pass(&mut lab, &web, &c.out, &l4, &up);
    assert_eq!(seen.data(), b"EPRT |1|10.0.0.2|4000|\r\n");
}

#[test]
fn req_7_no_port_serves_two_endpoints() {
    let mut lab = Lab::ready();
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    let mut seen = std::collections::HashSet::new();
    for n in 0..100 {
        for (h, dst) in [(&web, FAR), (&db, PEER)] {
            let t = tcp_tuple(h.ip, 4_000 + n, dst, 80);
            let out = pass(&mut lab, h, &t, &tcp(&t, 1, 0, SYN, b""), &up).tuple();
            assert!(seen.insert(out.sport) && out.sport >= 1_024);
        }
    }
}

#[test]
fn req_8_a_hairpinned_connection_comes_from_the_external_endpoint() {
    let mut lab = Lab::ready();
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    let outside = open(&mut lab, &db, &tcp_tuple(DB, 4_000, FAR, 80), &up).back;
    let c = open(&mut lab, &db, &tcp_tuple(DB, 4_000, UP, 5_000), &web);
    assert_eq!((c.back.dst, c.back.dport), (outside.dst, outside.dport));
    assert!(c.say(&mut lab, 101, 901, ACK, b"to"));
    assert!(c.answer(&mut lab, 901, 103, ACK, b"fro"));
}

#[test]
fn req_9_an_icmp_error_of_type_3_is_translated() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = tcp_tuple(WEB, 4_000, FAR, 80);
    let seen = pass(&mut lab, &web, &t, &tcp(&t, 100, 0, SYN, b""), &up);
    let outer = tuple(Proto::ICMP, (PEER, 0), (UP, 0));
    let e = pass(
        &mut lab,
        &up,
        &outer,
        &about(&seen, (3, 1), [0; 4], 28),
        &web,
    );
    assert_eq!((e.tuple().src, e.tuple().dst), (PEER, WEB));
    assert_eq!((e.icmp(), e.inner().tuple), ((3, 1, [0; 4]), t));
}

#[test]
fn req_10_no_icmp_error_ends_a_session() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let c = open(&mut lab, &web, &tcp_tuple(WEB, 4_000, FAR, 80), &up);
    let seen = pass(
        &mut lab,
        &web,
        &c.out,
        &tcp(&c.out, 101, 901, ACK, b"x"),
        &up,
    );
    for speaker in [FAR, PEER] {
        for (kind, code) in [
            (3, 0),
            (3, 1),
            (3, 2),
            (3, 3),
            (3, 4),
            (3, 9),
            (3, 13),
            (11, 0),
            (12, 0),
        ] {
            let outer = tuple(Proto::ICMP, (speaker, 0), (UP, 0));
            let error = about(&seen, (kind, code), [0; 4], 28);
            assert!(arrives(&mut lab, &up, &outer, &error, &web));
        }
    }
    assert_eq!(states(&lab), ["ESTABLISHED"]);
    assert!(c.answer(&mut lab, 901, 102, ACK, b"y"));
}
