//! `switchd run` by an ordinary user: the outside by the host's ordinary sockets.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;
use switchd_tests::lab::rootless::{HOST, NOBODY, OUTSIDE, Rootless};
use switchd_tests::lab::tcp::{accept, exchange, try_exchange};
use switchd_tests::lab::udp::{Echo, echoes};
use switchd_tests::lab::world::at;
use switchd_tests::lab::{Ns, ping, wait_for};
use switchd_tests::scenario;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const MIB: usize = 1 << 20;

scenario!(streams_go_out_by_the_hosts_address, || {
    let Some(lab) = Rootless::new() else { return };
    let running = lab.run(&[]);
    let inside = running.inside();
    let server = lab.out.listen(OUTSIDE, 7000);
    for bytes in [1, 1_000, 8 * MIB] {
        let e = exchange(&inside, at(OUTSIDE, 7000), &server, bytes);
        assert_eq!(e.seen_by_server.ip(), HOST);
        assert_eq!(e.client.ip(), Ipv4Addr::new(10, 0, 0, 2));
    }
    // The host's own address leads to the host.
    let own = lab.host.listen(Ipv4Addr::UNSPECIFIED, 7001);
    exchange(&inside, at(HOST, 7001), &own, 1_000);
    let s = running.sockets();
    assert_eq!((s.tcp_out, s.tcp_in, s.resent), (4, 0, 0), "{s:?}");
    assert_eq!(
        lab.host.links(),
        ["lo", "v0"],
        "nothing is made on the host"
    );
    running.finish();
});

scenario!(a_published_port_shows_the_client, || {
    let Some(lab) = Rootless::new() else { return };
    let only = format!("{HOST}:5002:5000");
    let running = lab.run(&["-p", "5000:5000", "-p", "127.0.0.1:5001:5000", "-p", &only]);
    let inside = running.inside();
    let server = inside.listen(Ipv4Addr::UNSPECIFIED, 5000);
    let e = exchange(&lab.out, at(HOST, 5000), &server, 4 * MIB);
    assert_eq!(e.seen_by_server, e.client, "address and port of the client");
    let e = exchange(&lab.out, at(HOST, 5002), &server, 1_000);
    assert_eq!(e.seen_by_server, e.client);
    let refused = lab.host.connect(at(Ipv4Addr::LOCALHOST, 5002));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let e = exchange(&lab.host, at(HOST, 5000), &server, 1_000);
    assert_eq!(e.seen_by_server, e.client);
    for port in [5000, 5001] {
        let local = at(Ipv4Addr::LOCALHOST, port);
        let e = exchange(&lab.host, local, &server, MIB);
        assert_eq!(e.seen_by_server.ip(), GATEWAY, "as by the localhost relay");
    }
    let refused = lab.out.connect(at(HOST, 5001)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // Nobody listens behind it any more.
    drop(server);
    // The host has accepted before the container refuses: a reset, sooner or later.
    let late = lab.out.connect(at(HOST, 5000));
    let e = late.and_then(|mut s| s.read(&mut [0])).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::ConnectionReset);
    running.finish();
});

scenario!(errors_are_told_as_they_were, || {
    let Some(lab) = Rootless::new() else { return };
    let running = lab.run(&[]);
    let inside = running.inside();
    let kind = |ip, port| inside.connect(at(ip, port)).unwrap_err();
    assert_eq!(kind(OUTSIDE, 1).kind(), ErrorKind::ConnectionRefused);
    assert_eq!(kind(NOBODY, 1).kind(), ErrorKind::HostUnreachable);
    let far = Ipv4Addr::new(203, 0, 113, 1);
    assert_eq!(kind(far, 1).kind(), ErrorKind::NetworkUnreachable);
    // What listens on the host's loopback is not to be had by any address.
    let _secret = lab.host.listen(Ipv4Addr::LOCALHOST, 7002);
    for ip in [GATEWAY, HOST, Ipv4Addr::new(192, 0, 0, 1)] {
        assert!(inside.connect(at(ip, 7002)).is_err(), "{ip}");
    }
    let udp = inside.udp(Ipv4Addr::UNSPECIFIED, 0);
    udp.connect(at(OUTSIDE, 9)).expect("a peer");
    udp.send(b"x").expect("sending");
    let e = udp.recv(&mut [0; 9]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::ConnectionRefused);
    let s = running.sockets();
    assert_eq!((s.tcp_refused, s.errors_in), (4, 1), "{s:?}");
    // A peer that resets, after the connection was up.
    let server = lab.out.listen(OUTSIDE, 7000);
    let mut client = inside.connect(at(OUTSIDE, 7000)).expect("a connection");
    let (peer, _) = accept(&server).expect("a client");
    nix::sys::socket::setsockopt(
        &peer,
        nix::sys::socket::sockopt::Linger,
        &libc::linger {
            l_onoff: 1,
            l_linger: 0,
        },
    )
    .expect("linger");
    drop(peer);
    let e = client.read(&mut [0]).expect_err("nothing to read");
    assert_eq!(e.kind(), ErrorKind::ConnectionReset);
    running.finish();
});

fn port_seen(from: &UdpSocket, by: &UdpSocket) -> u16 {
    from.send_to(b"who", by.local_addr().expect("an address"))
        .expect("sending");
    let (_, seen) = by.recv_from(&mut [0; 9]).expect("a datagram");
    assert_eq!(seen.ip(), HOST);
    by.send_to(b"you", seen).expect("answering");
    let (n, whence) = from.recv_from(&mut [0; 9]).expect("an answer");
    assert_eq!((n, whence), (3, by.local_addr().expect("an address")));
    seen.port()
}

scenario!(datagrams_keep_their_port_and_size, || {
    let Some(lab) = Rootless::new() else { return };
    let running = lab.run(&["-p", "6000:6000/udp"]);
    let inside = running.inside();
    let (a, b) = (lab.out.udp(OUTSIDE, 7000), lab.out.udp(OUTSIDE, 7001));
    let client = inside.udp(Ipv4Addr::UNSPECIFIED, 0);
    assert_eq!(
        port_seen(&client, &a),
        port_seen(&client, &b),
        "one mapping"
    );
    drop((a, b));
    let echo = Echo::start(lab.out.udp(OUTSIDE, 7002));
    for size in [0, 1, 1_472, 1_473, 4_000, 60_000] {
        let got = echoes(&client, at(OUTSIDE, 7002), 3, size).expect("echoes");
        assert_eq!(got, 3, "{size} bytes");
    }
    assert_eq!(echo.finish().len(), 1);
    // Published: the client from outside is itself, one of the host's loopback the gateway.
    let server = inside.udp(Ipv4Addr::UNSPECIFIED, 6000);
    let echo = Echo::start(server);
    let client = lab.out.udp(OUTSIDE, 0);
    assert_eq!(echoes(&client, at(HOST, 6000), 5, 100).expect("echoes"), 5);
    let local = lab.host.udp(Ipv4Addr::LOCALHOST, 0);
    let to = at(Ipv4Addr::LOCALHOST, 6000);
    assert_eq!(echoes(&local, to, 5, 100).expect("echoes"), 5);
    // The answer comes from the address that was asked, not from the one that the route prefers.
    let other = lab.host.udp(Ipv4Addr::LOCALHOST, 0);
    let asked = at([127, 0, 0, 9].into(), 6000);
    other.send_to(b"who", asked).expect("sending");
    let (_, whence) = other.recv_from(&mut [0; 9]).expect("an answer");
    assert_eq!(whence, asked);
    let seen: Vec<SocketAddr> = echo.finish();
    assert_eq!(seen[0], client.local_addr().expect("an address"));
    assert_eq!(seen[1].ip(), GATEWAY);
    running.finish();
});

scenario!(a_smaller_mtu_on_the_way_is_told, || {
    let Some(lab) = Rootless::new() else { return };
    lab.host.set_mtu("v0", 1_300);
    let running = lab.run(&[]);
    let server = lab.out.udp(OUTSIDE, 7000);
    let client = running.inside().udp(Ipv4Addr::UNSPECIFIED, 0);
    client.connect(at(OUTSIDE, 7000)).expect("a peer");
    // Don't-fragment is set, so the first only learns the way.
    wait_for("a datagram of 1,400 bytes arrives", || {
        let _ = client.send(&[7; 1_400]);
        server.set_nonblocking(true).expect("a socket");
        let got = server.recv_from(&mut [0; 2_000]).ok();
        got.map(|(n, _)| assert_eq!(n, 1_400))
    });
    assert!(running.sockets().errors_in >= 1);
    running.finish();
});

scenario!(pings_pass_where_the_host_lets_them, || {
    let Some(lab) = Rootless::new() else { return };
    let running = lab.run(&[]);
    let inside = running.inside();
    let second = Duration::from_secs(1);
    let pinged = || {
        inside
            .run(|| ping(OUTSIDE, 2, 100, second))
            .expect("a ping")
    };
    assert_eq!(pinged().answered, 0);
    let s = running.sockets();
    assert_eq!((s.echoes, s.echoes_refused), (0, 2), "{s:?}");
    // The host's own word, here in a namespace of the test's.
    let range = "/proc/sys/net/ipv4/ping_group_range";
    lab.host
        .run(|| std::fs::write(range, "0 2147483647"))
        .expect("a sysctl of the test's own namespace");
    assert!(pinged().all());
    assert_eq!(running.sockets().echoes, 2);
    running.finish();
});

scenario!(the_gateway_answers_dns_for_the_host, || {
    let Some(lab) = Rootless::new() else { return };
    let resolv = std::env::temp_dir().join(format!("resolv-{}", std::process::id()));
    std::fs::write(&resolv, "search lab\nnameserver 127.0.0.53\n").expect("a file");
    let bind = nix::mount::MsFlags::MS_BIND;
    nix::mount::mount(
        Some(&resolv),
        "/etc/resolv.conf",
        None::<&str>,
        bind,
        None::<&str>,
    )
    .expect("a file in its place");
    let running = lab.run(&[]);
    let inside = running.inside();
    // What the command reads.
    let path = format!("/proc/{}/root/etc/resolv.conf", running.pid());
    let text = std::fs::read_to_string(path).expect("the command's file");
    assert_eq!(text, "nameserver 10.0.0.1\nsearch lab\n");
    let echo = Echo::start(lab.host.udp([127, 0, 0, 53], 53));
    let client = inside.udp(Ipv4Addr::UNSPECIFIED, 0);
    assert_eq!(echoes(&client, at(GATEWAY, 53), 3, 100).expect("echoes"), 3);
    assert_eq!(echo.finish().len(), 1);
    let server = lab.host.listen([127, 0, 0, 53], 53);
    exchange(&inside, at(GATEWAY, 53), &server, 2_000);
    // Nothing else of it.
    let _other = lab.host.listen([127, 0, 0, 53], 54);
    let refused: std::io::Result<TcpStream> = inside.connect(at(GATEWAY, 54));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    running.finish();
    let _ = std::fs::remove_file(resolv);
});

scenario!(superframes_of_any_mtu, || {
    let Some(lab) = Rootless::new() else { return };
    let server = lab.out.listen(OUTSIDE, 7000);
    for mtu in ["576", "9000", "65520"] {
        let mut sleeper = lab
            .command("unshare")
            .args(["--user", "--map-root-user", "--net", "sleep", "1000"])
            .spawn()
            .expect("unshare");
        let pid = sleeper.id();
        wait_for("the namespace is there", || {
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            (comm.trim() == "sleep").then_some(())
        });
        let mut switch = lab
            .command("switchd")
            .args(["attach", "--mtu", mtu, "--pid", &pid.to_string()])
            .spawn()
            .expect("switchd");
        let inside = Ns::of_process(pid);
        wait_for("the interface is there", || {
            inside.link("eth0").filter(|l| l.up).map(|_| ())
        });
        let e = wait_for("a connection", || {
            try_exchange(&inside, at(OUTSIDE, 7000), &server, 4 * MIB).ok()
        });
        assert_eq!(e.seen_by_server.ip(), HOST);
        sleeper.kill().expect("killing");
        sleeper.wait().expect("waiting");
        let status = wait_for("it ends with the process", || {
            switch.try_wait().expect("waiting")
        });
        assert_eq!(status.code(), Some(0));
    }
});
