//! Two workers on real TAPs share the connections; a second one for bulk has nothing but bulk.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use switchd_tests::lab::tcp::{carries, exchange, pair};
use switchd_tests::lab::world::{C2, OUTSIDE, UPLINK, at};
use switchd_tests::lab::{World, WorldSpec, wait_for};
use switchd_tests::scenario;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn two() -> World {
    World::new(&WorldSpec {
        workers: 2,
        ..WorldSpec::default()
    })
}

scenario!(sixteen_flows_move_both_workers_counters, || {
    let w = two();
    let server = w.out.listen(ANY, 8080);
    let before = w.daemon.stats();
    for _ in 0..16 {
        exchange(&w.c[0], at(OUTSIDE, 8080), &server, 100_000);
    }
    let after = w.daemon.stats();
    assert_eq!(after.workers.len(), 2);
    for (n, (a, b)) in after.workers.iter().zip(&before.workers).enumerate() {
        assert!(
            a.rx > b.rx && a.tx > b.tx && a.hits > b.hits,
            "worker {n}: {b:?} to {a:?}"
        );
    }
    w.finish();
});

/// Forty connections from a container to the outside, idle for five seconds. The server speaks
/// first then, when the kernel has long forgotten which queue the flow belongs to.
fn server_speaks_first(w: &World, while_idle: impl FnOnce()) {
    let server = w.out.listen(ANY, 8080);
    let connections: Vec<_> = (0..40)
        .map(|_| pair(&w.c[0], at(OUTSIDE, 8080), &server))
        .collect();
    for (c, s) in &connections {
        assert_eq!(s.peer_addr().unwrap().ip(), UPLINK);
        carries(c, s, "hello").unwrap();
    }
    let idle_until = std::time::Instant::now() + Duration::from_secs(5);
    while_idle();
    std::thread::sleep(idle_until.saturating_duration_since(std::time::Instant::now()));
    let before = w.daemon.stats();
    for (_, s) in &connections {
        (&*s).write_all(b"are you there?").unwrap();
    }
    for (n, (c, s)) in connections.iter().enumerate() {
        c.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        let mut got = [0; 14];
        (&*c)
            .read_exact(&mut got)
            .unwrap_or_else(|e| panic!("connection {n}: {e}"));
        assert_eq!(&got, b"are you there?");
        carries(c, s, "yes").unwrap();
    }
    let after = w.daemon.stats();
    assert_eq!(after.total.drops, before.total.drops, "{:?}", after.drops);
}

scenario!(
    forty_idle_connections_are_spoken_to_by_the_server_first,
    || {
        let w = two();
        server_speaks_first(&w, || {});
        w.finish();
    }
);

/// 12,000 UDP flows: each of 100 sockets inside speaks to each of 120 outside.
struct Flows {
    inside: Vec<UdpSocket>,
    outside: Vec<UdpSocket>,
}

impl Flows {
    const INSIDE: usize = 100;
    const OUTSIDE: usize = 120;

    fn open(w: &World) -> Flows {
        let sockets = |ns: &switchd_tests::lab::Ns, n| (0..n).map(|_| ns.udp(ANY, 0)).collect();
        Flows {
            inside: sockets(&w.c[0], Flows::INSIDE),
            outside: sockets(&w.out, Flows::OUTSIDE),
        }
    }

    /// Everyone inside speaks to everyone outside; whom each one outside heard.
    fn there(&self) -> Vec<Vec<SocketAddr>> {
        let mut heard = vec![Vec::new(); Flows::OUTSIDE];
        for (to, heard) in self.outside.iter().zip(&mut heard) {
            let at = at(OUTSIDE, to.local_addr().unwrap().port());
            for from in &self.inside {
                from.send_to(b"there", at).unwrap();
            }
            let mut buffer = [0; 16];
            for n in 0..Flows::INSIDE {
                let (len, from) = to
                    .recv_from(&mut buffer)
                    .unwrap_or_else(|e| panic!("{n} of {} came: {e}", Flows::INSIDE));
                assert_eq!((&buffer[..len], from.ip()), (&b"there"[..], UPLINK.into()));
                heard.push(from);
            }
        }
        heard
    }

    /// Everyone outside answers; all of it has to come.
    fn back(&self, heard: &[Vec<SocketAddr>]) {
        for (from, heard) in self.outside.iter().zip(heard) {
            for to in heard {
                from.send_to(b"back", *to).unwrap();
            }
            let mut buffer = [0; 16];
            for to in &self.inside {
                let (len, _) = to
                    .recv_from(&mut buffer)
                    .expect("an answer for each socket");
                assert_eq!(&buffer[..len], b"back");
            }
        }
    }
}

scenario!(the_same_with_twelve_thousand_flows_live, || {
    let w = two();
    let flows = Flows::open(&w);
    let mut heard = Vec::new();
    server_speaks_first(&w, || heard = flows.there());
    let status: control::api::types::Status = w.daemon.get("/v1/status");
    assert!(
        status.connections >= 12_000,
        "{} connections are tracked",
        status.connections
    );
    let before = w.daemon.stats().total.drops;
    flows.back(&heard);
    assert_eq!(w.daemon.stats().total.drops, before);
    w.finish();
});

/// Eight streams from a container to another until the second worker has read some of their frames;
/// every byte arrives.
fn streams_until_it_helps(w: &World) {
    let server = w.c[1].listen(ANY, 5001);
    let streams: Vec<_> = (0..8)
        .map(|_| pair(&w.c[0], at(C2, 5001), &server))
        .collect();
    let over = AtomicBool::new(false);
    let block: Vec<u8> = (0..=255).cycle().take(256 * 1024).collect();
    std::thread::scope(|s| {
        for (from, to) in &streams {
            s.spawn(|| {
                while !over.load(Relaxed) {
                    (&*from).write_all(&block).unwrap();
                }
                from.shutdown(Shutdown::Write).unwrap();
            });
            s.spawn(|| {
                let mut buffer = vec![0; block.len()];
                loop {
                    let mut got = 0;
                    while got < block.len() {
                        match (&*to).read(&mut buffer[got..]).unwrap() {
                            0 => return assert_eq!(got, 0, "a whole number of blocks"),
                            n => got += n,
                        }
                    }
                    assert!(buffer == block, "what was sent");
                }
            });
        }
        let end = Instant::now() + Duration::from_secs(120);
        let helps = || w.daemon.stats().workers[1].rx > 100;
        while !helps() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        over.store(true, Relaxed);
    });
    let workers = w.daemon.stats().workers;
    assert!(workers[1].rx > 100, "{workers:?}");
}

scenario!(a_second_worker_helps_with_bulk_and_only_then, || {
    if std::thread::available_parallelism().map_or(1, usize::from) == 1 {
        return eprintln!("SKIPPED: on a single core there is no second worker for bulk");
    }
    let w = World::new(&WorldSpec::default());
    let status: control::api::types::Status = w.daemon.get("/v1/status");
    assert_eq!((status.workers, w.daemon.stats().workers.len()), (2, 2));
    let server = w.c[1].listen(ANY, 5002);
    let pairs: Vec<_> = (0..16)
        .map(|_| pair(&w.c[0], at(C2, 5002), &server))
        .collect();
    let small = || {
        for _ in 0..20 {
            for (c, s) in &pairs {
                carries(c, s, "small").unwrap();
            }
        }
        w.daemon.stats().workers[1].rx
    };
    assert_eq!(small(), 0, "small frames need no second worker");
    streams_until_it_helps(&w);
    // A lane goes back with its first frames after the bulk.
    std::thread::sleep(Duration::from_millis(100));
    let after = small();
    assert_eq!(small(), after, "all lanes are back");
    let total = w.daemon.stats().total;
    assert_eq!(total.drops, 0);
    w.finish();
});

scenario!(the_worker_for_bulk_can_be_left_out, || {
    let w = World::new(&WorldSpec::default().with(&["--bulk-worker", "off"]));
    let status: control::api::types::Status = w.daemon.get("/v1/status");
    assert_eq!((status.workers, w.daemon.stats().workers.len()), (1, 1));
    w.finish();
});

/// Answers datagrams until one is empty.
fn answer(socket: &UdpSocket) {
    let mut buffer = [0; 64];
    loop {
        let (len, from) = socket.recv_from(&mut buffer).unwrap();
        socket.send_to(&buffer[..len], from).unwrap();
        if len == 0 {
            return;
        }
    }
}

/// Sends a datagram and has it back.
fn ask(socket: &UdpSocket, what: &[u8]) {
    socket.send(what).unwrap();
    let mut buffer = [0; 64];
    let len = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], what);
}

// What one exchange by the same two lanes makes of the worker's wait, others must not notice, nor the
// exchange itself when it pauses.
scenario!(a_long_exchange_keeps_nobody_waiting, || {
    let w = World::new(&WorldSpec::default());
    let (client, server) = (w.c[0].udp(ANY, 0), w.c[1].udp(ANY, 7001));
    client.connect(at(C2, 7001)).unwrap();
    let outside = w.out.listen(ANY, 8080);
    let (over, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let asked_often = |n| {
        wait_for("an exchange", || (asked.load(Relaxed) > n).then_some(()));
    };
    std::thread::scope(|s| {
        s.spawn(|| answer(&server));
        let asks = s.spawn(|| {
            while !over.load(Relaxed) {
                ask(&client, &asked.fetch_add(1, Relaxed).to_le_bytes());
            }
        });
        for _ in 0..200 {
            let (c, s) = pair(&w.c[0], at(OUTSIDE, 8080), &outside);
            carries(&c, &s, "hello").unwrap();
            carries(&s, &c, "hello yourself").unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        asked_often(1000);
        over.store(true, Relaxed);
        asks.join().unwrap();
        for n in 0..20u8 {
            std::thread::sleep(Duration::from_millis(2));
            (0..100).for_each(|_| ask(&client, &[n; 9]));
        }
        ask(&client, &[]);
    });
    assert_eq!(w.daemon.stats().total.drops, 0);
    // In the midst of an exchange its port goes.
    let (c, s) = pair(&w.c[0], at(OUTSIDE, 8080), &outside);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 64];
            while let Ok((len, from)) = server.recv_from(&mut buffer) {
                let _ = server.send_to(&buffer[..len], from);
            }
        });
        let asks = scope.spawn(|| {
            let mut buffer = [0; 64];
            while client.send(b"ask").is_ok() && client.recv(&mut buffer).is_ok() {
                asked.fetch_add(1, Relaxed);
            }
        });
        asked_often(asked.load(Relaxed) + 100);
        w.daemon.ctl(&["detach", "c2"]);
        asks.join().unwrap();
        carries(&c, &s, "still here").unwrap();
    });
    w.finish();
});
