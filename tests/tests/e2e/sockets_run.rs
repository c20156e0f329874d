//! `switchd run` by an ordinary user: the outside by the host's ordinary sockets.

use control::netlink::Netlink;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;
use switchd_tests::lab::nic::give_address;
use switchd_tests::lab::rootless::{HOST, NOBODY, OUTSIDE, Rootless};
use switchd_tests::lab::tcp::{accept, exchange, try_exchange};
use switchd_tests::lab::udp::{Echo, echoes};
use switchd_tests::lab::world::at;
use switchd_tests::lab::{Ns, ping, wait_for};
use switchd_tests::scenario;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const MIB: usize = 1 << 20;

scenario!(streams_go_out_by_the_hosts_address, || {
    let lab = Rootless::new();
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
    assert_eq!((s.tcp_out, s.tcp_in), (4, 0), "{s:?}");
    assert_eq!(
        lab.host.links(),
        ["lo", "v0"],
        "nothing is made on the host"
    );
    running.finish();
});

scenario!(a_published_port_shows_the_client, || {
    let lab = Rootless::new();
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
    let lab = Rootless::new();
    // NOBODY is given up before a SYN is sent again, which would be refused a second time. Older
    // kernels don't show the file to an ordinary user.
    let retry = "/proc/sys/net/ipv4/neigh/v0/retrans_time_ms";
    let _ = lab.host.run(|| std::fs::write(retry, "200"));
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
    // To each its code; such an error is told to those alone who ask for it (ip(7)).
    for (ip, why) in [
        (far, ErrorKind::NetworkUnreachable),
        (NOBODY, ErrorKind::HostUnreachable),
    ] {
        let udp = inside.udp(Ipv4Addr::UNSPECIFIED, 0);
        setsockopt(&udp, sockopt::Ipv4RecvErr, &true).expect("an option");
        udp.set_read_timeout(Some(Duration::from_secs(15)))
            .expect("a timeout");
        udp.connect(at(ip, 9)).expect("a peer");
        udp.send(b"x").expect("sending");
        assert_eq!(udp.recv(&mut [0; 9]).unwrap_err().kind(), why);
    }
    let s = running.sockets();
    assert_eq!((s.tcp_refused, s.errors_in), (4, 2), "{s:?}");
    // A peer that resets, after the connection was up.
    let server = lab.out.listen(OUTSIDE, 7000);
    let mut client = inside.connect(at(OUTSIDE, 7000)).expect("a connection");
    let (peer, _) = accept(&server).expect("a client");
    setsockopt(
        &peer,
        sockopt::Linger,
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

scenario!(two_addresses_of_the_host_publish_one_port, || {
    let lab = Rootless::new();
    let second = Ipv4Addr::new(192, 0, 2, 3);
    give_address(&lab.host, "v0", second, 24);
    let words = [
        format!("{HOST}:5000:5000"),
        format!("{second}:5000:5001"),
        format!("{HOST}:6000:6000/udp"),
        format!("{second}:6000:6001/udp"),
    ];
    let flags: Vec<&str> = words.iter().flat_map(|w| ["-p", w]).collect();
    let running = lab.run(&flags);
    let inside = running.inside();
    for (ip, port) in [(HOST, 5000), (second, 5001)] {
        let server = inside.listen(Ipv4Addr::UNSPECIFIED, port);
        let e = exchange(&lab.out, at(ip, 5000), &server, MIB);
        assert_eq!(e.seen_by_server, e.client);
    }
    for (ip, port) in [(HOST, 6000), (second, 6001)] {
        let echo = Echo::start(inside.udp(Ipv4Addr::UNSPECIFIED, port));
        let client = lab.out.udp(OUTSIDE, 0);
        assert_eq!(echoes(&client, at(ip, 6000), 3, 100).expect("echoes"), 3);
        let seen = echo.finish();
        assert_eq!(seen, [client.local_addr().expect("an address")]);
    }
    // They are shown as they were asked for, and one of them can be withdrawn.
    let mut specs = running.published();
    specs.sort();
    let ip = "10.0.0.2";
    let mut asked = [
        format!("{HOST}:5000:{ip}:5000/tcp"),
        format!("{second}:5000:{ip}:5001/tcp"),
        format!("{HOST}:6000:{ip}:6000/udp"),
        format!("{second}:6000:{ip}:6001/udp"),
    ];
    asked.sort();
    assert_eq!(specs, asked);
    running.finish();
});

scenario!(no_answer_is_silence, || {
    let lab = Rootless::new();
    lab.host
        .run(|| std::fs::write("/proc/sys/net/ipv4/tcp_syn_retries", "1"))
        .expect("a sysctl of the test's own namespace");
    // What is sent there vanishes.
    let index = lab.host.link("v0").expect("v0").index;
    let mac = dataplane::base::Mac([2, 0, 0, 0, 0, 9]);
    let mut netlink = lab.host.netlink();
    netlink.add_neighbour(index, NOBODY, mac).expect("an entry");
    let running = lab.run(&[]);
    let inside = running.inside();
    // The host gives up after 3 s. Its peer said nothing, and so does the switch: a SYN that the
    // container sends once more is tried once more.
    let limit = Duration::from_secs(8);
    let connected = inside.run(|| TcpStream::connect_timeout(&at(NOBODY, 1), limit));
    assert_eq!(connected.unwrap_err().kind(), ErrorKind::TimedOut);
    wait_for("the host has given up", || {
        let s = running.sockets();
        (s.tcp_refused >= 1 && s.tcp_now == 0).then_some(())
    });
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
    let lab = Rootless::new();
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

/// Sends `data` as datagrams of `each` bytes in one superframe, and says what arrived.
fn gathered(from: &UdpSocket, to: SocketAddr, by: &UdpSocket, data: &[u8], each: usize) {
    setsockopt(from, sockopt::UdpGsoSegment, &(each as i32)).expect("UDP_SEGMENT");
    assert_eq!(from.send_to(data, to).expect("sending"), data.len());
    setsockopt(from, sockopt::UdpGsoSegment, &0).expect("UDP_SEGMENT");
    for want in data.chunks(each) {
        let mut got = vec![0; 65_536];
        let (n, _) = by.recv_from(&mut got).expect("a datagram");
        assert!(&got[..n] == want, "{n} bytes for {}", want.len());
    }
}

scenario!(superframes_of_datagrams, || {
    let lab = Rootless::new();
    let running = lab.run(&["-p", "6000:6000/udp"]);
    let inside = running.inside();
    let out = lab.out.udp(OUTSIDE, 7000);
    let client = inside.udp(Ipv4Addr::UNSPECIFIED, 0);
    client.send_to(b"here", at(OUTSIDE, 7000)).expect("sending");
    let (_, seen) = out.recv_from(&mut [0; 9]).expect("a datagram");
    let data: Vec<u8> = (0..40_500).map(|n| (n / 7) as u8).collect();
    for (bytes, each) in [(40_500, 1_000), (3_000, 1_472), (2_000, 1_000), (900, 17)] {
        gathered(&client, at(OUTSIDE, 7000), &out, &data[..bytes], each);
        gathered(&out, seen, &client, &data[..bytes], each);
    }
    // Published, and by the host's loopback, where the client comes as the gateway.
    let server = inside.udp(Ipv4Addr::UNSPECIFIED, 6000);
    for (ns, ip, to) in [
        (&lab.out, OUTSIDE, HOST),
        (&lab.host, Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST),
    ] {
        let client = ns.udp(ip, 0);
        client.send_to(b"here", at(to, 6000)).expect("sending");
        let (_, seen) = server.recv_from(&mut [0; 9]).expect("a datagram");
        gathered(&client, at(to, 6000), &server, &data[..5_500], 1_000);
        gathered(&server, seen, &client, &data[..5_500], 1_000);
    }
    let s = running.sockets();
    assert_eq!(s.datagrams_dropped, 0, "{s:?}");
    running.finish();
});

scenario!(a_smaller_mtu_on_the_way_is_told, || {
    let lab = Rootless::new();
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
    // The way's MTU, and no other.
    assert_eq!(getsockopt(&client, sockopt::IpMtu).expect("an MTU"), 1_300);
    running.finish();
});

scenario!(pings_pass_where_the_host_lets_them, || {
    let lab = Rootless::new();
    let running = lab.run(&[]);
    let inside = running.inside();
    let pinged = |limit| {
        inside
            .run(|| ping(OUTSIDE, 2, 100, Duration::from_secs(limit)))
            .expect("a ping")
    };
    assert_eq!(pinged(1).answered, 0);
    let s = running.sockets();
    assert_eq!((s.echoes, s.echoes_refused), (0, 2), "{s:?}");
    // The host's own word, here in a namespace of the test's.
    let range = "/proc/sys/net/ipv4/ping_group_range";
    lab.host
        .run(|| std::fs::write(range, lab.groups()))
        .expect("a sysctl of the test's own namespace");
    assert!(pinged(5).all());
    assert_eq!(running.sockets().echoes, 2);
    running.finish();
});

scenario!(the_gateway_answers_dns_for_the_host, || {
    let lab = Rootless::new();
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
    let lab = Rootless::new();
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
