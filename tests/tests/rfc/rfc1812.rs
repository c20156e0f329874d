//! RFC 1812, 1122, 792 and 7126: what a router of this kind must do.

use crate::common::{lost, pass};
use dataplane::base::{Mac, Proto, Reason};
use std::net::Ipv4Addr;
use std::time::Duration;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{DB, FAR, GW, Lab, PEER, UP, WEB, mac};

/// A routed UDP packet of WEB's whose IPv4 header was changed; the checksum made right or not.
fn odd(lab: &Lab, change: impl Fn(&mut [u8]), checksum: bool) -> Vec<u8> {
    let t = udp_tuple(WEB, 1, FAR, 2);
    let mut f = lab.web.routed(&Ip::default(), &t, &udp(&t, b"data"));
    change(&mut f[14..]);
    if checksum {
        f[24..26].copy_from_slice(&[0, 0]);
        let sum = !naive_sum(&[&f[14..34]]);
        f[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    f
}

#[test]
fn section_5_2_2_bad_checksum_version_and_lengths_are_dropped_without_a_word() {
    type Change = fn(&mut [u8]);
    let cases: [(Reason, Change, bool); 6] = [
        (Reason::Ipv4Checksum, |b| b[10] ^= 1, false),
        (Reason::Ipv4Version, |b| b[0] = 0x65, true),
        (Reason::Ipv4HeaderLength, |b| b[0] = 0x44, true),
        (Reason::Ipv4TotalLength, |b| b[3] = 19, true),
        (Reason::Ipv4Truncated, |b| b[2] = 5, true),
        (Reason::Ipv4Truncated, |b| b[0] = 0x4f, true),
    ];
    for (reason, change, checksum) in cases {
        let mut lab = Lab::ready();
        let f = odd(&lab, change, checksum);
        lab.send(&lab.web.clone(), &f);
        lab.silence();
        assert_eq!(lab.drops(reason), 1, "{reason}");
    }
}

#[test]
fn section_5_3_1_ttl_0_and_1_are_told_by_11_0() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    let t = udp_tuple(WEB, 1, FAR, 2);
    for ttl in [0, 1] {
        lab.send(&web, &web.routed(&Ip::ttl(ttl), &t, &udp(&t, b"x")));
        let e = lab.only(&web);
        assert_eq!((e.icmp(), e.tuple().src), ((11, 0, [0; 4]), GW));
    }
    lab.send(&web, &web.routed(&Ip::ttl(2), &t, &udp(&t, b"x")));
    assert_eq!(lab.only(&lab.up).p.ttl, 1);
}

/// An error to the uplink's address is about a connection behind it: it is carried on, or its time
/// is over. So is the first that is seen of a connection in its middle.
#[test]
fn section_5_3_1_what_the_uplink_address_only_stands_for_needs_a_ttl() {
    let mut cfg = switchd_tests::memory::config();
    cfg.tcp_pickup = true;
    let mut lab = Lab::ready_with(cfg);
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(WEB, 1, FAR, 2);
    let seen = pass(&mut lab, &web, &t, &udp(&t, b"x"), &up);
    let error = icmp(3, 3, [0; 4], &seen.bytes[14..42]);
    let outer = tuple(Proto::ICMP, (FAR, 0), (UP, 0));
    for (ttl, arrive) in [(2, 1), (1, 0), (0, 0)] {
        lab.send(&up, &up.routed(&Ip::ttl(ttl), &outer, &error));
        assert_eq!(lab.got(&web).len(), arrive, "ttl {ttl}");
        lab.silence();
    }
    assert_eq!(lab.drops(Reason::TtlExceeded), 2);

    lab.publish(Proto::TCP, (80, 80), (WEB, 80));
    let t = tcp_tuple(FAR, 5, UP, 80);
    let middle = tcp(&t, 1, 1, ACK, b"");
    lab.send(&up, &up.routed(&Ip::ttl(1), &t, &middle));
    assert_eq!(lab.only(&up).icmp(), (11, 0, [0; 4]));
    lab.silence();
    lab.send(&up, &up.routed(&Ip::ttl(2), &t, &middle));
    assert_eq!(lab.only(&web).p.ttl, 1);
}

/// So is what is for a published port, from its first packet on, and an answer to a container.
#[test]
fn section_5_3_1_what_is_passed_on_to_a_container_needs_a_ttl() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    lab.publish(Proto::TCP, (80, 80), (WEB, 80));
    lab.publish(Proto::UDP, (53, 53), (WEB, 53));
    let asks = udp_tuple(WEB, 1, FAR, 2);
    let seen = pass(&mut lab, &web, &asks, &udp(&asks, b"?"), &up);
    let answers = seen.tuple().reversed();
    let (t, u) = (tcp_tuple(FAR, 5, UP, 80), udp_tuple(FAR, 5, UP, 53));
    for (t, l4) in [
        (t, tcp(&t, 1, 0, SYN, b"")),
        (u, udp(&u, b"x")),
        (answers, udp(&answers, b"!")),
    ] {
        let known = lab.connections();
        lab.send(&up, &up.routed(&Ip::ttl(1), &t, &l4));
        assert_eq!(lab.only(&up).icmp(), (11, 0, [0; 4]), "{t:?}");
        lab.silence();
        assert_eq!(lab.connections(), known, "and opens nothing");
        lab.send(&up, &up.routed(&Ip::ttl(2), &t, &l4));
        assert_eq!(lab.only(&web).p.ttl, 1, "{t:?}");
    }
}

#[test]
fn section_5_2_3_a_packet_to_the_router_itself_needs_no_ttl() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    let t = tuple(Proto::ICMP, (WEB, 9), (GW, 0));
    lab.send(&web, &web.routed(&Ip::ttl(1), &t, &ping(9, 1, b"")));
    assert_eq!(lab.only(&web).l4(), pong(9, 1, b""));
}

#[test]
fn section_5_3_7_martians_are_dropped_and_not_answered() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let sources = [
        "127.0.0.1",
        "0.0.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
    ];
    for src in sources {
        let src: Ipv4Addr = src.parse().unwrap();
        for from in [&web, &up] {
            let t = udp_tuple(src, 1, if from.ip == WEB { FAR } else { UP }, 2);
            lab.send(from, &from.routed(&Ip::ttl(1), &t, &udp(&t, b"")));
        }
    }
    let t = udp_tuple(WEB, 1, Ipv4Addr::LOCALHOST, 2);
    lab.send(&web, &web.routed(&Ip::default(), &t, &udp(&t, b"")));
    // An inside address from outside, and the switch's own.
    for src in [WEB, UP, Ipv4Addr::new(192, 0, 2, 255)] {
        let t = udp_tuple(src, 1, Ipv4Addr::new(192, 0, 2, 1), 5_000);
        lab.send(&up, &up.routed(&Ip::ttl(1), &t, &udp(&t, b"")));
    }
    lab.silence();
    assert_eq!(lab.drops(Reason::Martian) + lab.drops(Reason::Land), 14);
}

#[test]
fn section_4_3_2_7_nothing_is_said_about_errors_groups_and_later_fragments() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let about = udp_tuple(FAR, 2, WEB, 1);
    let inner = ipv4(&Ip::default(), &about, &[0; 8]);
    for kind in [3, 4, 5, 11, 12] {
        let t = tuple(Proto::ICMP, (WEB, 0), (FAR, 0));
        let l4 = icmp(kind, 0, [0; 4], &inner);
        lab.send(&web, &web.routed(&Ip::ttl(1), &t, &l4));
    }
    for dst in [
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(10, 0, 0, 255),
        Ipv4Addr::new(239, 1, 1, 1),
    ] {
        let t = udp_tuple(WEB, 1, dst, 2);
        lab.send(&web, &web.routed(&Ip::ttl(1), &t, &udp(&t, b"")));
    }
    // A link broadcast that carries a unicast packet.
    let t = udp_tuple(PEER, 1, UP, 5_000);
    let f = eth(
        Mac::BROADCAST,
        mac(PEER),
        0x0800,
        &ipv4(&Ip::ttl(1), &t, &udp(&t, b"")),
    );
    lab.send(&up, &f);
    let t = udp_tuple(WEB, 1, FAR, 2);
    let whole = web.routed(
        &Ip {
            ttl: 1,
            ..Ip::may_fragment(5)
        },
        &t,
        &udp(&t, &[0; 64]),
    );
    lab.send(&web, &fragments(&whole, 32)[1]);
    lab.silence();
}

#[test]
fn section_4_3_2_3_an_error_quotes_what_fits_in_576_bytes() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    let t = udp_tuple(WEB, 1, FAR, 2);
    for (len, quoted) in [(0, 28), (100, 128), (1_400, 548)] {
        let f = web.routed(&Ip::ttl(1), &t, &udp(&t, &vec![7; len]));
        lab.send(&web, &f);
        let e = lab.only(&web);
        assert_eq!(e.quoted(), &f[14..14 + quoted], "as it came in");
        assert_eq!(e.p.ttl, 64);
    }
}

#[test]
fn section_4_3_2_5_an_error_has_precedence_6() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    let t = udp_tuple(WEB, 1, FAR, 2);
    let ip = Ip {
        tos: 0x10,
        ..Ip::ttl(1)
    };
    lab.send(&web, &web.routed(&ip, &t, &udp(&t, b"")));
    assert_eq!(lab.only(&web).bytes[15] & 0xe0, 0xc0);
}

#[test]
fn section_4_3_2_8_errors_are_limited_in_rate() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    let t = udp_tuple(WEB, 1, FAR, 2);
    let f = web.routed(&Ip::ttl(1), &t, &udp(&t, b""));
    for _ in 0..1_000 {
        web.port.push(0, &f, dataplane::frame::VnetHdr::PLAIN);
    }
    lab.run();
    assert_eq!(lab.got(&web).len(), 250, "the burst");
    lab.wait(Duration::from_millis(10));
    for _ in 0..1_000 {
        web.port.push(0, &f, dataplane::frame::VnetHdr::PLAIN);
    }
    lab.run();
    assert_eq!(lab.got(&web).len(), 10, "1,000 in a second");
    // Nobody else is silenced by that.
    let db = lab.db.clone();
    let t = udp_tuple(DB, 1, FAR, 2);
    lab.send(&db, &db.routed(&Ip::ttl(1), &t, &udp(&t, b"")));
    assert_eq!(lab.only(&db).icmp(), (11, 0, [0; 4]));
}

#[test]
fn section_5_3_4_link_broadcasts_are_not_routed() {
    let mut lab = Lab::ready();
    let up = lab.up.clone();
    let t = udp_tuple(PEER, 1, UP, 5_000);
    let l4 = udp(&t, b"");
    for dst in [Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1])] {
        lab.send(
            &up,
            &eth(dst, mac(PEER), 0x0800, &ipv4(&Ip::default(), &t, &l4)),
        );
    }
    lab.silence();
    assert_eq!(lab.drops(Reason::NotRouted), 2);
}

#[test]
fn section_5_3_5_directed_broadcasts_are_not_forwarded() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    for dst in [Ipv4Addr::new(10, 0, 0, 255), Ipv4Addr::new(192, 0, 2, 255)] {
        let t = udp_tuple(WEB, 1, dst, 9);
        lost(&mut lab, &web, &t, &udp(&t, b""));
        let t = udp_tuple(FAR, 1, dst, 9);
        lost(&mut lab, &up, &t, &udp(&t, b""));
    }
    assert_eq!(lab.drops(Reason::GroupDestination), 4);
}

#[test]
fn section_3_3_2_a_destination_that_does_not_answer_is_unreachable_3_1() {
    let mut lab = Lab::default();
    let web = lab.web.clone();
    let t = udp_tuple(WEB, 1, FAR, 9);
    lab.route(&web, &t, &udp(&t, b"x"));
    lab.wait(Duration::from_secs(5));
    let e = lab.only(&web);
    assert_eq!((e.icmp(), e.inner().tuple), ((3, 1, [0; 4]), t));
    assert_eq!(lab.drops(Reason::HostUnreachable), 1);
}

#[test]
fn section_5_2_7_1_no_route_is_told_by_3_0_and_a_closed_port_by_3_3() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    let t = udp_tuple(WEB, 1, UP, 4_000);
    assert_eq!(pass(&mut lab, &web, &t, &udp(&t, b""), &web).icmp().1, 3);
    let mut cfg = switchd_tests::memory::config();
    cfg.uplink = None;
    let mut lab = Lab::new(cfg);
    let web = lab.web.clone();
    let t = udp_tuple(WEB, 1, FAR, 9);
    assert_eq!(
        pass(&mut lab, &web, &t, &udp(&t, b""), &web).icmp(),
        (3, 0, [0; 4])
    );
}

/// RFC 9293 section 3.10.7.1, RFC 1122 sections 3.2.2.1 and 4.1.3.1: each protocol has its way to
/// say that nobody listens, and what came damaged is not worth an answer (RFC 1122 section 4.1.3.4).
#[test]
fn rfc_1122_4_1_3_1_a_closed_port_says_so_in_its_own_way() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    let (t, u) = (tcp_tuple(WEB, 1, UP, 4_000), udp_tuple(WEB, 1, UP, 4_000));
    let segment = tcp(&t, 100, 0, SYN, b"");
    let reset = pass(&mut lab, &web, &t, &segment, &web);
    assert_eq!(reset.tuple(), t.reversed());
    assert_eq!(reset.p.tcp.flags, RST | ACK);
    let datagram = udp(&u, b"data");
    let error = pass(&mut lab, &web, &u, &datagram, &web);
    assert_eq!((error.icmp(), error.tuple().src), ((3, 3, [0; 4]), UP));
    let gre = tuple(Proto(47), (WEB, 0), (UP, 0));
    let error = pass(&mut lab, &web, &gre, &[0; 20], &web);
    assert_eq!(error.icmp(), (3, 2, [0; 4]));

    let damaged = |l4: &[u8]| {
        let mut l4 = l4.to_vec();
        *l4.last_mut().expect("a byte") ^= 1;
        l4
    };
    lost(&mut lab, &web, &t, &damaged(&segment));
    lost(&mut lab, &web, &u, &damaged(&datagram));
    // A datagram may be shorter than its packet: its own length is what the checksum is about.
    let behind = [datagram.as_slice(), &[9; 16]].concat();
    assert_eq!(pass(&mut lab, &web, &u, &behind, &web).icmp().0, 3);
    let mut shorter = behind;
    let (length, sum) = (shorter[5], u16::from_be_bytes([shorter[6], shorter[7]]));
    shorter[5] = length + 16;
    shorter[6..8].copy_from_slice(&sum.wrapping_sub(16).to_be_bytes());
    lost(&mut lab, &web, &u, &shorter);
    let long = tcp(&t, 100, 0, SYN, &[0; 60]);
    let whole = lab.web.routed(&Ip::may_fragment(7), &t, &long);
    for part in fragments(&whole, 40).into_iter().rev() {
        lab.send(&web, &part);
    }
    assert_eq!(
        lab.only(&web).icmp(),
        (3, 3, [0; 4]),
        "its end is not known"
    );
    lab.silence();
}

/// On a shared link the shorter way is not told: as on docker0, both hosts are one hop away.
#[test]
fn section_5_2_7_2_a_packet_back_to_its_own_link_is_forwarded_without_a_redirect() {
    let mut lab = Lab::ready();
    let (web, db) = (lab.web.clone(), lab.db.clone());
    let t = udp_tuple(WEB, 1, DB, 2);
    let seen = pass(&mut lab, &web, &t, &udp(&t, b"x"), &db);
    assert_eq!((seen.tuple(), seen.p.ttl), (t, 63));
}

#[test]
fn section_4_2_2_1_options_pass_through_unchanged() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    // Router alert, timestamp, record route, an unknown one, no-operations.
    for options in [
        vec![148, 4, 0, 0],
        vec![68, 8, 5, 0, 0, 0, 0, 0],
        vec![7, 7, 4, 0, 0, 0, 0],
        vec![0x1e, 4, 9, 9],
        vec![1, 1, 1],
    ] {
        let t = udp_tuple(WEB, 1, FAR, 2);
        let ip = Ip {
            options: options.clone(),
            ..Ip::default()
        };
        lab.send(&web, &web.routed(&ip, &t, &udp(&t, b"x")));
        let seen = lab.only(&up);
        assert_eq!(seen.bytes[34..34 + options.len()], options);
        assert_eq!(seen.data(), b"x");
    }
}

#[test]
fn rfc_7126_source_routes_are_refused_from_both_sides() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    for kind in [131, 137] {
        let ip = Ip {
            options: vec![1, kind, 7, 4, 198, 51, 100, 9],
            ..Ip::default()
        };
        let t = udp_tuple(WEB, 1, FAR, 2);
        lab.send(&web, &web.routed(&ip, &t, &udp(&t, b"x")));
        let t = udp_tuple(FAR, 1, UP, 5_000);
        lab.send(&up, &up.routed(&ip, &t, &udp(&t, b"x")));
    }
    lab.silence();
    assert_eq!(lab.drops(Reason::SourceRoute), 4);
    let ip = Ip {
        options: vec![7, 90, 4, 0],
        ..Ip::default()
    };
    let t = udp_tuple(WEB, 1, FAR, 2);
    lab.send(&web, &web.routed(&ip, &t, &udp(&t, b"x")));
    assert_eq!(lab.drops(Reason::BadOptions), 1);
}

#[test]
fn rfc_1122_3_2_2_6_echo_is_answered_with_all_its_data() {
    let mut lab = Lab::ready();
    for from in [lab.web.clone(), lab.up.clone()] {
        let to = if from.ip == WEB { GW } else { UP };
        let t = tuple(Proto::ICMP, (from.ip, 3), (to, 0));
        let data: Vec<u8> = (0..1_400u32).map(|n| n as u8).collect();
        let a = pass(&mut lab, &from, &t, &ping(3, 4, &data), &from);
        assert_eq!((a.l4(), a.tuple().src), (&pong(3, 4, &data)[..], to));
    }
}

#[test]
fn rfc_1122_3_2_2_6_echo_to_a_group_is_not_answered() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    for dst in [Ipv4Addr::new(10, 0, 0, 255), Ipv4Addr::new(224, 0, 0, 1)] {
        let t = tuple(Proto::ICMP, (WEB, 3), (dst, 0));
        lost(&mut lab, &web, &t, &ping(3, 1, b""));
    }
    let t = tuple(Proto::ICMP, (PEER, 3), (Ipv4Addr::new(192, 0, 2, 255), 0));
    lost(&mut lab, &up, &t, &ping(3, 1, b""));
}

#[test]
fn rfc_792_an_echo_of_a_wrong_checksum_is_not_answered() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    let t = tuple(Proto::ICMP, (WEB, 3), (GW, 0));
    let mut l4 = ping(3, 1, b"data");
    l4[9] ^= 1;
    lost(&mut lab, &web, &t, &l4);
    assert_eq!(lab.drops(Reason::IcmpChecksum), 1);
    assert_eq!(lab.got(&lab.db).len(), 0, "{DB}");
}
