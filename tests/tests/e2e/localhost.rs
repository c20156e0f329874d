//! The host's own way to published ports.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::time::{Duration, Instant};
use switchd_tests::lab::tcp::{accept, carries, exchange, pair};
use switchd_tests::lab::udp::{Echo, echoes};
use switchd_tests::lab::world::{C1, GATEWAY, UPLINK, at};
use switchd_tests::lab::{Daemon, Ns, World, WorldSpec};
use switchd_tests::scenario;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn one_container(args: &[&str]) -> (Ns, Ns, Daemon) {
    let c1 = Ns::named("c1");
    let mut all = vec!["--attach=c1:10.0.0.2"];
    all.extend(args);
    (Ns::own(), c1, Daemon::start(&all))
}

scenario!(two_streams_as_on_a_docker_host, || {
    let (host, c1, daemon) = one_container(&["--ports=5000:10.0.0.2:80"]);
    let server = c1.listen(ANY, 80);
    let (client, upstream) = pair(&host, at(LOCALHOST, 5000), &server);
    assert_eq!(client.local_addr().unwrap().ip(), LOCALHOST);
    assert_eq!(client.peer_addr().unwrap(), at(LOCALHOST, 5000));
    assert_eq!(upstream.peer_addr().unwrap().ip(), GATEWAY);
    assert_eq!(upstream.local_addr().unwrap(), at(C1, 80));
    carries(&client, &upstream, "to").unwrap();
    carries(&upstream, &client, "fro").unwrap();
    // Half-close: the other half goes on.
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!((&upstream).read(&mut [0; 9]).unwrap(), 0);
    carries(&upstream, &client, "still").unwrap();
    (&upstream).write_all(b"end").unwrap();
    drop(upstream);
    let mut rest = String::new();
    (&client).read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "end");
    daemon.terminate();
});

scenario!(nobody_listens_behind_it, || {
    let (host, _c1, daemon) = one_container(&["--ports=5000:10.0.0.2:80"]);
    let took: Vec<_> = (0..5)
        .map(|_| {
            let start = Instant::now();
            let end = host
                .connect(at(LOCALHOST, 5000))
                .and_then(|mut s| s.read(&mut [0; 1]));
            match end {
                Err(e) => assert_eq!(e.kind(), ErrorKind::ConnectionReset),
                Ok(n) => panic!("read {n} bytes"),
            }
            start.elapsed()
        })
        .collect();
    // Unless the machine stood still, which it does not five times.
    let at_once = |t: &Duration| *t < Duration::from_secs(1);
    assert!(took.iter().any(at_once), "at once: {took:?}");
    daemon.terminate();
});

scenario!(a_host_address_limits_it, || {
    let (host, c1, daemon) = one_container(&["--ports=127.0.0.1:5000:10.0.0.2:80"]);
    let server = c1.listen(ANY, 80);
    exchange(&host, at(LOCALHOST, 5000), &server, 10_000);
    assert!(host.connect(at(GATEWAY, 5000)).is_err());
    daemon.terminate();
});

scenario!(localhost_off, || {
    let spec = WorldSpec::default().with(&["--ports=5000:10.0.0.2:80", "--localhost=off"]);
    let w = World::new(&spec);
    let server = w.c[0].listen(ANY, 80);
    assert!(w.host.connect(at(LOCALHOST, 5000)).is_err());
    exchange(&w.out, at(UPLINK, 5000), &server, 10_000);
    w.finish();
});

scenario!(udp_answers_come_from_the_address_that_was_asked, || {
    let (host, c1, daemon) = one_container(&["--ports=5000:10.0.0.2:53/udp"]);
    let echo = Echo::start(c1.udp(ANY, 53));
    let (a, b) = (host.udp(ANY, 0), host.udp(ANY, 0));
    let (local, other, own) = (
        at(LOCALHOST, 5000),
        at([127, 0, 0, 77].into(), 5000),
        at(GATEWAY, 5000),
    );
    for (socket, to) in [(&a, local), (&b, local), (&a, other), (&b, own)] {
        assert_eq!(echoes(socket, to, 20, 700).unwrap(), 20, "{to}");
    }
    assert!(echo.finish().iter().all(|c| c.ip() == GATEWAY));
    daemon.terminate();
});

scenario!(many_connections_at_once, || {
    let (host, c1, daemon) = one_container(&["--ports=5000:10.0.0.2:80"]);
    let server = c1.listen(ANY, 80);
    let pairs: Vec<_> = (0..300)
        .map(|_| {
            let client = host.connect(at(LOCALHOST, 5000)).unwrap();
            (client, accept(&server).unwrap().0)
        })
        .collect();
    for (i, (client, upstream)) in pairs.iter().enumerate() {
        carries(client, upstream, &format!("question {i}")).unwrap();
        carries(upstream, client, &format!("answer {i}")).unwrap();
    }
    // A slow reader holds up nobody else.
    let (slow, feeder) = &pairs[0];
    feeder.set_nonblocking(true).unwrap();
    let block = [7; 65_536];
    let mut sent = 0;
    let mut pushed_back = None;
    // The buffers on the way take what they take; then nothing more, for a second.
    while pushed_back.is_none_or(|t: Instant| t.elapsed() < Duration::from_secs(1)) {
        assert!(sent < 512 << 20, "nothing pushes back");
        match (&*feeder).write(&block) {
            Ok(n) => {
                sent += n;
                pushed_back = None;
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                pushed_back.get_or_insert_with(Instant::now);
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(e) => panic!("{e}"),
        }
    }
    carries(&pairs[1].0, &pairs[1].1, "meanwhile").unwrap();
    feeder.shutdown(Shutdown::Write).unwrap();
    let got = std::io::copy(&mut &*slow, &mut std::io::sink()).unwrap();
    assert_eq!(got, sent as u64);
    drop(pairs);
    daemon.terminate();
});
