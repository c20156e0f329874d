//! The host changes under the switch: addresses, links, routes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use switchd_tests::lab::nic::{
    HOST, LAN, NIC, NicWorld, default_route, give_address, host_and_lan, set_up, take_address, wire,
};
use switchd_tests::lab::tcp::{carries, exchange, pair};
use switchd_tests::lab::udp::{Echo, echoes};
use switchd_tests::lab::world::at;
use switchd_tests::lab::{Daemon, Ns, wait_for};
use switchd_tests::scenario;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const PORT: &str = "--ports=5000:10.0.0.2:5000";
/// Another address of the same network.
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
/// Another network, behind another interface.
const HOST2: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const LAN2: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

fn uplink_is(daemon: &Daemon, ip: Ipv4Addr) {
    let what = format!("the uplink's address is {ip}");
    wait_for(&what, || {
        let status: control::api::types::Status = daemon.get("/v1/status");
        let shown = status.uplink?.ip;
        shown.starts_with(&format!("{ip}/")).then_some(())
    });
}

/// A new connection each way, by this address of the host.
fn all_ways(lan: &Ns, web: &Ns, host: Ipv4Addr, outside: Ipv4Addr) {
    let server = web.listen(ANY, 5000);
    let x = exchange(lan, at(host, 5000), &server, 1 << 16);
    assert_eq!(x.seen_by_server, x.client, "from outside by {host}");
    let server = lan.listen(ANY, 8080);
    let x = exchange(web, at(outside, 8080), &server, 1 << 16);
    assert_eq!(x.seen_by_server.ip(), host, "masquerade");
}

fn is_reset(mut stream: &TcpStream) {
    // The first write meets the reset, a later one or a read hears of it.
    let heard = stream
        .write_all(b"anyone?")
        .and_then(|()| stream.read(&mut [0; 1]));
    let kind = heard
        .expect_err("a connection by an address that is gone")
        .kind();
    assert_eq!(kind, ErrorKind::ConnectionReset);
}

scenario!(masquerade_follows_the_address, || {
    let w = NicWorld::new(&[PORT]);
    let web = &w.c[0];
    all_ways(&w.lan, web, HOST, LAN);
    let outside = w.lan.listen(ANY, 8081);
    let (old, _far) = pair(web, at(LAN, 8081), &outside);
    let echo = Echo::start(w.lan.udp(ANY, 8053));
    let socket = web.udp(ANY, 0);
    assert_eq!(echoes(&socket, at(LAN, 8053), 3, 100).unwrap(), 3);

    take_address(&w.host, NIC, HOST, 24);
    give_address(&w.host, NIC, OTHER, 24);
    default_route(&w.host, NIC, LAN);
    uplink_is(&w.daemon, OTHER);

    is_reset(&old);
    assert!(w.daemon.drops("address_gone") > 0, "under its name");
    // UDP goes on by the new address.
    assert_eq!(echoes(&socket, at(LAN, 8053), 3, 100).unwrap(), 3);
    let seen = echo.finish();
    assert_eq!([seen[0].ip(), seen[1].ip()], [HOST, OTHER]);
    all_ways(&w.lan, web, OTHER, LAN);
    w.finish();
});

scenario!(a_second_address_takes_over, || {
    let w = NicWorld::new(&[PORT]);
    give_address(&w.host, NIC, HOST2, 24);
    give_address(&w.lan, "eth0", LAN2, 24);
    let web = &w.c[0];
    // Published by every address of the host; masquerade stays by the router's network.
    let server = web.listen(ANY, 5000);
    exchange(&w.lan, at(HOST2, 5000), &server, 1 << 16);
    drop(server);
    all_ways(&w.lan, web, HOST, LAN);
    take_address(&w.host, NIC, HOST, 24);
    uplink_is(&w.daemon, HOST2);
    all_ways(&w.lan, web, HOST2, LAN2);
    w.finish();
});

scenario!(connections_outlive_a_link_that_is_down_for_a_moment, || {
    let w = NicWorld::new(&[PORT]);
    let web = &w.c[0];
    let outside = w.lan.listen(ANY, 8081);
    let (near, far) = pair(web, at(LAN, 8081), &outside);
    carries(&near, &far, "before").unwrap();
    set_up(&w.host, NIC, false);
    // Nothing leads out now, and nobody is told anything that would end the connection.
    (&near).write_all(b"meanwhile").unwrap();
    wait_for("frames that lead nowhere", || {
        (w.daemon.drops("no_route") > 0).then_some(())
    });
    set_up(&w.host, NIC, true);
    default_route(&w.host, NIC, LAN);
    let mut got = [0; 9];
    (&far).read_exact(&mut got).unwrap();
    assert_eq!(&got, b"meanwhile");
    carries(&far, &near, "after").unwrap();
    all_ways(&w.lan, web, HOST, LAN);
    w.finish();
});

scenario!(the_uplink_moves_with_the_default_route, || {
    let w = NicWorld::new(&[PORT]);
    wire(&w.host, "nic1", &w.lan, "eth1");
    give_address(&w.host, "nic1", HOST2, 24);
    give_address(&w.lan, "eth1", LAN2, 24);
    let web = &w.c[0];
    all_ways(&w.lan, web, HOST, LAN);
    set_up(&w.host, NIC, false);
    default_route(&w.host, "nic1", LAN2);
    uplink_is(&w.daemon, HOST2);
    all_ways(&w.lan, web, HOST2, LAN2);
    let log = w.daemon.log();
    assert!(
        log.contains("uplink nic1 203.0.113.1/24 via 203.0.113.2"),
        "{log}"
    );
    w.host.delete_link("nic1");
    w.finish();
});

scenario!(the_uplink_comes_later, || {
    let (host, lan) = host_and_lan();
    set_up(&host, NIC, false);
    let web = Ns::named("web");
    let daemon = Daemon::start(&["--attach=web:10.0.0.2", PORT]);
    let log = daemon.log();
    assert!(
        log.contains("no uplink for now: the host has no default route"),
        "{log}"
    );
    // Without an uplink a container is told at once that nothing leads out.
    let e = web.connect(at(LAN, 8080)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NetworkUnreachable);
    set_up(&host, NIC, true);
    default_route(&host, NIC, LAN);
    uplink_is(&daemon, HOST);
    all_ways(&lan, &web, HOST, LAN);
    // It goes and comes back with the interface itself, even under another number.
    host.delete_link(NIC);
    wait_for("no uplink", || {
        let status: control::api::types::Status = daemon.get("/v1/status");
        status.uplink.is_none().then_some(())
    });
    wire(&host, NIC, &lan, "eth0");
    give_address(&host, NIC, HOST, 24);
    give_address(&lan, "eth0", LAN, 24);
    default_route(&host, NIC, LAN);
    uplink_is(&daemon, HOST);
    all_ways(&lan, &web, HOST, LAN);
    daemon.terminate();
});
