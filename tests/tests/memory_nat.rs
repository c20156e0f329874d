//! Translation: DNAT, hairpin, masquerade, ICMP errors, unpublishing.

use dataplane::base::{Proto, Reason, Tuple};

use std::time::Duration;
use switchd_tests::memory::check::Seen;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{APP, DB, FAR, GW, Host, Lab, PEER, UP, WEB, mac};

/// Sends a TCP, UDP or echo packet of `t` and gives what came out at `to`.
#[track_caller]
fn pass(lab: &mut Lab, from: &Host, t: &Tuple, l4: &[u8], to: &Host) -> Seen {
    lab.route(from, t, l4);
    let s = lab.only(to);
    lab.silence();
    s
}

/// A TCP handshake with a byte each way; gives the tuple as the server sees it.
#[track_caller]
fn handshake(lab: &mut Lab, client: &Host, t: &Tuple, server: &Host) -> Tuple {
    let seen = pass(lab, client, t, &tcp(t, 100, 0, SYN, b""), server).tuple();
    let back = seen.reversed();
    let s = pass(
        lab,
        server,
        &back,
        &tcp(&back, 900, 101, SYN | ACK, b""),
        client,
    );
    assert_eq!(s.tuple(), t.reversed());
    let s = pass(lab, client, t, &tcp(t, 101, 901, ACK | PSH, b"?"), server);
    assert_eq!((s.tuple(), s.data()), (seen, &b"?"[..]));
    let s = pass(
        lab,
        server,
        &back,
        &tcp(&back, 901, 102, ACK | PSH, b"!"),
        client,
    );
    assert_eq!((s.tuple(), s.data()), (t.reversed(), &b"!"[..]));
    seen
}

#[test]
fn a_published_port_keeps_the_clients_address() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    for (client, offset) in [(PEER, 0), (FAR, 9)] {
        let t = tuple(Proto::TCP, (client, 40_000), (UP, 5_000 + offset));
        let seen = handshake(&mut lab, &up, &t, &web);
        assert_eq!(
            seen,
            tuple(Proto::TCP, (client, 40_000), (WEB, 80 + offset))
        );
    }
    let t = tuple(Proto::UDP, (FAR, 40_000), (UP, 5_003));
    let s = pass(&mut lab, &up, &t, &udp(&t, b"hi"), &web);
    assert_eq!(s.tuple(), tuple(Proto::UDP, (FAR, 40_000), (WEB, 83)));
    let back = s.tuple().reversed();
    let s = pass(&mut lab, &web, &back, &udp(&back, b"ho"), &up);
    assert_eq!(s.tuple(), t.reversed());
    assert_eq!(lab.drops(Reason::NotPublished), 0);
    // The next port is nobody's.
    let t = tuple(Proto::TCP, (FAR, 1), (UP, 5_010));
    lab.route(&up, &t, &tcp(&t, 1, 0, SYN, b""));
    lab.silence();
    assert_eq!(lab.drops(Reason::NotPublished), 1);
}

#[test]
fn other_rules_void_no_decision_of_a_connection() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = tuple(Proto::TCP, (FAR, 40_000), (UP, 5_000));
    handshake(&mut lab, &up, &t, &web);
    let question = tcp(&t, 102, 902, ACK, b"");
    pass(&mut lab, &up, &t, &question, &web);
    let before = lab.sw.totals();
    let id = lab.publish(Proto::TCP, (6_000, 6_000), (DB, 80));
    pass(&mut lab, &up, &t, &question, &web);
    assert!(lab.sw.switch().unpublish(id).is_some());
    pass(&mut lab, &up, &t, &question, &web);
    let after = lab.sw.totals();
    assert_eq!((after.hits - before.hits, after.slow), (2, before.slow));
}

#[test]
fn hairpin_reaches_another_and_its_own_container() {
    let mut lab = Lab::ready();
    let (web, db) = (lab.web.clone(), lab.db.clone());
    let t = tuple(Proto::TCP, (DB, 3_333), (UP, 5_000));
    let seen = handshake(&mut lab, &db, &t, &web);
    assert_eq!((seen.src, seen.dst, seen.dport), (UP, WEB, 80));
    let t = tuple(Proto::TCP, (WEB, 3_333), (UP, 5_000));
    let seen = handshake(&mut lab, &web, &t, &web);
    assert_eq!((seen.src, seen.dst, seen.dport), (UP, WEB, 80));
    let t = tuple(Proto::UDP, (WEB, 53), (UP, 5_001));
    let s = pass(&mut lab, &web, &t, &udp(&t, b"a"), &web);
    let back = s.tuple().reversed();
    let s = pass(&mut lab, &web, &back, &udp(&back, b"b"), &web);
    assert_eq!(s.tuple(), t.reversed());
}

#[test]
fn masquerade_serves_tcp_udp_and_echo_of_several_hosts_with_the_same_ports() {
    let mut lab = Lab::ready();
    let up = lab.up.clone();
    let mut outside = std::collections::HashSet::new();
    for h in [lab.web.clone(), lab.db.clone(), lab.app.clone()] {
        let t = tuple(Proto::TCP, (h.ip, 4_000), (FAR, 80));
        let seen = handshake(&mut lab, &h, &t, &up);
        assert_eq!((seen.src, seen.dst, seen.dport), (UP, FAR, 80));
        assert!(outside.insert(seen));

        let t = tuple(Proto::UDP, (h.ip, 4_000), (FAR, 53));
        let s = pass(&mut lab, &h, &t, &udp(&t, b"q"), &up);
        assert!(outside.insert(s.tuple()));
        assert_eq!(s.tuple().sport % 2, 0, "parity is kept");
        let back = s.tuple().reversed();
        let s = pass(&mut lab, &up, &back, &udp(&back, b"a"), &h);
        assert_eq!((s.tuple(), s.data()), (t.reversed(), &b"a"[..]));

        let t = tuple(Proto::ICMP, (h.ip, 4_000), (FAR, 0));
        let s = pass(&mut lab, &h, &t, &ping(4_000, 1, b"p"), &up);
        assert!(outside.insert(s.tuple()));
        let back = s.tuple().reversed();
        let s = pass(&mut lab, &up, &back, &pong(back.dport, 1, b"p"), &h);
        assert_eq!(s.l4(), pong(4_000, 1, b"p"));
    }
    assert_eq!(outside.len(), 9);
    // A port is kept where it is free.
    assert!(outside.contains(&tuple(Proto::TCP, (UP, 4_000), (FAR, 80))));
    // Nobody else gets in by it.
    let t = tuple(Proto::UDP, (PEER, 53), (UP, 4_000));
    lab.route(&up, &t, &udp(&t, b"evil"));
    lab.silence();
    lab.wait(Duration::from_secs(7_441));
    lab.assert_empty();
}

/// An ICMP error about `seen`, the packet as `from` got it, with `quote` bytes of it.
fn about(seen: &Seen, kind: (u8, u8), rest: [u8; 4], quote: usize) -> Vec<u8> {
    let ip = &seen.bytes[14..];
    icmp(kind.0, kind.1, rest, &ip[..quote.min(ip.len())])
}

/// Sends from `at` an error by `speaker` about what it got; gives what arrived at `to`.
#[track_caller]
fn error(lab: &mut Lab, at: &Host, speaker: std::net::Ipv4Addr, seen: &Seen, to: &Host) -> Seen {
    let t = tuple(Proto::ICMP, (speaker, 0), (seen.tuple().src, 0));
    let message = about(seen, (3, 4), [0, 0, 4, 0], 28 + 20);
    let s = pass(lab, at, &t, &message, to);
    assert_eq!(s.icmp(), (3, 4, [0, 0, 4, 0]));
    s
}

#[test]
fn icmp_errors_come_back_with_the_packet_inside_translated() {
    for proto in [Proto::TCP, Proto::UDP] {
        let l4 = |t: &Tuple| match proto {
            Proto::TCP => tcp(t, 100, 0, SYN, b""),
            _ => udp(t, b"some data"),
        };
        let mut lab = Lab::ready();
        let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());

        // Masquerade, from the destination and from a router on the way.
        let t = tuple(proto, (DB, 4_000), (FAR, 80));
        let sent = l4(&t);
        let seen = pass(&mut lab, &db, &t, &sent, &up);
        for speaker in [FAR, PEER] {
            let e = error(&mut lab, &up, speaker, &seen, &db);
            assert_eq!((e.tuple().src, e.tuple().dst), (speaker, DB));
            assert_eq!(e.inner().tuple, t);
            let inner = e.inner();
            let l4_quoted = &e.quoted()[usize::from(inner.l4_off)..];
            assert_eq!(l4_quoted, &sent[..l4_quoted.len()], "checksum included");
        }

        // Masquerade, from inside about the answer.
        let answer = |back: &Tuple| match proto {
            Proto::TCP => tcp(back, 900, 101, SYN | ACK, b""),
            _ => udp(back, b"answer"),
        };
        let out = seen.tuple().reversed();
        let seen = pass(&mut lab, &up, &out, &answer(&out), &db);
        let e = error(&mut lab, &db, DB, &seen, &up);
        assert_eq!((e.tuple().src, e.tuple().dst), (UP, FAR));
        assert_eq!(e.inner().tuple, out);

        // DNAT: an error of the container reaches the client in the uplink's name.
        let t = tuple(proto, (FAR, 999), (UP, 5_000));
        let sent = l4(&t);
        let seen = pass(&mut lab, &up, &t, &sent, &web);
        let e = error(&mut lab, &web, WEB, &seen, &up);
        assert_eq!((e.tuple().src, e.tuple().dst), (UP, FAR));
        assert_eq!(e.inner().tuple, t);

        // DNAT: an error about the answer reaches the container.
        let back = seen.tuple().reversed();
        let seen = pass(&mut lab, &web, &back, &answer(&back), &up);
        let e = error(&mut lab, &up, PEER, &seen, &web);
        assert_eq!((e.tuple().src, e.tuple().dst), (PEER, WEB));
        assert_eq!(e.inner().tuple, back);

        // Hairpin, both ways.
        let t = tuple(proto, (DB, 888), (UP, 5_001));
        let seen = pass(&mut lab, &db, &t, &l4(&t), &web);
        let e = error(&mut lab, &web, WEB, &seen, &db);
        assert_eq!((e.tuple().src, e.tuple().dst), (UP, DB));
        assert_eq!(e.inner().tuple, t);
        let back = seen.tuple().reversed();
        let seen = pass(&mut lab, &web, &back, &answer(&back), &db);
        let e = error(&mut lab, &db, DB, &seen, &web);
        assert_eq!((e.tuple().src, e.tuple().dst), (UP, WEB));
        assert_eq!(e.inner().tuple, back);
    }
}

#[test]
fn icmp_errors_about_pings_are_translated_and_keep_nothing_alive() {
    let mut lab = Lab::ready();
    let (db, up) = (lab.db.clone(), lab.up.clone());
    let t = tuple(Proto::ICMP, (DB, 7), (FAR, 0));
    let seen = pass(&mut lab, &db, &t, &ping(7, 1, b"payload"), &up);
    lab.wait(Duration::from_secs(50));
    lab.learn_outside();
    let e = error(&mut lab, &up, PEER, &seen, &db);
    assert_eq!(e.inner().tuple, t);
    lab.wait(Duration::from_secs(11));
    assert_eq!(lab.connections(), 0, "the error did not refresh it");
}

#[test]
fn errors_that_belong_to_nothing_are_dropped() {
    let mut lab = Lab::ready();
    let (db, up) = (lab.db.clone(), lab.up.clone());
    let t = tuple(Proto::UDP, (DB, 7), (FAR, 9));
    let mut seen = pass(&mut lab, &db, &t, &udp(&t, b"x"), &up);
    seen.bytes[34] ^= 1; // another source port
    let outer = tuple(Proto::ICMP, (FAR, 0), (UP, 0));
    lab.route(&up, &outer, &about(&seen, (3, 3), [0; 4], 28));
    assert_eq!(lab.drops(Reason::IcmpNoMatch), 1);
    seen.bytes[34] ^= 1;
    seen.bytes[24] ^= 1; // header checksum
    lab.route(&up, &outer, &about(&seen, (3, 3), [0; 4], 28));
    assert_eq!(lab.drops(Reason::IcmpInnerMalformed), 1);
    seen.bytes[24] ^= 1;
    let mut bad = about(&seen, (3, 3), [0; 4], 28);
    bad[2] ^= 1;
    lab.route(&up, &outer, &bad);
    assert_eq!(lab.drops(Reason::IcmpChecksum), 1);
    lab.silence();
}

#[test]
fn unpublishing_ends_tcp_and_udp_connections_at_once_and_no_others() {
    let mut lab = Lab::ready();
    let (web, up, db) = (lab.web.clone(), lab.up.clone(), lab.db.clone());
    let sw = lab.sw.switch().clone();
    let dnat = tuple(Proto::TCP, (FAR, 1), (UP, 5_000));
    handshake(&mut lab, &up, &dnat, &web);
    let pin = tuple(Proto::TCP, (DB, 2), (UP, 5_000));
    handshake(&mut lab, &db, &pin, &web);
    let query = tuple(Proto::UDP, (FAR, 1), (UP, 5_000));
    let inside = pass(&mut lab, &up, &query, &udp(&query, b"1"), &web).tuple();
    let masq = tuple(Proto::TCP, (WEB, 80), (FAR, 9_999));
    let outside = handshake(&mut lab, &web, &masq, &up);
    assert_eq!(lab.connections(), 4);
    for rule in sw.rules.report() {
        assert!(sw.unpublish(rule.id).is_some());
        assert!(sw.unpublish(rule.id).is_none());
    }
    assert_eq!(lab.connections(), 1);

    let data = tcp(&dnat, 102, 902, ACK | PSH, b"more");
    lab.route(&up, &dnat, &data);
    let data = udp(&query, b"more");
    lab.route(&up, &query, &data);
    lab.silence();
    // Nor does the container's side go on: an answer opens nothing, UDP begins anew from here.
    let back = tuple(Proto::TCP, (WEB, 80), (FAR, 1));
    lab.route(&web, &back, &tcp(&back, 902, 102, ACK, b"more"));
    lab.silence();
    assert_eq!(lab.drops(Reason::TcpNoConnection), 2, "of both sides");
    let back = inside.reversed();
    let s = pass(&mut lab, &web, &back, &udp(&back, b"late"), &up);
    assert_ne!(s.tuple(), query.reversed(), "not in the old one's name");
    // The masqueraded one is untouched.
    let back = outside.reversed();
    pass(
        &mut lab,
        &up,
        &back,
        &tcp(&back, 902, 102, ACK | PSH, b"x"),
        &web,
    );
}

#[test]
fn what_is_held_by_arp_is_accounted_for_when_its_port_goes() {
    let mut lab = Lab::default();
    let t = tuple(Proto::UDP, (WEB, 7), (FAR, 53));
    for _ in 0..3 {
        lab.route(&lab.web.clone(), &t, &udp(&t, b""));
    }
    assert_eq!(lab.sw.totals().held, 3);
    lab.sw.remove_port(lab.up.id);
    lab.wait(Duration::from_secs(10));
    assert_eq!(lab.sw.totals().held, 0);
}

#[test]
fn partial_checksums_stay_partial_through_translation() {
    let mut lab = Lab::ready();
    let (db, up) = (lab.db.clone(), lab.up.clone());
    for proto in [Proto::TCP, Proto::UDP] {
        let t = tuple(proto, (DB, 4_001), (FAR, 80));
        let first = match proto {
            Proto::TCP => tcp(&t, 1, 0, SYN, b""),
            _ => udp(&t, b"abc"),
        };
        let f = db.routed(&Ip::default(), &t, &first);
        let (bytes, hdr) = partial(&f, &t);
        for _ in 0..2 {
            lab.send_hdr(&db, &bytes, hdr);
            let s = lab.only(&up); // verified as partial
            assert!(s.hdr.needs_csum);
        }
        up.port.set_caps(dataplane::port::Caps::NONE);
        lab.send_hdr(&db, &bytes, hdr);
        assert!(!lab.only(&up).hdr.needs_csum);
        up.port.set_caps(dataplane::port::Caps::ALL);
    }
}

#[test]
fn udp_without_a_checksum_stays_so() {
    let mut lab = Lab::ready();
    let t = tuple(Proto::UDP, (DB, 9), (FAR, 53));
    let mut l4 = udp(&t, b"no sum");
    l4[6..8].copy_from_slice(&[0, 0]);
    let (db, up) = (lab.db.clone(), lab.up.clone());
    let s = pass(&mut lab, &db, &t, &l4, &up);
    assert_eq!(s.l4()[6..8], [0, 0]);
}

#[test]
fn foreign_and_spoofed_destinations_do_not_reach_the_containers() {
    let mut lab = Lab::ready();
    let up = lab.up.clone();
    for dst in [WEB, GW, APP] {
        let t = tuple(Proto::TCP, (PEER, 1), (dst, 80));
        lab.route(&up, &t, &tcp(&t, 1, 0, SYN, b""));
    }
    lab.silence();
    let t = tuple(Proto::TCP, (WEB, 1), (UP, 5_000));
    let f = eth(
        mac(UP),
        mac(PEER),
        0x0800,
        &ipv4(&Ip::default(), &t, &tcp(&t, 1, 0, SYN, b"")),
    );
    lab.send(&up, &f);
    assert_eq!(
        lab.drops(Reason::Martian),
        1,
        "an inside source from outside"
    );
    lab.silence();
}
