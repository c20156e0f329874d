//! What happens seldom: no external port left, neighbours and ports that are not known at the
//! wrong moment, errors from third parties, a switch without a host.

use dataplane::base::{Config, Mac, Proto, Reason, Role, Tuple};
use dataplane::flow::{Dir, FlowKey, Zone};
use dataplane::port::Caps;
use dataplane::port::memory::MemoryPort;
use dataplane::worker::AddPortError;
use std::net::Ipv4Addr;
use std::time::Duration;
use switchd_tests::memory::check::Seen;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{APP, DB, FAR, GW, Lab, PEER, UP, WEB, config, mac, spec};

fn from_db(sport: u16, dst: Ipv4Addr) -> Tuple {
    tuple(Proto::TCP, (DB, sport), (dst, 80))
}

/// Takes every external TCP port but these.
fn take_all_but(lab: &Lab, free: &[u16]) {
    let sw = lab.sw.switch();
    let published = sw.rules.published_ports(Proto::TCP);
    let host = Ipv4Addr::new(10, 0, 0, 200);
    for p in (1_024..=u16::MAX).filter(|p| !free.contains(p)) {
        let _ = sw.external.acquire(Proto::TCP, (host, p), None, published);
    }
}

/// RFC 5382's 240 s of memory for a closed connection may not be what refuses a new one.
#[test]
fn a_closed_connection_gives_its_port_to_a_new_one_when_none_is_free() {
    let mut lab = Lab::ready();
    let old = tuple(Proto::TCP, (WEB, 2_000), (FAR, 80));
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    lab.route(&web, &old, &tcp(&old, 100, 0, SYN, b""));
    let back = lab.only(&up).tuple().reversed();
    assert_eq!(back.dport, 2_000);
    lab.route(&up, &back, &tcp(&back, 900, 101, SYN | ACK, b""));
    lab.route(&web, &old, &tcp(&old, 101, 901, ACK, b""));
    take_all_but(&lab, &[2_000]);
    lab.clear();

    // While it lives it keeps its port: the new one shares a port with another destination's.
    let shared = from_db(3_000, FAR);
    lab.route(&db, &shared, &tcp(&shared, 5, 0, SYN, b""));
    let out = lab.only(&up).tuple();
    assert_eq!(out.src, UP);
    assert_eq!(lab.connections(), 2);

    lab.route(&web, &old, &tcp(&old, 101, 901, RST, b""));
    lab.clear();
    let new = from_db(3_001, FAR);
    lab.route(&db, &new, &tcp(&new, 5, 0, SYN, b""));
    assert_eq!(lab.only(&up).tuple().sport, 2_000);
    assert_eq!(lab.connections(), 2, "the closed one is forgotten");
    lab.route(&web, &old, &tcp(&old, 101, 901, ACK, b"late"));
    assert_eq!(lab.drops(Reason::TcpNoConnection), 1);
    assert_eq!(lab.drops(Reason::PortsExhausted), 0);
}

#[test]
fn of_closed_connections_the_first_gives_its_port_first() {
    let mut lab = Lab::ready();
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    let ports = [2_000, 2_001, 2_002];
    for sport in ports {
        let old = tuple(Proto::TCP, (WEB, sport), (FAR, 80));
        lab.route(&web, &old, &tcp(&old, 100, 0, SYN, b""));
        let back = lab.only(&up).tuple().reversed();
        lab.route(&up, &back, &tcp(&back, 900, 101, SYN | ACK, b""));
        lab.route(&web, &old, &tcp(&old, 101, 901, ACK, b""));
        lab.route(&web, &old, &tcp(&old, 101, 901, RST, b""));
        lab.clear();
    }
    take_all_but(&lab, &ports);
    for (n, sport) in (0..).zip(ports) {
        let new = from_db(3_000 + n, FAR);
        lab.route(&db, &new, &tcp(&new, 5, 0, SYN, b""));
        assert_eq!(lab.only(&up).tuple().sport, sport);
    }
}

/// An endpoint whose port is taken towards a destination by another uses a further one there.
#[test]
fn one_endpoint_may_hold_several_ports_when_all_are_shared() {
    let mut lab = Lab::ready();
    take_all_but(&lab, &[]);
    let (db, app, up) = (lab.db.clone(), lab.app.clone(), lab.up.clone());
    let mut outs = Vec::new();
    for n in 0..200u16 {
        for (host, ip) in [(&db, DB), (&app, APP)] {
            for dst in [FAR, PEER] {
                let t = tuple(Proto::TCP, (ip, 3_000 + n), (dst, 80));
                lab.route(host, &t, &tcp(&t, 5, 0, SYN, b""));
                outs.push(lab.only(&up).tuple());
            }
        }
    }
    let n = outs.len();
    outs.sort_unstable();
    outs.dedup();
    assert_eq!(outs.len(), n, "no two leave as the same connection");
}

fn narrow_outside() -> Config {
    let mut cfg = config();
    if let Some(up) = &mut cfg.uplink {
        up.mtu = 600;
    }
    cfg
}

/// A packet that is too long and whose next hop is not known yet waits in pieces.
#[test]
fn an_oversized_packet_waits_for_its_next_hop_in_pieces() {
    let mut lab = Lab::new(narrow_outside());
    let t = udp_tuple(WEB, 9, FAR, 53);
    let data: Vec<u8> = (0..1_400u32).map(|n| n as u8).collect();
    let f = lab.web.routed(&Ip::may_fragment(7), &t, &udp(&t, &data));
    lab.send(&lab.web.clone(), &f);
    let asked = lab.got(&lab.up);
    assert_eq!(asked.len(), 1, "only the request");
    assert_eq!(lab.sw.totals().held, 3);
    lab.learn_outside();
    let parts: Vec<Vec<u8>> = lab.got(&lab.up).into_iter().map(|s| s.bytes).collect();
    assert_eq!(parts.len(), 3);
    assert!(
        parts
            .iter()
            .all(|p| p.len() <= 614 && p[..6] == mac(PEER).0)
    );
    let whole = reassemble(&parts).expect("all pieces");
    assert_eq!(whole[34..], udp(&udp_tuple(UP, 9, FAR, 53), &data));
    assert_eq!(lab.sw.totals().held, 0);
}

/// A lab that forgets sooner behind which port a MAC is than which MAC an address has, with a
/// connection from PEER to `web`.
fn forgetful(mtu: u16) -> Lab {
    let mut cfg = config();
    cfg.timeouts.fdb = Duration::from_secs(5);
    cfg.mtu = mtu;
    let mut lab = Lab::ready_with(cfg);
    let t = udp_tuple(PEER, 9, UP, 5_000);
    lab.route(&lab.up.clone(), &t, &udp(&t, b"first"));
    assert_eq!(lab.got(&lab.web).len(), 1);
    lab.wait(Duration::from_secs(8));
    lab.clear();
    lab
}

/// What a flood to the bridge domain brought to each of its ports.
fn flooded(lab: &Lab) -> Vec<Seen> {
    let here = lab.got(&lab.web);
    for h in [&lab.host, &lab.db, &lab.app] {
        assert_eq!(lab.got(h).len(), here.len(), "{}", h.ip);
    }
    assert!(lab.got(&lab.up).is_empty());
    assert!(here.iter().all(|s| s.p.dst == mac(WEB)));
    here
}

#[test]
fn pieces_for_a_forgotten_port_are_flooded() {
    let mut lab = forgetful(600);
    let t = udp_tuple(PEER, 9, UP, 5_000);
    let f = lab
        .up
        .routed(&Ip::may_fragment(7), &t, &udp(&t, &[5; 1_400]));
    lab.send(&lab.up.clone(), &f);
    let parts: Vec<Vec<u8>> = flooded(&lab).into_iter().map(|s| s.bytes).collect();
    let whole = reassemble(&parts).expect("all pieces");
    assert_eq!(whole[34..], udp(&udp_tuple(PEER, 9, WEB, 80), &[5; 1_400]));
}

#[test]
fn an_error_for_a_forgotten_port_is_flooded() {
    let mut lab = forgetful(1_500);
    // `web` answers, so that there is something to complain about, and is forgotten again.
    let answer = udp_tuple(WEB, 80, PEER, 9);
    lab.route(&lab.web.clone(), &answer, &udp(&answer, b"answer"));
    let sent = lab.only(&lab.up);
    lab.wait(Duration::from_secs(8));
    lab.clear();
    let packet = &sent.bytes[usize::from(sent.p.l3_off)..];
    let t = tuple(Proto::ICMP, (PEER, 0), (UP, 0));
    lab.route(&lab.up.clone(), &t, &icmp(3, 3, [0; 4], packet));
    let got = flooded(&lab);
    assert_eq!((got.len(), got[0].icmp().0), (1, 3));
    assert_eq!(got[0].inner().tuple, answer);
}

/// An error about a published connection from an inside host that is no end of it (a router in a
/// container) comes from the switch: outside nobody knows that host.
#[test]
fn an_error_from_a_third_host_inside_comes_from_the_switch() {
    let mut lab = Lab::ready();
    let t = udp_tuple(PEER, 9, UP, 5_000);
    lab.route(&lab.up.clone(), &t, &udp(&t, b"question"));
    let sent = lab.only(&lab.web);
    let packet = &sent.bytes[usize::from(sent.p.l3_off)..];
    let from_app = tuple(Proto::ICMP, (APP, 0), (PEER, 0));
    lab.route(&lab.app.clone(), &from_app, &icmp(11, 0, [0; 4], packet));
    let got = lab.only(&lab.up);
    assert_eq!((got.tuple().src, got.tuple().dst), (UP, PEER));
    assert_eq!(got.icmp().0, 11);
    assert_eq!(got.inner().tuple, t);
}

#[test]
fn without_a_host_its_services_are_unreachable() {
    let mut lab = Lab::ready();
    assert!(lab.sw.remove_port(lab.host.id));
    let t = udp_tuple(WEB, 9, GW, 53);
    lab.route(&lab.web.clone(), &t, &udp(&t, b"anybody?"));
    let got = lab.only(&lab.web);
    assert_eq!((got.tuple().src, got.icmp().0, got.icmp().1), (GW, 3, 3));
    assert_eq!(lab.drops(Reason::NotRouted), 1);
}

/// A MAC, and a part of which there is one, are taken once.
#[test]
fn a_port_that_contradicts_another_is_refused() {
    let mut lab = Lab::ready();
    let mut add = |name: &str, role, ip| {
        let (_, queues) = MemoryPort::new(1, Caps::ALL);
        lab.sw
            .add_port(spec(name, role, ip, 1_500), queues, lab.now)
    };
    let other = Ipv4Addr::new(10, 0, 0, 77);
    for role in [Role::Host, Role::Uplink] {
        assert!(matches!(
            add("second", role, other),
            Err(AddPortError::Taken(..))
        ));
    }
    let again = add("again", Role::Access, WEB);
    assert!(matches!(again, Err(AddPortError::DuplicateMac(..))));
    assert!(add("other", Role::Access, other).is_ok());
}

/// Of a connection's key the index holds 16 bits. A stranger with the same ones is no hit.
#[test]
fn who_has_a_connections_tag_by_chance_is_another() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let flow = |n: u32| udp_tuple(WEB, 1_024 + (n % 4_000) as u16, FAR, 1 + (n / 4_000) as u16);
    for n in 0..4_000 {
        let t = flow(n);
        lab.route(&web, &t, &udp(&t, b"x"));
        let back = lab.only(&up).tuple().reversed();
        lab.route(&up, &back, &udp(&back, b"y"));
        lab.clear();
    }
    assert_eq!(lab.connections(), 4_000);
    let like_another = |lab: &Lab, t: &Tuple| {
        let index = &lab.sw.switch().conntrack.index;
        let found = index.candidate(index.hash(&FlowKey::new(Zone::Inside, t)));
        // One that is met from the same side.
        found.get().is_some_and(|(_, dir)| dir == Dir::Orig)
    };
    let strangers: Vec<Tuple> = (4_000..)
        .map(flow)
        .filter(|t| like_another(&lab, t))
        .take(5)
        .collect();
    for t in strangers {
        for data in [b"one", b"two"] {
            lab.route(&web, &t, &udp(&t, data));
            let seen = lab.only(&up);
            assert_eq!((seen.tuple().dst, seen.tuple().dport), (FAR, t.dport));
            assert_eq!((seen.tuple().sport, seen.data()), (t.sport, &data[..]));
        }
    }
    assert_eq!(lab.connections(), 4_005);
}

/// The switch gives the host what is for the gateway, but not what the host itself sent there.
#[test]
fn what_the_host_sends_to_itself_does_not_come_back() {
    let mut lab = Lab::ready();
    let host = lab.host.clone();
    let (t, sender) = (udp_tuple(WEB, 1, GW, 53), Mac([2, 9, 9, 9, 9, 9]));
    let packet = ipv4(&Ip::default(), &t, &udp(&t, b"x"));
    lab.send(&host, &eth(mac(GW), sender, 0x0800, &packet));
    lab.silence();
    assert_eq!(lab.drops(Reason::SamePort), 1);
}

/// The chains count what a Docker host's would: the first packet of a connection.
#[test]
fn only_a_first_packet_to_the_host_counts_in_the_chains() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    let counted = |lab: &Lab| {
        let chains = &lab.sw.switch().chains;
        (chains.prerouting.get().0, chains.input.get().0)
    };
    let (t, u) = (tcp_tuple(WEB, 1, GW, 22), udp_tuple(WEB, 1, GW, 53));
    lab.route(&web, &t, &tcp(&t, 1, 0, SYN, b""));
    assert_eq!(counted(&lab), (1, 1));
    for flags in [ACK, SYN | ACK, ACK | 8] {
        lab.route(&web, &t, &tcp(&t, 2, 1, flags, b""));
    }
    lab.route(&web, &u, &udp(&u, b"x"));
    assert_eq!(counted(&lab), (1, 1));
}

#[test]
fn only_a_first_packet_of_the_host_counts_in_the_chains() {
    let mut lab = Lab::ready();
    let host = lab.host.clone();
    let counted = |lab: &Lab| {
        let chains = &lab.sw.switch().chains;
        (chains.output.get().0, chains.postrouting.get().0)
    };
    let (t, u) = (tcp_tuple(GW, 1, WEB, 80), udp_tuple(GW, 1, WEB, 53));
    let frame = |t: &Tuple, l4: &[u8]| {
        let packet = ipv4(&Ip::default(), t, l4);
        eth(mac(WEB), mac(GW), 0x0800, &packet)
    };
    lab.send(&host, &frame(&t, &tcp(&t, 1, 0, SYN, b"")));
    assert_eq!(counted(&lab), (1, 1));
    lab.send(&host, &frame(&t, &tcp(&t, 2, 1, ACK, b"x")));
    lab.send(&host, &frame(&u, &udp(&u, b"x")));
    assert_eq!(counted(&lab), (1, 1));
}

/// So do the rules: what was published, by whom, and what went out by another name.
#[test]
fn a_first_packet_counts_where_dockers_rules_would_have_met_it() {
    let mut lab = Lab::ready();
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    let id = lab.publish(Proto::UDP, (53, 53), (WEB, 53));
    let counted = |lab: &Lab| {
        let (sw, rules) = (lab.sw.switch(), lab.sw.switch().rules.report());
        let rule = rules.iter().find(|r| r.id == id).expect("it is there");
        let c = &sw.chains;
        let chains = [&c.prerouting, &c.masquerade, &c.postrouting].map(|c| c.get().0);
        (rule.dnat.0, rule.masquerade.0, chains)
    };
    for (by, t, want) in [
        (&up, udp_tuple(PEER, 1, UP, 53), (1, 0, [0, 0, 1])),
        (&db, udp_tuple(DB, 1, UP, 53), (2, 1, [0, 0, 1])),
        (&web, udp_tuple(WEB, 1, FAR, 53), (2, 1, [1, 1, 1])),
    ] {
        for _ in 0..2 {
            lab.route(by, &t, &udp(&t, b"x"));
            assert_eq!(counted(&lab), want, "{t:?}");
        }
    }
}

/// However much waited in vain, its sender hears of it at the rate of other errors.
#[test]
fn errors_about_what_waited_are_limited_in_rate() {
    let mut lab = Lab::ready();
    let web = lab.web.clone();
    for last in 100..120 {
        for sport in 1..=16 {
            let t = udp_tuple(WEB, sport, Ipv4Addr::new(192, 0, 2, last), 53);
            lab.route(&web, &t, &udp(&t, b"x"));
        }
    }
    assert_eq!(lab.sw.totals().held, 320);
    lab.clear();
    lab.wait(Duration::from_secs(5));
    assert_eq!(lab.drops(Reason::HostUnreachable), 320);
    let told = lab.got(&web).len();
    assert!((250..300).contains(&told), "{told}, with a burst of 250");
}

/// What waits for a neighbour in vain is told so, unless it is an error itself.
#[test]
fn an_error_that_waits_in_vain_is_not_answered() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    lab.publish(Proto::UDP, (53, 53), (WEB, 53));
    let asks = udp_tuple(PEER, 9, UP, 53);
    lab.route(&up, &asks, &udp(&asks, b"?"));
    let seen = lab.only(&web);
    lab.sw.switch().neigh.forget(Zone::Uplink, PEER);
    let quoted = &seen.bytes[usize::from(seen.p.l3_off)..][..28];
    let error = tuple(Proto::ICMP, (WEB, 0), (PEER, 0));
    lab.route(&web, &error, &icmp(3, 3, [0; 4], quoted));
    let answer = seen.tuple().reversed();
    lab.route(&web, &answer, &udp(&answer, b"!"));
    assert_eq!(lab.sw.totals().held, 2);
    lab.clear();
    lab.wait(Duration::from_secs(5));
    assert_eq!(lab.drops(Reason::HostUnreachable), 2);
    let told = lab.only(&web);
    assert_eq!((told.icmp().0, told.inner().tuple), (3, answer));
}
