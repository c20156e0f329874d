//! Many flows by one address: the host's own and the containers', at the same time.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use switchd_tests::lab::Ns;
use switchd_tests::lab::nic::{HOST, LAN, NicWorld};
use switchd_tests::lab::tcp::exchange;
use switchd_tests::lab::udp::{Echo, echoes};
use switchd_tests::lab::world::at;
use switchd_tests::scenario;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
/// Flows each way, from ports of their own.
const FLOWS: usize = 10_000;
/// The LAN's echo servers: one external port serves several of them.
const SERVERS: [u16; 4] = [8001, 8002, 8003, 8004];

/// One datagram there and back from a fresh socket each; how many came back.
fn flows(ns: &Ns, count: usize, to: impl Fn(usize) -> SocketAddr + Sync) -> usize {
    ns.run(|| {
        let mut back = 0;
        for n in 0..count {
            let socket = UdpSocket::bind(at(ANY, 0)).expect("a socket");
            let wait = std::time::Duration::from_secs(10);
            socket.set_read_timeout(Some(wait)).expect("a timeout");
            let mut got = echoes(&socket, to(n), 1, 32).unwrap_or(0);
            if got == 0 {
                // A machine too busy to lend the next block of ports in time refuses one.
                println!("flow {n} is sent again");
                std::thread::sleep(std::time::Duration::from_secs(2));
                got = echoes(&socket, to(n), 1, 32).unwrap_or(0);
            }
            back += got;
        }
        back
    })
}

scenario!(ten_thousand_flows_each_way_beside_the_hosts_own, || {
    let w = NicWorld::new(&["--ports=5001:10.0.0.2:5001/udp"]);
    let outside: Vec<Echo> = SERVERS
        .iter()
        .map(|p| Echo::start(w.lan.udp(ANY, *p)))
        .collect();
    let inside = Echo::start(w.c[0].udp(ANY, 5001));
    let of_host = Echo::start(w.host.udp(HOST, 7001));
    let to = |n: usize| at(LAN, SERVERS[n % SERVERS.len()]);
    let back = std::thread::scope(|s| {
        let ways = [
            s.spawn(|| flows(&w.c[0], FLOWS, to)),
            s.spawn(|| flows(&w.lan, FLOWS, |_| at(HOST, 5001))),
            s.spawn(|| flows(&w.host, FLOWS, to)),
            s.spawn(|| flows(&w.lan, FLOWS, |_| at(HOST, 7001))),
        ];
        ways.map(|w| w.join().unwrap())
    });
    let what = [
        "containers out",
        "LAN in",
        "the host out",
        "LAN to the host",
    ];
    for (what, back) in what.iter().zip(back) {
        assert_eq!(back, FLOWS, "{what}: {:?}", w.daemon.stats().drops);
    }
    drop((outside, inside, of_host));
    // And TCP still.
    let server = w.lan.listen(ANY, 8080);
    let x = exchange(&w.c[1], at(LAN, 8080), &server, 1 << 16);
    assert_eq!(x.seen_by_server.ip(), HOST);
    w.finish();
});
