//! Cases that other projects test and that no requirement above names: VPP's `test_nat44_ed.py`,
//! Open vSwitch's `system-traffic.at`, the kernel's netfilter selftests.

use crate::common::{arrives, lost, pass, s, sleep};
use dataplane::base::{Proto, Reason};
use dataplane::conntrack::table::{New, Refused};
use dataplane::flow::{FlowKey, Zone};
use std::sync::Barrier;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{DB, FAR, Lab, PEER, UP, WEB};

/// To a port that another container has by masquerade: nobody published it, and it does not loop.
#[test]
fn hairpinning_to_a_masqueraded_port_is_refused_and_told() {
    let mut lab = Lab::ready();
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    let t = udp_tuple(WEB, 4_000, FAR, 53);
    pass(&mut lab, &web, &t, &udp(&t, b""), &up);
    for (h, from) in [(&db, DB), (&web, WEB)] {
        let t = udp_tuple(from, 4_000, UP, 4_000);
        let e = pass(&mut lab, h, &t, &udp(&t, b""), h);
        assert_eq!((e.icmp().0, e.icmp().1), (3, 3));
    }
    assert_eq!(lab.drops(Reason::NotPublished), 2);
}

#[test]
fn hairpinning_of_an_unknown_protocol_is_refused() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    let t = tuple(Proto(47), (WEB, 0), (UP, 0));
    let e = pass(&mut lab, &web, &t, &[0; 8], &web);
    assert_eq!((e.icmp().0, e.icmp().1), (3, 2));
    assert_eq!(lab.connections(), 0);
}

/// What stands behind the packet in its frame belongs to no checksum.
#[test]
fn an_ethernet_trailer_is_no_part_of_the_packet() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    for (t, l4) in [
        (tuple(Proto::ICMP, (WEB, 9), (FAR, 0)), ping(9, 1, b"x")),
        (
            udp_tuple(WEB, 9, FAR, 53),
            udp(&udp_tuple(WEB, 9, FAR, 53), b"x"),
        ),
        (
            tcp_tuple(WEB, 9, FAR, 80),
            tcp(&tcp_tuple(WEB, 9, FAR, 80), 1, 0, SYN, b""),
        ),
    ] {
        let mut f = web.routed(&Ip::default(), &t, &l4);
        f.extend([0xee; 18]);
        lab.send(&web, &f);
        let seen = lab.only(&up);
        assert_eq!(seen.l4().len(), l4.len());
        let back = seen.tuple().reversed();
        let answer = match t.proto {
            Proto::ICMP => pong(back.dport, 1, b"y"),
            Proto::UDP => udp(&back, b"y"),
            _ => tcp(&back, 9, 2, SYN | ACK, b""),
        };
        let mut f = up.routed(&Ip::default(), &back, &answer);
        f.extend([0xee; 6]);
        lab.send(&up, &f);
        assert_eq!(lab.only(&web).tuple(), t.reversed());
    }
    // And the switch's own echo replies.
    let t = tuple(Proto::ICMP, (PEER, 9), (UP, 0));
    let mut f = up.routed(&Ip::default(), &t, &ping(9, 1, b"x"));
    f.extend([0; 17]);
    lab.send(&up, &f);
    assert_eq!(lab.only(&up).l4(), pong(9, 1, b"x"));
}

/// Threads that insert the same connection at the same moment: one does, the others are told to
/// look again; of the reply tuple there is one too.
#[test]
fn conntrack_clash_one_of_several_inserts_wins() {
    let lab = Lab::ready();
    let ct = &lab.sw.switch().conntrack;
    for n in 0..200 {
        let out = udp_tuple(WEB, 1_000 + n, FAR, 53);
        let reply = udp_tuple(FAR, 53, UP, 1_000 + n);
        let gate = Barrier::new(3);
        let results: Vec<_> = std::thread::scope(|scope| {
            let insert = |orig| {
                let (gate, ct) = (&gate, &ct);
                let new = New {
                    orig: FlowKey::new(Zone::Inside, &orig),
                    reply: FlowKey::new(Zone::Uplink, &reply),
                    worker: 0,
                    ingress: lab.web.id,
                    rule: dataplane::base::RuleId::NONE,
                    mapped_port: None,
                    flags: 0,
                };
                scope.spawn(move || {
                    gate.wait();
                    let state = dataplane::conntrack::state::UDP;
                    ct.create(&new, lab_tick(), |_| Ok(state)).map(drop)
                })
            };
            // The third wants the same answers for another endpoint.
            let other = udp_tuple(DB, 1_000 + n, FAR, 53);
            let all = [insert(out), insert(out), insert(other)];
            all.into_iter()
                .map(|t| t.join().expect("no panic"))
                .collect()
        });
        assert_eq!(
            results.iter().filter(|r| r.is_ok()).count(),
            1,
            "{results:?}"
        );
        let refusals = [Err(Refused::Exists), Err(Refused::Drop(Reason::NatClash))];
        assert!(results.iter().all(|r| r.is_ok() || refusals.contains(r)));
    }
    assert_eq!(lab.connections(), 200);
}

fn lab_tick() -> dataplane::base::Tick {
    dataplane::base::Instant::from_secs(1).tick()
}

/// A UDP client that spoke before the port was published gets through at once afterwards, and
/// nothing stale stands in its way.
#[test]
fn publishing_takes_effect_for_a_client_that_was_refused_before() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(FAR, 9, UP, 7_000);
    let syn = tcp_tuple(FAR, 9, UP, 7_000);
    for _ in 0..3 {
        lost(&mut lab, &up, &t, &udp(&t, b""));
        lost(&mut lab, &up, &syn, &tcp(&syn, 1, 0, SYN, b""));
    }
    let rule = lab.publish(Proto::UDP, (7_000, 7_000), (WEB, 7));
    lab.publish(Proto::TCP, (7_000, 7_000), (WEB, 7));
    assert!(arrives(&mut lab, &up, &t, &udp(&t, b""), &web));
    assert!(arrives(
        &mut lab,
        &up,
        &syn,
        &tcp(&syn, 1, 0, SYN, b""),
        &web
    ));
    // Moved to another container: the client's next datagram goes there.
    assert!(lab.sw.switch().unpublish(rule).is_some());
    lab.publish(Proto::UDP, (7_000, 7_000), (DB, 7));
    let db = lab.db.clone();
    assert!(arrives(&mut lab, &up, &t, &udp(&t, b""), &db));
}

/// A port that was published while a masqueraded connection had its number stays with that
/// connection, and new clients from outside reach the container.
#[test]
fn publishing_a_port_that_masquerade_uses_ends_nobodys_connection() {
    let mut lab = Lab::ready();
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    let t = udp_tuple(DB, 7_000, FAR, 53);
    assert_eq!(
        pass(&mut lab, &db, &t, &udp(&t, b""), &up).tuple().sport,
        7_000
    );
    lab.publish(Proto::UDP, (7_000, 7_000), (WEB, 7));
    let answer = udp_tuple(FAR, 53, UP, 7_000);
    assert!(arrives(&mut lab, &up, &answer, &udp(&answer, b""), &db));
    let client = udp_tuple(FAR, 54, UP, 7_000);
    assert!(arrives(&mut lab, &up, &client, &udp(&client, b""), &web));
    sleep(&mut lab, s(302));
    assert!(arrives(&mut lab, &up, &answer, &udp(&answer, b""), &web));
}
