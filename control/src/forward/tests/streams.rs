//! What a relayed TCP connection does.

use super::*;

const MEGABYTES: usize = 8 << 20;

fn both_ways(cfg: RelayConfig) -> RelayReport {
    let relay = relay(cfg);
    let (client, inside) = pair(&relay);
    assert_eq!(
        inside.peer_addr().unwrap().ip(),
        GATEWAY,
        "the source is the gateway"
    );
    std::thread::scope(|s| {
        s.spawn(|| send_all(&client, 1, MEGABYTES));
        s.spawn(|| send_all(&inside, 2, MEGABYTES));
        s.spawn(|| expect_all(&inside, 1, MEGABYTES));
        s.spawn(|| expect_all(&client, 2, MEGABYTES));
    });
    until("the connection is closed", || {
        relay.stats().connections == 0
    });
    let stats = relay.stats();
    assert_eq!(
        (stats.bytes_in, stats.bytes_out),
        (MEGABYTES as u64 + 1, MEGABYTES as u64 + 1)
    );
    assert_eq!((stats.accepted, stats.reset, stats.refused), (1, 0, 0));
    stats
}

#[test]
fn megabytes_arrive_whole_both_ways() {
    assert_eq!(both_ways(RelayConfig::default()).copies, 0);
}

#[test]
fn megabytes_arrive_whole_without_pipes() {
    let stats = both_ways(RelayConfig {
        max_pipes: 0,
        ..RelayConfig::default()
    });
    assert!(stats.copies > 0);
}

#[test]
fn a_client_may_close_its_half_first() {
    let relay = relay(RelayConfig::default());
    let (mut client, mut inside) = pair(&relay);
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    inside.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"question");
    assert_eq!(relay.stats().connections, 1, "the other half is still open");
    inside.write_all(b"answer").unwrap();
    drop(inside);
    got.clear();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"answer");
    until("the connection is closed", || {
        relay.stats().connections == 0
    });
    assert_eq!(relay.stats().reset, 0);
}

#[test]
fn a_container_may_close_its_half_first() {
    let relay = relay(RelayConfig {
        max_pipes: 0,
        ..RelayConfig::default()
    });
    let (mut client, mut inside) = pair(&relay);
    inside.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    client.write_all(b"late").unwrap();
    drop(client);
    let mut got = Vec::new();
    inside.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"late");
    until("the connection is closed", || {
        relay.stats().connections == 0
    });
}

#[test]
fn a_client_is_reset_when_nothing_listens() {
    let relay = relay(RelayConfig::default());
    let gone = TcpListener::bind((CONTAINER, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (_, port) = publish(&relay, gone);
    let start = Instant::now();
    // The reset may overtake the return of connect.
    if let Ok(mut client) = TcpStream::connect((HOST, port)) {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(is_reset(client.read(&mut [0; 8])));
    }
    assert!(start.elapsed() < Duration::from_secs(10));
    until("the refusal is counted", || relay.stats().refused == 1);
    until("it is closed", || relay.stats().connections == 0);
}

#[test]
fn a_client_is_reset_when_there_is_no_gateway() {
    let nowhere = Ipv4Addr::new(192, 0, 2, 77);
    let relay = Relay::start(None, nowhere, RelayConfig::default()).unwrap();
    let p = Publication {
        proto: Proto::TCP,
        host_ip: Some(HOST),
        first: TcpListener::bind((HOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port(),
        last: 0,
        ip: Ipv4Addr::new(192, 0, 2, 78),
        port: 80,
    };
    relay.publish(&Publication { last: p.first, ..p }).unwrap();
    if let Ok(mut client) = TcpStream::connect((HOST, p.first)) {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(is_reset(client.read(&mut [0; 8])));
    }
    until("the refusal is counted", || relay.stats().refused == 1);
}

fn abort(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
}

#[test]
fn a_reset_is_carried_over_both_ways() {
    let relay = relay(RelayConfig::default());
    let (mut client, inside) = pair(&relay);
    abort(inside);
    assert!(is_reset(client.read(&mut [0; 8])));
    let (client, mut inside) = pair(&relay);
    abort(client);
    assert!(is_reset(inside.read(&mut [0; 8])));
    until("both are closed", || relay.stats().connections == 0);
    assert_eq!(relay.stats().reset, 2);
}

#[test]
fn a_reset_after_a_half_close_is_carried_over() {
    let relay = relay(RelayConfig::default());
    let (client, mut inside) = pair(&relay);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(inside.read(&mut [0; 8]).unwrap(), 0);
    abort(client);
    until("the connection is closed", || {
        relay.stats().connections == 0
    });
    // The container learns of it by an error of its own, at the latest when it writes.
    until("a write fails", || is_reset((&inside).write(b"x")));
}

#[test]
fn a_slow_reader_holds_back_its_own_sender_only() {
    let relay = relay(RelayConfig::default());
    let (client, inside) = pair(&relay);
    let len = 64 << 20;
    std::thread::scope(|s| {
        let sender = s.spawn(|| send_all(&inside, 3, len));
        let moved = || relay.stats().bytes_out;
        until("bytes flow", || moved() > 1);
        // Sockets hold a few megabytes at most, then everything stands still.
        until("it stands still", || {
            let before = moved();
            std::thread::sleep(Duration::from_millis(300));
            moved() == before
        });
        assert!(moved() < len as u64 / 2, "{} bytes were swallowed", moved());
        assert!(!sender.is_finished());
        assert!(relay.stats().pipes_busy <= 1);
        let (a, b) = pair(&relay);
        send_all(&a, 4, 100_000);
        expect_all(&b, 4, 100_000);
        expect_all(&client, 3, len);
    });
}

#[test]
fn connections_wait_when_the_relay_is_full() {
    let relay = relay(RelayConfig {
        max_connections: 2,
        ..RelayConfig::default()
    });
    let (listener, _, port) = server(&relay);
    let mut clients: Vec<_> = (0..3).map(|_| connect(port)).collect();
    let inside: Vec<_> = (0..2).map(|_| listener.accept().unwrap().0).collect();
    let waiting = clients.pop().unwrap();
    until("accepting pauses", || relay.stats().pauses > 0);
    assert_eq!(relay.stats().connections, 2);
    drop((clients, inside));
    let (third, _) = listener.accept().unwrap();
    send_all(&waiting, 5, 1_000);
    expect_all(&third, 5, 1_000);
}

#[test]
fn two_thousand_idle_connections_need_no_pipes() {
    let limit = limits::raise();
    // Each takes four descriptors here: client, relay twice, container.
    let count = 2_000.min((limit - limits::open_now()) / 6);
    let relay = relay(RelayConfig {
        max_pipes: 4,
        ..RelayConfig::default()
    });
    let (listener, _, port) = server(&relay);
    std::thread::scope(|s| {
        let accepted = s.spawn(|| -> Vec<TcpStream> {
            (0..count).map(|_| listener.accept().unwrap().0).collect()
        });
        let mut clients: Vec<_> = (0..count).map(|_| connect(port)).collect();
        let mut inside = accepted.join().unwrap();
        // The relay's thread counts a moment after the container's listener has accepted.
        until("all are relayed", || {
            relay.stats().connections == count as u64
        });
        // All at once, a small answer each; few pipes serve them one after the other.
        for stream in &mut inside {
            stream.write_all(b"hello").unwrap();
        }
        for client in &mut clients {
            let mut got = [0; 5];
            client.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"hello");
        }
        until("all pipes are free", || relay.stats().pipes_busy == 0);
        assert_eq!(relay.stats().reset, 0);
    });
}
