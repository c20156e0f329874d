//! An uplink whose address is the host's too: what the switch leaves to the host's kernel, and
//! what it does not.

use dataplane::base::{Proto, Reason, Tick, Tuple};
use dataplane::frame::L4;
use std::net::Ipv4Addr;
use std::time::Duration;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::shared::{LENT, host_with, move_to, shared_lab};
use switchd_tests::memory::{DB, FAR, Lab, PEER, UP, WEB, mac};

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
/// Behind another interface of the host.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

fn syn(t: &Tuple) -> Vec<u8> {
    tcp(t, 1, 0, SYN, b"")
}

#[test]
fn what_is_the_hosts_is_neither_answered_nor_an_error() {
    let mut lab = shared_lab();
    let up = lab.up.clone();
    let not_ours = |lab: &Lab| lab.sw.switch().drops(Reason::NotOurs);
    let t = tcp_tuple(PEER, 1, UP, 22);
    let u = udp_tuple(PEER, 1, UP, 53);
    let echo = tuple(Proto::ICMP, (PEER, 3), (UP, 0));
    let reply = tuple(Proto::ICMP, (PEER, 0), (UP, 3));
    let routed = udp_tuple(PEER, 1, FAR, 53);
    let mut n = 0;
    for (t, l4) in [
        (&t, syn(&t)),
        (&t, tcp(&t, 9, 9, ACK, b"data of a connection of the host")),
        (&t, tcp(&t, 9, 9, RST, b"")),
        (&u, udp(&u, b"x")),
        (&echo, ping(3, 1, b"x")),
        (&reply, pong(3, 1, b"x")),
        // To others: the host may be their router.
        (&routed, udp(&routed, b"x")),
    ] {
        for ttl in [1, 64] {
            let f = up.routed(&Ip::ttl(ttl), t, &l4);
            lab.send(&up, &f);
            n += 1;
            assert_eq!(not_ours(&lab), n, "{t:?}, TTL {ttl}");
            lab.silence();
        }
    }
    // A fragmented datagram, whole and in any order.
    let f = up.routed(&Ip::may_fragment(7), &u, &udp(&u, &[1; 3_000]));
    for f in fragments(&f, 1_000).into_iter().rev() {
        lab.send(&up, &f);
    }
    assert_eq!(not_ours(&lab), n + 4);
    assert_eq!(lab.sw.totals().dropped(), n + 4, "and under no other name");
    // ARP for the shared address is the host's to answer.
    let question = arp(mac(UP), 1, (mac(PEER), PEER), (mac(UP), UP));
    lab.send(&up, &question);
    lab.silence();
}

#[test]
fn a_container_reaches_the_host_by_its_own_address() {
    let mut lab = shared_lab();
    let web = lab.web.clone();
    let t = tcp_tuple(WEB, 1, UP, 22);
    let u = udp_tuple(WEB, 1, UP, 53);
    let echo = tuple(Proto::ICMP, (WEB, 3), (UP, 0));
    for (t, l4) in [
        (&t, syn(&t)),
        (&u, udp(&u, b"x")),
        (&echo, ping(3, 1, b"x")),
    ] {
        for ttl in [1, 64] {
            let f = web.routed(&Ip::ttl(ttl), t, &l4);
            lab.send(&web, &f);
            let seen = lab.only(&lab.host);
            assert_eq!(seen.bytes, f, "as it was sent");
            lab.silence();
        }
    }
    // An error of the container about what the host sent it.
    let asked = udp_tuple(UP, 53, WEB, 1);
    let about = ipv4(&Ip::default(), &asked, &udp(&asked, b"x"));
    let error = tuple(Proto::ICMP, (WEB, 0), (UP, 0));
    lab.route(&web, &error, &icmp(3, 3, [0; 4], &about[..28]));
    assert_eq!(lab.only(&lab.host).p.l4, L4::IcmpError);
    // What is published by that address goes to its container.
    let t = tcp_tuple(DB, 1, UP, 5000);
    lab.route(&lab.db.clone(), &t, &syn(&t));
    let seen = lab.only(&lab.web).tuple();
    assert_eq!((seen.src, seen.dst, seen.dport), (UP, WEB, 80));
    assert!(LENT.contains(&seen.sport), "{seen:?}");
}

#[test]
fn masquerade_has_only_the_ports_that_are_lent() {
    let mut lab = shared_lab();
    let (web, db) = (lab.web.clone(), lab.db.clone());
    for (n, port) in (1..=200u16).zip([7, 123, 5353, 61_050, 40_000].iter().cycle()) {
        let t = udp_tuple(DB, port + n * 5, FAR, 53);
        lab.route(&db, &t, &udp(&t, b"x"));
        let out = lab.got(&lab.up);
        lab.clear();
        let Some(seen) = out.first() else {
            assert!(n > 100, "{n} of 100 ports");
            continue;
        };
        assert!(
            n <= 100 && LENT.contains(&seen.tuple().sport),
            "{n}: {seen:?}"
        );
    }
    let sw = lab.sw.switch();
    assert_eq!(sw.drops(Reason::PortsExhausted), 100);
    assert_eq!(sw.external.in_use().udp, 100);
    // It asks for more, once; then goes on with what it gets.
    let external = &lab.sw.switch().external;
    assert_eq!(
        (external.short(Tick(7)), external.short(Tick(8))),
        (Some(Proto::UDP), None)
    );
    assert_eq!(
        external.short(Tick(1_007)),
        Some(Proto::UDP),
        "after a while"
    );
    external.lend(Proto::UDP, &[2_000], 101, (2_000, *LENT.end()));
    let t = udp_tuple(DB, 9, FAR, 53);
    lab.route(&db, &t, &udp(&t, b"x"));
    assert_eq!(lab.only(&lab.up).tuple().sport, 2_000);
    // One that the host wants back stays with its user, and goes to no other.
    lab.sw.switch().external.give_back(Proto::UDP, &[2_000]);
    lab.route(&db, &t, &udp(&t, b"x"));
    assert_eq!(lab.only(&lab.up).tuple().sport, 2_000);
    lab.wait(Duration::from_secs(600));
    lab.learn_outside();
    lab.clear();
    for port in 1..=100 {
        let t = udp_tuple(DB, 20_000 + port, FAR, 53);
        lab.route(&db, &t, &udp(&t, b"x"));
        assert_ne!(lab.only(&lab.up).tuple().sport, 2_000);
    }
    // The container that is published by a port keeps it.
    let t = udp_tuple(WEB, 83, FAR, 53);
    lab.route(&web, &t, &udp(&t, b"x"));
    assert_eq!(lab.only(&lab.up).tuple().sport, 5_003);
}

#[test]
fn what_has_no_port_is_not_translated() {
    let mut lab = shared_lab();
    let t = tuple(Proto(47), (WEB, 0), (FAR, 0));
    lab.route(&lab.web.clone(), &t, &[0; 20]);
    assert_eq!(lab.sw.switch().drops(Reason::ProtoUnsupported), 1);
    let (kind, code, _) = lab.only(&lab.web).icmp();
    assert_eq!((kind, code), (3, 13));
}

#[test]
fn the_next_hop_is_the_hosts() {
    let mut lab = shared_lab();
    let web = lab.web.clone();
    // By the router, which is known.
    let t = udp_tuple(WEB, 1, FAR, 53);
    lab.route(&web, &t, &udp(&t, b"x"));
    assert_eq!(lab.only(&lab.up).p.dst, mac(PEER));
    // On the link: asked for, in the name of the host.
    let near = Ipv4Addr::new(192, 0, 2, 50);
    let t = udp_tuple(WEB, 1, near, 53);
    lab.route(&web, &t, &udp(&t, b"x"));
    assert_eq!(lab.only(&lab.up).bytes[..6], [0xff; 6]);
    lab.send(
        &lab.up.clone(),
        &arp(mac(UP), 2, (mac(near), near), (mac(UP), UP)),
    );
    assert_eq!(lab.only(&lab.up).p.dst, mac(near));
    // By another interface: not by this one.
    let t = udp_tuple(WEB, 1, ELSEWHERE, 53);
    lab.route(&web, &t, &udp(&t, b"x"));
    assert_eq!(lab.sw.switch().drops(Reason::NoRoute), 1);
    let (kind, code, _) = lab.only(&lab.web).icmp();
    assert_eq!((kind, code), (3, 0));
}

#[test]
fn connections_end_with_their_address_and_what_has_no_state_goes_on() {
    let mut lab = shared_lab();
    let web = lab.web.clone();
    let t = tcp_tuple(WEB, 1, FAR, 80);
    let u = udp_tuple(WEB, 1, FAR, 53);
    let published = tcp_tuple(PEER, 9, UP, 5000);
    lab.route(&web, &t, &syn(&t));
    lab.route(&web, &u, &udp(&u, b"x"));
    lab.route(&lab.up.clone(), &published, &syn(&published));
    assert_eq!(lab.sw.switch().conntrack.len(), 3);
    lab.clear();
    move_to(&lab, OTHER);

    lab.route(&web, &u, &udp(&u, b"x"));
    assert_eq!(lab.only(&lab.up).tuple().src, OTHER);
    lab.route(&web, &t, &tcp(&t, 2, 77, ACK, b""));
    let reset = lab.only(&lab.web);
    assert_eq!(reset.tuple(), t.reversed());
    assert_eq!(reset.bytes[47] & RST, RST);
    // The container's answer to a client that knows it by the old address.
    let answer = tcp_tuple(WEB, 80, PEER, 9);
    lab.route(&web, &answer, &tcp(&answer, 1, 2, SYN | ACK, b""));
    assert_eq!(lab.only(&lab.web).tuple(), answer.reversed());
    assert_eq!(lab.sw.switch().drops(Reason::AddressGone), 2);
    assert_eq!(lab.sw.switch().conntrack.len(), 1);
    // What still comes for the old address is nobody's.
    let late = udp_tuple(FAR, 53, UP, *LENT.start());
    lab.route(&lab.up.clone(), &late, &udp(&late, b"x"));
    assert_eq!(lab.sw.switch().drops(Reason::NotOurs), 1);
}

#[test]
fn an_address_that_stays_beside_another_keeps_its_connections() {
    let mut lab = shared_lab();
    let web = lab.web.clone();
    let u = udp_tuple(WEB, 1, FAR, 53);
    lab.route(&web, &u, &udp(&u, b"x"));
    lab.clear();
    let leg = switchd_tests::memory::config().uplink;
    let leg = leg.map(|l| dataplane::base::UplinkConfig { ip: OTHER, ..l });
    lab.sw
        .switch()
        .set_uplink(leg, Some(host_with(&[UP, OTHER])));
    lab.route(&web, &u, &udp(&u, b"x"));
    assert_eq!(lab.only(&lab.up).tuple().src, UP);
    let new = udp_tuple(DB, 1, FAR, 53);
    lab.route(&lab.db.clone(), &new, &udp(&new, b"x"));
    assert_eq!(lab.only(&lab.up).tuple().src, OTHER);
    // With no uplink nothing leads out; when it is back all goes on.
    lab.sw
        .switch()
        .set_uplink(None, Some(host_with(&[UP, OTHER])));
    lab.route(&web, &u, &udp(&u, b"x"));
    assert_eq!(lab.sw.switch().drops(Reason::NoUplink), 1);
    lab.clear();
    lab.sw
        .switch()
        .set_uplink(leg, Some(host_with(&[UP, OTHER])));
    lab.learn_outside();
    lab.clear();
    lab.route(&web, &u, &udp(&u, b"x"));
    assert_eq!(lab.only(&lab.up).tuple().src, UP);
}

#[test]
fn what_is_left_of_a_connection_when_its_address_goes_is_a_note() {
    let mut lab = shared_lab();
    let web = lab.web.clone();
    let (t, u) = (tcp_tuple(WEB, 1, PEER, 2), udp_tuple(WEB, 1, PEER, 53));
    let published = tcp_tuple(PEER, 9, UP, 5000);
    let hairpin = tcp_tuple(DB, 5, UP, 5000);
    lab.route(&web, &t, &syn(&t));
    lab.route(&web, &u, &udp(&u, b"x"));
    lab.route(&lab.up.clone(), &published, &syn(&published));
    lab.route(&lab.db.clone(), &hairpin, &syn(&hairpin));
    lab.clear();
    move_to(&lab, OTHER);
    let sw = std::sync::Arc::clone(lab.sw.switch());
    assert_eq!(sw.end_by_address(Tick(1)), 4);
    assert_eq!((sw.conntrack.len(), sw.external.in_use().tcp), (0, 0));
    assert_eq!(sw.end_by_address(Tick(1)), 0);
    // Every end inside is told once.
    let ends = [
        (&web, t),
        (&web, tcp_tuple(WEB, 80, PEER, 9)),
        (&lab.db.clone(), hairpin),
    ];
    for (n, (by, t)) in ends.iter().enumerate() {
        lab.route(by, t, &tcp(t, 2, 77, ACK, b""));
        let reset = lab.only(by);
        assert_eq!((reset.tuple(), reset.bytes[47] & RST), (t.reversed(), RST));
        lab.route(by, t, &tcp(t, 2, 77, ACK, b""));
        lab.silence();
        assert_eq!(sw.drops(Reason::AddressGone), n as u64 + 1);
        assert_eq!(sw.drops(Reason::TcpNoConnection), n as u64 + 1);
    }
    // UDP goes on by the new address.
    lab.route(&web, &u, &udp(&u, b"x"));
    assert_eq!(lab.only(&lab.up).tuple().src, OTHER);
}

/// Who is outside reached an address that is no longer the host's: it hears nothing from here.
#[test]
fn outside_nobody_is_told_that_an_address_is_gone() {
    let mut lab = shared_lab();
    let up = lab.up.clone();
    let t = tcp_tuple(WEB, 1, FAR, 80);
    lab.route(&lab.web.clone(), &t, &syn(&t));
    let answer = lab.only(&up).tuple().reversed();
    lab.clear();
    move_to(&lab, OTHER);
    lab.route(&up, &answer, &tcp(&answer, 9, 1, SYN | ACK, b""));
    lab.silence();
    assert_eq!(lab.sw.switch().drops(Reason::NotOurs), 1);
}

/// WEB's connection, which never opened, is forgotten; what comes of it later is lost without a word.
#[track_caller]
fn ends_as_a_stranger(lab: &mut Lab, t: &Tuple) {
    // Longer than what never opened is kept, shorter than a note would be.
    lab.wait(Duration::from_secs(500));
    assert_eq!(lab.connections(), 0);
    lab.clear();
    lab.route(&lab.web.clone(), t, &tcp(t, 2, 77, ACK, b""));
    lab.silence();
    assert_eq!(lab.drops(Reason::TcpNoConnection), 1);
}

/// Who opens the connection anew has understood; what comes after that one is an ordinary stranger.
#[test]
fn a_note_is_gone_when_its_connection_is_opened_anew() {
    let mut lab = shared_lab();
    let web = lab.web.clone();
    let t = tcp_tuple(WEB, 1, FAR, 80);
    lab.route(&web, &t, &syn(&t));
    move_to(&lab, OTHER);
    let now = lab.now.tick();
    assert_eq!(lab.sw.switch().end_by_address(now), 1);
    lab.route(&web, &t, &syn(&t));
    assert_eq!(lab.sw.switch().conntrack.len(), 1);
    ends_as_a_stranger(&mut lab, &t);
}

/// Only what ends with an address is noted: what ended otherwise is an ordinary stranger later.
#[test]
fn a_connection_that_kept_its_address_leaves_no_note() {
    let mut lab = shared_lab();
    let web = lab.web.clone();
    let t = tcp_tuple(WEB, 1, FAR, 80);
    lab.route(&web, &t, &syn(&t));
    lab.clear();
    let now = lab.now.tick();
    assert_eq!(lab.sw.switch().end_by_address(now), 0);
    ends_as_a_stranger(&mut lab, &t);
}

#[test]
fn an_identifier_by_which_the_host_pings_goes_to_no_container() {
    let mut lab = shared_lab();
    let (up, web) = (lab.up.clone(), lab.web.clone());
    let id = *LENT.start();
    let reply = tuple(Proto::ICMP, (FAR, 0), (UP, id));
    lab.route(&up, &reply, &pong(id, 1, b"x"));
    assert_eq!(lab.sw.switch().drops(Reason::NotOurs), 1);
    let request = tuple(Proto::ICMP, (WEB, id), (FAR, 0));
    lab.route(&web, &request, &ping(id, 1, b"x"));
    assert_ne!(lab.only(&lab.up).tuple().sport, id);
    // A minute after its last answer, and the other identifier's rest.
    lab.wait(Duration::from_secs(200));
    lab.learn_outside();
    lab.clear();
    lab.route(&web, &request, &ping(id, 1, b"x"));
    assert_eq!(lab.only(&lab.up).tuple().sport, id);
}

/// Nor does a container keep one from others by an answer that nobody asked for.
#[test]
fn a_container_says_nothing_about_the_hosts_identifiers() {
    let mut lab = shared_lab();
    let (web, db) = (lab.web.clone(), lab.db.clone());
    let id = *LENT.start();
    let reply = tuple(Proto::ICMP, (WEB, 0), (FAR, id));
    lab.route(&web, &reply, &pong(id, 1, b"x"));
    assert_eq!(lab.sw.switch().drops(Reason::IcmpNoMatch), 1);
    let request = tuple(Proto::ICMP, (DB, id), (FAR, 0));
    lab.route(&db, &request, &ping(id, 1, b"x"));
    assert_eq!(lab.only(&lab.up).tuple().sport, id);
}
