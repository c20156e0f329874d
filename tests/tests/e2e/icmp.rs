//! Errors that come back to those who caused them, and packets too large for the next link.

use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use switchd_tests::lab::udp::{Echo, echoes};
use switchd_tests::lab::world::{C1, OUTSIDE, UPLINK, at};
use switchd_tests::lab::{Ns, World, WorldSpec};
use switchd_tests::scenario;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn world(offload: &'static str) -> World {
    let spec = WorldSpec {
        offload,
        ..WorldSpec::default()
    };
    World::new(&spec.with(&[
        "--ports=5000-5010:10.0.0.2:5000-5010",
        "--ports=5000-5010:10.0.0.2:5000-5010/udp",
        "--ports=6000:10.0.0.99:6000",
    ]))
}

/// The error that a connected UDP socket hears of when it speaks to this address.
fn heard(ns: &Ns, to: SocketAddr) -> Option<ErrorKind> {
    let socket = ns.udp(ANY, 0);
    socket.connect(to).unwrap();
    socket.send(b"anybody there?").unwrap();
    socket.recv(&mut [0; 64]).err().map(|e| e.kind())
}

scenario!(a_closed_port_is_told_by_every_way, || {
    let w = world("auto");
    let refused = Some(ErrorKind::ConnectionRefused);
    // The error's inner packet has to be translated back, or the socket would not be found.
    assert_eq!(heard(&w.c[1], at(OUTSIDE, 9)), refused, "masquerade");
    assert_eq!(heard(&w.out, at(UPLINK, 5009)), refused, "DNAT");
    assert_eq!(heard(&w.c[1], at(UPLINK, 5009)), refused, "hairpin");
    assert_eq!(heard(&w.c[1], at(C1, 5009)), refused, "by MAC");
    for (ns, to) in [(&w.c[1], at(OUTSIDE, 9)), (&w.out, at(UPLINK, 5009))] {
        assert_eq!(
            ns.connect(to).unwrap_err().kind(),
            ErrorKind::ConnectionRefused,
            "TCP {to}"
        );
    }
    w.finish();
});

scenario!(a_container_that_is_not_there, || {
    let w = world("auto");
    let e = w.out.connect(at(UPLINK, 6000)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::HostUnreachable, "{e}");
    assert!(w.daemon.drops("host_unreachable") > 0);
    let local = w
        .host
        .connect(at(LOCALHOST, 6000))
        .and_then(|mut s| io::Read::read(&mut s, &mut [0; 1]));
    assert_eq!(local.unwrap_err().kind(), ErrorKind::ConnectionReset);
    w.finish();
});

/// Both ends have links that take more than the switch: it says so to those who ask not to
/// fragment, and fragments for the others.
fn too_large(offload: &'static str) {
    let w = world(offload);
    w.out.set_mtu("eth0", 4000);
    w.c[1].set_mtu("eth0", 4000);
    let inside = Echo::start(w.c[0].udp(ANY, 5001));
    let outside = Echo::start(w.out.udp(ANY, 8053));
    for (ns, to, what) in [
        (&w.out, at(UPLINK, 5001), "DNAT"),
        (&w.c[1], at(OUTSIDE, 8053), "masquerade"),
    ] {
        let socket = ns.udp(ANY, 0);
        discover(&socket, Ipv4PathMtuDiscovery::DONT);
        // Three fragments of 1500 are made of one packet, and several of each fragment.
        for size in [2000, 3900, 9000] {
            assert_eq!(
                echoes(&socket, to, 5, size).unwrap(),
                5,
                "{what}, {size} bytes"
            );
        }
        let socket = ns.udp(ANY, 0);
        discover(&socket, Ipv4PathMtuDiscovery::DO);
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let before = w.daemon.drops("mtu_exceeded");
        let told = (0..10).find_map(|_| echoes(&socket, to, 1, 3000).err());
        assert_eq!(
            told.and_then(|e| e.raw_os_error()),
            Some(libc::EMSGSIZE),
            "{what}"
        );
        assert!(w.daemon.drops("mtu_exceeded") > before, "{what}");
        socket
            .set_read_timeout(Some(Duration::from_secs(3)))
            .unwrap();
        assert_eq!(
            echoes(&socket, to, 5, 1472).unwrap(),
            5,
            "{what}: what fits the path"
        );
    }
    drop((inside, outside));
    w.finish();
}

scenario!(packets_too_large_for_the_next_link, || too_large("auto"));
scenario!(packets_too_large_for_the_next_link_on_plain_taps, || {
    too_large("off")
});

fn discover(socket: &UdpSocket, how: Ipv4PathMtuDiscovery) {
    set_ip_mtu_discover(socket, how).unwrap();
}
