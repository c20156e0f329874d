//! RFC 7857: updates to the behaviour of NATs.

use crate::common::{Open, about, open, pass, s, sleep, states};
use dataplane::base::{Proto, Reason};
use std::collections::HashSet;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{DB, FAR, Lab, PEER, UP, WEB, config};

/// Section 2.1: the times of opening and of closing are settings apart, 240 s by default.
#[test]
fn section_2_1_opening_and_closing_have_times_of_their_own_of_240_s() {
    let d = config().timeouts;
    assert_eq!((d.tcp_transitory, d.tcp_closing), (s(240), s(240)));
    let mut cfg = config();
    cfg.timeouts.tcp_transitory = s(10);
    cfg.timeouts.tcp_closing = s(20);
    let mut lab = Lab::ready_with(cfg);
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = tcp_tuple(WEB, 1, FAR, 80);
    pass(&mut lab, &web, &t, &tcp(&t, 1, 0, SYN, b""), &up);
    let c = open(&mut lab, &web, &tcp_tuple(WEB, 2, FAR, 80), &up);
    assert!(c.answer(&mut lab, 901, 0, RST, b""));
    open(&mut lab, &web, &tcp_tuple(WEB, 3, FAR, 80), &up);
    let now = |lab: &Lab| {
        let mut all = states(lab);
        all.sort_unstable();
        all
    };
    assert_eq!(now(&lab), ["CLOSE", "ESTABLISHED", "SYN_SENT"]);
    sleep(&mut lab, s(10));
    assert_eq!(now(&lab), ["CLOSE", "ESTABLISHED"]);
    sleep(&mut lab, s(10));
    assert_eq!(now(&lab), ["ESTABLISHED"]);
}

/// Section 2.2: a RST is passed on, and the state stays for the transitory time.
#[test]
fn section_2_2_a_rst_is_translated_and_its_state_stays_for_240_s() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let c = open(&mut lab, &web, &tcp_tuple(WEB, 4_000, FAR, 80), &up);
    let rst = tcp(&c.back, 901, 0, RST, b"");
    let seen = pass(&mut lab, &up, &c.back, &rst, &web);
    assert_eq!(seen.tuple(), c.out.reversed());
    sleep(&mut lab, s(239));
    assert_eq!(states(&lab), ["CLOSE"]);
    sleep(&mut lab, s(1));
    assert_eq!(lab.connections(), 0);
}

/// Section 2.2: data in that time says that the RST was not taken.
#[test]
fn section_2_2_data_after_a_rst_revives_the_connection() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let c = open(&mut lab, &web, &tcp_tuple(WEB, 4_000, FAR, 80), &up);
    assert!(c.answer(&mut lab, 901, 0, RST, b""));
    sleep(&mut lab, s(200));
    assert!(c.say(&mut lab, 101, 901, ACK | PSH, b"still here"));
    assert_eq!(states(&lab), ["ESTABLISHED"]);
    sleep(&mut lab, s(7_000));
    assert!(c.answer(&mut lab, 901, 111, ACK, b"so am I"));
}

/// Section 2.2: nor does a SYN from outside, which opens nothing, take the state away before its
/// time. The port stays the client's, and the client may still be heard.
#[test]
fn section_2_2_an_unwanted_syn_does_not_end_a_closed_connection() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = tcp_tuple(WEB, 4_000, FAR, 80);
    let closes: [&dyn Fn(&mut Lab, &Open); 2] = [
        &|lab, c| assert!(c.answer(lab, 901, 0, RST, b"")),
        &|lab, c| {
            assert!(c.answer(lab, 901, 101, FIN | ACK, b""));
            assert!(c.say(lab, 101, 902, FIN | ACK, b""));
            assert!(c.answer(lab, 902, 102, ACK, b""));
        },
    ];
    for (close, state) in closes.iter().zip(["CLOSE", "TIME_WAIT"]) {
        let c = open(&mut lab, &web, &t, &up);
        close(&mut lab, &c);
        let before = lab.drops(Reason::NotPublished);
        assert!(!c.answer(&mut lab, 50_000, 0, SYN, b""));
        assert_eq!(lab.drops(Reason::NotPublished), before + 1);
        assert_eq!(states(&lab), [state]);
        assert!(c.say(&mut lab, 50_000, 0, SYN, b""), "the client may");
        assert_eq!(states(&lab), ["SYN_SENT"]);
        sleep(&mut lab, s(240));
        assert_eq!(lab.connections(), 0);
    }
}

/// The same of a connection by hairpin: what its server sends to the closed external port is
/// refused, and the connection lingers.
#[test]
fn section_2_2_the_server_of_a_closed_hairpin_connection_is_refused() {
    let mut lab = Lab::ready();
    let (web, db) = (lab.web.clone(), lab.db.clone());
    lab.publish(Proto::TCP, (80, 80), (WEB, 80));
    let c = open(&mut lab, &db, &tcp_tuple(DB, 4_000, UP, 80), &web);
    assert!(c.answer(&mut lab, 901, 0, RST, b""));
    let syn = tcp(&c.back, 50_000, 0, SYN, b"");
    let seen = pass(&mut lab, &web, &c.back, &syn, &web);
    assert_eq!(seen.p.tcp.flags, RST | ACK);
    assert_eq!(states(&lab), ["CLOSE"]);
}

/// Section 5: mappings of one protocol say nothing about another's.
#[test]
fn section_5_protocols_have_mappings_of_their_own() {
    let mut lab = Lab::ready();
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    let t = udp_tuple(DB, 4_000, FAR, 53);
    pass(&mut lab, &db, &t, &udp(&t, b""), &up);
    let t = tcp_tuple(WEB, 4_000, FAR, 53);
    let c = open(&mut lab, &web, &t, &up);
    assert_eq!(c.back.dport, 4_000, "kept, whatever UDP has");
    let t = tuple(Proto::ICMP, (WEB, 4_000), (FAR, 0));
    assert_eq!(
        pass(&mut lab, &web, &t, &ping(4_000, 1, b""), &up)
            .tuple()
            .sport,
        4_000
    );
    let in_use = lab.sw.switch().external.in_use();
    assert_eq!((in_use.tcp, in_use.udp, in_use.icmp), (1, 1, 1));
}

/// Section 9: ports are drawn at random where they can't be kept.
#[test]
fn section_9_another_secret_draws_other_ports() {
    let ports = |key| {
        let mut cfg = config();
        cfg.hash_key = key;
        let mut lab = Lab::ready_with(cfg);
        let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
        let mut drawn = Vec::new();
        for n in 0..20 {
            let t = tcp_tuple(DB, 4_000 + n, FAR, 80);
            pass(&mut lab, &db, &t, &tcp(&t, 1, 0, SYN, b""), &up);
            let t = tcp_tuple(WEB, 4_000 + n, FAR, 80);
            drawn.push(
                pass(&mut lab, &web, &t, &tcp(&t, 1, 0, SYN, b""), &up)
                    .tuple()
                    .sport,
            );
        }
        drawn
    };
    let (a, b) = (ports([1, 2, 3]), ports([4, 5, 6]));
    assert_eq!(a, ports([1, 2, 3]));
    assert!(a.iter().zip(&b).filter(|(a, b)| a == b).count() < 3);
}

/// Section 12: a hairpinned echo request gets an answer.
#[test]
fn section_12_echo_to_the_external_address_from_inside() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    let t = tuple(Proto::ICMP, (WEB, 9), (UP, 0));
    assert_eq!(
        pass(&mut lab, &web, &t, &ping(9, 1, b"x"), &web).l4(),
        pong(9, 1, b"x")
    );
}

/// Section 3: no other port is taken for another destination.
#[test]
fn section_3_a_mapping_stays_the_same_while_any_connection_holds_it() {
    let mut lab = Lab::ready();
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    let t = udp_tuple(DB, 4_000, FAR, 53);
    pass(&mut lab, &db, &t, &udp(&t, b""), &up);
    let mut seen = HashSet::new();
    for n in 0..10 {
        let t = udp_tuple(WEB, 4_000, PEER, 100 + n);
        seen.insert(pass(&mut lab, &web, &t, &udp(&t, b""), &up).tuple().sport);
        sleep(&mut lab, s(200));
    }
    assert_eq!(seen.len(), 1);
}

/// Section 7.1: an error or RST that answers something says nothing about who lives.
#[test]
fn section_7_1_errors_and_resets_from_inside_refresh_nothing() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let c = open(&mut lab, &web, &tcp_tuple(WEB, 4_000, FAR, 80), &up);
    let t = udp_tuple(FAR, 9, UP, 5_000);
    let seen = pass(&mut lab, &up, &t, &udp(&t, b"x"), &web);
    sleep(&mut lab, s(200));
    let outer = tuple(Proto::ICMP, (WEB, 0), (FAR, 0));
    pass(
        &mut lab,
        &web,
        &outer,
        &about(&seen, (3, 3), [0; 4], 28),
        &up,
    );
    sleep(&mut lab, s(100));
    assert_eq!(states(&lab), ["ESTABLISHED"], "the UDP flow is over");
    sleep(&mut lab, s(7_000));
    assert!(
        c.say(&mut lab, 200, 0, RST, b""),
        "in the window, for the receiver to judge"
    );
    sleep(&mut lab, s(140));
    assert_eq!(lab.connections(), 0);
}
