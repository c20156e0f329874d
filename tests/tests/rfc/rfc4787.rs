//! RFC 4787: unicast UDP through a NAT.

use crate::common::{about, arrives, lost, narrow_uplink, pass, s, sleep};
use dataplane::base::{Proto, Reason, Tuple};
use std::collections::HashSet;
use std::net::Ipv4Addr;
use switchd_tests::memory::check::is_fragment;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{DB, FAR, Lab, PEER, UP, WEB, config};

const THIRD: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

/// The external port of a UDP endpoint towards some destination.
#[track_caller]
fn mapped(lab: &mut Lab, t: &Tuple) -> (Ipv4Addr, u16) {
    let from = if t.src == WEB { &lab.web } else { &lab.db }.clone();
    let up = lab.up.clone();
    let seen = pass(lab, &from, t, &udp(t, b"q"), &up).tuple();
    (seen.src, seen.sport)
}

#[test]
fn req_1_one_mapping_for_every_destination() {
    let mut lab = Lab::ready();
    // DB has the number already, so WEB's mapping is none of its own port.
    mapped(&mut lab, &udp_tuple(DB, 4_000, FAR, 53));
    let first = mapped(&mut lab, &udp_tuple(WEB, 4_000, FAR, 53));
    assert_ne!(first.1, 4_000);
    for (dst, dport) in [(FAR, 54), (PEER, 53), (THIRD, 9)] {
        assert_eq!(mapped(&mut lab, &udp_tuple(WEB, 4_000, dst, dport)), first);
    }
    assert_eq!(lab.sw.switch().external.mappings(), 2);
}

#[test]
fn req_2_all_mappings_of_a_host_have_one_address() {
    let mut lab = Lab::ready();
    let addresses: HashSet<Ipv4Addr> = (0..50)
        .map(|n| mapped(&mut lab, &udp_tuple(WEB, 4_000 + n, FAR, 53)).0)
        .collect();
    assert_eq!(addresses, HashSet::from([UP]));
}

#[test]
fn req_3_no_port_serves_two_endpoints() {
    let mut lab = Lab::ready();
    let mut seen = HashSet::new();
    for n in 0..200 {
        assert!(seen.insert(mapped(&mut lab, &udp_tuple(WEB, 4_000 + n, FAR, 53))));
        assert!(seen.insert(mapped(&mut lab, &udp_tuple(DB, 4_000 + n, PEER, 53))));
    }
}

#[test]
fn req_3a_low_ports_map_to_low_ports_and_high_to_high() {
    let mut lab = Lab::ready();
    for port in [1, 53, 1_023, 1_024, 5_060, 65_535] {
        for src in [WEB, DB] {
            let (_, external) = mapped(&mut lab, &udp_tuple(src, port, FAR, 53));
            assert_eq!(external < 1_024, port < 1_024, "{port} -> {external}");
        }
    }
}

#[test]
fn req_4_the_parity_of_a_port_is_kept() {
    let mut lab = Lab::ready();
    for port in 6_000..6_100 {
        for src in [WEB, DB] {
            let (_, external) = mapped(&mut lab, &udp_tuple(src, port, FAR, 53));
            assert_eq!(external % 2, port % 2);
        }
    }
}

#[test]
fn req_5_a_mapping_outlives_two_minutes_of_silence() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(WEB, 4_000, FAR, 53);
    mapped(&mut lab, &t);
    sleep(&mut lab, s(119));
    let back = udp_tuple(FAR, 53, UP, 4_000);
    assert!(arrives(&mut lab, &up, &back, &udp(&back, b"a"), &web));
}

#[test]
fn req_5c_five_minutes_by_default() {
    for (silence, alive) in [(299, true), (300, false)] {
        let mut lab = Lab::ready();
        let (web, up) = (lab.web.clone(), lab.up.clone());
        mapped(&mut lab, &udp_tuple(WEB, 4_000, FAR, 53));
        sleep(&mut lab, s(silence));
        let back = udp_tuple(FAR, 53, UP, 4_000);
        assert_eq!(
            arrives(&mut lab, &up, &back, &udp(&back, b"a"), &web),
            alive
        );
    }
}

#[test]
fn req_6_outbound_packets_alone_keep_a_mapping() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    mapped(&mut lab, &udp_tuple(DB, 4_000, FAR, 53));
    let t = udp_tuple(WEB, 4_000, FAR, 53);
    let first = mapped(&mut lab, &t);
    for _ in 0..5 {
        sleep(&mut lab, s(250));
        assert_eq!(mapped(&mut lab, &t), first, "never answered");
    }
    let back = udp_tuple(FAR, 53, first.0, first.1);
    assert!(arrives(&mut lab, &up, &back, &udp(&back, b"a"), &web));
}

/// The declared behaviour: address and port-dependent filtering, as netfilter's.
#[test]
fn req_8_only_who_was_spoken_to_gets_in() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    mapped(&mut lab, &udp_tuple(WEB, 4_000, FAR, 53));
    for (src, sport) in [(FAR, 54), (PEER, 53), (THIRD, 53)] {
        let t = udp_tuple(src, sport, UP, 4_000);
        lost(&mut lab, &up, &t, &udp(&t, b"evil"));
    }
    assert_eq!(lab.drops(Reason::NotPublished), 3);
    let t = udp_tuple(FAR, 53, UP, 4_000);
    assert!(arrives(&mut lab, &up, &t, &udp(&t, b"good"), &web));
    // It makes no difference what is spoken to after that.
    mapped(&mut lab, &udp_tuple(WEB, 4_000, PEER, 53));
    let t = udp_tuple(PEER, 53, UP, 4_000);
    assert!(arrives(&mut lab, &up, &t, &udp(&t, b"good"), &web));
}

#[test]
fn req_9a_a_hairpinned_packet_comes_from_the_external_endpoint() {
    let mut lab = Lab::ready();
    let (db, web) = (lab.db.clone(), lab.web.clone());
    let outside = mapped(&mut lab, &udp_tuple(DB, 4_000, FAR, 53));
    let t = udp_tuple(DB, 4_000, UP, 5_000);
    let seen = pass(&mut lab, &db, &t, &udp(&t, b"x"), &web).tuple();
    assert_eq!((seen.src, seen.sport), outside, "the same mapping");
    assert_eq!((seen.dst, seen.dport), (WEB, 80));
    let back = seen.reversed();
    let answer = pass(&mut lab, &web, &back, &udp(&back, b"y"), &db);
    assert_eq!(answer.tuple(), t.reversed());
}

#[test]
fn req_10_no_payload_is_changed() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let sip = b"INVITE sip:a@198.51.100.7 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2:5060\r\n\
        Contact: <sip:b@10.0.0.2:5060>\r\n\r\nc=IN IP4 10.0.0.2\r\nm=audio 4000 RTP/AVP 0\r\n";
    for port in [5_060, 53, 69, 161] {
        let t = udp_tuple(WEB, port, FAR, port);
        assert_eq!(pass(&mut lab, &web, &t, &udp(&t, sip), &up).data(), sip);
    }
    // Nor does it open a door: the media port that it names is closed.
    let t = udp_tuple(FAR, 9, UP, 4_000);
    lost(&mut lab, &up, &t, &udp(&t, b"rtp"));
    let ftp = tcp_tuple(WEB, 2_000, FAR, 21);
    let c = crate::common::open(&mut lab, &web, &ftp, &up);
    let command = b"PORT 10,0,0,2,15,160\r\n";
    let l4 = tcp(&c.out, 101, 901, ACK | PSH, command);
    assert_eq!(pass(&mut lab, &web, &c.out, &l4, &up).data(), command);
    let t = tcp_tuple(FAR, 20, UP, 4_000);
    lost(&mut lab, &up, &t, &tcp(&t, 1, 0, SYN, b""));
}

/// At 99 % of the connections and then of the ports: mappings, refresh and filtering as before.
#[test]
fn req_11_the_behaviour_does_not_change_when_the_table_fills() {
    let mut cfg = config();
    cfg.limits.connections = 2_000;
    let mut lab = Lab::ready_with(cfg);
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(WEB, 4_000, FAR, 53);
    mapped(&mut lab, &udp_tuple(DB, 4_000, FAR, 53));
    let first = mapped(&mut lab, &t);
    for n in 0..1_978 {
        mapped(&mut lab, &udp_tuple(DB, 6_000 + n, FAR, 53));
    }
    assert_eq!(lab.connections(), 1_980);
    for (dst, dport) in [(FAR, 54), (PEER, 53), (THIRD, 9)] {
        assert_eq!(mapped(&mut lab, &udp_tuple(WEB, 4_000, dst, dport)), first);
    }
    let (_, odd) = mapped(&mut lab, &udp_tuple(WEB, 6_001, FAR, 53));
    assert_eq!(odd % 2, 1);
    let stranger = udp_tuple(FAR, 55, first.0, first.1);
    lost(&mut lab, &up, &stranger, &udp(&stranger, b""));
    let back = udp_tuple(FAR, 53, first.0, first.1);
    assert!(arrives(&mut lab, &up, &back, &udp(&back, b"a"), &web));
}

#[test]
fn req_12_icmp_never_ends_a_mapping() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(WEB, 4_000, FAR, 53);
    let seen = pass(&mut lab, &web, &t, &udp(&t, b"question"), &up);
    let outer = tuple(Proto::ICMP, (PEER, 0), (UP, 0));
    for (kind, code) in [(3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (3, 13), (11, 0)] {
        let e = pass(
            &mut lab,
            &up,
            &outer,
            &about(&seen, (kind, code), [0, 0, 2, 0x40], 28),
            &web,
        );
        assert_eq!(
            ((e.icmp().0, e.icmp().1), e.inner().tuple),
            ((kind, code), t)
        );
    }
    let back = seen.tuple().reversed();
    assert!(arrives(&mut lab, &up, &back, &udp(&back, b"a"), &web));
}

#[test]
fn req_12b_an_inbound_destination_unreachable_is_translated() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(WEB, 4_000, FAR, 9);
    let seen = pass(&mut lab, &web, &t, &udp(&t, b"question"), &up);
    let outer = tuple(Proto::ICMP, (FAR, 0), (UP, 0));
    let e = pass(
        &mut lab,
        &up,
        &outer,
        &about(&seen, (3, 3), [0; 4], 28),
        &web,
    );
    assert_eq!((e.tuple().src, e.tuple().dst), (FAR, WEB));
    assert_eq!(e.quoted()[28 - 8..], udp(&t, b"question")[..8]);
}

#[test]
fn req_13_dont_fragment_gets_fragmentation_needed() {
    let mut lab = Lab::ready_with(narrow_uplink(1_280));
    let web = lab.web.clone();
    let t = udp_tuple(WEB, 4_000, FAR, 53);
    let e = pass(&mut lab, &web, &t, &udp(&t, &[1; 1_300]), &web);
    assert_eq!(e.icmp(), (3, 4, [0, 0, 5, 0]));
    assert_eq!(e.inner().tuple, t);
}

#[test]
fn req_13a_without_dont_fragment_the_pieces_leave_in_order() {
    let mut lab = Lab::ready_with(narrow_uplink(1_280));
    let web = lab.web.clone();
    let t = udp_tuple(WEB, 4_000, FAR, 53);
    let f = web.routed(&Ip::may_fragment(3), &t, &udp(&t, &[1; 1_472]));
    lab.send(&web, &f);
    let got = lab.got(&lab.up);
    assert!(got.len() > 1 && got.iter().all(|g| is_fragment(&g.p) && g.p.l3_len <= 1_280));
    assert!(got.is_sorted_by_key(|g| g.p.frag_off));
}
