//! RFC 826 and RFC 5227: ARP.

use crate::common::s;
use dataplane::base::{Mac, Reason};
use dataplane::flow::Zone;
use std::net::Ipv4Addr;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{DB, FAR, GW, Lab, PEER, UP, WEB, mac};

const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const NEW: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 77);

/// What ARP went out by the uplink: operation and target of each.
fn asked(lab: &Lab) -> Vec<(u8, Ipv4Addr)> {
    lab.up
        .port
        .take()
        .iter()
        .map(|f| f.bytes().to_vec())
        .filter(|b| b[12..14] == [8, 6])
        .map(|b| (b[21], Ipv4Addr::new(b[38], b[39], b[40], b[41])))
        .collect()
}

#[test]
fn rfc_826_odd_hardware_lengths_and_types_are_dropped() {
    let good = arp(mac(GW), 1, (mac(WEB), WEB), (Mac::ZERO, GW));
    // Hardware type, protocol type, both lengths, operation.
    for (at, value) in [
        (15, 6),
        (16, 0x86),
        (18, 5),
        (18, 8),
        (19, 3),
        (19, 16),
        (21, 0),
        (21, 9),
    ] {
        let mut lab = Lab::ready();
        let mut f = good.clone();
        f[at] = value;
        lab.send(&lab.web.clone(), &f);
        lab.silence();
        assert_eq!(lab.drops(Reason::ArpMalformed), 1, "byte {at}");
    }
    for cut in 14..42 {
        let mut lab = Lab::ready();
        lab.send(&lab.web.clone(), &good[..cut]);
        lab.silence();
        assert_eq!(lab.drops(Reason::ArpMalformed), 1, "cut at {cut}");
    }
}

#[test]
fn rfc_826_a_request_for_the_gateway_is_answered_and_teaches_its_sender() {
    let mut lab = Lab::ready();
    let other = Mac([2, 9, 9, 9, 9, 9]);
    lab.send(
        &lab.web.clone(),
        &arp(Mac::BROADCAST, 1, (other, NEW), (Mac::ZERO, GW)),
    );
    let f = lab.web.port.take();
    assert_eq!(f.len(), 1);
    assert_eq!(f[0].bytes(), arp(other, 2, (mac(GW), GW), (other, NEW)));
    lab.silence();
    let neigh = &lab.sw.switch().neigh;
    assert!(
        neigh
            .list(lab.now.tick())
            .iter()
            .any(|n| n.ip == NEW && n.mac == Some(other))
    );
}

#[test]
fn rfc_826_a_sender_that_is_not_the_frames_is_refused() {
    let mut lab = Lab::ready();
    let mut f = arp(Mac::BROADCAST, 1, (mac(WEB), WEB), (Mac::ZERO, GW));
    f[22..28].copy_from_slice(&mac(DB).0);
    lab.send(&lab.web.clone(), &f);
    lab.silence();
    assert_eq!(lab.drops(Reason::ArpSpoof), 1);
}

#[test]
fn rfc_5227_1_1_a_probe_is_never_learned() {
    let mut lab = Lab::ready();
    let before = lab.sw.switch().neigh.list(lab.now.tick()).len();
    let stranger = Mac([2, 9, 9, 9, 9, 9]);
    for target in [GW, NEW, DB] {
        lab.send(
            &lab.web.clone(),
            &arp(Mac::BROADCAST, 1, (stranger, NOBODY), (Mac::ZERO, target)),
        );
    }
    let after = lab.sw.switch().neigh.list(lab.now.tick());
    assert_eq!(after.len(), before);
    assert!(after.iter().all(|n| n.mac != Some(stranger)));
}

#[test]
fn rfc_5227_2_1_1_a_probe_for_our_address_is_answered() {
    let mut lab = Lab::ready();
    lab.send(
        &lab.web.clone(),
        &arp(Mac::BROADCAST, 1, (mac(WEB), NOBODY), (Mac::ZERO, GW)),
    );
    let f = lab.web.port.take();
    assert_eq!(
        f[0].bytes(),
        arp(mac(WEB), 2, (mac(GW), GW), (mac(WEB), NOBODY))
    );
    lab.send(
        &lab.up.clone(),
        &arp(Mac::BROADCAST, 1, (mac(PEER), NOBODY), (Mac::ZERO, UP)),
    );
    let f = lab.up.port.take();
    assert_eq!(
        f[0].bytes(),
        arp(mac(PEER), 2, (mac(UP), UP), (mac(PEER), NOBODY))
    );
}

#[test]
fn rfc_5227_2_4_a_claim_to_our_address_is_refused_and_counted() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    for (op, target) in [(1, GW), (2, GW), (1, DB), (2, DB)] {
        lab.send(
            &web,
            &arp(Mac::BROADCAST, op, (mac(WEB), GW), (Mac::ZERO, target)),
        );
        lab.send(
            &web,
            &arp(Mac::BROADCAST, op, (mac(WEB), UP), (Mac::ZERO, target)),
        );
    }
    lab.send(
        &lab.up.clone(),
        &arp(Mac::BROADCAST, 2, (mac(PEER), UP), (mac(UP), UP)),
    );
    lab.silence();
    assert_eq!(lab.drops(Reason::ArpSpoof), 9);
    // Nobody believed it.
    let t = udp_tuple(DB, 1, UP, 4_000);
    lab.route(&lab.db.clone(), &t, &udp(&t, b""));
    assert_eq!(lab.only(&lab.db).tuple().src, UP);
}

#[test]
fn rfc_1122_2_3_2_1_an_old_entry_is_confirmed_and_a_silent_one_given_up() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    let t = udp_tuple(WEB, 1, FAR, 9);
    lab.wait(s(61));
    assert_eq!(asked(&lab), [], "nobody needs it");
    // An old one is used, and confirmed by asking just that MAC.
    lab.route(&web, &t, &udp(&t, b""));
    lab.wait(s(1));
    let sent = lab.up.port.take();
    assert!(sent.iter().all(|f| f.bytes()[..6] == mac(PEER).0));
    assert_eq!(
        sent.iter().filter(|f| f.bytes()[12..14] == [8, 6]).count(),
        1
    );
    // Unanswered it is asked for no more than once a second, then given up.
    lab.wait(s(10));
    assert!((1..=6).contains(&asked(&lab).len()));
    lab.clear();
    lab.route(&web, &t, &udp(&t, b"x"));
    lab.wait(s(5));
    assert!(
        lab.got(&lab.up)
            .iter()
            .all(|g| g.p.l4 == dataplane::frame::L4::None)
    );
    assert_eq!(lab.drops(Reason::HostUnreachable), 1);
    lab.clear();
    lab.wait(s(60));
    lab.route(&web, &t, &udp(&t, b"x"));
    assert_eq!(asked(&lab), [(1, PEER)], "asked anew when needed");
    lab.learn_outside();
    assert_eq!(lab.only(&lab.up).tuple().dst, FAR);
}

#[test]
fn rfc_1122_2_3_2_2_the_latest_packets_wait_for_the_answer() {
    let mut lab = Lab::default();
    let web = lab.web.clone();
    for n in 0..3 {
        let t = udp_tuple(WEB, 100 + n, FAR, 9);
        lab.route(&web, &t, &udp(&t, b"wait"));
    }
    assert_eq!(asked(&lab), [(1, PEER)], "asked once");
    lab.learn_outside();
    let ports: Vec<u16> = lab.got(&lab.up).iter().map(|g| g.tuple().sport).collect();
    assert_eq!(ports, [100, 101, 102]);
    assert!(
        lab.sw
            .switch()
            .neigh
            .list(lab.now.tick())
            .iter()
            .any(|n| n.zone == Zone::Uplink)
    );
}
