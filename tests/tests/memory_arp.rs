//! ARP: who answers, who learns, who waits for a neighbour.

use dataplane::base::{Mac, Proto, Reason};
use dataplane::flow::Zone;
use std::net::Ipv4Addr;
use std::time::Duration;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{DB, FAR, GW, Host, Lab, PEER, UP, WEB, mac};

fn arp_request(from: &Host, spa: Ipv4Addr, tpa: Ipv4Addr) -> Vec<u8> {
    arp(Mac::BROADCAST, 1, (from.mac(), spa), (Mac::ZERO, tpa))
}

#[test]
fn the_gateway_is_answered_with_sw0s_mac_and_not_passed_on() {
    let mut lab = Lab::default();
    let web = lab.web.clone();
    lab.send(&web, &arp_request(&web, WEB, GW));
    let answer = lab.only(&web);
    assert_eq!(
        answer.bytes,
        arp(web.mac(), 2, (mac(GW), GW), (web.mac(), WEB))
    );
    lab.silence();
    // Another container's address is asked of everybody.
    lab.send(&web, &arp_request(&web, WEB, DB));
    assert_eq!(lab.spread(), [1, 0, 1, 1, 0]);
}

#[test]
fn the_uplink_address_is_answered_outside() {
    let mut lab = Lab::default();
    let up = lab.up.clone();
    lab.send(&up, &arp_request(&up, PEER, UP));
    assert_eq!(
        lab.only(&up).bytes,
        arp(up.mac(), 2, (mac(UP), UP), (up.mac(), PEER))
    );
    lab.send(&up, &arp_request(&up, PEER, Ipv4Addr::new(192, 0, 2, 9)));
    lab.silence();
}

#[test]
fn a_probe_is_answered_and_teaches_nothing() {
    let mut lab = Lab::default();
    let before = lab.sw.switch().neigh.list(lab.now.tick());
    let web = lab.web.clone();
    lab.send(&web, &arp_request(&web, Ipv4Addr::UNSPECIFIED, GW));
    assert_eq!(lab.only(&web).bytes[28..32], GW.octets());
    lab.send(
        &web,
        &arp_request(&web, Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(10, 0, 0, 50)),
    );
    assert_eq!(lab.sw.switch().neigh.list(lab.now.tick()), before);
}

#[test]
fn requests_and_replies_to_the_switch_teach_their_sender() {
    let mut lab = Lab::default();
    let (web, ip) = (lab.web.clone(), Ipv4Addr::new(10, 0, 0, 60));
    let known = |lab: &Lab, ip| {
        let all = lab.sw.switch().neigh.list(lab.now.tick());
        all.iter().find(|n| n.ip == ip).and_then(|n| n.mac)
    };
    lab.send(&web, &arp_request(&web, ip, DB));
    assert_eq!(known(&lab, ip), None, "not addressed to the switch");
    lab.send(&web, &arp_request(&web, ip, GW));
    assert_eq!(known(&lab, ip), Some(web.mac()));
    let other = Ipv4Addr::new(10, 0, 0, 61);
    lab.send(&web, &arp(mac(GW), 2, (web.mac(), other), (mac(GW), GW)));
    assert_eq!(known(&lab, other), Some(web.mac()));
}

#[test]
fn gratuitous_arp_for_the_gateway_or_the_uplink_is_dropped_and_counted() {
    let mut lab = Lab::default();
    let web = lab.web.clone();
    for ip in [GW, UP] {
        lab.send(&web, &arp_request(&web, ip, ip));
        lab.send(
            &web,
            &arp(Mac::BROADCAST, 2, (web.mac(), ip), (Mac::BROADCAST, ip)),
        );
    }
    assert_eq!(lab.drops(Reason::ArpSpoof), 4);
    lab.silence();
    // An honest one is everybody's business.
    lab.send(&web, &arp_request(&web, WEB, WEB));
    assert_eq!(lab.spread(), [1, 0, 1, 1, 0]);
}

#[test]
fn a_silent_neighbour_is_asked_three_times_and_given_up_with_the_original_quoted() {
    let mut lab = Lab::default();
    let web = lab.web.clone();
    let t = tuple(Proto::TCP, (WEB, 1_234), (FAR, 80));
    lab.route(&web, &t, &tcp(&t, 1, 0, SYN, b""));
    assert_eq!(lab.sw.totals().held, 1);
    lab.wait(Duration::from_millis(3_500));
    let asked = lab.got(&lab.up);
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|s| s.bytes[38..42] == PEER.octets()));
    lab.wait(Duration::from_secs(2));
    assert_eq!(lab.drops(Reason::HostUnreachable), 1);
    let error = lab.only(&web);
    assert_eq!((error.icmp().0, error.icmp().1), (3, 1));
    assert_eq!((error.tuple().src, error.tuple().dst), (GW, WEB));
    assert_eq!(error.inner().tuple, t, "as its sender knows it");
    assert_eq!(lab.sw.totals().held, 0);
    // While it is known to be dead the answer comes at once.
    lab.route(&web, &t, &tcp(&t, 1, 0, SYN, b""));
    assert_eq!(lab.only(&web).icmp().0, 3);
}

/// A host that shares its interface says what it knows of its neighbours. A MAC that nobody may send
/// with is nobody's.
#[test]
fn a_neighbour_with_a_mac_that_nobody_has_counts_as_dead() {
    let group = Mac([1, 0, 0x5e, 0, 0, 1]);
    for nobodys in [group, Mac::BROADCAST, Mac::ZERO, mac(GW)] {
        let mut lab = Lab::ready();
        let (web, now) = (lab.web.clone(), lab.now.tick());
        lab.sw.switch().neigh.pin(Zone::Uplink, PEER, nobodys, now);
        let t = tuple(Proto::UDP, (WEB, 9), (FAR, 53));
        lab.route(&web, &t, &udp(&t, b"x"));
        assert_eq!(lab.only(&web).icmp().0, 3, "{nobodys}");
        assert_eq!(lab.drops(Reason::HostUnreachable), 1);
        lab.silence();
    }
}

#[test]
fn waiting_frames_leave_in_order_when_the_neighbour_answers() {
    let mut lab = Lab::default();
    let t = tuple(Proto::UDP, (WEB, 9), (FAR, 53));
    for n in 0..5u8 {
        lab.route(&lab.web.clone(), &t, &udp(&t, &[n]));
    }
    assert_eq!(lab.sw.totals().held, 5);
    lab.clear();
    lab.learn_outside();
    // They may leave as one superframe.
    let got = lab.got(&lab.up);
    let data: Vec<u8> = got.iter().flat_map(|s| s.data().to_vec()).collect();
    assert_eq!(data, [0, 1, 2, 3, 4]);
}
