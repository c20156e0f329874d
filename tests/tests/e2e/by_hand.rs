//! What a person would type first, word for word.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use switchd_tests::lab::daemon::end;
use switchd_tests::lab::isolate::stream_seconds;
use switchd_tests::lab::tcp::pair;
use switchd_tests::lab::udp::{Echo, echoes};
use switchd_tests::lab::world::{C1, OUTSIDE, UPLINK, at};
use switchd_tests::lab::{Daemon, Ns, WebServer, bins, fetch, ping, wait_for};
use switchd_tests::scenario;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// Bytes of a large page.
const LARGE: usize = 20_000_000;

fn large() -> Vec<u8> {
    (0..LARGE as u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect()
}

fn serve(ns: &Ns, port: u16) -> WebServer {
    let page = large();
    WebServer::start(ns.listen(ANY, port), move |path| match path {
        "/large" => Some(page.clone()),
        "/" => Some(b"hello".to_vec()),
        _ => None,
    })
    .unwrap()
}

fn downloads(ns: &Ns, from: SocketAddr, what: &str) -> SocketAddr {
    let page = ns
        .run(|| fetch(from, "/large"))
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(
        page.status == 200 && page.body == large(),
        "{what}: not what was sent"
    );
    page.local
}

/// Four namespaces made by hand, one of them the host's; and the command of the manual.
fn four_namespaces(workers: &str) {
    let (host, c1, c2, out) = (
        Ns::named("sH"),
        Ns::named("sc1"),
        Ns::named("sc2"),
        Ns::named("sO"),
    );
    let mut args = vec!["--workers", workers];
    args.extend(
        "--host-netns sH --uplink tap:sO:eth0,ip=192.0.2.1/24,peer=192.0.2.2/24 \
         --attach sc1:10.0.0.2 --attach sc2:10.0.0.3 \
         --ports 5000-5100:10.0.0.2:5000-5100/tcp --ports 5000-5100:10.0.0.2:5000-5100/udp"
            .split_whitespace(),
    );
    let daemon = Daemon::start(&args);
    assert_eq!(host.links(), ["lo", "sw0"]);
    let server = serve(&c1, 5000);
    let outside = downloads(&out, at(UPLINK, 5000), "outside");
    assert_eq!(outside.ip(), OUTSIDE);
    assert_eq!(server.clients(), [outside], "the server knows who asked");
    downloads(&host, at(C1, 5000), "host");
    downloads(&c2, at(C1, 5000), "container");
    downloads(&c2, at(UPLINK, 5000), "hairpin");
    let server = serve(&out, 80);
    downloads(&c2, at(OUTSIDE, 80), "masquerade");
    assert_eq!(server.clients()[0].ip(), UPLINK);
    for (ns, to) in [(&c1, OUTSIDE), (&c2, C1), (&out, UPLINK), (&host, C1)] {
        let pings = ns.run(|| ping(to, 20, 56, Duration::from_secs(5))).unwrap();
        assert!(pings.all(), "to {to}: {pings:?}");
    }
    let echo = Echo::start(c1.udp(ANY, 5050));
    assert_eq!(
        echoes(&out.udp(ANY, 0), at(UPLINK, 5050), 50, 1000).unwrap(),
        50
    );
    assert_eq!(echo.finish()[0].ip(), OUTSIDE);
    streams_do_not_stall(&c1, &out);
    let stats = daemon.stats();
    for d in stats.drops.iter().filter(|d| d.frames > 0) {
        // When a stream moves from one worker's queue to the other's, an acknowledgement can be
        // overtaken by more than a window of newer ones. Its receiver would discard it as well
        // (RFC 5961 section 5.2).
        let overtaken = workers != "1" && d.reason == "tcp_out_of_window";
        assert!(
            overtaken && d.frames < stats.total.rx / 1000,
            "nothing may be lost: {d:?}"
        );
    }
    daemon.terminate();
    for ns in [&host, &c1, &c2, &out] {
        assert_eq!(ns.links(), ["lo"]);
    }
}

/// One stream each way, one after the other, for as long as `SWITCHD_LAB_SECONDS` says.
fn streams_do_not_stall(server: &Ns, client: &Ns) {
    let length = Duration::from_secs(stream_seconds().unwrap_or(2));
    let listener = server.listen(ANY, 5001);
    let (c, s) = pair(client, at(UPLINK, 5001), &listener);
    for (from, to, what) in [(&c, &s, "to the container"), (&s, &c, "to the outside")] {
        let bytes = stream(from, to, length);
        eprintln!(
            "{what}: {:.2} Gbit/s",
            bytes as f64 * 8e-9 / length.as_secs_f64()
        );
    }
}

/// Bytes that came in `length`; fails when none comes for half a second, where somebody looks and
/// has set the length, and for three seconds on a machine that does other things too.
fn stream(from: &TcpStream, to: &TcpStream, length: Duration) -> u64 {
    let patience = stream_seconds().map_or(3000, |_| 500);
    to.set_read_timeout(Some(Duration::from_millis(patience)))
        .unwrap();
    let end = Instant::now() + length;
    std::thread::scope(|s| {
        let sender = s.spawn(|| {
            let block = vec![1; 256 * 1024];
            let mut sent = 0;
            while Instant::now() < end {
                (&*from).write_all(&block).unwrap();
                sent += block.len() as u64;
            }
            sent
        });
        let mut buffer = vec![0; 256 * 1024];
        let mut got = 0;
        loop {
            match (&*to).read(&mut buffer) {
                Ok(n) => got += n as u64,
                // All was sent; whether all came is compared below.
                Err(_) if sender.is_finished() => break,
                Err(e) => panic!("the stream stalls after {got} bytes: {e}"),
            }
        }
        assert_eq!(sender.join().unwrap(), got);
        got
    })
}

scenario!(four_namespaces_and_one_worker, || four_namespaces("1"));
scenario!(four_namespaces_and_two_workers, || four_namespaces("2"));

scenario!(a_fresh_namespace_with_nothing_but_lo, || {
    let mut daemon = std::process::Command::new(bins::path("switchd"))
        .args(["--ports", "5000:10.0.0.2:5000"])
        .spawn()
        .unwrap();
    let ctl = |args: &[&str]| end(std::process::Command::new(bins::path("switchctl")).args(args));
    wait_for("the usual control socket", || {
        (ctl(&["status"]).code == Some(0)).then_some(())
    });
    let web = Ns::named("web");
    let attached = ctl(&["attach", "web:10.0.0.2"]);
    assert_eq!(attached.code, Some(0), "{attached:?}");
    let before = ctl(&["rules"]).stdout;
    let server = WebServer::start(web.listen(ANY, 5000), |_| Some(b"a page".to_vec())).unwrap();
    let page = fetch(at(Ipv4Addr::LOCALHOST, 5000), "/").unwrap();
    assert_eq!(page.text(), "a page");
    assert_eq!(server.clients()[0].ip().to_string(), "10.0.0.1");
    let after = ctl(&["rules"]).stdout;
    for chain in ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING", "DOCKER"] {
        assert!(after.contains(&format!("Chain {chain} (")), "{after}");
    }
    assert_ne!(before, after, "no counter moved");
    wait_for("a balance", || {
        ctl(&["stats"]).stdout.contains("balanced:").then_some(())
    });
    assert!(page.local.ip().is_loopback());
    let pid = nix::unistd::Pid::from_raw(daemon.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
    assert_eq!(
        (Ns::own().links(), web.links()),
        (vec!["lo".into()], vec!["lo".into()])
    );
});
