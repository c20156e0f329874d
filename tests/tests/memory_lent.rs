//! External ports that a host lends: who waits for the next block, who is refused, and who keeps
//! the port of a connection that has closed.

use dataplane::base::{Proto, Reason};
use std::time::Duration;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::shared::{LENT, shared_lab};
use switchd_tests::memory::{DB, FAR, Lab};

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// The host lends more: `in_all` now.
fn lend(lab: &mut Lab, proto: Proto, ports: &[u16], in_all: u32) {
    let sw = lab.sw.switch();
    sw.external.lend(proto, ports, in_all, (2_000, *LENT.end()));
    sw.waiting.go();
    lab.wait(Duration::from_millis(1));
}

/// A lab in which all lent UDP ports are in use, and more are to come.
fn short_of_ports() -> (Lab, std::sync::Arc<dataplane::slow::Switch>) {
    let mut lab = shared_lab();
    let db = lab.db.clone();
    let sw = std::sync::Arc::clone(lab.sw.switch());
    sw.external.expect_more(Proto::UDP, true);
    for port in 1..=100 {
        let t = udp_tuple(DB, port, FAR, 53);
        lab.route(&db, &t, &udp(&t, b"x"));
    }
    assert_eq!(sw.external.in_use().udp, 100);
    lab.clear();
    (lab, sw)
}

#[test]
fn a_first_packet_without_a_port_is_held_until_more_are_lent() {
    let (mut lab, sw) = short_of_ports();
    let db = lab.db.clone();
    for port in [200, 201, 202] {
        let t = udp_tuple(DB, port, FAR, 53);
        lab.route(&db, &t, &udp(&t, b"x"));
    }
    lab.silence();
    assert_eq!(sw.drops(Reason::PortsExhausted), 0);
    lend(&mut lab, Proto::UDP, &[2_000, 2_002], 102);
    let out: Vec<u16> = lab.got(&lab.up).iter().map(|s| s.tuple().sport).collect();
    assert_eq!(out.len(), 2, "in order, as far as there are ports: {out:?}");
    assert!(out.iter().all(|p| [2_000, 2_002].contains(p)));
    lab.clear();
    // The third waits for the next block.
    lend(&mut lab, Proto::UDP, &[2_004], 103);
    assert_eq!(lab.only(&lab.up).tuple().sport, 2_004);
    assert_eq!(sw.drops(Reason::PortsExhausted), 0);
}

/// The port of a connection that has just closed may be in TIME-WAIT outside: it is taken only when
/// no other will come.
#[test]
fn a_first_packet_waits_rather_than_take_the_port_of_a_closed_connection() {
    let mut lab = shared_lab();
    let (db, up) = (lab.db.clone(), lab.up.clone());
    let sw = std::sync::Arc::clone(lab.sw.switch());
    sw.external.expect_more(Proto::TCP, true);
    for port in 1..=100 {
        let t = tcp_tuple(DB, port, FAR, 80);
        lab.route(&db, &t, &tcp(&t, 1, 0, SYN, b""));
        let back = lab.only(&lab.up).tuple().reversed();
        lab.route(&up, &back, &tcp(&back, 9, 2, SYN | ACK, b""));
        lab.route(&db, &t, &tcp(&t, 2, 10, ACK, b""));
        lab.route(&db, &t, &tcp(&t, 2, 10, RST | ACK, b""));
        lab.clear();
    }
    assert_eq!(sw.external.in_use().tcp, 100);
    let t = tcp_tuple(DB, 200, FAR, 80);
    lab.route(&db, &t, &tcp(&t, 1, 0, SYN, b""));
    lab.silence();
    lend(&mut lab, Proto::TCP, &[2_000], 101);
    assert_eq!(lab.only(&lab.up).tuple().sport, 2_000);
    lab.clear();
    sw.no_more_ports(Proto::TCP);
    let t = tcp_tuple(DB, 201, FAR, 80);
    lab.route(&db, &t, &tcp(&t, 1, 0, SYN, b""));
    let sport = lab.only(&lab.up).tuple().sport;
    assert!(LENT.contains(&sport), "{sport}");
    assert_eq!(sw.external.in_use().tcp, 101);
}

/// Outside the tuple of a closed connection is in TIME-WAIT and takes its own sender's next SYN
/// only.
#[test]
fn who_reuses_a_source_port_goes_by_the_external_one_again() {
    let mut lab = shared_lab();
    let (db, up) = (lab.db.clone(), lab.up.clone());
    let t = tcp_tuple(DB, 40_000, FAR, 80);
    let mut first = None;
    for round in 0..10u32 {
        let n = round * 100_000;
        lab.route(&db, &t, &tcp(&t, n + 1, 0, SYN, b""));
        let back = lab.only(&lab.up).tuple().reversed();
        assert_eq!(*first.get_or_insert(back.dport), back.dport, "{round}");
        lab.route(&up, &back, &tcp(&back, n + 50, n + 2, SYN | ACK, b""));
        lab.route(&db, &t, &tcp(&t, n + 2, n + 51, ACK, b""));
        lab.route(&up, &back, &tcp(&back, n + 51, n + 2, FIN | ACK, b""));
        lab.route(&db, &t, &tcp(&t, n + 2, n + 52, FIN | ACK, b""));
        lab.route(&up, &back, &tcp(&back, n + 52, n + 3, ACK, b""));
        lab.clear();
        assert_eq!(lab.sw.switch().external.in_use().tcp, 1);
    }
}

#[test]
fn who_waits_for_a_port_in_vain_is_told() {
    let (mut lab, sw) = short_of_ports();
    let db = lab.db.clone();
    let first = udp_tuple(DB, 200, FAR, 53);
    lab.route(&db, &first, &udp(&first, b"x"));
    lab.wait(Duration::from_millis(900));
    lab.silence();
    lab.wait(Duration::from_millis(200));
    let (kind, code, _) = lab.only(&lab.db).icmp();
    assert_eq!((kind, code), (3, 13));
    assert_eq!(sw.drops(Reason::PortsExhausted), 1);
    // Nobody waits again before more are lent.
    let t = udp_tuple(DB, 201, FAR, 53);
    lab.route(&db, &t, &udp(&t, b"x"));
    assert_eq!(sw.drops(Reason::PortsExhausted), 2);
    // Or when the host says so.
    sw.external.expect_more(Proto::UDP, true);
    lab.clear();
    lab.route(&db, &t, &udp(&t, b"x"));
    lab.silence();
    sw.no_more_ports(Proto::UDP);
    lab.wait(Duration::from_millis(1));
    assert_eq!(lab.only(&lab.db).icmp().0, 3);
    // No more than so many wait.
    sw.external.expect_more(Proto::UDP, true);
    for port in 1_000..3_000 {
        let t = udp_tuple(DB, port, FAR, 53);
        lab.route(&db, &t, &udp(&t, b"x"));
    }
    assert_eq!(sw.drops(Reason::PortsExhausted), 3 + 2_000 - 1_024);
    sw.no_more_ports(Proto::UDP);
    lab.wait(Duration::from_millis(1));
    assert_eq!(sw.drops(Reason::PortsExhausted), 3 + 2_000);
}
