//! The host pings beside its containers: by raw sockets, whose identifiers nobody can ask for.

use control::api::types::Connection;
use std::net::Ipv4Addr;
use std::time::Duration;
use switchd_tests::lab::nic::{LAN, NicWorld, give_address};
use switchd_tests::lab::{Ns, ping_as, wait_for};
use switchd_tests::scenario;

/// Another address of the outside.
const LAN2: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

/// `count` echo requests from `ns`, all of which have to be answered.
fn pings(ns: &Ns, id: u16, to: Ipv4Addr, count: u32) {
    let done = ns.run(|| ping_as(id, to, count, 56, Duration::from_secs(5)));
    let done = done.expect("a raw socket");
    assert!(done.all(), "{id} to {to} from {ns:?}: {done:?}");
}

/// Two by the host, whose answers the switch has seen too when this returns.
fn hosts_pings(w: &NicWorld, id: u16, to: Ipv4Addr) {
    let seen = w.daemon.drops("not_ours");
    pings(&w.host, id, to, 2);
    wait_for("the host's answers", || {
        (w.daemon.drops("not_ours") >= seen + 2).then_some(())
    });
}

/// The identifier by which the outside knows a container's pings with `id`.
fn outside_of(w: &NicWorld, ip: Ipv4Addr, id: u16) -> u16 {
    let all: Vec<Connection> = w.daemon.get("/v1/conntrack");
    let its = |c: &&Connection| c.orig.src == ip && c.orig.icmp_id == Some(id);
    let found = all.iter().find(its).map(|c| c.reply.icmp_id);
    found
        .flatten()
        .unwrap_or_else(|| panic!("{ip} {id}: {all:?}"))
}

scenario!(an_identifier_that_the_host_uses_is_avoided, || {
    let w = NicWorld::new(&[]);
    give_address(&w.lan, "eth0", LAN2, 24);
    let [web, db] = [Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 3)];
    // Nobody else has it: it is kept.
    pings(&w.c[0], 60_001, LAN, 1);
    assert_eq!(outside_of(&w, web, 60_001), 60_001);
    // The host began first.
    hosts_pings(&w, 60_002, LAN);
    pings(&w.c[0], 60_002, LAN, 2);
    assert_ne!(outside_of(&w, web, 60_002), 60_002);
    // The host begins while a container has it: whoever comes next gets another.
    hosts_pings(&w, 60_001, LAN2);
    pings(&w.c[0], 60_001, LAN, 2);
    pings(&w.c[1], 60_001, LAN, 2);
    assert_ne!(outside_of(&w, db, 60_001), 60_001);
    w.finish();
});

scenario!(host_and_container_by_one_identifier_at_once, || {
    let w = NicWorld::new(&[]);
    pings(&w.c[0], 60_003, LAN, 1);
    std::thread::scope(|s| {
        s.spawn(|| pings(&w.c[0], 60_003, LAN, 300));
        s.spawn(|| pings(&w.host, 60_003, LAN, 300));
    });
    w.finish();
});
