//! Many flows, slow ones and half-open ones by `--uplink sockets`: bounded, and in nobody's way.

use control::forward::limits::raise;
use control::netlink::Netlink;
use dataplane::base::Mac;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;
use switchd_tests::lab::rootless::{HOST, NOBODY, OUTSIDE, Rootless};
use switchd_tests::lab::tcp::{carries, exchange, pair};
use switchd_tests::lab::world::at;
use switchd_tests::lab::{wait_for, wait_long_for};
use switchd_tests::scenario;

/// Set in the process that holds the outside's ends.
const HOLD: &str = "SOCKETS_TEST_HOLD";

/// Not a test: this program once more, which accepts all that comes and sends back what it hears.
#[test]
#[ignore = "started by other tests"]
fn hold() {
    if std::env::var_os(HOLD).is_none() {
        return;
    }
    raise();
    let listener = std::net::TcpListener::bind((OUTSIDE, 7000)).expect("listening");
    let (accepted, new) = std::sync::mpsc::channel();
    // At once: a backlog that is full would have clients wait for a second.
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true).expect("a stream");
            accepted.send(stream).expect("a holder");
        }
    });
    let mut all: Vec<TcpStream> = Vec::new();
    loop {
        all.extend(new.try_iter());
        all.retain_mut(|s| {
            let mut byte = [0; 16];
            match s.read(&mut byte) {
                Ok(0) => false,
                Ok(n) => s.write_all(&byte[..n]).is_ok(),
                Err(e) => e.kind() == std::io::ErrorKind::WouldBlock,
            }
        });
        // Each round is a read of every one: not more of them than is needed.
        std::thread::sleep(Duration::from_millis(100));
    }
}

scenario!(ten_thousand_flows, || {
    const FLOWS: usize = 10_000;
    let lab = Rootless::new();
    // Three processes hold an end each; this one also what the lab needs.
    if raise() < FLOWS * 2 {
        eprintln!("SKIPPED: the limit on open files is below {}", FLOWS * 2);
        return;
    }
    let running = lab.run(&[]);
    let inside = running.inside();
    let this = std::env::current_exe().expect("this program");
    let mut holder = lab
        .out
        .run(|| {
            Command::new(this)
                .args(["sockets_flows::hold", "--exact", "--ignored"])
                .env(HOLD, "1")
                .stdout(Stdio::null())
                .spawn()
        })
        .expect("a holder");
    wait_for("it listens", || inside.connect(at(OUTSIDE, 7000)).ok());
    let mut flows: Vec<TcpStream> = inside.run(|| {
        (0..FLOWS)
            .map(|n| {
                let stream = TcpStream::connect((OUTSIDE, 7000));
                let stream = stream.unwrap_or_else(|e| panic!("flow {n}: {e}"));
                stream
                    .set_read_timeout(Some(Duration::from_secs(30)))
                    .expect("a timeout");
                stream
            })
            .collect()
    });
    let s = running.sockets();
    assert!(s.tcp_now >= FLOWS as u64, "{s:?}");
    for flow in &mut flows {
        flow.write_all(b"abcd").expect("writing");
    }
    for (n, flow) in flows.iter_mut().enumerate() {
        let mut got = [0; 4];
        flow.read_exact(&mut got)
            .unwrap_or_else(|e| panic!("flow {n}: {e}"));
        assert_eq!(&got, b"abcd");
    }
    let s = running.sockets();
    // What is sent again depends on how long this machine stood still.
    assert_eq!((s.tcp_limit, s.half_open_evicted), (0, 0), "{s:?}");
    drop(flows);
    let limit = Duration::from_secs(60);
    wait_long_for(
        "all are closed, and nothing is held for them",
        limit,
        || {
            let s = running.sockets();
            ((s.tcp_now, s.bytes_held) == (0, 0)).then_some(())
        },
    );
    holder.kill().expect("killing");
    holder.wait().expect("waiting");
    running.finish();
});

scenario!(a_slow_reader_holds_up_nobody, || {
    let lab = Rootless::new();
    let running = lab.run(&["-p", "5000:5000"]);
    let inside = running.inside();
    let server = lab.out.listen(OUTSIDE, 7000);
    // Nobody reads: the writers come to a stop.
    let stuck: Vec<_> = (0..8)
        .map(|_| pair(&inside, at(OUTSIDE, 7000), &server))
        .collect();
    for (writer, _) in &stuck {
        writer
            .set_write_timeout(Some(Duration::from_millis(300)))
            .expect("a timeout");
        let mut writer = writer;
        let chunk = vec![7; 1 << 20];
        let stopped = (0..200).any(|_| writer.write_all(&chunk).is_err());
        assert!(stopped, "200 MiB went to nobody");
    }
    let held = running.sockets().bytes_held;
    assert!(held <= 8 << 20, "{held} bytes held for eight slow sockets");
    // Others go on, both ways.
    exchange(&inside, at(OUTSIDE, 7000), &server, 8 << 20);
    let within = inside.listen(Ipv4Addr::UNSPECIFIED, 5000);
    exchange(&lab.out, at(HOST, 5000), &within, 8 << 20);
    // And the slow ones, when somebody reads at last.
    let (writer, reader) = &stuck[0];
    let mut all = Vec::new();
    writer
        .shutdown(std::net::Shutdown::Write)
        .expect("shutdown");
    let mut reader = reader;
    reader.read_to_end(&mut all).expect("reading");
    assert!(!all.is_empty() && all.iter().all(|b| *b == 7));
    let (a, b) = pair(&inside, at(OUTSIDE, 7000), &server);
    carries(&a, &b, "after all").expect("a stream");
    drop((stuck, a, b));
    running.finish();
});

/// Starts a connect and does not wait for it.
fn begin(to: SocketAddrV4) -> OwnedFd {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Inet, SockType::Stream, flags, None).expect("a socket");
    let _ = connect(fd.as_raw_fd(), &SockaddrIn::from(to));
    fd
}

scenario!(half_open_ones_make_room_for_others, || {
    let lab = Rootless::new();
    let files = raise();
    let half = files.saturating_sub(128) / 4;
    let index = lab.host.link("v0").expect("v0").index;
    // What is sent there vanishes.
    let nobody = Mac([2, 0, 0, 0, 0, 9]);
    lab.host
        .netlink()
        .add_neighbour(index, NOBODY, nobody)
        .expect("a neighbour");
    let running = lab.run(&[]);
    let inside = running.inside();
    let begun: Vec<OwnedFd> = inside.run(|| {
        (0..half + 500)
            .map(|n| begin(SocketAddrV4::new(NOBODY, 1 + (n % 60_000) as u16)))
            .collect()
    });
    wait_for("the oldest make room", || {
        (running.sockets().half_open_evicted > 0).then_some(())
    });
    let s = running.sockets();
    assert!(s.tcp_now <= half as u64 + 1, "{s:?}");
    let server = lab.out.listen(OUTSIDE, 7000);
    exchange(&inside, at(OUTSIDE, 7000), &server, 1 << 20);
    drop(begun);
    running.finish();
});
