//! Cached decisions whose next hop alone is void: it is asked anew on the fast path, and all that a
//! change of ports or addresses could alter is asked by the slow path as ever.

use dataplane::base::counters::Totals;
use dataplane::base::{Mac, Reason, Role, Tuple, UplinkConfig};
use dataplane::frame::VnetHdr;
use dataplane::port::Caps;
use dataplane::port::memory::MemoryPort;
use std::net::Ipv4Addr;
use std::time::Duration;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::shared::{host_with, shared_lab};
use switchd_tests::memory::{DB, FAR, GW, Host, Lab, PEER, UP, WEB, config, mac, spec};

/// A container that comes later.
const EIGHT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 8);

/// A UDP flow from FAR to the published port that both ends have spoken on, the tuple of its
/// questions, and that of its answers.
fn flow(lab: &mut Lab) -> (Tuple, Tuple) {
    let (up, web) = (lab.up.clone(), lab.web.clone());
    let t = udp_tuple(FAR, 40_000, UP, 5_000);
    lab.route(&up, &t, &udp(&t, b"a"));
    let back = lab.only(&web).tuple().reversed();
    lab.route(&web, &back, &udp(&back, b"b"));
    lab.only(&up);
    (t, back)
}

/// By how much hits and slow frames grow while this happens.
fn ways(lab: &mut Lab, what: impl FnOnce(&mut Lab)) -> (u64, u64) {
    let before: Totals = lab.sw.totals();
    what(lab);
    let after = lab.sw.totals();
    (after.hits - before.hits, after.slow - before.slow)
}

/// A frame with which an address shows up behind a port, and nothing comes of it.
fn shows_up(address: Mac) -> Vec<u8> {
    eth(mac(GW), address, 0x88b5, &[0; 46])
}

/// An address that is nobody's in these tests moves, which voids all next hops.
fn something_moves(lab: &mut Lab) {
    let before = lab.sw.switch().generation();
    for by in [lab.app.clone(), lab.db.clone()] {
        lab.send(&by, &shows_up(Mac([2, 7, 7, 7, 7, 7])));
    }
    lab.clear();
    assert_ne!(lab.sw.switch().generation(), before);
}

#[test]
fn what_moved_elsewhere_costs_a_flow_no_slow_frame() {
    let mut lab = Lab::ready();
    let (t, back) = flow(&mut lab);
    let (up, web) = (lab.up.clone(), lab.web.clone());
    for _ in 0..3 {
        something_moves(&mut lab);
        let by = ways(&mut lab, |lab| {
            lab.route(&up, &t, &udp(&t, b"c"));
            let s = lab.only(&web);
            assert_eq!(
                (s.tuple(), s.p.dst, s.p.ttl),
                (back.reversed(), mac(WEB), 63)
            );
            lab.route(&web, &back, &udp(&back, b"d"));
            let s = lab.only(&up);
            assert_eq!((s.tuple(), s.p.dst), (t.reversed(), mac(PEER)));
        });
        assert_eq!(by, (2, 0));
    }
}

#[test]
fn a_moved_address_is_followed_at_once() {
    let mut lab = Lab::ready();
    let (t, back) = flow(&mut lab);
    let (up, web, db) = (lab.up.clone(), lab.web.clone(), lab.db.clone());
    for (now, then) in [(&db, &web), (&web, &db)] {
        lab.send(now, &shows_up(mac(WEB)));
        lab.clear();
        let by = ways(&mut lab, |lab| {
            lab.route(&up, &t, &udp(&t, b"c"));
            assert_eq!(lab.only(now).p.dst, mac(WEB));
            assert!(lab.got(then).is_empty());
            // The answer comes from where the question went.
            let answer = web.routed(&Ip::default(), &back, &udp(&back, b"d"));
            lab.send(now, &answer);
            assert_eq!(lab.only(&up).tuple(), t.reversed());
        });
        assert_eq!(by, (2, 0));
    }
}

#[test]
fn another_mac_of_a_neighbour_is_taken_at_once() {
    const NEW: Mac = Mac([2, 8, 8, 8, 8, 8]);
    let mut lab = Lab::ready();
    let (t, back) = flow(&mut lab);
    let (up, web) = (lab.up.clone(), lab.web.clone());
    lab.send(&web, &arp(mac(GW), 2, (NEW, WEB), (mac(GW), GW)));
    lab.send(&up, &arp(mac(UP), 2, (NEW, PEER), (mac(UP), UP)));
    lab.clear();
    let by = ways(&mut lab, |lab| {
        lab.route(&up, &t, &udp(&t, b"c"));
        assert_eq!(lab.only(&web).p.dst, NEW);
    });
    // It comes from the neighbour's old MAC, to which the answers went no longer than until now.
    assert_eq!(by, (1, 0));
    lab.route(&web, &back, &udp(&back, b"d"));
    assert_eq!(lab.only(&up).p.dst, NEW);
}

#[test]
fn nothing_is_sent_to_a_port_that_is_gone() {
    let mut lab = Lab::ready();
    let (t, back) = flow(&mut lab);
    let up = lab.up.clone();
    assert!(lab.sw.remove_port(lab.web.id));
    something_moves(&mut lab);
    let by = ways(&mut lab, |lab| {
        lab.route(&up, &t, &udp(&t, b"c"));
    });
    assert_eq!(
        (by, lab.sw.totals().held),
        ((0, 1), 1),
        "it has to be asked for"
    );
    assert!(lab.got(&lab.web).is_empty());
    lab.wait(Duration::from_secs(5));
    assert_eq!(lab.drops(Reason::HostUnreachable), 1);
    lab.clear();
    // Another container gets the port's number: the flow does not take it for the old one.
    let (port, queues) = MemoryPort::new(1, Caps::ALL);
    let id = lab
        .sw
        .add_port(spec("new", Role::Access, EIGHT, 1_500), queues, lab.now);
    assert_eq!(id, Ok(lab.web.id));
    something_moves(&mut lab);
    let by = ways(&mut lab, |lab| {
        lab.route(&up, &t, &udp(&t, b"c"));
        let new = Host {
            port: port.clone(),
            ..lab.web.clone()
        };
        let answer = new.routed(&Ip::default(), &back, &udp(&back, b"d"));
        lab.send(&new, &answer);
    });
    assert_eq!(by, (0, 2));
    assert!(port.take().is_empty());
}

#[test]
fn an_address_that_is_gone_is_refused_whatever_moves() {
    const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
    let mut lab = shared_lab();
    let web = lab.web.clone();
    let u = tcp_tuple(WEB, 1, FAR, 80);
    lab.route(&web, &u, &tcp(&u, 1, 0, SYN, b""));
    let back = lab.only(&lab.up).tuple().reversed();
    lab.route(&lab.up.clone(), &back, &tcp(&back, 7, 2, SYN | ACK, b""));
    lab.route(&web, &u, &tcp(&u, 2, 8, ACK, b""));
    lab.clear();
    let leg = config().uplink.map(|l| UplinkConfig { ip: OTHER, ..l });
    let sw = lab.sw.switch().clone();
    sw.set_uplink(leg, Some(host_with(&[OTHER])));
    something_moves(&mut lab);
    let by = ways(&mut lab, |lab| {
        lab.route(&web, &u, &tcp(&u, 2, 8, ACK, b""))
    });
    assert_eq!((by, lab.drops(Reason::AddressGone)), ((0, 1), 1));
    assert!(lab.got(&lab.up).is_empty());
    assert_eq!(lab.only(&lab.web).p.tcp.flags & RST, RST);
}

#[test]
fn without_an_uplink_nothing_leaves_whatever_moves() {
    let mut lab = Lab::ready();
    let (_, back) = flow(&mut lab);
    let web = lab.web.clone();
    lab.sw.switch().set_uplink(None, None);
    something_moves(&mut lab);
    let by = ways(&mut lab, |lab| lab.route(&web, &back, &udp(&back, b"x")));
    assert_eq!((by, lab.drops(Reason::NoUplink)), ((0, 1), 1));
    assert!(lab.got(&lab.up).is_empty());
}

#[test]
fn a_sender_that_may_not_is_refused_though_only_a_next_hop_changed() {
    let mut lab = Lab::ready();
    let (_, back) = flow(&mut lab);
    let web = lab.web.clone();
    let l4 = ipv4(&Ip::default(), &back, &udp(&back, b"x"));
    for (src, reason) in [
        (mac(GW), Reason::SrcMacGateway),
        (Mac::ZERO, Reason::SrcMacZero),
        (Mac([3, 0, 0, 0, 0, 1]), Reason::SrcMacGroup),
    ] {
        something_moves(&mut lab);
        lab.send(&web, &eth(mac(GW), src, 0x0800, &l4));
        assert_eq!(lab.drops(reason), 1);
    }
    lab.silence();
}

#[test]
fn the_next_hop_s_mtu_is_the_new_one() {
    let mut lab = Lab::ready();
    let (t, _) = flow(&mut lab);
    let up = lab.up.clone();
    let (small, queues) = MemoryPort::new(1, Caps::ALL);
    let id = lab
        .sw
        .add_port(spec("small", Role::Access, EIGHT, 600), queues, lab.now);
    let small = Host {
        id: id.expect("a port"),
        port: small,
        ip: EIGHT,
        role: Role::Access,
    };
    // Decided under the present ports, and then the container moves there.
    lab.route(&up, &t, &udp(&t, b"c"));
    lab.send(&small, &shows_up(mac(WEB)));
    lab.clear();
    lab.route(&up, &t, &udp(&t, &[1; 700]));
    assert_eq!(lab.drops(Reason::MtuExceeded), 1);
    assert_eq!(lab.only(&up).icmp(), (3, 4, [0, 0, 2, 88]));
    let by = ways(&mut lab, |lab| lab.route(&up, &t, &udp(&t, &[1; 500])));
    assert_eq!((by, lab.only(&small).p.dst), ((1, 0), mac(WEB)));
}

#[test]
fn a_neighbour_that_was_heard_of_since_is_no_matter_for_the_slow_path() {
    let mut cfg = config();
    cfg.timeouts.neigh = Duration::from_secs(9);
    let mut lab = Lab::ready_with(cfg);
    let (t, _) = flow(&mut lab);
    let (up, web) = (lab.up.clone(), lab.web.clone());
    let half = Duration::from_secs(6);
    lab.wait(half);
    lab.send(&web, &arp(mac(GW), 2, (mac(WEB), WEB), (mac(GW), GW)));
    lab.wait(half);
    lab.clear();
    // The decision's end has come, the neighbour's has not.
    let by = ways(&mut lab, |lab| lab.route(&up, &t, &udp(&t, b"c")));
    assert_eq!((by, lab.only(&web).p.dst), ((1, 0), mac(WEB)));
    // One that is in doubt is asked.
    lab.wait(Duration::from_secs(9));
    let by = ways(&mut lab, |lab| lab.route(&up, &t, &udp(&t, b"c")));
    assert_eq!(by, (0, 1));
    lab.wait(Duration::from_millis(100));
    assert_eq!(lab.got(&web).len(), 2, "the datagram and a question");
}

#[test]
fn a_whole_batch_is_renewed_in_order() {
    let mut lab = Lab::ready();
    let (up, web) = (lab.up.clone(), lab.web.clone());
    let flows: Vec<Tuple> = (0..20)
        .map(|n| udp_tuple(WEB, 7_000 + n, FAR, 53))
        .collect();
    let send = |lab: &mut Lab, moves: &[u8]| {
        for (n, t) in flows.iter().enumerate() {
            if n == 11 && !moves.is_empty() {
                web.port.push(0, moves, VnetHdr::PLAIN);
            }
            let f = web.routed(&Ip::default(), t, &udp(t, b"x"));
            web.port.push(0, &f, VnetHdr::PLAIN);
        }
        lab.run();
        let seen: Vec<Tuple> = lab.got(&up).iter().map(|s| s.tuple()).collect();
        let dst: Vec<_> = seen.iter().map(|t| (t.src, t.sport, t.dst)).collect();
        let want: Vec<_> = flows.iter().map(|t| (UP, t.sport, FAR)).collect();
        assert_eq!(dst, want);
    };
    send(&mut lab, &[]);
    send(&mut lab, &[]);
    something_moves(&mut lab);
    assert_eq!(ways(&mut lab, |lab| send(lab, &[])), (20, 0));
    // In the middle of a batch an address moves to the very port.
    lab.send(&lab.db.clone(), &shows_up(mac(DB)));
    lab.clear();
    let by = ways(&mut lab, |lab| send(lab, &shows_up(mac(DB))));
    assert_eq!(by, (20, 0));
}
