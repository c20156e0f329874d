//! Multicast between containers with IGMP snooping (RFC 4541, RFC 2236, RFC 3376).

use crate::common::s;
use dataplane::base::{Mac, Proto, Reason};
use dataplane::frame::emit::group_mac;
use std::net::Ipv4Addr;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{DB, GW, Host, Lab, PEER, UP, WEB, config, mac};

const G: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
const V3_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);

fn data(h: &Host, group: Ipv4Addr) -> Vec<u8> {
    let t = udp_tuple(h.ip, 5_353, group, 5_353);
    let ip = Ip {
        ttl: 8,
        ..Ip::default()
    };
    eth(
        group_mac(group),
        h.mac(),
        0x0800,
        &ipv4(&ip, &t, &udp(&t, b"to many")),
    )
}

fn igmp_frame(h: &Host, to: Ipv4Addr, body: &[u8]) -> Vec<u8> {
    let mut m = body.to_vec();
    m[2..4].copy_from_slice(&[0, 0]);
    let sum = !naive_sum(&[&m]);
    m[2..4].copy_from_slice(&sum.to_be_bytes());
    let ip = Ip {
        options: vec![148, 4, 0, 0],
        ..Ip::ttl(1)
    };
    let t = tuple(Proto::IGMP, (h.ip, 0), (to, 0));
    eth(group_mac(to), h.mac(), 0x0800, &ipv4(&ip, &t, &m))
}

fn v2(h: &Host, kind: u8, group: Ipv4Addr) -> Vec<u8> {
    let [a, b, c, d] = group.octets();
    let to = if kind == 0x17 { ALL_ROUTERS } else { group };
    igmp_frame(h, to, &[kind, 0, 0, 0, a, b, c, d])
}

fn v3(h: &Host, record: u8, group: Ipv4Addr, sources: &[Ipv4Addr]) -> Vec<u8> {
    let mut m = vec![0x22, 0, 0, 0, 0, 0, 0, 1, record, 0, 0, sources.len() as u8];
    m.extend(group.octets());
    sources.iter().for_each(|s| m.extend(s.octets()));
    igmp_frame(h, V3_ROUTERS, &m)
}

#[test]
fn a_group_that_nobody_asked_for_is_flooded_and_never_outside() {
    let mut lab = Lab::ready();
    lab.send(&lab.web.clone(), &data(&lab.web, G));
    assert_eq!(lab.spread(), [1, 0, 1, 1, 0]);
}

#[test]
fn a_group_with_members_goes_to_them_alone() {
    for join in [0x12, 0x16, 0x22] {
        let mut lab = Lab::ready();
        let (web, db) = (lab.web.clone(), lab.db.clone());
        let report = match join {
            0x22 => v3(&db, 4, G, &[]),
            kind => v2(&db, kind, G),
        };
        lab.send(&db, &report);
        assert_eq!(lab.spread(), [0; 5], "reports are for routers only");
        lab.send(&web, &data(&web, G));
        assert_eq!(lab.spread(), [0, 0, 1, 0, 0]);
        // Several members, one of which is the host.
        let (host, app) = (lab.host.clone(), lab.app.clone());
        lab.send(&host, &v3(&host, 2, G, &[]));
        lab.send(&app, &v3(&app, 5, G, &[WEB]));
        lab.send(&web, &data(&web, G));
        assert_eq!(lab.spread(), [1, 0, 1, 1, 0]);
        // A member's own frame does not come back, and another group is another matter.
        lab.send(&db, &data(&db, G));
        assert_eq!(lab.spread(), [1, 0, 0, 1, 0]);
        lab.send(&web, &data(&web, Ipv4Addr::new(239, 9, 9, 9)));
        assert_eq!(lab.spread(), [1, 0, 1, 1, 0]);
    }
}

/// What is as long as the MTU goes to members and to all; a byte more goes to nobody.
#[test]
fn the_longest_frame_passes() {
    for member in [false, true] {
        let mut lab = Lab::ready();
        let (web, db) = (lab.web.clone(), lab.db.clone());
        if member {
            lab.send(&db, &v2(&db, 0x16, G));
        }
        let t = udp_tuple(WEB, 5_353, G, 5_353);
        for (len, too_long) in [(1_472, 0), (1_473, 1)] {
            let packet = ipv4(&Ip::may_fragment(1), &t, &udp(&t, &vec![1; len]));
            lab.send(&web, &eth(group_mac(G), web.mac(), 0x0800, &packet));
            assert_eq!(lab.spread()[2], 1 - too_long);
            assert_eq!(lab.drops(Reason::TxTooLong), too_long as u64);
            lab.clear();
        }
    }
}

#[test]
fn a_frame_that_only_its_sender_wants_goes_nowhere() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    lab.send(&web, &v2(&web, 0x16, G));
    lab.send(&web, &data(&web, G));
    assert_eq!(lab.spread(), [0; 5]);
    assert_eq!(lab.drops(Reason::SamePort), 1);
}

#[test]
fn who_leaves_gets_nothing_after_the_last_member_was_asked_for() {
    for v3_host in [false, true] {
        let mut lab = Lab::ready();
        let (web, db, app) = (lab.web.clone(), lab.db.clone(), lab.app.clone());
        lab.send(&db, &v2(&db, 0x16, G));
        lab.send(&app, &v2(&app, 0x16, G));
        lab.wait(s(1));
        lab.clear();
        let leave = if v3_host {
            v3(&db, 3, G, &[])
        } else {
            v2(&db, 0x17, G)
        };
        lab.send(&db, &leave);
        // A query about this group, to this port.
        let f = db.port.take();
        let b = f[0].bytes();
        assert_eq!((f.len(), b[38], &b[42..46]), (1, 0x11, &G.octets()[..]));
        assert_eq!(
            (b[22], &b[30..34]),
            (1, &G.octets()[..]),
            "TTL 1, to the group"
        );
        lab.send(&web, &data(&web, G));
        assert_eq!(lab.spread(), [0, 0, 1, 1, 0], "it has 2 s to say otherwise");
        lab.wait(s(2));
        lab.send(&web, &data(&web, G));
        assert_eq!(lab.spread(), [0, 0, 0, 1, 0]);
    }
}

#[test]
fn another_member_behind_the_port_answers_and_stays() {
    let mut lab = Lab::ready();
    let (web, db) = (lab.web.clone(), lab.db.clone());
    lab.send(&db, &v2(&db, 0x16, G));
    lab.send(&db, &v2(&db, 0x17, G));
    lab.wait(s(1));
    lab.send(&db, &v2(&db, 0x16, G));
    lab.wait(s(30));
    lab.clear();
    lab.send(&web, &data(&web, G));
    assert_eq!(lab.spread(), [0, 0, 1, 0, 0]);
}

/// The switch asks in place of a router: at once, then every 125 s; who doesn't answer is
/// forgotten after 260 s.
#[test]
fn members_are_asked_for_and_age() {
    let mut lab = Lab::ready();
    let (web, db, app) = (lab.web.clone(), lab.db.clone(), lab.app.clone());
    lab.send(&db, &v2(&db, 0x16, G));
    lab.send(&app, &v2(&app, 0x16, G));
    lab.clear();
    let mut asked = Vec::new();
    for second in 0..300 {
        lab.wait(s(1));
        for f in web.port.take() {
            let b = f.bytes();
            if b[23] == 2 {
                assert_eq!(b[..6], [1, 0, 0x5e, 0, 0, 1]);
                assert_eq!(
                    (b[38], &b[42..46], b[47]),
                    (0x11, &[0; 4][..], 125),
                    "to all, v3"
                );
                assert_eq!(naive_sum(&[&b[38..50]]), 0xffff);
                asked.push(second);
                lab.send(&app, &v2(&app, 0x16, G));
            }
        }
    }
    assert_eq!(asked, [0, 125, 250]);
    lab.clear();
    lab.send(&web, &data(&web, G));
    assert_eq!(lab.spread(), [0, 0, 0, 1, 0], "the one that answered");
    lab.wait(s(600));
    assert!(lab.sw.switch().groups.is_empty());
    lab.clear();
    lab.wait(s(600));
    assert!(
        web.port.take().iter().all(|f| f.bytes()[23] != 2),
        "nobody is left to ask for"
    );
    lab.send(&web, &data(&web, G));
    assert_eq!(lab.spread(), [1, 0, 1, 1, 0], "flooded again");
}

#[test]
fn a_router_gets_reports_and_every_group() {
    let mut lab = Lab::ready();
    let (web, db, app) = (lab.web.clone(), lab.db.clone(), lab.app.clone());
    let query = igmp_frame(
        &app,
        Ipv4Addr::new(224, 0, 0, 1),
        &[0x11, 100, 0, 0, 0, 0, 0, 0],
    );
    lab.send(&app, &query);
    assert_eq!(lab.got(&web).len(), 1, "a query goes to all");
    lab.clear();
    lab.send(&db, &v2(&db, 0x16, G));
    assert_eq!(lab.spread(), [0, 0, 0, 1, 0]);
    lab.send(&web, &data(&web, G));
    assert_eq!(lab.spread(), [0, 0, 1, 1, 0]);
    lab.send(&db, &v2(&db, 0x17, G));
    assert!(db.port.take().is_empty(), "asking is the router's business");
    assert_eq!(lab.spread(), [0, 0, 0, 1, 0]);
    lab.wait(s(200));
    assert!(
        web.port.take().iter().all(|f| f.bytes()[23] != 2),
        "the switch does not ask too"
    );
}

#[test]
fn link_local_groups_and_other_protocols_are_always_flooded() {
    let mut lab = Lab::ready();
    let (web, db) = (lab.web.clone(), lab.db.clone());
    for group in [Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::new(224, 0, 0, 5)] {
        lab.send(&db, &v2(&db, 0x16, group));
        lab.send(&web, &data(&web, group));
        assert_eq!(lab.spread(), [1, 0, 1, 1, 0]);
    }
    lab.send(&db, &v2(&db, 0x16, G));
    lab.send(
        &web,
        &eth(
            Mac([0x33, 0x33, 0, 0, 0, 1]),
            web.mac(),
            0x86dd,
            &[0x60; 40],
        ),
    );
    lab.send(&web, &eth(group_mac(G), web.mac(), 0x88b5, &[0; 46]));
    assert_eq!(lab.spread(), [2, 0, 2, 2, 0]);
    // An IGMP type that nobody knows (RFC 4541 section 2.1.1 rule 3).
    lab.send(&web, &igmp_frame(&web, G, &[0x30, 0, 0, 0, 239, 1, 2, 3]));
    assert_eq!(lab.spread(), [1, 0, 1, 1, 0]);
}

#[test]
fn malformed_reports_are_dropped_and_change_nothing() {
    let mut lab = Lab::ready();
    let db = lab.db.clone();
    let good = v2(&db, 0x16, G);
    let mut bad = good.clone();
    bad[40] ^= 1;
    lab.send(&db, &bad);
    let t = tuple(Proto::IGMP, (DB, 0), (G, 0));
    lab.send(
        &db,
        &eth(
            group_mac(G),
            mac(DB),
            0x0800,
            &ipv4(&Ip::ttl(1), &t, &[0x16, 0, 0, 0]),
        ),
    );
    let mut cut = vec![0x22, 0, 0, 0, 0, 0, 0, 9, 4, 0, 0, 0];
    cut.extend(G.octets());
    lab.send(&db, &igmp_frame(&db, V3_ROUTERS, &cut));
    lab.silence();
    assert_eq!(lab.drops(Reason::IgmpMalformed), 3);
    assert!(lab.sw.switch().groups.is_empty());
}

#[test]
fn one_container_can_not_fill_the_table() {
    let mut cfg = config();
    cfg.limits.memberships = 16;
    let mut lab = Lab::ready_with(cfg);
    let (web, db) = (lab.web.clone(), lab.db.clone());
    for n in 0..200 {
        lab.send(&db, &v2(&db, 0x16, Ipv4Addr::new(239, 0, 1, n)));
    }
    assert_eq!(lab.sw.switch().groups.len(), 4);
    lab.send(&web, &v2(&web, 0x16, G));
    lab.send(&db, &data(&db, G));
    assert_eq!(lab.spread(), [0, 1, 0, 0, 0]);
    // What could not be written down is flooded, so nobody misses anything.
    lab.send(&web, &data(&web, Ipv4Addr::new(239, 0, 1, 150)));
    assert_eq!(lab.spread(), [1, 0, 1, 1, 0]);
}

#[test]
fn a_member_whose_port_goes_is_forgotten() {
    let mut lab = Lab::ready();
    let (web, db) = (lab.web.clone(), lab.db.clone());
    lab.send(&db, &v2(&db, 0x16, G));
    assert!(lab.sw.remove_port(db.id));
    assert!(lab.sw.switch().groups.is_empty());
    lab.send(&web, &data(&web, G));
    assert_eq!(lab.spread(), [1, 0, 0, 1, 0]);
}

#[test]
fn vlans_have_members_of_their_own() {
    let mut lab = Lab::ready();
    let (web, db) = (lab.web.clone(), lab.db.clone());
    lab.send(&db, &tagged(&v2(&db, 0x16, G), 7));
    lab.send(&web, &data(&web, G));
    assert_eq!(lab.spread(), [1, 0, 1, 1, 0]);
    lab.send(&web, &tagged(&data(&web, G), 7));
    assert_eq!(lab.spread(), [0, 0, 1, 0, 0]);
    lab.wait(s(1));
    let f = db.port.take();
    assert_eq!(
        f[0].bytes()[12..18],
        [0x81, 0, 0, 7, 8, 0],
        "asked in its VLAN"
    );
}

#[test]
fn without_snooping_everything_is_flooded_reports_too() {
    let mut cfg = config();
    cfg.igmp_snooping = false;
    let mut lab = Lab::ready_with(cfg);
    let (web, db) = (lab.web.clone(), lab.db.clone());
    lab.send(&db, &v2(&db, 0x16, G));
    assert_eq!(lab.spread(), [1, 1, 0, 1, 0]);
    lab.send(&web, &data(&web, G));
    assert_eq!(lab.spread(), [1, 0, 1, 1, 0]);
}

#[test]
fn nothing_of_it_crosses_the_router() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    // To the gateway's MAC, and from outside.
    let t = udp_tuple(WEB, 9, G, 9);
    lab.route(&web, &t, &udp(&t, b""));
    lab.send(&up, &data(&up, G));
    lab.send(&up, &v2(&up, 0x16, G));
    let t = udp_tuple(PEER, 9, G, 9);
    lab.send(
        &up,
        &eth(
            mac(UP),
            mac(PEER),
            0x0800,
            &ipv4(&Ip::default(), &t, &udp(&t, b"")),
        ),
    );
    lab.silence();
    assert!(lab.sw.switch().groups.is_empty());
    assert_eq!(GW.octets()[3], 1);
}
