//! What works by the shared address, and that the host's own traffic goes on.

use control::netlink::{LinkChange, Netlink};
use std::net::Ipv4Addr;
use std::time::Duration;
use switchd_tests::lab::nic::{
    HOST, LAN, NIC, NicWorld, default_route, give_address, host_and_lan, set_up, take_address,
};
use switchd_tests::lab::tcp::exchange;
use switchd_tests::lab::udp::{Echo, echoes};
use switchd_tests::lab::world::{C1, C2, GATEWAY, at};
use switchd_tests::lab::{Daemon, Ns, ping};
use switchd_tests::{scenario, scenario_as_ordinary_user};

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn tcp(w: &NicWorld, bytes: usize) {
    let (web, db) = (&w.c[0], &w.c[1]);
    let server = web.listen(ANY, 5000);
    let x = exchange(&w.lan, at(HOST, 5000), &server, bytes);
    assert_eq!(
        x.seen_by_server, x.client,
        "LAN: the client's address is kept"
    );
    for to in [LOCALHOST, HOST] {
        let x = exchange(&w.host, at(to, 5000), &server, bytes);
        assert_eq!(x.seen_by_server.ip(), GATEWAY, "from the host to {to}");
    }
    for client in [web, db] {
        let x = exchange(client, at(HOST, 5000), &server, bytes);
        assert_eq!(x.seen_by_server.ip(), HOST, "hairpin");
    }
    // Out, by the host's address.
    let outside = w.lan.listen(ANY, 8080);
    let x = exchange(web, at(LAN, 8080), &outside, bytes);
    assert_eq!(x.seen_by_server.ip(), HOST, "masquerade");
    // The host's own, by the same address.
    let x = exchange(&w.host, at(LAN, 8080), &outside, bytes);
    assert_eq!(x.seen_by_server, x.client);
    let service = w.host.listen(ANY, 7000);
    let x = exchange(&w.lan, at(HOST, 7000), &service, bytes);
    assert_eq!(
        x.seen_by_server, x.client,
        "a service of the host from the LAN"
    );
    for to in [HOST, GATEWAY] {
        let x = exchange(db, at(to, 7000), &service, bytes);
        assert_eq!(x.seen_by_server.ip(), C2, "a service of the host by {to}");
    }
}

fn udp(w: &NicWorld) {
    let all = |ns: &switchd_tests::lab::Ns, to, what: &str| {
        let socket = ns.udp(ANY, 0);
        for size in [1, 1472, 2000, 9000] {
            let back = echoes(&socket, to, 10, size).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(back, 10, "{what}: datagrams of {size} bytes were lost");
        }
        socket.local_addr().unwrap()
    };
    let (web, db) = (&w.c[0], &w.c[1]);
    let server = Echo::start(web.udp(ANY, 5001));
    let lan = all(&w.lan, at(HOST, 5001), "LAN");
    all(&w.host, at(LOCALHOST, 5001), "localhost");
    all(db, at(HOST, 5001), "hairpin");
    let seen = server.finish();
    assert_eq!(seen[0], at(LAN, lan.port()), "the client's address is kept");
    assert_eq!(seen[1].ip(), GATEWAY, "localhost");
    let outside = Echo::start(w.lan.udp(ANY, 8053));
    all(web, at(LAN, 8053), "masquerade");
    all(&w.host, at(LAN, 8053), "the host's own");
    assert!(outside.finish().iter().all(|a| a.ip() == HOST));
    // One that answers by the address that it was asked at.
    let service = Echo::start(w.host.udp(HOST, 7001));
    all(&w.lan, at(HOST, 7001), "a service of the host from the LAN");
    all(db, at(HOST, 7001), "a service of the host from a container");
    drop(service);
}

fn pings(w: &NicWorld) {
    let limit = Duration::from_secs(5);
    for (who, to, what) in [
        (&w.c[0], LAN, "container to LAN"),
        (&w.c[0], HOST, "container to host"),
        (&w.c[0], GATEWAY, "container to gateway"),
        (&w.lan, HOST, "LAN to host"),
        (&w.host, LAN, "host to LAN"),
        (&w.host, C1, "host to container"),
    ] {
        for size in [0, 56, 1472, 8000] {
            let pings = who.run(|| ping(to, 10, size, limit)).unwrap();
            assert!(pings.all(), "{what}, {size} bytes: {pings:?}");
        }
    }
}

fn everything(args: &[&str]) {
    let ports = [
        "--ports=5000:10.0.0.2:5000",
        "--ports=5001:10.0.0.2:5001/udp",
    ];
    let w = NicWorld::new(&[&ports, args].concat());
    let log = w.daemon.log();
    assert!(
        log.contains("uplink nic0 192.0.2.1/24 via 192.0.2.2, shared with the host"),
        "{log}"
    );
    pings(&w);
    tcp(&w, 3 << 20);
    if !args.contains(&"--offload=off") {
        // Superframes came in whole, and went out so.
        assert_eq!(w.daemon.stats().total.segments, 0, "{}", w.daemon.log());
        let ports = w.daemon.ports();
        let nic = ports.iter().find(|p| p.interface == NIC).unwrap();
        let mean = nic.rx_bytes / nic.rx_frames;
        assert!(
            mean > 1_514,
            "a frame of {NIC} has {mean} bytes in the mean"
        );
    }
    udp(&w);
    // Nothing of the host's was dropped as an error. An ordinary user's receive buffer is as small as
    // the system says, so a busy machine may lose bulk before it is read; all of it came in the end.
    let mut lost: Vec<_> = w.daemon.stats().drops;
    lost.retain(|d| d.frames > 0 && !["not_ours", "rx_full"].contains(&d.reason.as_str()));
    assert!(lost.is_empty(), "{lost:?}");
    w.finish();
}

/// The host's interface is a port of a bridge of its own, which has the address.
fn by_a_bridge() {
    let (host, lan) = host_and_lan();
    let mut nl = host.netlink();
    nl.create_bridge("br0").unwrap();
    let [bridge, nic] = ["br0", NIC].map(|n| host.link(n).unwrap().index);
    let into = LinkChange {
        master: Some(bridge),
        ..LinkChange::default()
    };
    nl.change_link(nic, &into).unwrap();
    take_address(&host, NIC, HOST, 24);
    set_up(&host, "br0", true);
    give_address(&host, "br0", HOST, 24);
    default_route(&host, "br0", LAN);
    let web = Ns::named("web");
    let daemon = Daemon::start(&["--attach=web:10.0.0.2", "--ports=5000:10.0.0.2:5000"]);
    let log = daemon.log();
    assert!(
        log.contains("uplink br0 192.0.2.1/24 via 192.0.2.2"),
        "{log}"
    );
    let server = web.listen(ANY, 5000);
    let x = exchange(&lan, at(HOST, 5000), &server, 3 << 20);
    assert_eq!(x.seen_by_server, x.client);
    let outside = lan.listen(ANY, 8080);
    let x = exchange(&web, at(LAN, 8080), &outside, 3 << 20);
    assert_eq!(x.seen_by_server.ip(), HOST);
    let x = exchange(&host, at(LAN, 8080), &outside, 3 << 20);
    assert_eq!(x.seen_by_server, x.client);
    daemon.terminate();
}

scenario!(a_bridge_of_the_host_as_uplink, by_a_bridge);
scenario!(no_other_flag, || everything(&[]));
scenario!(two_workers, || everything(&["--workers=2", "--uplink=nic"]));
scenario_as_ordinary_user!(as_root_of_a_user_namespace, || everything(&[]));
scenario!(plain_taps, || everything(&[
    "--offload=off",
    "--uplink=nic:nic0"
]));
