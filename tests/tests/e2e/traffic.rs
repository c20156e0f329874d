//! Every way that packets take, with one and two workers, with offloads and on plain TAPs, however
//! workers wait.

use std::net::Ipv4Addr;
use std::time::Duration;
use switchd_tests::lab::tcp::{Exchanged, exchange};
use switchd_tests::lab::udp::{Echo, echoes};
use switchd_tests::lab::world::{C1, C2, GATEWAY, OUTSIDE, UPLINK, at};
use switchd_tests::lab::{World, WorldSpec, ping};
use switchd_tests::{scenario, scenario_as_ordinary_user};

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn world(workers: usize, offload: &'static str, args: &[&str]) -> World {
    let spec = WorldSpec {
        workers,
        offload,
        ..WorldSpec::default()
    };
    let ports = [
        "--ports=5000-5010:10.0.0.2:5000-5010",
        "--ports=5000-5010:10.0.0.2:5000-5010/udp",
    ];
    World::new(&spec.with(&ports).with(args))
}

/// The server has to have seen the client's own address and port.
fn unchanged(x: &Exchanged) {
    assert_eq!(x.seen_by_server, x.client);
}

fn tcp(w: &World, bytes: usize) {
    let server = w.c[0].listen(ANY, 5000);
    // By MAC, inside the network.
    unchanged(&exchange(&w.c[1], at(C1, 5000), &server, bytes));
    unchanged(&exchange(&w.host, at(C1, 5000), &server, bytes));
    // From outside: the client's address is kept.
    unchanged(&exchange(&w.out, at(UPLINK, 5000), &server, bytes));
    // Hairpin: another's published port and one's own, by the uplink's address. The server
    // answers by way of the switch, because it sees the switch's address.
    for client in &w.c {
        let x = exchange(client, at(UPLINK, 5000), &server, bytes);
        assert_eq!(x.seen_by_server.ip(), UPLINK, "hairpin");
    }
    // Localhost: a second stream with the gateway as source.
    let x = exchange(&w.host, at(LOCALHOST, 5000), &server, bytes);
    assert_eq!(x.seen_by_server.ip(), GATEWAY, "localhost");
    // To the outside, which sees the uplink's address.
    let outside = w.out.listen(ANY, 8080);
    let x = exchange(&w.c[1], at(OUTSIDE, 8080), &outside, bytes);
    assert_eq!(x.seen_by_server.ip(), UPLINK, "masquerade");
    // A service of the host on the gateway's address.
    let host = w.host.listen(GATEWAY, 7000);
    unchanged(&exchange(&w.c[1], at(GATEWAY, 7000), &host, bytes));
}

fn udp(w: &World) {
    let all = |ns: &switchd_tests::lab::Ns, to, what: &str| {
        let socket = ns.udp(ANY, 0);
        // One byte, a full frame, two fragments, many.
        for size in [1, 1472, 2000, 9000] {
            let back = echoes(&socket, to, 10, size).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(back, 10, "{what}: datagrams of {size} bytes were lost");
        }
        socket.local_addr().unwrap()
    };
    let server = Echo::start(w.c[0].udp(ANY, 5001));
    let inside = all(&w.c[1], at(C1, 5001), "inside");
    let outside = all(&w.out, at(UPLINK, 5001), "DNAT");
    all(&w.host, at(LOCALHOST, 5001), "localhost");
    all(&w.c[1], at(UPLINK, 5001), "hairpin");
    let clients = server.finish();
    assert_eq!(clients[0], at(C2, inside.port()));
    assert_eq!(
        clients[1],
        at(OUTSIDE, outside.port()),
        "DNAT keeps the client's address"
    );
    assert_eq!(clients[2].ip(), GATEWAY, "localhost");
    let server = Echo::start(w.out.udp(ANY, 8053));
    all(&w.c[1], at(OUTSIDE, 8053), "masquerade");
    assert_eq!(server.finish()[0].ip(), UPLINK);
}

fn pings(w: &World) {
    let limit = Duration::from_secs(5);
    for (who, to, what) in [
        (&w.c[0], C2, "container to container"),
        (&w.c[0], OUTSIDE, "container to outside"),
        (&w.host, C1, "host to container"),
    ] {
        for size in [0, 56, 1472, 1473, 8000, 20_000] {
            let pings = who.run(|| ping(to, 10, size, limit)).unwrap();
            assert!(pings.all(), "{what}, {size} bytes: {pings:?}");
        }
    }
    for (who, to, what) in [
        (&w.c[0], GATEWAY, "container to gateway"),
        (&w.c[0], UPLINK, "container to the uplink's address"),
        (&w.out, UPLINK, "outside to the uplink's address"),
    ] {
        for size in [0, 56, 1472] {
            let pings = who.run(|| ping(to, 10, size, limit)).unwrap();
            assert!(pings.all(), "{what}, {size} bytes: {pings:?}");
        }
    }
    // Nobody routes from outside to a container's own address.
    let pings = w.out.run(|| ping(UPLINK, 1, 56, limit)).unwrap();
    assert_eq!(pings.ttl, 64, "the switch itself answers");
    let pings = w.c[0].run(|| ping(OUTSIDE, 1, 56, limit)).unwrap();
    assert_eq!(pings.ttl, 63, "one router on the way");
}

fn everything(workers: usize, offload: &'static str, args: &[&str]) {
    let w = world(workers, offload, args);
    pings(&w);
    tcp(&w, 3 << 20);
    udp(&w);
    w.finish();
}

scenario!(one_worker_with_offloads, || everything(1, "auto", &[]));
scenario!(two_workers_with_offloads, || everything(2, "auto", &[]));
scenario!(one_worker_on_plain_taps, || everything(1, "off", &[]));
scenario!(two_workers_on_plain_taps, || everything(2, "off", &[]));
scenario!(checksums_only, || everything(1, "csum", &[]));
scenario!(one_worker_that_never_spins, || everything(
    1,
    "auto",
    &["--spin=off"]
));
scenario!(two_workers_that_never_spin, || everything(
    2,
    "off",
    &["--spin=off"]
));
scenario!(two_workers_with_a_long_spin, || everything(
    2,
    "auto",
    &["--spin=1000"]
));
scenario_as_ordinary_user!(as_ordinary_user, || everything(2, "auto", &[]));

fn small_mtu_of_a_container(offload: &'static str) {
    let w = world(1, offload, &[]);
    // The container's own idea of its MTU: its kernel announces a smaller MSS.
    w.c[0].set_mtu("eth0", 1280);
    tcp(&w, 1 << 20);
    udp(&w);
    w.finish();
}

scenario!(a_container_with_a_smaller_mtu, || small_mtu_of_a_container(
    "auto"
));
scenario!(a_container_with_a_smaller_mtu_on_plain_taps, || {
    small_mtu_of_a_container("off")
});

fn mtu_of_the_switch(mtu: u32, offload: &'static str) {
    let spec = WorldSpec {
        offload,
        ..WorldSpec::default()
    };
    let w = World::new(&spec.with(&[
        &format!("--mtu={mtu}"),
        "--ports=5000-5010:10.0.0.2:5000-5010",
        "--ports=5000-5010:10.0.0.2:5000-5010/udp",
    ]));
    assert_eq!(w.c[0].link("eth0").unwrap().mtu, mtu);
    assert_eq!(w.host.link("sw0").unwrap().mtu, mtu);
    tcp(&w, 1 << 20);
    udp(&w);
    w.finish();
}

scenario!(a_switch_of_mtu_1400, || mtu_of_the_switch(1400, "auto"));
scenario!(a_switch_of_mtu_1400_on_plain_taps, || mtu_of_the_switch(
    1400, "off"
));
scenario!(a_switch_of_mtu_9000, || mtu_of_the_switch(9000, "auto"));
