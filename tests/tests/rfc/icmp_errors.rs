//! Each ICMP error for each protocol through DNAT, masquerade and hairpin, both ways; with options
//! inside, and with what is inside cut.

use crate::common::{about, arrives, lost, pass};
use dataplane::base::{Proto, Reason, Tuple};
use std::net::Ipv4Addr;
use switchd_tests::memory::check::Seen;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{DB, FAR, Host, Lab, PEER, UP, WEB};

/// Every error that is translated.
const ERRORS: [(u8, u8); 23] = [
    (3, 0),
    (3, 1),
    (3, 2),
    (3, 3),
    (3, 4),
    (3, 5),
    (3, 6),
    (3, 7),
    (3, 8),
    (3, 9),
    (3, 10),
    (3, 11),
    (3, 12),
    (3, 13),
    (3, 14),
    (3, 15),
    (4, 0),
    (11, 0),
    (11, 1),
    (12, 0),
    (12, 1),
    (12, 2),
    (3, 16),
];

/// One packet on its way, from its sender to its receiver, both as each saw it.
struct Sent {
    from: Host,
    at: Host,
    /// As it was sent.
    t: Tuple,
    l4: Vec<u8>,
    seen: Seen,
}

fn payload(proto: Proto, t: &Tuple, first: bool) -> Vec<u8> {
    match (proto, first) {
        (Proto::TCP, true) => tcp(t, 100, 0, SYN, b""),
        (Proto::TCP, false) => tcp(t, 900, 101, SYN | ACK, b""),
        (Proto::UDP, _) => udp(t, b"some data that is long enough"),
        (Proto::ICMP, true) => ping(t.sport, 1, b"payload"),
        (Proto::ICMP, false) => pong(t.dport, 1, b"payload"),
        _ => vec![0xa5; 24],
    }
}

/// The first packet of a connection and its answer, for every way through the switch that the
/// protocol has.
fn ways(lab: &mut Lab, proto: Proto) -> Vec<Sent> {
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    let ports = |a, b| {
        if matches!(proto, Proto::TCP | Proto::UDP) {
            (a, b)
        } else {
            (0, 0)
        }
    };
    let (sport, dport) = if proto == Proto::ICMP {
        (77, 0)
    } else {
        ports(4_000, 80)
    };
    let mut all = vec![(
        db.clone(),
        tuple(proto, (DB, sport), (FAR, dport)),
        up.clone(),
    )];
    if matches!(proto, Proto::TCP | Proto::UDP) {
        all.push((
            up.clone(),
            tuple(proto, (FAR, 999), (UP, 5_000)),
            web.clone(),
        ));
        all.push((
            db.clone(),
            tuple(proto, (DB, 888), (UP, 5_001)),
            web.clone(),
        ));
    }
    let mut sent = Vec::new();
    for (from, t, at) in all {
        let l4 = payload(proto, &t, true);
        let seen = pass(lab, &from, &t, &l4, &at);
        let back = seen.tuple().reversed();
        let answer = payload(proto, &back, false);
        let got = pass(lab, &at, &back, &answer, &from);
        sent.push(Sent {
            from: from.clone(),
            at: at.clone(),
            t,
            l4,
            seen,
        });
        sent.push(Sent {
            from: at,
            at: from,
            t: back,
            l4: answer,
            seen: got,
        });
    }
    sent
}

const PROTOCOLS: [Proto; 4] = [Proto::TCP, Proto::UDP, Proto::ICMP, Proto(47)];

/// Sends an error of `speaker` about what `w.at` got.
fn report(lab: &mut Lab, w: &Sent, speaker: Ipv4Addr, l4: &[u8]) -> Option<Seen> {
    let outer = tuple(Proto::ICMP, (speaker, 0), (w.seen.tuple().src, 0));
    lab.route(&w.at, &outer, l4);
    let mut got = lab.got(&w.from);
    lab.silence();
    assert!(got.len() <= 1);
    got.pop()
}

#[test]
fn every_error_about_every_protocol_finds_the_sender() {
    for proto in PROTOCOLS {
        let mut lab = Lab::ready();
        for w in ways(&mut lab, proto) {
            for (kind, code) in ERRORS {
                lab.wait(std::time::Duration::from_millis(1));
                let rest = [0, 0, 5, 0];
                let error = about(&w.seen, (kind, code), rest, 28);
                let e = report(&mut lab, &w, w.seen.tuple().dst, &error).expect("an error");
                assert_eq!(e.icmp(), (kind, code, rest), "unchanged");
                assert_eq!((e.tuple().src, e.tuple().dst), (w.t.dst, w.t.src));
                assert_eq!(e.inner().tuple, w.t, "as it was sent");
                assert_eq!(e.quoted()[20..], w.l4[..8]);
            }
        }
        assert_eq!(lab.sw.totals().dropped(), 0);
    }
}

#[test]
fn a_router_on_the_way_speaks_as_itself_outside_and_as_the_switch_inside() {
    for proto in PROTOCOLS {
        let mut lab = Lab::ready();
        for w in ways(&mut lab, proto) {
            let error = about(&w.seen, (11, 0), [0; 4], 28);
            let (speaker, named) = if w.at.ip == PEER {
                (PEER, PEER)
            } else {
                let own = if w.from.ip == PEER {
                    UP
                } else {
                    switchd_tests::memory::GW
                };
                (switchd_tests::memory::APP, own)
            };
            let e = report(&mut lab, &w, speaker, &error).expect("an error");
            assert_eq!(
                (e.tuple().src, e.tuple().dst),
                (named, w.t.src),
                "{proto:?} {}",
                w.t
            );
            assert_eq!(e.inner().tuple, w.t);
        }
    }
}

#[test]
fn errors_with_options_inside_and_outside() {
    for proto in [Proto::TCP, Proto::UDP] {
        let mut lab = Lab::ready();
        let (web, up) = (lab.web.clone(), lab.up.clone());
        let t = tuple(proto, (WEB, 4_000), (FAR, 80));
        let ip = Ip {
            options: vec![148, 4, 0, 0, 68, 8, 5, 0, 1, 2, 3, 4],
            ..Ip::default()
        };
        lab.send(&web, &web.routed(&ip, &t, &payload(proto, &t, true)));
        let seen = lab.only(&up);
        let error = about(&seen, (3, 1), [0; 4], 40);
        let outer = tuple(Proto::ICMP, (PEER, 0), (UP, 0));
        let ip = Ip {
            options: vec![148, 4, 0, 0],
            ..Ip::default()
        };
        lab.send(&up, &up.routed(&ip, &outer, &error));
        let e = lab.only(&web);
        assert_eq!((e.bytes[14] & 15, e.inner().tuple), (6, t));
        assert_eq!(e.quoted()[20..32], [148, 4, 0, 0, 68, 8, 5, 0, 1, 2, 3, 4]);
    }
}

/// Eight bytes of L4 are what RFC 792 promises; with fewer nothing can be told.
#[test]
fn errors_cut_inside() {
    for proto in PROTOCOLS {
        let mut lab = Lab::ready();
        for w in ways(&mut lab, proto) {
            let whole = w.seen.p.l3_len as usize;
            for quote in 0..whole {
                let error = about(&w.seen, (3, 1), [0; 4], quote);
                let e = report(&mut lab, &w, w.seen.tuple().dst, &error);
                assert_eq!(e.is_some(), quote >= 28, "{proto:?}: {quote} bytes");
                let Some(e) = e else { continue };
                assert_eq!(e.inner().tuple, w.t);
                // A TCP checksum of which one byte was quoted stays as it is.
                let cut = if proto == Proto::TCP && quote == 37 {
                    36
                } else {
                    quote
                };
                assert_eq!(e.quoted()[20..cut], w.l4[..cut - 20], "{proto:?} {quote}");
            }
        }
        assert!(lab.drops(Reason::IcmpInnerMalformed) > 0);
    }
}

/// UDP to a port that is closed: the container's own error comes back in the published name.
#[test]
fn udp_to_a_closed_port_of_a_container() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(FAR, 9, UP, 5_000);
    let seen = pass(&mut lab, &up, &t, &udp(&t, b"anybody?"), &web);
    let outer = tuple(Proto::ICMP, (WEB, 0), (FAR, 0));
    let e = pass(
        &mut lab,
        &web,
        &outer,
        &about(&seen, (3, 3), [0; 4], 64),
        &up,
    );
    assert_eq!((e.tuple().src, e.icmp()), (UP, (3, 3, [0; 4])));
    assert_eq!(e.quoted()[20..], udp(&t, b"anybody?"));
    // And from outside, about what a container sent.
    let t = udp_tuple(WEB, 4_000, FAR, 9);
    let seen = pass(&mut lab, &web, &t, &udp(&t, b"anybody?"), &up);
    let outer = tuple(Proto::ICMP, (FAR, 0), (UP, 0));
    let e = pass(
        &mut lab,
        &up,
        &outer,
        &about(&seen, (3, 3), [0; 4], 64),
        &web,
    );
    assert_eq!((e.tuple().src, e.inner().tuple), (FAR, t));
    assert_eq!(e.quoted()[20..], udp(&t, b"anybody?"));
}

/// RFC 4884: what follows the quoted packet is kept as it is.
#[test]
fn an_error_with_extensions_keeps_them() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(WEB, 4_000, FAR, 9);
    let seen = pass(&mut lab, &web, &t, &udp(&t, &[7; 100]), &up);
    let mut quote = seen.bytes[14..14 + 128].to_vec();
    let extension = [0x20, 0, 0xd8, 0xf2, 0, 8, 1, 1, 0, 1, 1, 1];
    quote.extend(extension);
    let outer = tuple(Proto::ICMP, (PEER, 0), (UP, 0));
    let error = icmp(11, 0, [0, 32, 0, 0], &quote);
    let e = pass(&mut lab, &up, &outer, &error, &web);
    assert_eq!(e.icmp().2, [0, 32, 0, 0]);
    assert_eq!(e.quoted()[128..], extension);
}

/// An error about an error says nothing that may be passed on (RFC 1122 section 3.2.2).
#[test]
fn an_error_about_an_error_or_a_later_fragment_is_dropped() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(WEB, 4_000, FAR, 9);
    let seen = pass(&mut lab, &web, &t, &udp(&t, b"x"), &up);
    let inner = ipv4(
        &Ip::default(),
        &tuple(Proto::ICMP, (UP, 0), (FAR, 0)),
        &about(&seen, (3, 3), [0; 4], 28),
    );
    let outer = tuple(Proto::ICMP, (PEER, 0), (UP, 0));
    lost(&mut lab, &up, &outer, &icmp(3, 1, [0; 4], &inner));
    let later = ipv4(
        &Ip {
            offset: 8,
            ..Ip::may_fragment(1)
        },
        &seen.tuple(),
        &[0; 16],
    );
    lost(&mut lab, &up, &outer, &icmp(11, 1, [0; 4], &later));
    assert_eq!(lab.drops(Reason::IcmpNoMatch), 2);
}

#[test]
fn an_error_in_fragments_is_not_taken_for_one() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(WEB, 4_000, FAR, 9);
    let seen = pass(&mut lab, &web, &t, &udp(&t, &[1; 200]), &up);
    let outer = tuple(Proto::ICMP, (PEER, 0), (UP, 0));
    let error = about(&seen, (3, 3), [0; 4], 228);
    for f in fragments(&up.routed(&Ip::may_fragment(4), &outer, &error), 64) {
        lab.send(&up, &f);
    }
    lab.silence();
    assert!(lab.sw.totals().dropped() >= 4);
    assert!(arrives(
        &mut lab,
        &up,
        &seen.tuple().reversed(),
        &udp(&seen.tuple().reversed(), b""),
        &web
    ));
}
