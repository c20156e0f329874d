//! The switch as an IPv4 router: TTL, echo, errors about what it can't forward, fragmentation.

use dataplane::base::{Config, Mac, Proto, Reason, Tuple};
use dataplane::frame::L4;
use dataplane::port::Caps;
use std::net::Ipv4Addr;
use std::time::Duration;
use switchd_tests::memory::check::{Seen, is_fragment};
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{DB, FAR, GW, Host, Lab, PEER, UP, WEB, config, mac};

fn narrow_uplink(mtu: u16) -> Config {
    let mut cfg = config();
    cfg.uplink = cfg.uplink.map(|mut u| {
        u.mtu = mtu;
        u
    });
    cfg
}

fn to_far(sport: u16) -> Tuple {
    tuple(Proto::UDP, (WEB, sport), (FAR, 53))
}

/// The error that `web` got, and the packet that it quotes.
#[track_caller]
fn error_at(lab: &Lab, at: &Host) -> (Seen, (u8, u8)) {
    let s = lab.only(at);
    assert_eq!(s.p.l4, L4::IcmpError, "{s:?}");
    assert_eq!(s.tuple().dst, at.ip);
    let (kind, code, _) = s.icmp();
    (s, (kind, code))
}

#[test]
fn every_router_hop_costs_one_ttl_and_bridging_none() {
    let mut lab = Lab::ready();
    let t = to_far(1);
    for ttl in [2, 3, 64, 255] {
        let f = lab.web.routed(&Ip::ttl(ttl), &t, &udp(&t, b"x"));
        lab.send(&lab.web.clone(), &f);
        assert_eq!(lab.only(&lab.up).p.ttl, ttl - 1);
    }
    let t = tuple(Proto::UDP, (WEB, 1), (DB, 1));
    let f = eth(
        mac(DB),
        mac(WEB),
        0x0800,
        &ipv4(&Ip::ttl(1), &t, &udp(&t, b"")),
    );
    lab.send(&lab.web.clone(), &f);
    assert_eq!(lab.only(&lab.db).bytes, f);
}

#[test]
fn a_ttl_that_runs_out_is_told_to_the_sender_on_either_side() {
    let mut lab = Lab::ready();
    let t = to_far(1);
    for ttl in [0, 1] {
        let f = lab.web.routed(&Ip::ttl(ttl), &t, &udp(&t, b"lost"));
        lab.send(&lab.web.clone(), &f);
        let (e, kind) = error_at(&lab, &lab.web);
        assert_eq!((kind, e.tuple().src), ((11, 0), GW));
        assert_eq!(e.quoted(), &f[14..], "all of it, as it came");
    }
    let t = tuple(Proto::TCP, (PEER, 9), (UP, 5000));
    let f = lab.up.routed(&Ip::ttl(1), &t, &tcp(&t, 1, 0, SYN, b""));
    lab.send(&lab.up.clone(), &f);
    let (e, kind) = error_at(&lab, &lab.up);
    assert_eq!((kind, e.tuple().src), ((11, 0), UP));
    assert_eq!(lab.connections(), 0, "it opened nothing");
}

#[test]
fn the_gateway_and_the_uplink_address_answer_echo() {
    let mut lab = Lab::ready();
    for (from, to) in [
        (lab.web.clone(), GW),
        (lab.web.clone(), UP),
        (lab.up.clone(), UP),
    ] {
        let t = tuple(Proto::ICMP, (from.ip, 77), (to, 0));
        lab.route(&from, &t, &ping(77, 3, b"are you there"));
        let s = lab.only(&from);
        assert_eq!((s.tuple().src, s.tuple().dst), (to, from.ip));
        assert_eq!(s.l4(), pong(77, 3, b"are you there"));
        lab.silence();
    }
    assert_eq!(lab.connections(), 0);
    // A TTL of 1 is enough to reach the router itself.
    let t = tuple(Proto::ICMP, (WEB, 77), (GW, 0));
    let f = lab.web.routed(&Ip::ttl(1), &t, &ping(77, 4, b""));
    lab.send(&lab.web.clone(), &f);
    assert_eq!(lab.only(&lab.web).p.l4, L4::EchoReply);
}

#[test]
fn large_fragmented_pings_to_the_uplink_address_are_answered_from_both_sides() {
    for id in [0x1234, 0] {
        for outside in [false, true] {
            let mut lab = Lab::ready();
            let from = if outside {
                lab.up.clone()
            } else {
                lab.web.clone()
            };
            let t = tuple(Proto::ICMP, (from.ip, id), (UP, 0));
            let data: Vec<u8> = (0..8_000u32).map(|n| (n % 253) as u8).collect();
            let whole = from.routed(&Ip::may_fragment(55), &t, &ping(id, 1, &data));
            let mut parts = fragments(&whole, 1_480);
            parts.rotate_left(2);
            for f in &parts {
                lab.send(&from, f);
            }
            let back: Vec<Vec<u8>> = lab.got(&from).into_iter().map(|s| s.bytes).collect();
            assert_eq!(back.len(), parts.len(), "id {id:#x}, outside {outside}");
            let answer = reassemble(&back).expect("no hole");
            assert_eq!(&answer[34..], pong(id, 1, &data));
            lab.silence();
        }
    }
}

#[test]
fn fragmented_pings_to_the_gateway_reach_the_host_whole() {
    // The host behind sw0 has the gateway's address, so its own stack puts them together.
    let mut lab = Lab::ready();
    let t = tuple(Proto::ICMP, (WEB, 5), (GW, 0));
    let whole = lab
        .web
        .routed(&Ip::may_fragment(9), &t, &ping(5, 1, &[7; 4_000]));
    for f in fragments(&whole, 1_480) {
        lab.send(&lab.web.clone(), &f);
    }
    let there: Vec<Vec<u8>> = lab.got(&lab.host).into_iter().map(|s| s.bytes).collect();
    assert_eq!(reassemble(&there).unwrap()[34..], whole[34..]);
}

#[test]
fn services_of_the_host_on_the_gateways_address_are_reached() {
    let mut lab = Lab::ready();
    let t = tuple(Proto::TCP, (WEB, 4_444), (GW, 22));
    lab.route(&lab.web.clone(), &t, &tcp(&t, 1, 0, SYN, b""));
    let s = lab.only(&lab.host);
    assert_eq!((s.tuple(), s.p.ttl), (t, 64), "delivered, not routed");
    let back = t.reversed();
    let f = eth(
        mac(WEB),
        mac(GW),
        0x0800,
        &ipv4(&Ip::default(), &back, &tcp(&back, 9, 2, SYN | ACK, b"")),
    );
    lab.send(&lab.host.clone(), &f);
    assert_eq!(lab.only(&lab.web).tuple(), back);
}

#[test]
fn fragmentation_needed_names_the_mtu_of_the_uplink() {
    let mut lab = Lab::ready_with(narrow_uplink(1_280));
    let t = to_far(1);
    let big = lab.web.routed(&Ip::default(), &t, &udp(&t, &[1; 1_253]));
    lab.send(&lab.web.clone(), &big);
    let (e, kind) = error_at(&lab, &lab.web);
    assert_eq!(kind, (3, 4));
    assert_eq!(u16::from_be_bytes([e.icmp().2[2], e.icmp().2[3]]), 1_280);
    assert_eq!(e.inner().tuple, t);
    assert_eq!(e.p.l3_len, 576);
    assert_eq!(lab.drops(Reason::MtuExceeded), 1);
    // One byte less fits.
    lab.route(&lab.web.clone(), &t, &udp(&t, &[1; 1_252]));
    assert_eq!(lab.only(&lab.up).p.l3_len, 1_280);
}

#[test]
fn superframes_are_compared_by_segment_size() {
    for caps in [Caps::ALL, Caps::NONE] {
        let mut lab = Lab::ready_with(narrow_uplink(1_280));
        lab.up.port.set_caps(caps);
        let t = tuple(Proto::TCP, (WEB, 1), (FAR, 80));
        lab.route(&lab.web.clone(), &t, &tcp(&t, 99, 0, SYN, b""));
        let back = lab.only(&lab.up).tuple().reversed();
        lab.route(&lab.up.clone(), &back, &tcp(&back, 9, 100, SYN | ACK, b""));
        lab.clear();
        let data = vec![5; 30_000];
        let f = lab
            .web
            .routed(&Ip::default(), &t, &tcp(&t, 100, 10, ACK, &data));
        let (bytes, hdr) = superframe(&f, &t, 1_240);
        lab.send_hdr(&lab.web.clone(), &bytes, hdr);
        let got = lab.got(&lab.up);
        assert_eq!(got.iter().map(|s| s.data().len()).sum::<usize>(), 30_000);
        assert!(got.iter().all(|s| s.p.wire_len <= 1_280));
        let (bytes, hdr) = superframe(&f, &t, 1_241);
        lab.send_hdr(&lab.web.clone(), &bytes, hdr);
        let (e, kind) = error_at(&lab, &lab.web);
        assert_eq!((kind, e.inner().tuple), ((3, 4), t));
        lab.silence();
    }
}

#[test]
fn without_dont_fragment_the_switch_fragments() {
    let mut lab = Lab::ready_with(narrow_uplink(1_280));
    let t = to_far(1);
    let data: Vec<u8> = (0..5_000u32).map(|n| (n % 249) as u8).collect();
    let mut ids = Vec::new();
    for id in 0..2 {
        let f = lab
            .web
            .routed(&Ip::may_fragment(id), &t, &udp(&t, &data[..1_400]));
        lab.send(&lab.web.clone(), &f);
        let got = lab.got(&lab.up);
        assert_eq!(got.len(), 2);
        assert!(
            got.iter()
                .all(|s| s.p.l3_len <= 1_280 && s.tuple().src == UP)
        );
        ids.push(got[0].p.ip_id);
        let parts: Vec<Vec<u8>> = got.into_iter().map(|s| s.bytes).collect();
        let whole = reassemble(&parts).unwrap();
        let out = tuple(Proto::UDP, (UP, 1), (FAR, 53));
        assert_eq!(whole[34..], udp(&out, &data[..1_400]), "checksum included");
    }
    assert_ne!(ids[0], ids[1]);
    // A UDP superframe of datagrams that are too long each becomes fragments of each.
    let f = lab.web.routed(&Ip::may_fragment(9), &t, &udp(&t, &data));
    let (bytes, hdr) = superframe(&f, &t, 1_400);
    lab.send_hdr(&lab.web.clone(), &bytes, hdr);
    let got = lab.got(&lab.up);
    let mut by_id: std::collections::BTreeMap<u16, Vec<Vec<u8>>> = Default::default();
    for s in got.iter().filter(|s| is_fragment(&s.p)) {
        by_id.entry(s.p.ip_id).or_default().push(s.bytes.clone());
    }
    assert_eq!(by_id.len(), 3, "three of 1,400 bytes and one of 800");
    for parts in by_id.values() {
        assert_eq!(reassemble(parts).expect("no hole").len(), 34 + 8 + 1_400);
    }
    assert_eq!(got.iter().filter(|s| !is_fragment(&s.p)).count(), 1);
}

#[test]
fn fragments_are_cut_further_where_the_next_wire_is_narrower() {
    let mut lab = Lab::ready_with(narrow_uplink(600));
    let t = to_far(1);
    let data: Vec<u8> = (0..4_000u32).map(|n| (n % 247) as u8).collect();
    let whole = lab.web.routed(&Ip::may_fragment(3), &t, &udp(&t, &data));
    let mut parts = fragments(&whole, 1_480);
    parts.reverse();
    for f in &parts {
        lab.send(&lab.web.clone(), f);
    }
    let got = lab.got(&lab.up);
    assert!(got.len() > 6 && got.iter().all(|s| s.p.l3_len <= 600));
    let got: Vec<Vec<u8>> = got.into_iter().map(|s| s.bytes).collect();
    let out = tuple(Proto::UDP, (UP, 1), (FAR, 53));
    assert_eq!(reassemble(&got).expect("no hole")[34..], udp(&out, &data));
    // The answers' fragments come in as they are.
    let back = out.reversed();
    let whole = lab
        .up
        .routed(&Ip::may_fragment(4), &back, &udp(&back, &data));
    for f in fragments(&whole, 576) {
        lab.send(&lab.up.clone(), &f);
    }
    let got: Vec<Vec<u8>> = lab.got(&lab.web).into_iter().map(|s| s.bytes).collect();
    let inside = t.reversed();
    assert_eq!(
        reassemble(&got).expect("no hole")[34..],
        udp(&inside, &data)
    );
}

#[test]
fn errors_are_limited_in_rate() {
    let mut lab = Lab::ready();
    let t = to_far(1);
    let f = lab.web.routed(&Ip::ttl(1), &t, &udp(&t, b""));
    let burst = |lab: &mut Lab| {
        for _ in 0..2_000 {
            lab.web.port.push(0, &f, dataplane::frame::VnetHdr::PLAIN);
        }
        lab.run();
        lab.got(&lab.web).len()
    };
    let first = burst(&mut lab);
    assert!((1..1_000).contains(&first), "{first}");
    assert_eq!(lab.drops(Reason::TtlExceeded), 2_000);
    lab.wait(Duration::from_millis(100));
    let second = burst(&mut lab);
    assert!((1..=first).contains(&second), "{second}");
}

#[test]
fn nothing_is_said_about_errors_groups_and_later_fragments() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    // An ICMP error whose time runs out.
    let inner = ipv4(&Ip::default(), &to_far(1).reversed(), &[0; 8]);
    let t = tuple(Proto::ICMP, (WEB, 0), (FAR, 0));
    let f = web.routed(&Ip::ttl(1), &t, &icmp(3, 3, [0; 4], &inner));
    lab.send(&web, &f);
    // A later fragment whose time runs out, after its first passed.
    let t = to_far(1);
    let whole = web.routed(&Ip::may_fragment(3), &t, &udp(&t, &[0; 64]));
    let mut parts = fragments(&whole, 32);
    lab.send(&web, &parts[0]);
    lab.clear();
    parts[1][22] = 1;
    parts[1][24..26].copy_from_slice(&[0, 0]);
    let sum = !naive_sum(&[&parts[1][14..34]]);
    parts[1][24..26].copy_from_slice(&sum.to_be_bytes());
    lab.send(&web, &parts[1]);
    assert_eq!(lab.drops(Reason::TtlExceeded), 2);
    // Broadcast and multicast, by IP and by MAC, from either side.
    let groups = [
        Ipv4Addr::new(224, 0, 0, 9),
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(10, 0, 0, 255),
        Ipv4Addr::new(192, 0, 2, 255),
    ];
    for dst in groups {
        let t = tuple(Proto::UDP, (WEB, 1), (dst, 9));
        lab.route(&web, &t, &udp(&t, b""));
        let t = tuple(Proto::UDP, (PEER, 1), (dst, 9));
        lab.route(&up, &t, &udp(&t, b""));
    }
    let t = tuple(Proto::TCP, (PEER, 1), (UP, 4_000));
    let l4 = tcp(&t, 1, 0, SYN, b"");
    let f = eth(
        Mac::BROADCAST,
        mac(PEER),
        0x0800,
        &ipv4(&Ip::ttl(1), &t, &l4),
    );
    lab.send(&up, &f);
    // To the outside nothing is said about ports that nobody published.
    lab.route(&up, &t, &l4);
    lab.silence();
    assert_eq!(lab.sw.totals().consumed, 1, "the first ARP answer");
}

#[test]
fn inside_a_closed_port_and_a_missing_uplink_are_told() {
    let mut lab = Lab::ready();
    let t = tuple(Proto::UDP, (WEB, 1), (UP, 4_000));
    lab.route(&lab.web.clone(), &t, &udp(&t, b""));
    assert_eq!(error_at(&lab, &lab.web).1, (3, 3));
    let mut cfg = config();
    cfg.uplink = None;
    let mut lab = Lab::new(cfg);
    let t = to_far(1);
    lab.route(&lab.web.clone(), &t, &udp(&t, b""));
    assert_eq!(error_at(&lab, &lab.web).1, (3, 0));
}

#[test]
fn options_pass_but_source_routes_do_not() {
    let mut lab = Lab::ready();
    let t = to_far(1);
    let ip = Ip {
        options: vec![148, 4, 0, 0], // router alert
        ..Ip::default()
    };
    let f = lab.web.routed(&ip, &t, &udp(&t, b"x"));
    for _ in 0..2 {
        lab.send(&lab.web.clone(), &f);
        let s = lab.only(&lab.up);
        assert_eq!(
            (s.tuple().src, s.bytes[34..38].to_vec()),
            (UP, vec![148, 4, 0, 0])
        );
    }
    assert_eq!(lab.sw.totals().hits, 0, "not a matter for the index");
}

#[test]
fn neighbours_that_use_the_gateway_are_forwarded_untranslated() {
    let mut lab = Lab::ready();
    let t = tuple(Proto::UDP, (WEB, 1), (DB, 2));
    lab.route(&lab.web.clone(), &t, &udp(&t, b"x"));
    let s = lab.only(&lab.db);
    assert_eq!((s.tuple(), s.p.ttl, s.p.src), (t, 63, mac(GW)));
    assert_eq!(lab.connections(), 0);
}
