//! TCP's windows through the tracker: scaling, probes, keep-alives, urgent data, wrapping numbers.

use crate::common::{Open, arrives, open, pass, s, sleep, states};
use dataplane::base::{Reason, Tuple};
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{FAR, Host, Lab, WEB};

fn out() -> Tuple {
    tcp_tuple(WEB, 4_000, FAR, 80)
}

fn lab() -> (Lab, Host, Host) {
    let lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    (lab, web, up)
}

/// Window scale, MSS, SACK.
fn options(scale: u8) -> Vec<u8> {
    vec![2, 4, 5, 0xb4, 4, 2, 1, 3, 3, scale]
}

/// A handshake with these window scales, if any.
fn scaled(lab: &mut Lab, client: Option<u8>, server: Option<u8>, window: u16) -> Open {
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let with = |o: Option<u8>| o.map(options).unwrap_or_default();
    let syn = tcp_with(&out(), (100, 0), SYN, window, &with(client), b"");
    let back = pass(lab, &web, &out(), &syn, &up).tuple().reversed();
    let syn_ack = tcp_with(&back, (900, 101), SYN | ACK, window, &with(server), b"");
    pass(lab, &up, &back, &syn_ack, &web);
    let ack = tcp_with(&out(), (101, 901), ACK, window, &[], b"");
    pass(lab, &web, &out(), &ack, &up);
    Open {
        out: out(),
        back,
        client: web,
        server: up,
    }
}

#[test]
fn window_scaling_lets_far_ahead_data_through() {
    let mut lab = Lab::ready();
    let c = scaled(&mut lab, Some(7), Some(7), 1_000);
    // 128,000 bytes ahead, of a window that says 1,000.
    assert!(c.answer(&mut lab, 901 + 120_000, 101, ACK, b"x"));
    assert!(!c.answer(&mut lab, 901 + 9_000_000, 101, ACK, b"x"));
    assert_eq!(lab.drops(Reason::TcpOutOfWindow), 1);
}

#[test]
fn without_window_scaling_the_window_is_what_it_says() {
    for (client, server) in [(None, None), (Some(7), None), (None, Some(7))] {
        let mut lab = Lab::ready();
        let c = scaled(&mut lab, client, server, 1_000);
        let far = 901 + 1_000 + 70_000;
        let l4 = tcp_with(&c.back, (far, 101), ACK, 1_000, &[], b"x");
        assert!(
            !arrives(&mut lab, &c.server, &c.back, &l4, &c.client),
            "{client:?} {server:?}"
        );
        let l4 = tcp_with(&c.back, (901 + 900, 101), ACK, 1_000, &[], b"x");
        assert!(arrives(&mut lab, &c.server, &c.back, &l4, &c.client));
    }
}

#[test]
fn out_of_window_data_is_counted_dropped_and_changes_nothing() {
    let (mut lab, web, up) = lab();
    let c = open(&mut lab, &web, &out(), &up);
    for (seq, ack) in [
        (101 + 300_000, 901),
        (101u32.wrapping_sub(300_000), 901),
        (101, 901 + 300_000),
        (101, 901u32.wrapping_sub(300_000)),
    ] {
        assert!(!c.say(&mut lab, seq, ack, ACK | PSH, b"outside"));
    }
    assert_eq!(lab.drops(Reason::TcpOutOfWindow), 4);
    assert_eq!(states(&lab), ["ESTABLISHED"]);
    assert!(c.answer(&mut lab, 901, 101, ACK, b"x"));
    assert!(c.say(&mut lab, 101, 902, ACK, b"y"));
}

#[test]
fn zero_window_probes_and_their_answers_pass() {
    let (mut lab, web, up) = lab();
    let c = open(&mut lab, &web, &out(), &up);
    assert!(c.answer(&mut lab, 901, 101, ACK | PSH, &[1; 1_000]));
    let shut = tcp_with(&c.out, (101, 1_901), ACK, 0, &[], b"");
    assert!(arrives(&mut lab, &web, &c.out, &shut, &up));
    for wait in [5, 10, 20, 40, 60, 60] {
        sleep(&mut lab, s(wait));
        assert!(c.answer(&mut lab, 1_900, 101, ACK, b""), "below");
        assert!(arrives(&mut lab, &web, &c.out, &shut, &up));
        assert!(c.answer(&mut lab, 1_901, 101, ACK, b"p"), "one byte beyond");
        assert!(arrives(&mut lab, &web, &c.out, &shut, &up));
    }
    let open_again = tcp_with(&c.out, (101, 1_901), ACK, 60_000, &[], b"");
    assert!(arrives(&mut lab, &web, &c.out, &open_again, &up));
    assert!(c.answer(&mut lab, 1_901, 101, ACK, &[2; 1_000]));
}

#[test]
fn keep_alives_keep_a_connection_for_days() {
    let (mut lab, web, up) = lab();
    let c = open(&mut lab, &web, &out(), &up);
    for _ in 0..24 {
        sleep(&mut lab, s(7_200));
        assert!(c.say(&mut lab, 100, 901, ACK, b""));
        assert!(c.answer(&mut lab, 901, 101, ACK, b""));
    }
}

#[test]
fn urgent_data_passes_with_its_pointer() {
    let (mut lab, web, up) = lab();
    let c = open(&mut lab, &web, &out(), &up);
    let mut l4 = tcp(&c.out, 101, 901, ACK | URG | PSH, b"!urgent");
    l4[18..20].copy_from_slice(&[0, 1]);
    l4[16..18].copy_from_slice(&[0, 0]);
    let sum = !naive_sum(&[&pseudo(WEB, FAR, c.out.proto, l4.len()), &l4]);
    l4[16..18].copy_from_slice(&sum.to_be_bytes());
    let seen = pass(&mut lab, &web, &c.out, &l4, &up);
    assert_eq!(
        (seen.l4()[13], &seen.l4()[18..20]),
        (ACK | URG | PSH, &[0, 1][..])
    );
    assert_eq!(seen.data(), b"!urgent");
}

#[test]
fn numbers_that_wrap_around() {
    let (mut lab, web, up) = lab();
    let first = u32::MAX - 1_000;
    let back = pass(
        &mut lab,
        &web,
        &out(),
        &tcp(&out(), first, 0, SYN, b""),
        &up,
    )
    .tuple()
    .reversed();
    let ack = first.wrapping_add(1);
    assert!(arrives(
        &mut lab,
        &up,
        &back,
        &tcp(&back, 900, ack, SYN | ACK, b""),
        &web
    ));
    assert!(arrives(
        &mut lab,
        &web,
        &out(),
        &tcp(&out(), ack, 901, ACK, b""),
        &up
    ));
    for n in 0..5u32 {
        let seq = ack.wrapping_add(n * 1_000);
        assert!(arrives(
            &mut lab,
            &web,
            &out(),
            &tcp(&out(), seq, 901, ACK, &[0; 1_000]),
            &up
        ));
        let acked = tcp(&back, 901, seq.wrapping_add(1_000), ACK, b"");
        assert!(arrives(&mut lab, &up, &back, &acked, &web));
    }
}
