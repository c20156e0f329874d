//! RFC 5508: ICMP through a NAT.

use crate::common::{about, arrives, lost, open, pass, s, sleep};
use dataplane::base::{Proto, Reason, Tuple};
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{APP, DB, FAR, GW, Lab, PEER, UP, WEB, config};

fn query(id: u16) -> Tuple {
    tuple(Proto::ICMP, (WEB, id), (FAR, 0))
}

/// An error on its way from `speaker` to the switch's external address.
fn inbound(speaker: std::net::Ipv4Addr) -> Tuple {
    tuple(Proto::ICMP, (speaker, 0), (UP, 0))
}

#[test]
fn req_1_queries_and_their_answers_pass() {
    let mut lab = Lab::ready();
    let up = lab.up.clone();
    for h in [lab.web.clone(), lab.db.clone(), lab.app.clone()] {
        let t = tuple(Proto::ICMP, (h.ip, 77), (FAR, 0));
        let out = pass(&mut lab, &h, &t, &ping(77, 1, b"p"), &up).tuple();
        let back = out.reversed();
        let a = pass(&mut lab, &up, &back, &pong(back.dport, 1, b"p"), &h);
        assert_eq!(a.l4(), pong(77, 1, b"p"));
    }
}

/// One mapping of an identifier for every destination.
#[test]
fn req_1a_the_mapping_of_an_identifier_is_endpoint_independent() {
    let mut lab = Lab::ready();
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    let t = tuple(Proto::ICMP, (DB, 77), (FAR, 0));
    pass(&mut lab, &db, &t, &ping(77, 1, b""), &up);
    let ids: std::collections::HashSet<u16> = [FAR, PEER]
        .map(|dst| {
            let t = tuple(Proto::ICMP, (WEB, 77), (dst, 0));
            pass(&mut lab, &web, &t, &ping(77, 1, b""), &up)
                .tuple()
                .sport
        })
        .into();
    assert_eq!(ids.len(), 1);
    assert!(!ids.contains(&77));
}

#[test]
fn req_2_a_query_session_lives_for_a_minute() {
    for (silence, alive) in [(59, true), (60, false)] {
        let mut lab = Lab::ready();
        let (web, up) = (lab.web.clone(), lab.up.clone());
        let out = pass(&mut lab, &web, &query(7), &ping(7, 1, b""), &up).tuple();
        sleep(&mut lab, s(silence));
        let back = out.reversed();
        let answer = pong(back.dport, 1, b"");
        assert_eq!(arrives(&mut lab, &up, &back, &answer, &web), alive);
    }
}

#[test]
fn req_3_an_error_with_a_wrong_checksum_is_dropped() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(WEB, 7, FAR, 9);
    let seen = pass(&mut lab, &web, &t, &udp(&t, b"x"), &up);
    let mut e = about(&seen, (3, 3), [0; 4], 28);
    e[3] ^= 1;
    lost(&mut lab, &up, &inbound(FAR), &e);
    assert_eq!(lab.drops(Reason::IcmpChecksum), 1);
}

#[test]
fn req_3a_a_wrong_header_checksum_inside_is_dropped() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(WEB, 7, FAR, 9);
    let mut seen = pass(&mut lab, &web, &t, &udp(&t, b"x"), &up);
    seen.bytes[24] ^= 1;
    lost(
        &mut lab,
        &up,
        &inbound(FAR),
        &about(&seen, (3, 3), [0; 4], 28),
    );
    assert_eq!(lab.drops(Reason::IcmpInnerMalformed), 1);
}

#[test]
fn req_3b_options_inside_are_skipped() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(WEB, 7, FAR, 9);
    let ip = Ip {
        options: vec![148, 4, 0, 0, 1, 1, 1],
        ..Ip::default()
    };
    lab.send(&web, &web.routed(&ip, &t, &udp(&t, b"data")));
    let seen = lab.only(&up);
    assert_eq!(seen.bytes[14] & 15, 7, "options went along");
    let e = pass(
        &mut lab,
        &up,
        &inbound(FAR),
        &about(&seen, (3, 3), [0; 4], 36),
        &web,
    );
    assert_eq!(e.inner().tuple, t);
}

#[test]
fn req_3c_the_l4_checksum_inside_is_not_judged() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(WEB, 7, FAR, 9);
    let mut seen = pass(&mut lab, &web, &t, &udp(&t, b"x"), &up);
    let right = seen.clone();
    seen.bytes[34 + 6] ^= 0x55;
    let e = pass(
        &mut lab,
        &up,
        &inbound(FAR),
        &about(&seen, (3, 3), [0; 4], 28),
        &web,
    );
    // Wrong as it was, by as much: in one's complement, where differences are modulo 65,535.
    let field = |b: &[u8], at: usize| i64::from(u16::from_be_bytes([b[at], b[at + 1]]));
    let wrong_by = |now: i64, right: i64| (now - right).rem_euclid(65_535);
    let outside = field(&right.bytes, 34 + 6);
    assert_eq!(
        wrong_by(field(e.quoted(), 26), field(&udp(&t, b"x"), 6)),
        wrong_by(field(&seen.bytes, 34 + 6), outside)
    );
}

#[test]
fn req_4_an_error_from_outside_without_a_mapping_is_dropped() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(WEB, 7, FAR, 9);
    let mut seen = pass(&mut lab, &web, &t, &udp(&t, b"x"), &up);
    seen.bytes[35] ^= 1; // another source port
    lost(
        &mut lab,
        &up,
        &inbound(FAR),
        &about(&seen, (3, 3), [0; 4], 28),
    );
    assert_eq!(lab.drops(Reason::IcmpNoMatch), 1);
}

#[test]
fn req_4a_an_error_from_outside_is_reverted_inside_and_addressed_to_the_host() {
    let mut lab = Lab::ready();
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    // The identifier is another outside.
    let t = tuple(Proto::ICMP, (DB, 7), (FAR, 0));
    pass(&mut lab, &db, &t, &ping(7, 1, b""), &up);
    let sent = ping(7, 1, b"payload");
    let seen = pass(&mut lab, &web, &query(7), &sent, &up);
    assert_ne!(seen.tuple().sport, 7);
    let e = pass(
        &mut lab,
        &up,
        &inbound(PEER),
        &about(&seen, (11, 0), [0; 4], 36),
        &web,
    );
    assert_eq!((e.icmp(), e.tuple().src), ((11, 0, [0; 4]), PEER));
    assert_eq!(e.tuple().dst, WEB);
    assert_eq!(e.inner().tuple, query(7));
    assert_eq!(
        e.quoted()[20..],
        sent[..],
        "identifier and checksum as sent"
    );
}

#[test]
fn req_5_an_error_from_inside_without_a_mapping_is_dropped() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    let inner = ipv4(&Ip::default(), &udp_tuple(FAR, 9, WEB, 7), &[0; 8]);
    let t = tuple(Proto::ICMP, (WEB, 0), (FAR, 0));
    lost(&mut lab, &web, &t, &icmp(3, 3, [0; 4], &inner));
    assert_eq!(lab.drops(Reason::IcmpNoMatch), 1);
}

#[test]
fn req_5a_an_error_from_inside_speaks_for_the_external_address() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(FAR, 9, UP, 5_000);
    let seen = pass(&mut lab, &up, &t, &udp(&t, b"x"), &web);
    // The host itself, and a router behind it that has no mapping of its own.
    for speaker in [WEB, APP] {
        let from = if speaker == WEB { &web } else { &lab.app }.clone();
        let outer = tuple(Proto::ICMP, (speaker, 0), (FAR, 0));
        let e = pass(
            &mut lab,
            &from,
            &outer,
            &about(&seen, (3, 3), [0; 4], 28),
            &up,
        );
        assert_eq!((e.tuple().src, e.tuple().dst), (UP, FAR));
        assert_eq!((e.icmp(), e.inner().tuple), ((3, 3, [0; 4]), t));
    }
}

#[test]
fn req_6_an_error_neither_refreshes_nor_ends_a_query_session() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let seen = pass(&mut lab, &web, &query(7), &ping(7, 1, b"p"), &up);
    sleep(&mut lab, s(50));
    let error = about(&seen, (3, 1), [0; 4], 28);
    pass(&mut lab, &up, &inbound(PEER), &error, &web);
    let back = seen.tuple().reversed();
    let answer = pong(back.dport, 1, b"p");
    sleep(&mut lab, s(9));
    assert_eq!(lab.connections(), 1);
    sleep(&mut lab, s(1));
    lost(&mut lab, &up, &back, &answer);
    assert_eq!(lab.connections(), 0);
}

#[test]
fn req_7_errors_about_hairpinned_packets_come_back() {
    let mut lab = Lab::ready();
    let (web, db) = (lab.web.clone(), lab.db.clone());
    let t = udp_tuple(DB, 4_000, UP, 5_000);
    let seen = pass(&mut lab, &db, &t, &udp(&t, b"x"), &web);
    let outer = tuple(Proto::ICMP, (WEB, 0), (seen.tuple().src, 0));
    let e = pass(
        &mut lab,
        &web,
        &outer,
        &about(&seen, (3, 3), [0; 4], 28),
        &db,
    );
    assert_eq!(
        (e.tuple().src, e.tuple().dst),
        (UP, DB),
        "in the name that DB spoke to"
    );
    assert_eq!(e.inner().tuple, t);
}

/// A query to the external address itself is answered by the switch, who has it.
#[test]
fn req_7a_a_hairpinned_query_is_answered() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    let t = tuple(Proto::ICMP, (WEB, 5), (UP, 0));
    let a = pass(&mut lab, &web, &t, &ping(5, 1, b"me"), &web);
    assert_eq!((a.tuple().src, a.l4()), (UP, &pong(5, 1, b"me")[..]));
}

#[test]
fn req_8_out_of_resources_is_told_by_3_13_and_the_packet_dropped() {
    let mut cfg = config();
    cfg.limits.connections = 4;
    let mut lab = Lab::ready_with(cfg);
    let (web, up) = (lab.web.clone(), lab.up.clone());
    for n in 0..4 {
        let t = udp_tuple(WEB, 7 + n, FAR, 9);
        pass(&mut lab, &web, &t, &udp(&t, b""), &up);
    }
    let t = udp_tuple(WEB, 70, FAR, 9);
    let e = pass(&mut lab, &web, &t, &udp(&t, b""), &web);
    assert_eq!((e.icmp(), e.inner().tuple), ((3, 13, [0; 4]), t));
    assert_eq!(e.tuple().src, GW);
    assert_eq!(lab.drops(Reason::ConntrackFull), 1);
    // The same when it is the ports that have run out.
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    lab.publish(Proto::UDP, (1, 1_023), (DB, 1));
    let t = udp_tuple(WEB, 53, FAR, 9);
    let e = pass(&mut lab, &web, &t, &udp(&t, b""), &web);
    assert_eq!(
        (e.icmp(), lab.drops(Reason::PortsExhausted)),
        ((3, 13, [0; 4]), 1)
    );
}

/// What the switch says itself: 3/0, 3/1, 3/3, 3/4, 3/13, 11/0 and echo replies; never a
/// redirect, source quench or parameter problem.
#[test]
fn req_10_errors_that_are_translated_and_errors_that_are_not() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(WEB, 7, FAR, 9);
    let seen = pass(&mut lab, &web, &t, &udp(&t, b"x"), &up);
    for (kind, code) in [
        (3, 0),
        (3, 1),
        (3, 2),
        (3, 3),
        (3, 4),
        (11, 0),
        (11, 1),
        (12, 0),
    ] {
        let error = about(&seen, (kind, code), [0; 4], 28);
        assert!(arrives(&mut lab, &up, &inbound(PEER), &error, &web));
    }
    // A redirect names a router of another network.
    let redirect = about(&seen, (5, 1), PEER.octets(), 28);
    lost(&mut lab, &up, &inbound(PEER), &redirect);
    assert_eq!(lab.drops(Reason::NotRouted), 1);
}

/// Timestamp, mask and router messages belong to one link or say too much: not translated.
#[test]
fn req_11_other_icmp_messages_are_dropped_and_counted() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    for kind in [9, 10, 13, 14, 15, 16, 17, 18, 40, 42] {
        let t = tuple(Proto::ICMP, (WEB, 0), (FAR, 0));
        lost(&mut lab, &web, &t, &icmp(kind, 0, [0; 4], &[0; 12]));
        lost(
            &mut lab,
            &up,
            &inbound(FAR),
            &icmp(kind, 0, [0; 4], &[0; 12]),
        );
    }
    assert_eq!(lab.drops(Reason::IcmpNoMatch), 20);
}

/// Sessions of other protocols than TCP, UDP and ICMP get the same errors translated.
#[test]
fn req_4_errors_about_other_protocols_are_translated_too() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = tuple(Proto(47), (WEB, 0), (FAR, 0));
    let seen = pass(&mut lab, &web, &t, &[0, 0, 8, 0, 1, 2, 3, 4, 5], &up);
    let e = pass(
        &mut lab,
        &up,
        &inbound(FAR),
        &about(&seen, (3, 2), [0; 4], 28),
        &web,
    );
    assert_eq!((e.icmp().1, e.inner().tuple), (2, t));
    let c = open(&mut lab, &web, &tcp_tuple(WEB, 9, FAR, 80), &up);
    assert!(c.answer(&mut lab, 901, 101, ACK, b"x"));
}
