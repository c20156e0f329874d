//! A neighbour on the LAN that forges, and what the host's kernel must not say.

use dataplane::base::{Mac, Proto};
use dataplane::frame::VnetHdr;
use dataplane::port::PortQueue;
use dataplane::port::filter::nothing;
use dataplane::port::sys::packet;
use std::io::{ErrorKind, IoSlice};
use std::net::Ipv4Addr;
use std::time::Duration;
use switchd_tests::lab::nic::{HOST, LAN, NIC, NicWorld};
use switchd_tests::lab::tcp::pair;
use switchd_tests::lab::wait_for;
use switchd_tests::lab::world::{C1, C2, at};
use switchd_tests::memory::packet::{Ip, eth, ipv4, tcp, tuple};
use switchd_tests::scenario;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const SYN: u8 = 2;

/// A raw way out of the LAN's interface.
struct Forger {
    queue: Box<dyn PortQueue>,
    own: Mac,
    host: Mac,
}

impl Forger {
    fn new(w: &NicWorld) -> Forger {
        let link = w.lan.link("eth0").unwrap();
        let opened = w.lan.run(|| packet::open(link.index, 1, &nothing()));
        let (mut queues, _) = opened.unwrap();
        Forger {
            queue: queues.remove(0),
            own: link.mac,
            host: w.host.link(NIC).unwrap().mac,
        }
    }

    /// A SYN between these two.
    fn syn(&mut self, from: Ipv4Addr, to: (Ipv4Addr, u16)) {
        let t = tuple(Proto::TCP, (from, 40_000), to);
        let packet = ipv4(&Ip::default(), &t, &tcp(&t, 1, 0, SYN, b""));
        let frame = eth(self.host, self.own, 0x0800, &packet);
        let parts = [IoSlice::new(&frame)];
        self.queue.send(&VnetHdr::PLAIN, &parts).unwrap();
    }
}

scenario!(forged_addresses_reach_nobody, || {
    let w = NicWorld::new(&["--ports=5000:10.0.0.2:5000"]);
    let server = w.c[0].listen(ANY, 5000);
    // A service of the host that only the host may reach.
    let private = w.host.listen(LOCALHOST, 5000 + 1);
    let mut forger = Forger::new(&w);
    let drops = |reason: &str, n: u64| {
        wait_for(&format!("{n} × {reason}"), || {
            (w.daemon.drops(reason) == n).then_some(())
        });
    };
    // As a container, as the host's loopback, as the gateway, as the host.
    forger.syn(C2, (HOST, 5000));
    forger.syn(Ipv4Addr::new(127, 0, 0, 9), (HOST, 5000));
    forger.syn(Ipv4Addr::new(10, 0, 0, 1), (HOST, 5000));
    drops("martian", 3);
    // To the host's loopback.
    forger.syn(LAN, (LOCALHOST, 5000));
    drops("martian", 4);
    // To a container by its own address.
    forger.syn(LAN, (C1, 5000));
    drops("policy_denied", 1);
    for listener in [&server, &private] {
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    // A container reaches no loopback of the host either.
    let e = w.c[0].connect(at(LOCALHOST, 5001)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::ConnectionRefused, "its own loopback");
    server.set_nonblocking(false).unwrap();
    let (_near, far) = pair(&w.lan, at(HOST, 5000), &server);
    assert_eq!(far.peer_addr().unwrap().ip(), LAN);
    w.finish();
});

scenario!(the_kernel_keeps_quiet_about_what_is_ours, || {
    let w = NicWorld::new(&["--ports=5000:10.0.0.2:5000", "--ports=5003:10.0.0.9:5003"]);
    // Nobody has that container's address: from the LAN it is silence or 3/1, and never a reset
    // of the host's kernel, whose listener for the host's own programs is there.
    let e = w.lan.run(|| {
        std::net::TcpStream::connect_timeout(&at(HOST, 5003), Duration::from_millis(1_500))
    });
    assert_ne!(e.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    // A container that is there and doesn't listen answers for itself.
    let e = w.lan.connect(at(HOST, 5000)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::ConnectionRefused);
    // A port of masquerade can't be had by a program of the host, and is not answered for.
    let outside = w.lan.listen(ANY, 8080);
    let (_near, far) = pair(&w.c[0], at(LAN, 8080), &outside);
    let port = far.peer_addr().unwrap().port();
    assert!(port > 60_999, "outside of the kernel's own range: {port}");
    let e = w.host.run(|| std::net::TcpListener::bind(at(ANY, port)));
    assert_eq!(e.unwrap_err().kind(), ErrorKind::AddrInUse);
    let e = w.host.run(|| std::net::UdpSocket::bind(at(HOST, 61_000)));
    assert_eq!(e.unwrap_err().kind(), ErrorKind::AddrInUse);
    w.finish();
});
