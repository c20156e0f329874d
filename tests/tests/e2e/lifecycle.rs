//! What changes while traffic flows: ports come, go and die; the daemon ends and is killed.

use nix::sys::signal::Signal;
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use switchd_tests::lab::tcp::{carries, exchange, pair};
use switchd_tests::lab::udp::{Echo, echoes};
use switchd_tests::lab::world::{C1, C2, GATEWAY, UPLINK, at, container};
use switchd_tests::lab::{Daemon, Ns, World, WorldSpec, ping, switchctl, switchd};
use switchd_tests::lab::{wait_for, wait_long_for};
use switchd_tests::scenario;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Ends the threads of a scope that look at it, also when the scope is left by a panic.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `change` while bytes go to and fro by `connection`, which must not notice.
fn under_traffic(connection: &(TcpStream, TcpStream), change: impl FnOnce()) {
    let (stop, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|s| {
        let stop = StopAtEnd(&stop);
        let traffic = s.spawn(|| {
            let (a, b) = connection;
            let text = "to and fro ".repeat(500);
            while !stop.0.load(Ordering::Relaxed) {
                carries(a, b, &text)?;
                carries(b, a, &text)?;
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            std::io::Result::Ok(())
        });
        wait_for("traffic flows", || {
            (rounds.load(Ordering::Relaxed) > 2).then_some(())
        });
        change();
        let before = rounds.load(Ordering::Relaxed);
        wait_for("traffic flows on", || {
            (traffic.is_finished() || rounds.load(Ordering::Relaxed) > before + 2).then_some(())
        });
        stop.0.store(true, Ordering::Relaxed);
        traffic.join().unwrap().expect("the other traffic");
    });
}

/// Whether the peer of this connection was told that it is over.
fn is_over(mut stream: &TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_secs(3)))
        .unwrap();
    match stream.read(&mut [0; 1]) {
        Ok(n) => n == 0,
        Err(e) => e.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

fn three(workers: usize, offload: &'static str) -> World {
    World::new(&WorldSpec {
        workers,
        offload,
        containers: 3,
        ..WorldSpec::default()
    })
}

fn attach_and_detach(offload: &'static str) {
    let w = three(2, offload);
    let server = w.c[1].listen(ANY, 5000);
    let connection = pair(&w.c[0], at(C2, 5000), &server);
    let guest = Ns::anonymous();
    let spec = format!("{}:10.0.0.77,name=guest0", guest.path().display());
    under_traffic(&connection, || {
        for _ in 0..3 {
            w.daemon.ctl(&["attach", &spec]);
            assert_eq!(guest.links(), ["guest0", "lo"]);
            let listener = guest.listen(ANY, 80);
            exchange(&w.c[2], at([10, 0, 0, 77].into(), 80), &listener, 200_000);
            w.daemon.ctl(&["detach", "10.0.0.77"]);
            assert_eq!(guest.links(), ["lo"]);
        }
    });
    // Its address is free again, and the next free one is the lowest.
    let next = Ns::named("next");
    w.daemon.ctl(&["attach", "next"]);
    assert_eq!(next.addresses()[0].ip, container(3));
    let pings = next
        .run(|| ping(C1, 3, 56, Duration::from_secs(5)))
        .unwrap();
    assert!(pings.all(), "{pings:?}");
    // One that carries traffic itself.
    w.daemon.ctl(&["detach", "c2"]);
    assert_eq!(w.c[1].links(), ["lo"]);
    assert_eq!(
        w.daemon.ports().iter().filter(|p| p.netns == "c2").count(),
        0
    );
    let server = w.c[2].listen(ANY, 5000);
    exchange(&w.c[0], at(container(2), 5000), &server, 200_000);
    w.finish();
    assert_eq!(next.links(), ["lo"]);
}

scenario!(attach_and_detach_under_traffic, || attach_and_detach(
    "auto"
));
scenario!(attach_and_detach_under_traffic_on_plain_taps, || {
    attach_and_detach("off")
});

fn namespace_deleted(offload: &'static str) {
    let mut w = three(2, offload);
    let server = w.c[1].listen(ANY, 5000);
    let lasting = pair(&w.c[0], at(C2, 5000), &server);
    let doomed = w.c.pop().unwrap();
    let target = doomed.udp(ANY, 6000);
    let source = w.c[0].udp(ANY, 0);
    let to = at(container(2), 6000);
    assert_eq!(echoes_once(&source, &target, to), 1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        let stop = StopAtEnd(&stop);
        s.spawn(|| {
            while !stop.0.load(Ordering::Relaxed) {
                // Refused once its host is known to be gone.
                let _ = source.send_to(&[7; 1000], to);
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        under_traffic(&lasting, || {
            drop(target);
            doomed.delete("c3");
            // The kernel clears away the namespaces of the whole machine one after the other.
            let limit = Duration::from_secs(60);
            wait_long_for("the port of the deleted namespace goes", limit, || {
                w.daemon
                    .ports()
                    .iter()
                    .all(|p| p.netns != "c3")
                    .then_some(())
            });
        });
        stop.0.store(true, Ordering::Relaxed);
    });
    let listener = w.c[1].listen(ANY, 5001);
    exchange(&w.c[0], at(C2, 5001), &listener, 200_000);
    // Name and address can be used again.
    let again = Ns::named("c3");
    w.daemon.ctl(&["attach", "c3:10.0.0.4"]);
    let pings = again
        .run(|| ping(C1, 3, 56, Duration::from_secs(5)))
        .unwrap();
    assert!(pings.all(), "{pings:?}");
    w.c.push(again);
    w.finish();
}

fn echoes_once(
    source: &std::net::UdpSocket,
    target: &std::net::UdpSocket,
    to: std::net::SocketAddr,
) -> usize {
    std::thread::scope(|s| {
        s.spawn(|| {
            let mut buffer = [0; 100];
            if let Ok((n, from)) = target.recv_from(&mut buffer) {
                let _ = target.send_to(&buffer[..n], from);
            }
        });
        echoes(source, to, 1, 50).unwrap()
    })
}

scenario!(a_namespace_deleted_under_traffic, || namespace_deleted(
    "auto"
));
scenario!(a_namespace_deleted_under_traffic_on_plain_taps, || {
    namespace_deleted("off")
});

fn publish_and_unpublish(workers: usize) {
    let w = World::new(&WorldSpec {
        workers,
        ..WorldSpec::default()
    });
    let server = w.c[0].listen(ANY, 80);
    let other = w.c[0].listen(ANY, 81);
    w.daemon.ctl(&["publish", "8081:10.0.0.2:81"]);
    let lasting = pair(&w.out, at(UPLINK, 8081), &other);
    under_traffic(&lasting, || {
        assert!(
            w.host.connect(at(LOCALHOST, 8080)).is_err(),
            "nothing is published yet"
        );
        w.daemon.ctl(&["publish", "8080:10.0.0.2:80"]);
        w.daemon.ctl(&["publish", "8080:10.0.0.2:80/udp"]);
        exchange(&w.out, at(UPLINK, 8080), &server, 100_000);
        let outside = pair(&w.out, at(UPLINK, 8080), &server);
        let hairpin = pair(&w.c[1], at(UPLINK, 8080), &server);
        let local = pair(&w.host, at(LOCALHOST, 8080), &server);
        for (a, b) in [&outside, &hairpin, &local] {
            carries(a, b, "there").unwrap();
            carries(b, a, "and back").unwrap();
        }
        let echo = Echo::start(w.c[0].udp(ANY, 80));
        let client = w.out.udp(ANY, 0);
        assert_eq!(echoes(&client, at(UPLINK, 8080), 3, 100).unwrap(), 3);

        w.daemon.ctl(&["unpublish", "8080:10.0.0.2:80"]);
        w.daemon.ctl(&["unpublish", "8080:10.0.0.2:80/udp"]);
        let rules = w.daemon.ctl(&["rules"]);
        assert!(!rules.contains("dpt:8080"), "{rules}");
        let connections = w.daemon.ctl(&["conntrack"]);
        assert!(!connections.contains("dport=8080"), "{connections}");
        assert!(connections.contains("dport=8081"), "{connections}");
        for (what, (a, b)) in [("outside", &outside), ("hairpin", &hairpin)] {
            for (from, to) in [(a, b), (b, a)] {
                to.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
                assert!(
                    carries(from, to, "ghost").is_err(),
                    "{what}: still connected"
                );
            }
        }
        assert!(is_over(&local.0), "the localhost client was not told");
        client
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let back = echoes(&client, at(UPLINK, 8080), 2, 100).unwrap_or(0);
        assert_eq!(back, 0, "UDP still flows");
        drop(echo);
        assert!(
            w.host.connect(at(LOCALHOST, 8080)).is_err(),
            "still listening"
        );
        // And once more.
        w.daemon.ctl(&["publish", "8080:10.0.0.2:80"]);
        exchange(&w.out, at(UPLINK, 8080), &server, 100_000);
        exchange(&w.host, at(LOCALHOST, 8080), &server, 100_000);
    });
    w.finish();
}

scenario!(publish_and_unpublish_under_traffic, || {
    publish_and_unpublish(1)
});
scenario!(publish_and_unpublish_with_two_workers, || {
    publish_and_unpublish(2)
});

scenario!(killed_and_started_again, || {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("s.sock");
    let (c1, out) = (Ns::named("c1"), Ns::named("out"));
    let args = [
        "--attach=c1",
        "--ports=5000:10.0.0.2:5000",
        "--uplink=tap:out:eth0,ip=192.0.2.1/24,peer=192.0.2.2/24",
    ];
    let mut daemon = Daemon::start_at(&control, &args, dir);
    let server = c1.listen(ANY, 5000);
    for round in 0..3 {
        exchange(&out, at(UPLINK, 5000), &server, 100_000);
        exchange(&Ns::own(), at(LOCALHOST, 5000), &server, 100_000);
        let outside = pair(&out, at(UPLINK, 5000), &server);
        let dir = daemon.kill();
        assert!(
            control.exists(),
            "SIGKILL leaves nobody to remove the socket"
        );
        for ns in [&c1, &out, &Ns::own()] {
            wait_for("its interfaces go with it", || {
                (ns.links() == ["lo"]).then_some(())
            });
        }
        let gone = switchctl(&control, &["status"]);
        assert_eq!(gone.code, Some(1), "{gone:?}");
        assert!(gone.stderr.contains("is gone"), "{}", gone.stderr);
        daemon = Daemon::start_at(&control, &args, dir);
        drop(outside);
        assert_eq!(c1.links(), ["eth0", "lo"], "round {round}");
    }
    exchange(&out, at(UPLINK, 5000), &server, 100_000);
    daemon.terminate();
    assert!(!control.exists());
    assert_eq!(Ns::own().links(), ["lo"]);
});

scenario!(a_control_socket_belongs_to_one_daemon, || {
    let first = Daemon::start::<&str>(&[]);
    let control = first.control().display().to_string();
    let second = switchd(&[
        "--control",
        &control,
        "--bridge=sw9",
        "--subnet=10.9.0.0/24",
    ]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains(&control), "{}", second.stderr);
    assert_eq!(Ns::own().links(), ["lo", "sw0"]);
    first.ctl(&["status"]);
    first.terminate();
});

scenario!(sigint_ends_it_too, || {
    let w = World::new(&WorldSpec::default());
    let pings = w
        .out
        .run(|| ping(UPLINK, 1, 56, Duration::from_secs(5)))
        .unwrap();
    assert!(pings.all());
    let World {
        host,
        c,
        out,
        mut daemon,
    } = w;
    daemon.signal(Signal::SIGINT);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
    for ns in c.iter().chain([&host, &out]) {
        assert_eq!(ns.links(), ["lo"]);
    }
});

scenario!(it_ends_with_its_terminal_but_not_under_nohup, || {
    let mut daemon = Daemon::start::<&str>(&[]);
    daemon.signal(Signal::SIGHUP);
    assert_eq!(daemon.wait().code(), Some(0));
    let mut daemon = Daemon::start_under_nohup::<&str>(&[]);
    daemon.signal(Signal::SIGHUP);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    // Of two signals the one with the lower number, SIGHUP, would have been seen first.
    assert!(
        daemon.log().contains("ending on SIGTERM"),
        "{}",
        daemon.log()
    );
});

scenario!(many_switches_side_by_side, || {
    let (a, b) = (Ns::named("a"), Ns::named("b"));
    let one = Daemon::start(&["--attach=a", "--ports=5000:10.0.0.2:80"]);
    let two = Daemon::start(&[
        "--attach=b",
        "--bridge=sw1",
        "--subnet=10.0.1.0/24",
        "--ports=5001:10.0.1.2:80",
    ]);
    let (sa, sb) = (a.listen(ANY, 80), b.listen(ANY, 80));
    let host = Ns::own();
    assert_eq!(
        exchange(&host, at(LOCALHOST, 5000), &sa, 9_999)
            .seen_by_server
            .ip(),
        GATEWAY
    );
    let x = exchange(&host, at(LOCALHOST, 5001), &sb, 9_999);
    assert_eq!(x.seen_by_server.ip().to_string(), "10.0.1.1");
    one.terminate();
    exchange(&host, at(LOCALHOST, 5001), &sb, 9_999);
    two.terminate();
});
