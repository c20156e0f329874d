//! TCP as real stacks and odd ones open it, and flows that are first seen in their middle.

use crate::common::{arrives, lost, open, pass, s, sleep, states};
use dataplane::base::{Reason, Tuple};
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{DB, FAR, Host, Lab, PEER, UP, WEB, config};

fn out() -> Tuple {
    tcp_tuple(WEB, 4_000, FAR, 80)
}

fn lab() -> (Lab, Host, Host) {
    let lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    (lab, web, up)
}

#[test]
fn a_syn_is_sent_again_until_it_is_answered() {
    let (mut lab, web, up) = lab();
    let mut back = None;
    for wait in [1, 2, 4, 8, 16, 32] {
        let seen = pass(&mut lab, &web, &out(), &tcp(&out(), 100, 0, SYN, b""), &up);
        let same = seen.tuple().reversed();
        assert_eq!(*back.get_or_insert(same), same);
        sleep(&mut lab, s(wait));
    }
    assert_eq!(lab.connections(), 1);
    let back = back.unwrap();
    assert!(arrives(
        &mut lab,
        &up,
        &back,
        &tcp(&back, 900, 101, SYN | ACK, b""),
        &web
    ));
    assert!(arrives(
        &mut lab,
        &web,
        &out(),
        &tcp(&out(), 101, 901, ACK, b""),
        &up
    ));
    assert_eq!(states(&lab), ["ESTABLISHED"]);
}

#[test]
fn a_syn_ack_is_sent_again() {
    let (mut lab, web, up) = lab();
    let back = pass(&mut lab, &web, &out(), &tcp(&out(), 100, 0, SYN, b""), &up)
        .tuple()
        .reversed();
    for _ in 0..3 {
        assert!(arrives(
            &mut lab,
            &up,
            &back,
            &tcp(&back, 900, 101, SYN | ACK, b""),
            &web
        ));
    }
    assert!(arrives(
        &mut lab,
        &web,
        &out(),
        &tcp(&out(), 101, 901, ACK, b"x"),
        &up
    ));
    // Once more, late, after the connection is open: the ACK was lost.
    assert!(arrives(
        &mut lab,
        &up,
        &back,
        &tcp(&back, 900, 101, SYN | ACK, b""),
        &web
    ));
    assert_eq!(states(&lab), ["ESTABLISHED"]);
}

#[test]
fn a_syn_ack_that_does_not_fit_is_lost() {
    let (mut lab, web, up) = lab();
    let back = pass(&mut lab, &web, &out(), &tcp(&out(), 100, 0, SYN, b""), &up)
        .tuple()
        .reversed();
    for ack in [0, 100, 102, 5_000, u32::MAX] {
        assert!(!arrives(
            &mut lab,
            &up,
            &back,
            &tcp(&back, 900, ack, SYN | ACK, b""),
            &web
        ));
    }
    assert_eq!(lab.drops(Reason::TcpInvalidState), 5);
    assert!(arrives(
        &mut lab,
        &up,
        &back,
        &tcp(&back, 900, 101, SYN | ACK, b""),
        &web
    ));
}

#[test]
fn simultaneous_open_through_a_published_port() {
    let (mut lab, web, up) = lab();
    let t = tcp_tuple(FAR, 9, UP, 5_000);
    let back = pass(&mut lab, &up, &t, &tcp(&t, 100, 0, SYN, b""), &web)
        .tuple()
        .reversed();
    assert!(arrives(
        &mut lab,
        &web,
        &back,
        &tcp(&back, 900, 0, SYN, b""),
        &up
    ));
    assert!(arrives(
        &mut lab,
        &up,
        &t,
        &tcp(&t, 100, 901, SYN | ACK, b""),
        &web
    ));
    assert!(arrives(
        &mut lab,
        &web,
        &back,
        &tcp(&back, 900, 101, SYN | ACK, b""),
        &up
    ));
    assert_eq!(states(&lab), ["ESTABLISHED"]);
}

/// RFC 5382 section 4.1 and Beardsley's "split handshake": the server answers with an ACK and then
/// a SYN of its own.
#[test]
fn split_handshake() {
    let (mut lab, web, up) = lab();
    let back = pass(&mut lab, &web, &out(), &tcp(&out(), 100, 0, SYN, b""), &up)
        .tuple()
        .reversed();
    assert!(arrives(
        &mut lab,
        &up,
        &back,
        &tcp(&back, 900, 101, ACK, b""),
        &web
    ));
    assert!(arrives(
        &mut lab,
        &up,
        &back,
        &tcp(&back, 900, 0, SYN, b""),
        &web
    ));
    assert!(arrives(
        &mut lab,
        &web,
        &out(),
        &tcp(&out(), 100, 901, SYN | ACK, b""),
        &up
    ));
    assert!(arrives(
        &mut lab,
        &up,
        &back,
        &tcp(&back, 901, 101, ACK, b""),
        &web
    ));
    assert_eq!(states(&lab), ["ESTABLISHED"]);
    assert!(arrives(
        &mut lab,
        &web,
        &out(),
        &tcp(&out(), 101, 901, ACK, b"data"),
        &up
    ));
}

/// The server still knows an older connection and challenges the SYN.
#[test]
fn a_challenge_ack_to_a_syn_comes_back_and_is_answered_by_a_reset() {
    let (mut lab, web, up) = lab();
    let back = pass(&mut lab, &web, &out(), &tcp(&out(), 100, 0, SYN, b""), &up)
        .tuple()
        .reversed();
    assert!(arrives(
        &mut lab,
        &up,
        &back,
        &tcp(&back, 77_000, 55_000, ACK, b""),
        &web
    ));
    assert!(arrives(
        &mut lab,
        &web,
        &out(),
        &tcp(&out(), 55_000, 0, RST, b""),
        &up
    ));
    assert_eq!(states(&lab), ["SYN_SENT"]);
    pass(&mut lab, &web, &out(), &tcp(&out(), 100, 0, SYN, b""), &up);
    assert!(arrives(
        &mut lab,
        &up,
        &back,
        &tcp(&back, 900, 101, SYN | ACK, b""),
        &web
    ));
}

/// RFC 7413: data in the SYN, in the SYN-ACK, and a SYN whose data is not taken.
#[test]
fn fast_open_with_data_taken_and_not_taken() {
    for taken in [true, false] {
        let (mut lab, web, up) = lab();
        let cookie = [34, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        let syn = tcp_with(&out(), (100, 0), SYN, 60_000, &cookie, b"GET /");
        let seen = pass(&mut lab, &web, &out(), &syn, &up);
        assert_eq!(
            (seen.data(), &seen.l4()[20..30]),
            (&b"GET /"[..], &cookie[..])
        );
        let back = seen.tuple().reversed();
        let ack = if taken { 106 } else { 101 };
        let answer = if taken { &b"200 OK"[..] } else { b"" };
        assert!(arrives(
            &mut lab,
            &up,
            &back,
            &tcp(&back, 900, ack, SYN | ACK, answer),
            &web
        ));
        let next = 901 + answer.len() as u32;
        if !taken {
            assert!(arrives(
                &mut lab,
                &web,
                &out(),
                &tcp(&out(), 101, next, ACK | PSH, b"GET /"),
                &up
            ));
        }
        assert!(arrives(
            &mut lab,
            &web,
            &out(),
            &tcp(&out(), 106, next, ACK, b""),
            &up
        ));
        assert_eq!(states(&lab), ["ESTABLISHED"]);
        assert!(arrives(
            &mut lab,
            &up,
            &back,
            &tcp(&back, next, 106, ACK, b"more"),
            &web
        ));
    }
}

/// A flow whose beginning nobody saw: refused by default.
#[test]
fn a_flow_in_its_middle_is_refused_without_pickup() {
    let (mut lab, web, up) = lab();
    lost(
        &mut lab,
        &web,
        &out(),
        &tcp(&out(), 5_000, 9_000, ACK | PSH, b"data"),
    );
    let t = tcp_tuple(FAR, 9, UP, 5_000);
    lost(
        &mut lab,
        &up,
        &t,
        &tcp(&t, 5_000, 9_000, ACK | PSH, b"data"),
    );
    assert_eq!(lab.drops(Reason::TcpNoConnection), 2);
    assert_eq!(lab.connections(), 0);
}

#[test]
fn a_flow_in_its_middle_is_taken_up_with_pickup() {
    let mut cfg = config();
    cfg.tcp_pickup = true;
    let mut lab = Lab::ready_with(cfg);
    let (web, up) = (lab.web.clone(), lab.up.clone());
    // Masquerade: the port is kept, so the other end knows it.
    let seen = pass(
        &mut lab,
        &web,
        &out(),
        &tcp(&out(), 5_000, 9_000, ACK | PSH, b"data"),
        &up,
    );
    assert_eq!(seen.tuple(), tcp_tuple(UP, 4_000, FAR, 80));
    let back = seen.tuple().reversed();
    assert!(arrives(
        &mut lab,
        &up,
        &back,
        &tcp(&back, 9_000, 5_004, ACK | PSH, &[1; 1_400]),
        &web
    ));
    assert!(arrives(
        &mut lab,
        &web,
        &out(),
        &tcp(&out(), 5_004, 10_400, ACK, b""),
        &up
    ));
    // A published port.
    let t = tcp_tuple(FAR, 9, UP, 5_000);
    let inside = pass(
        &mut lab,
        &up,
        &t,
        &tcp(&t, 5_000, 9_000, ACK, b"data"),
        &web,
    )
    .tuple();
    assert_eq!(inside, tcp_tuple(FAR, 9, WEB, 80));
    assert!(arrives(
        &mut lab,
        &web,
        &inside.reversed(),
        &tcp(&inside.reversed(), 9_000, 5_004, ACK, b""),
        &up
    ));
    assert_eq!(states(&lab), ["ESTABLISHED"; 2]);
    // It is held to its windows from there, and ends as others do.
    assert!(arrives(
        &mut lab,
        &web,
        &out(),
        &tcp(&out(), 5_004, 10_400, FIN | ACK, b""),
        &up
    ));
    assert!(arrives(
        &mut lab,
        &up,
        &back,
        &tcp(&back, 10_400, 5_005, FIN | ACK, b""),
        &web
    ));
    assert!(arrives(
        &mut lab,
        &web,
        &out(),
        &tcp(&out(), 5_005, 10_401, ACK, b""),
        &up
    ));
    sleep(&mut lab, s(242));
    assert_eq!(lab.connections(), 1);
    // Only an ACK can be the middle of something.
    for flags in [RST, RST | ACK, FIN | ACK, SYN | ACK] {
        let t = tcp_tuple(DB, 7, FAR, 80);
        let db = lab.db.clone();
        lost(&mut lab, &db, &t, &tcp(&t, 1, 1, flags, b""));
    }
    // And nothing of it opens a port that nobody published.
    let t = tcp_tuple(PEER, 7, UP, 4_000);
    lost(&mut lab, &up, &t, &tcp(&t, 1, 1, ACK, b""));
    assert_eq!(lab.drops(Reason::NotPublished), 1);
}

#[test]
fn impossible_flags_are_dropped() {
    let (mut lab, web, _) = lab();
    for flags in [
        0,
        FIN,
        SYN | FIN,
        SYN | RST,
        RST | FIN,
        URG | PSH | FIN,
        0xff,
    ] {
        lost(&mut lab, &web, &out(), &tcp(&out(), 1, 0, flags, b""));
    }
    assert_eq!(lab.drops(Reason::TcpMalformed), 7);
}

/// VPP's half_reopen: one side is closed, and a SYN of the same tuple comes.
#[test]
fn a_syn_on_a_half_closed_connection_passes_and_changes_nothing() {
    let (mut lab, web, up) = lab();
    let c = open(&mut lab, &web, &out(), &up);
    assert!(c.say(&mut lab, 101, 901, FIN | ACK, b""));
    assert!(c.answer(&mut lab, 901, 102, ACK, b""));
    assert!(
        c.say(&mut lab, 80_000, 0, SYN, b""),
        "the receiver challenges it"
    );
    assert_eq!(states(&lab), ["CLOSE_WAIT"]);
    assert!(c.answer(&mut lab, 901, 102, ACK, b"still here"));
}
