//! RFC 6888: what is asked of a NAT that serves several users, here: containers of one host.

use crate::common::{arrives, lost, open, pass, s, sleep};
use dataplane::base::{Proto, Reason, Tuple};
use std::collections::HashSet;
use std::time::Duration;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{DB, FAR, Lab, PEER, UP, WEB, config};

fn query(sport: u16) -> Tuple {
    udp_tuple(WEB, sport, FAR, 53)
}

fn quota(ports: u32) -> Lab {
    let mut cfg = config();
    cfg.limits.ports_per_host = ports;
    Lab::ready_with(cfg)
}

#[test]
fn req_4_a_host_gets_no_more_external_ports_than_its_quota() {
    let mut lab = quota(10);
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    // All protocols count together.
    for n in 0..4 {
        pass(
            &mut lab,
            &web,
            &query(1_000 + n),
            &udp(&query(1_000 + n), b""),
            &up,
        );
        let t = tcp_tuple(WEB, 1_000 + n, FAR, 80);
        pass(&mut lab, &web, &t, &tcp(&t, 1, 0, SYN, b""), &up);
    }
    for id in [1, 2] {
        let t = tuple(Proto::ICMP, (WEB, id), (FAR, 0));
        pass(&mut lab, &web, &t, &ping(id, 1, b""), &up);
    }
    assert_eq!(lab.sw.switch().external.held_by(WEB), 10);
    for n in 0..5 {
        let t = query(2_000 + n);
        let e = pass(&mut lab, &web, &t, &udp(&t, b""), &web);
        assert_eq!((e.icmp().0, e.icmp().1), (3, 13));
    }
    assert_eq!(lab.drops(Reason::HostPorts), 5);
    // It is ports that count: by one that it has it may speak to whom it likes.
    for n in 0..20 {
        let t = udp_tuple(WEB, 1_000, PEER, 100 + n);
        pass(&mut lab, &web, &t, &udp(&t, b""), &up);
    }
    // Others are not touched.
    let t = udp_tuple(DB, 1_000, FAR, 53);
    pass(&mut lab, &db, &t, &udp(&t, b""), &up);
}

#[test]
fn req_4_ports_that_were_given_back_count_no_more() {
    let mut lab = quota(2);
    let (web, up) = (lab.web.clone(), lab.up.clone());
    for round in 0..3 {
        for n in [0, 1] {
            let t = query(1_000 + 10 * round + n);
            pass(&mut lab, &web, &t, &udp(&t, b""), &up);
        }
        let t = query(5_000);
        lab.route(&web, &t, &udp(&t, b""));
        assert_eq!(lab.drops(Reason::HostPorts), u64::from(round) + 1);
        sleep(&mut lab, s(302));
        assert_eq!(lab.sw.switch().external.held_by(WEB), 0);
    }
}

/// A client that opens and closes one connection after the other is not stopped by the linger of
/// the closed ones.
#[test]
fn req_4_closed_connections_of_the_host_make_room_for_its_new_ones() {
    let mut lab = quota(8);
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    let kept = open(&mut lab, &web, &tcp_tuple(WEB, 999, FAR, 80), &up);
    let other = open(&mut lab, &db, &tcp_tuple(DB, 999, FAR, 81), &up);
    assert!(other.answer(&mut lab, 901, 0, RST, b""));
    for n in 0..100 {
        let c = open(&mut lab, &web, &tcp_tuple(WEB, 1_000 + n, FAR, 80), &up);
        assert!(c.say(&mut lab, 101, 901, FIN | ACK, b""));
        assert!(c.answer(&mut lab, 901, 102, FIN | ACK, b""));
        assert!(c.say(&mut lab, 102, 902, ACK, b""));
        lab.wait(Duration::from_millis(10));
    }
    assert_eq!(lab.sw.switch().external.held_by(WEB), 8);
    assert!(kept.say(&mut lab, 101, 901, ACK, b"alive"));
    assert_eq!(lab.sw.switch().external.held_by(DB), 1, "not at its cost");
    assert_eq!(lab.drops(Reason::HostPorts), 0);
}

#[test]
fn req_5_a_host_has_no_more_connections_than_its_quota() {
    let mut cfg = config();
    cfg.limits.connections_per_host = 6;
    let mut lab = Lab::ready_with(cfg);
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    // Opened by it and to it.
    for n in 0..3 {
        let t = query(1_000 + n);
        pass(&mut lab, &web, &t, &udp(&t, b""), &up);
        let t = udp_tuple(PEER, 1_000 + n, UP, 5_000);
        pass(&mut lab, &up, &t, &udp(&t, b""), &web);
    }
    let t = query(2_000);
    let e = pass(&mut lab, &web, &t, &udp(&t, b""), &web);
    assert_eq!((e.icmp().0, e.icmp().1), (3, 13));
    let t = udp_tuple(PEER, 2_000, UP, 5_000);
    lost(&mut lab, &up, &t, &udp(&t, b""));
    assert_eq!(lab.drops(Reason::HostConnections), 2);
    assert_eq!(
        lab.sw.switch().external.in_use().udp,
        3,
        "the port went back"
    );
    let t = udp_tuple(DB, 2_000, FAR, 53);
    pass(&mut lab, &db, &t, &udp(&t, b""), &up);
    sleep(&mut lab, s(302));
    for n in 0..6 {
        pass(
            &mut lab,
            &web,
            &query(3_000 + n),
            &udp(&query(3_000 + n), b""),
            &up,
        );
    }
}

/// A limit of connections and half-open ones holds for each port as well, whatever addresses are
/// used behind it.
#[test]
fn req_5a_a_port_has_limits_of_its_own() {
    let mut cfg = config();
    cfg.limits.connections_per_port = 5;
    let mut lab = Lab::ready_with(cfg);
    let web = lab.web.clone();
    for n in 0..20 {
        let t = udp_tuple([WEB, DB][usize::from(n % 2)], 1_000 + n, FAR, 53);
        lab.route(&web, &t, &udp(&t, b""));
    }
    assert_eq!(lab.drops(Reason::PortLimit), 15);
}

/// The same number from another container, and from the first again.
#[test]
fn req_8_a_freed_port_rests_for_two_minutes() {
    let mut lab = Lab::ready();
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    let t = query(4_000);
    let p = udp_tuple(DB, 4_000, FAR, 53);
    let first = |lab: &mut Lab, wait: u64| {
        pass(lab, &web, &t, &udp(&t, b""), &up);
        lab.wait(s(301));
        lab.learn_outside();
        lab.clear();
        assert_eq!(lab.connections(), 0);
        // The time is told by whoever asks for a port next.
        let probe = udp_tuple(DB, 9, FAR, 9);
        pass(lab, &db, &probe, &udp(&probe, b""), &up);
        sleep(lab, s(wait));
        pass(lab, &db, &p, &udp(&p, b""), &up).tuple().sport
    };
    assert_ne!(first(&mut lab, 119), 4_000, "it rests");
    sleep(&mut lab, s(600));
    assert_eq!(first(&mut lab, 121), 4_000);
    sleep(&mut lab, s(600));
    // Who had it may have it at once.
    assert_eq!(
        pass(&mut lab, &db, &p, &udp(&p, b""), &up).tuple().sport,
        4_000
    );
    sleep(&mut lab, s(301));
    assert_eq!(
        pass(&mut lab, &db, &p, &udp(&p, b""), &up).tuple().sport,
        4_000
    );
}

#[test]
fn req_8_a_port_that_rests_is_better_than_none() {
    let mut lab = Lab::ready();
    lab.publish(Proto::UDP, (11, 1_023), (DB, 11));
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    for port in 1..=10 {
        let t = udp_tuple(WEB, port, FAR, 53);
        pass(&mut lab, &web, &t, &udp(&t, b""), &up);
    }
    sleep(&mut lab, s(302));
    for port in 1..=10 {
        let t = udp_tuple(DB, 500 + port, PEER, 53);
        let out = pass(&mut lab, &db, &t, &udp(&t, b""), &up).tuple();
        assert!((1..=10).contains(&out.sport) || out.sport == 500 + port);
        let t = udp_tuple(switchd_tests::memory::APP, port, PEER, 53);
        let app = lab.app.clone();
        let out = pass(&mut lab, &app, &t, &udp(&t, b""), &up).tuple();
        assert!((1..=10).contains(&out.sport));
    }
    assert_eq!(lab.drops(Reason::PortsExhausted), 0);
}

#[test]
fn req_8_a_packet_from_outside_for_a_port_that_rests_reaches_nobody() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    pass(&mut lab, &web, &query(4_000), &udp(&query(4_000), b""), &up);
    sleep(&mut lab, s(302));
    let t = udp_tuple(FAR, 53, UP, 4_000);
    assert!(!arrives(&mut lab, &up, &t, &udp(&t, b"late"), &web));
}

#[test]
fn req_11_a_full_table_refuses_and_deletes_no_living_mapping() {
    let mut cfg = config();
    cfg.limits.connections = 16;
    let mut lab = Lab::ready_with(cfg);
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let living: Vec<_> = (0..16)
        .map(|n| open(&mut lab, &web, &tcp_tuple(WEB, 1_000 + n, FAR, 80), &up))
        .collect();
    for n in 0..50 {
        let t = tcp_tuple(WEB, 2_000 + n, FAR, 80);
        let e = pass(&mut lab, &web, &t, &tcp(&t, 1, 0, SYN, b""), &web);
        assert_eq!(
            (e.icmp().0, e.icmp().1),
            (3, 13),
            "told, by RFC 5508's code"
        );
    }
    assert_eq!(lab.drops(Reason::ConntrackFull), 50);
    for c in &living {
        assert!(c.answer(&mut lab, 901, 101, ACK, b"x"));
    }
}

#[test]
fn req_15_ports_are_not_guessed_from_those_before() {
    let mut lab = Lab::ready();
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    let mut drawn = Vec::new();
    for n in 0..200 {
        let t = udp_tuple(DB, 20_000 + n, FAR, 53);
        pass(&mut lab, &db, &t, &udp(&t, b""), &up);
        // The same number is taken, so WEB's is drawn.
        let t = udp_tuple(WEB, 20_000 + n, FAR, 53);
        drawn.push(pass(&mut lab, &web, &t, &udp(&t, b""), &up).tuple().sport);
    }
    let steps: HashSet<i32> = drawn
        .windows(2)
        .map(|w| i32::from(w[1]) - i32::from(w[0]))
        .collect();
    assert!(steps.len() > 190, "no step repeats: {}", steps.len());
    let upper = drawn.iter().filter(|p| **p > 33_280).count();
    assert!(
        (60..140).contains(&upper),
        "{upper} of 200 in the upper half"
    );
}
