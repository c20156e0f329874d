//! Other IP protocols: address-only translation where it is unambiguous, as the kernel's generic
//! tracker does.

use crate::common::{arrives, lost, pass, s, sleep};
use dataplane::base::{Proto, Reason, Tuple};
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{APP, DB, FAR, GW, Host, Lab, PEER, UP, WEB};

const IPIP: Proto = Proto(4);
const GRE: Proto = Proto(47);
const ESP: Proto = Proto(50);
const AH: Proto = Proto(51);
const SCTP: Proto = Proto(132);

fn from(h: &Host, proto: Proto, to: std::net::Ipv4Addr) -> Tuple {
    tuple(proto, (h.ip, 0), (to, 0))
}

/// An SCTP INIT: its checksum (CRC32c) covers no addresses, so it stays right.
fn sctp_init() -> Vec<u8> {
    let mut p = vec![0x0f, 0xa0, 0, 80, 0, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef];
    p.extend([
        1, 0, 0, 20, 1, 2, 3, 4, 0, 1, 0, 0, 0, 10, 0, 10, 0, 0, 0, 1,
    ]);
    p
}

#[test]
fn sctp_gre_esp_and_ipip_are_masqueraded_by_address_and_answered() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let inner = ipv4(&Ip::default(), &udp_tuple(WEB, 1, FAR, 2), &[0; 8]);
    for (proto, payload) in [
        (SCTP, sctp_init()),
        (GRE, vec![0x20, 0, 8, 0, 0, 0, 0, 1, 9, 9]),
        (ESP, vec![0, 0, 0, 7, 0, 0, 0, 1, 8, 8, 8, 8]),
        (IPIP, inner),
    ] {
        let t = from(&web, proto, FAR);
        let seen = pass(&mut lab, &web, &t, &payload, &up);
        assert_eq!((seen.tuple().src, seen.tuple().dst), (UP, FAR));
        assert_eq!(seen.l4(), payload, "{proto:?}");
        let back = seen.tuple().reversed();
        let answer = pass(&mut lab, &up, &back, &payload, &web);
        assert_eq!((answer.tuple(), answer.l4()), (t.reversed(), &payload[..]));
    }
    assert_eq!(lab.connections(), 4);
    sleep(&mut lab, s(302));
    lab.assert_empty();
}

/// Nothing tells the flows of two containers to one destination apart: the second is refused and
/// told, the first goes on.
#[test]
fn a_second_container_towards_the_same_destination_is_refused() {
    let mut lab = Lab::ready();
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    pass(&mut lab, &web, &from(&web, GRE, FAR), &[0; 8], &up);
    let e = pass(&mut lab, &db, &from(&db, GRE, FAR), &[0; 8], &db);
    assert_eq!((e.icmp().0, e.icmp().1), (3, 13));
    assert_eq!(lab.drops(Reason::NatClash), 1);
    pass(&mut lab, &db, &from(&db, GRE, PEER), &[0; 8], &up);
    pass(&mut lab, &db, &from(&db, ESP, FAR), &[0; 8], &up);
    let back = tuple(GRE, (FAR, 0), (UP, 0));
    assert!(arrives(&mut lab, &up, &back, &[0; 8], &web));
}

#[test]
fn nobody_outside_opens_a_flow_of_another_protocol() {
    let mut lab = Lab::ready();
    let up = lab.up.clone();
    for proto in [IPIP, GRE, ESP, SCTP, Proto(89), Proto(253)] {
        lost(&mut lab, &up, &tuple(proto, (FAR, 0), (UP, 0)), &[0; 12]);
    }
    assert_eq!(lab.drops(Reason::NotPublished), 6);
}

/// What another address would break is refused instead of mangled.
#[test]
fn ah_dccp_and_udp_lite_are_refused_and_told() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    for proto in [AH, Proto(33), Proto(136)] {
        let e = pass(&mut lab, &web, &from(&web, proto, FAR), &[0; 16], &web);
        assert_eq!((e.icmp().0, e.icmp().1), (3, 13));
    }
    assert_eq!(lab.drops(Reason::ProtoUnsupported), 3);
}

#[test]
fn inside_every_protocol_passes_untranslated() {
    let mut lab = Lab::ready();
    let (web, db) = (lab.web.clone(), lab.db.clone());
    for proto in [IPIP, GRE, ESP, AH, SCTP, Proto(33), Proto(253)] {
        let t = from(&web, proto, DB);
        assert_eq!(pass(&mut lab, &web, &t, &[1; 16], &db).tuple(), t);
        let t = from(&web, proto, GW);
        let host = lab.host.clone();
        assert_eq!(pass(&mut lab, &web, &t, &[1; 16], &host).tuple(), t);
    }
    assert_eq!(lab.connections(), 0);
}

/// Fragments of them need no ports, and are known by their addresses.
#[test]
fn fragments_of_other_protocols_pass() {
    let mut lab = Lab::ready();
    let (app, up) = (lab.app.clone(), lab.up.clone());
    let whole = app.routed(&Ip::may_fragment(3), &from(&app, ESP, FAR), &[7; 100]);
    let mut parts = fragments(&whole, 40);
    parts.reverse();
    parts.iter().for_each(|f| lab.send(&app, f));
    let got: Vec<Vec<u8>> = lab.got(&up).into_iter().map(|g| g.bytes).collect();
    assert_eq!(reassemble(&got).expect("no hole")[34..], [7; 100]);
    assert_eq!(APP.octets()[3], 4);
}
