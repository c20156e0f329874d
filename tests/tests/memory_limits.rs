//! How long connections are remembered, and what happens when there is no room for more.

use dataplane::base::{Mac, Proto, Reason, Tuple};
use std::time::Duration;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{DB, FAR, Host, Lab, PEER, UP, WEB, config, mac};

fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The lab's neighbours would be asked again and again in the hours that these tests take:
/// nobody answers, so what they are asked is thrown away.
fn sleep(lab: &mut Lab, d: Duration) {
    lab.wait(d);
    lab.learn_outside();
    lab.clear();
}

/// Asserts that nothing is known any more; the wheel takes up to two seconds to sweep up.
#[track_caller]
fn gone(lab: &mut Lab) {
    assert_eq!(lab.connections(), 0);
    lab.wait(s(2));
    lab.assert_empty();
    lab.learn_outside();
    lab.clear();
}

fn masquerade(sport: u16) -> Tuple {
    tuple(Proto::TCP, (WEB, sport), (FAR, 80))
}

/// Opens a connection from `web` to FAR; gives the answers' tuple.
fn open(lab: &mut Lab, t: &Tuple) -> Tuple {
    lab.route(&lab.web.clone(), t, &tcp(t, 100, 0, SYN, b""));
    let back = lab.only(&lab.up).tuple().reversed();
    lab.route(
        &lab.up.clone(),
        &back,
        &tcp(&back, 900, 101, SYN | ACK, b""),
    );
    lab.route(&lab.web.clone(), t, &tcp(t, 101, 901, ACK, b""));
    lab.clear();
    back
}

fn states(lab: &Lab) -> Vec<&'static str> {
    let all = lab.sw.switch().conntrack.list(lab.now.tick());
    all.iter().map(|c| c.state).collect()
}

#[track_caller]
fn passes(lab: &mut Lab, from: &Host, t: &Tuple, l4: &[u8], to: &Host, yes: bool) {
    lab.route(from, t, l4);
    assert_eq!(lab.got(to).len(), usize::from(yes));
    lab.clear();
}

#[test]
fn an_established_connection_lives_7440_s_from_its_last_segment() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = masquerade(1_000);
    let back = open(&mut lab, &t);
    assert_eq!(states(&lab), ["ESTABLISHED"]);
    sleep(&mut lab, s(7_439));
    passes(
        &mut lab,
        &up,
        &back,
        &tcp(&back, 901, 101, ACK, b"a"),
        &web,
        true,
    );
    sleep(&mut lab, s(7_439));
    passes(&mut lab, &web, &t, &tcp(&t, 101, 902, ACK, b""), &up, true);
    sleep(&mut lab, s(7_440));
    assert_eq!(states(&lab), [""; 0]);
    passes(
        &mut lab,
        &up,
        &back,
        &tcp(&back, 902, 101, ACK, b"b"),
        &web,
        false,
    );
    gone(&mut lab);
}

#[test]
fn a_connection_that_opens_lives_240_s() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = tuple(Proto::TCP, (FAR, 9), (UP, 5_000));
    for wait in [239, 240] {
        lab.route(&up, &t, &tcp(&t, 100, 0, SYN, b""));
        let back = lab.only(&web).tuple().reversed();
        sleep(&mut lab, s(wait));
        let answer = tcp(&back, 900, 101, SYN | ACK, b"");
        passes(&mut lab, &web, &back, &answer, &up, wait < 240);
        if wait < 240 {
            assert_eq!(states(&lab), ["SYN_RECV"]);
            sleep(&mut lab, s(240));
        }
        gone(&mut lab);
    }
}

#[test]
fn a_connection_that_closed_lives_240_s_and_a_half_closed_one_as_an_open_one() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = masquerade(1_000);
    let back = open(&mut lab, &t);
    lab.route(&web, &t, &tcp(&t, 101, 901, FIN | ACK, b""));
    lab.route(&up, &back, &tcp(&back, 901, 102, ACK, b""));
    assert_eq!(states(&lab), ["CLOSE_WAIT"]);
    lab.clear();
    sleep(&mut lab, s(7_000));
    passes(
        &mut lab,
        &up,
        &back,
        &tcp(&back, 901, 102, ACK, b"later"),
        &web,
        true,
    );
    lab.route(&web, &t, &tcp(&t, 102, 906, ACK, b""));
    lab.route(&up, &back, &tcp(&back, 906, 102, FIN | ACK, b""));
    lab.route(&web, &t, &tcp(&t, 102, 907, ACK, b""));
    assert_eq!(states(&lab), ["TIME_WAIT"]);
    sleep(&mut lab, s(239));
    assert_eq!(lab.connections(), 1);
    sleep(&mut lab, s(1));
    gone(&mut lab);
}

#[test]
fn a_reset_ends_a_connection_within_240_s() {
    let mut lab = Lab::ready();
    let up = lab.up.clone();
    let back = open(&mut lab, &masquerade(1_000));
    lab.route(&up, &back, &tcp(&back, 901, 0, RST, b""));
    assert_eq!(states(&lab), ["CLOSE"]);
    sleep(&mut lab, s(240));
    gone(&mut lab);
}

#[test]
fn udp_lives_300_s_and_icmp_60_s() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    for (proto, seconds) in [(Proto::UDP, 300), (Proto::ICMP, 60)] {
        let port = if proto == Proto::UDP { 53 } else { 0 };
        let t = tuple(proto, (WEB, 1_000), (FAR, port));
        let out = |t: &Tuple| match proto {
            Proto::UDP => udp(t, b"q"),
            _ => ping(t.sport, 1, b"q"),
        };
        let answer = |t: &Tuple| match proto {
            Proto::UDP => udp(t, b"a"),
            _ => pong(t.dport, 1, b"a"),
        };
        lab.route(&web, &t, &out(&t));
        let back = lab.only(&up).tuple().reversed();
        for _ in 0..3 {
            sleep(&mut lab, s(seconds - 1));
            passes(&mut lab, &up, &back, &answer(&back), &web, true);
        }
        sleep(&mut lab, s(seconds));
        passes(&mut lab, &up, &back, &answer(&back), &web, false);
        gone(&mut lab);
    }
}

#[test]
fn timeouts_are_settings() {
    let mut cfg = config();
    cfg.timeouts.udp = s(2);
    let mut lab = Lab::ready_with(cfg);
    let t = tuple(Proto::UDP, (WEB, 1_000), (FAR, 53));
    lab.route(&lab.web.clone(), &t, &udp(&t, b""));
    lab.wait(s(2));
    gone(&mut lab);
}

#[test]
fn a_full_table_refuses_new_connections_by_name_and_keeps_the_living() {
    let mut cfg = config();
    cfg.limits.connections = 64;
    let mut lab = Lab::ready_with(cfg);
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let living: Vec<(Tuple, Tuple)> = (0..64)
        .map(|n| {
            let t = masquerade(1_000 + n);
            let back = open(&mut lab, &t);
            (t, back)
        })
        .collect();
    for n in 0..100 {
        let t = masquerade(2_000 + n);
        lab.route(&web, &t, &tcp(&t, 1, 0, SYN, b""));
        assert!(lab.got(&up).is_empty());
        let told = lab.only(&web);
        assert_eq!((told.icmp().0, told.icmp().1), (3, 13), "RFC 5508 REQ-8");
        let t = tuple(Proto::UDP, (PEER, 2_000 + n), (UP, 5_000));
        lab.route(&up, &t, &udp(&t, b""));
        lab.silence();
    }
    assert_eq!(lab.drops(Reason::ConntrackFull), 200);
    assert_eq!(lab.sw.switch().external.mappings(), 64, "ports given back");
    for (t, back) in &living {
        passes(
            &mut lab,
            &up,
            back,
            &tcp(back, 901, 101, ACK, b"x"),
            &web,
            true,
        );
        passes(&mut lab, &web, t, &tcp(t, 101, 902, ACK, b"y"), &up, true);
    }
    // One place that becomes free is used again.
    let (_, back) = living[0];
    lab.route(&up, &back, &tcp(&back, 902, 0, RST, b""));
    sleep(&mut lab, s(242));
    open(&mut lab, &masquerade(3_000));
    assert_eq!(lab.connections(), 64);
}

#[test]
fn half_open_connections_have_a_limit_of_their_own_per_port() {
    let mut cfg = config();
    cfg.limits.half_open_per_port = 10;
    let mut lab = Lab::ready_with(cfg);
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    let open_inside = open(&mut lab, &masquerade(1_000));
    for n in 0..30 {
        let t = tuple(Proto::TCP, (FAR, 100 + n), (UP, 5_000));
        passes(&mut lab, &up, &t, &tcp(&t, 1, 0, SYN, b""), &web, n < 10);
    }
    assert_eq!(lab.drops(Reason::HalfOpenLimit), 20);
    // Others open and go on.
    let t = tuple(Proto::TCP, (DB, 7), (FAR, 80));
    passes(&mut lab, &db, &t, &tcp(&t, 1, 0, SYN, b""), &up, true);
    let data = tcp(&open_inside, 901, 101, ACK, b"x");
    passes(&mut lab, &up, &open_inside, &data, &web, true);
    // A handshake that ends makes room for another.
    let t = tuple(Proto::TCP, (FAR, 100), (UP, 5_000));
    let back = tuple(Proto::TCP, (WEB, 80), (FAR, 100));
    lab.route(&web, &back, &tcp(&back, 900, 2, SYN | ACK, b""));
    lab.clear();
    let early = tuple(Proto::TCP, (FAR, 199), (UP, 5_000));
    passes(
        &mut lab,
        &up,
        &early,
        &tcp(&early, 1, 0, SYN, b""),
        &web,
        false,
    );
    lab.route(&up, &t, &tcp(&t, 2, 901, ACK, b""));
    lab.clear();
    let t = tuple(Proto::TCP, (FAR, 200), (UP, 5_000));
    passes(&mut lab, &up, &t, &tcp(&t, 1, 0, SYN, b""), &web, true);
    // And so does one that expires.
    sleep(&mut lab, s(242));
    for n in 0..10 {
        let t = tuple(Proto::TCP, (FAR, 300 + n), (UP, 5_000));
        passes(&mut lab, &up, &t, &tcp(&t, 1, 0, SYN, b""), &web, true);
    }
}

#[test]
fn one_port_can_not_take_all_connections() {
    let mut cfg = config();
    cfg.limits.connections_per_port = 20;
    let mut lab = Lab::ready_with(cfg);
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    for n in 0..30 {
        let t = tuple(Proto::UDP, (WEB, 1_000 + n), (FAR, 53));
        passes(&mut lab, &web, &t, &udp(&t, b""), &up, n < 20);
    }
    assert_eq!(lab.drops(Reason::PortLimit), 10);
    let t = tuple(Proto::UDP, (DB, 1_000), (FAR, 53));
    passes(&mut lab, &db, &t, &udp(&t, b""), &up, true);
}

#[test]
fn segments_outside_the_window_are_lost_and_change_nothing() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = masquerade(1_000);
    let back = open(&mut lab, &t);
    for (seq, ack, flags) in [
        (101 + 200_000, 901, ACK),
        (101u32.wrapping_sub(200_000), 901, ACK),
        (101, 901 + 200_000, ACK),
        (101 + 200_000, 901, RST),
    ] {
        lab.route(&web, &t, &tcp(&t, seq, ack, flags, b"data"));
    }
    assert_eq!(lab.drops(Reason::TcpOutOfWindow), 3);
    assert_eq!(lab.drops(Reason::TcpRstInexact), 1);
    assert_eq!(states(&lab), ["ESTABLISHED"]);
    lab.clear();
    passes(
        &mut lab,
        &up,
        &back,
        &tcp(&back, 901, 101, ACK, b"x"),
        &web,
        true,
    );
}

#[test]
fn a_new_connection_takes_the_place_of_a_closed_one_with_the_same_ports() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = masquerade(1_000);
    let back = open(&mut lab, &t);
    lab.route(&web, &t, &tcp(&t, 101, 901, FIN | ACK, b""));
    lab.route(&up, &back, &tcp(&back, 901, 102, FIN | ACK, b""));
    lab.route(&web, &t, &tcp(&t, 102, 902, ACK, b""));
    assert_eq!(states(&lab), ["TIME_WAIT"]);
    lab.clear();
    lab.route(&web, &t, &tcp(&t, 50_000, 0, SYN, b""));
    let again = lab.only(&up);
    assert_eq!(again.tuple(), back.reversed(), "the mapping is kept");
    assert_eq!(states(&lab), ["SYN_SENT"]);
    sleep(&mut lab, s(240));
    gone(&mut lab);
}

/// A port that takes nothing loses only what was for it.
#[test]
fn a_slow_reader_costs_only_its_own_frames() {
    let mut lab = Lab::ready();
    lab.db.port.set_capacity(3);
    for _ in 0..10 {
        lab.send(
            &lab.web.clone(),
            &eth(Mac::BROADCAST, mac(WEB), 0x88b5, &[0; 46]),
        );
    }
    assert_eq!(lab.drops(Reason::TxFull), 7);
    assert_eq!(lab.got(&lab.db).len(), 3);
    assert_eq!(lab.got(&lab.app).len(), 10);
}
