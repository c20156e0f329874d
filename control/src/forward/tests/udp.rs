//! Published UDP ports.

use super::*;

fn socket(ip: Ipv4Addr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A socket in the container and a published port, on all addresses, that leads to it.
fn server(relay: &Relay) -> (UdpSocket, RelayId, u16) {
    let inside = socket(CONTAINER);
    let (id, port) = publish_on(relay, Proto::UDP, None, inside.local_addr().unwrap().port());
    (inside, id, port)
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, std::net::SocketAddr) {
    let mut buffer = [0; 65_536];
    let (n, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..n].to_vec(), from)
}

#[test]
fn replies_leave_from_the_address_that_was_asked() {
    let relay = relay(RelayConfig::default());
    let (inside, _, port) = server(&relay);
    let client = socket(HOST);
    let mut seen = Vec::new();
    for asked in [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 9)] {
        client.send_to(b"question", (asked, port)).unwrap();
        let (question, from) = receive(&inside);
        assert_eq!(question, b"question");
        assert_eq!(from.ip(), GATEWAY);
        inside.send_to(b"answer", from).unwrap();
        assert_eq!(receive(&client), (b"answer".to_vec(), (asked, port).into()));
        seen.push(from);
    }
    assert_ne!(seen[0], seen[1], "a session for each asked address");
    assert_eq!(relay.stats().sessions, 2);
}

#[test]
fn a_session_serves_its_client_only() {
    let relay = relay(RelayConfig::default());
    let (inside, _, port) = server(&relay);
    let clients: Vec<_> = (0..20).map(|_| socket(HOST)).collect();
    for round in 0..3u8 {
        for (i, client) in (0..).zip(&clients) {
            client.send_to(&[i, round], (HOST, port)).unwrap();
        }
        for _ in &clients {
            let (mut data, from) = receive(&inside);
            data.push(b'!');
            inside.send_to(&data, from).unwrap();
        }
        for (i, client) in (0..).zip(&clients) {
            assert_eq!(receive(client).0, [i, round, b'!']);
        }
    }
    until("all is counted", || relay.stats().datagrams_out == 60);
    let stats = relay.stats();
    let seen = (stats.sessions, stats.datagrams_in, stats.datagrams_dropped);
    assert_eq!(seen, (20, 60, 0));
    // Nobody but the container can speak into a session.
    clients[0].send_to(b"x", (HOST, port)).unwrap();
    let (_, from) = receive(&inside);
    socket(CONTAINER).send_to(b"forged", from).unwrap();
    inside.send_to(b"true", from).unwrap();
    assert_eq!(receive(&clients[0]).0, b"true");
}

#[test]
fn empty_and_largest_datagrams_pass() {
    let relay = relay(RelayConfig::default());
    let (inside, _, port) = server(&relay);
    let client = socket(HOST);
    for len in [0, 1, 1_472, 65_507] {
        let mut data = vec![0; len];
        Bytes(9).fill(&mut data);
        client.send_to(&data, (HOST, port)).unwrap();
        let (got, from) = receive(&inside);
        assert!(got == data, "{len} bytes in");
        inside.send_to(&got, from).unwrap();
        assert!(receive(&client).0 == data, "{len} bytes out");
    }
}

#[test]
fn idle_sessions_end() {
    let idle = Duration::from_millis(400);
    let relay = relay(RelayConfig {
        udp_idle: idle,
        ..RelayConfig::default()
    });
    let (inside, _, port) = server(&relay);
    let (quiet, lively) = (socket(HOST), socket(HOST));
    quiet.send_to(b"a", (HOST, port)).unwrap();
    lively.send_to(b"b", (HOST, port)).unwrap();
    let (_, first) = receive(&inside);
    let (_, second) = receive(&inside);
    assert_eq!(relay.stats().sessions, 2);
    // Datagrams of the container alone keep a session alive.
    until("the quiet one has ended", || {
        inside.send_to(b"still here", second).unwrap();
        relay.stats().sessions == 1
    });
    assert_eq!(receive(&lively).0, b"still here");
    inside.send_to(b"late", first).unwrap();
    until("the other has ended too", || relay.stats().sessions == 0);
}

#[test]
fn the_longest_idle_session_makes_room() {
    let relay = relay(RelayConfig {
        max_sessions_per_port: 3,
        ..RelayConfig::default()
    });
    let (inside, _, port) = server(&relay);
    let clients: Vec<_> = (0..4).map(|_| socket(HOST)).collect();
    let say = |i: usize| {
        clients[i].send_to(&[i as u8], (HOST, port)).unwrap();
        receive(&inside).1
    };
    let sessions: Vec<_> = (0..3).map(say).collect();
    assert_eq!(
        say(0),
        sessions[0],
        "heard from again: no longer the longest idle"
    );
    say(3);
    let stats = relay.stats();
    assert_eq!((stats.sessions, stats.sessions_evicted), (3, 1));
    assert_eq!(say(0), sessions[0]);
    assert_eq!(say(2), sessions[2]);
    assert_ne!(say(1), sessions[1], "it was the one that had to go");
}

#[test]
fn a_closed_port_ends_the_session() {
    let relay = relay(RelayConfig::default());
    let (inside, _, port) = server(&relay);
    let client = socket(HOST);
    drop(inside);
    client.send_to(b"anyone?", (HOST, port)).unwrap();
    until("the refusal is noticed", || {
        relay.stats().sessions_refused >= 1
    });
    until("the session is gone", || relay.stats().sessions == 0);
}

#[test]
fn unpublishing_ends_sessions_and_frees_the_port() {
    let relay = relay(RelayConfig::default());
    let (inside, id, port) = server(&relay);
    let client = socket(HOST);
    client.send_to(b"a", (HOST, port)).unwrap();
    receive(&inside);
    assert!(relay.unpublish(id));
    assert_eq!((relay.stats().sessions, relay.stats().listeners), (0, 0));
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
}

#[test]
fn a_taken_udp_port_is_named() {
    let relay = relay(RelayConfig::default());
    let taken = UdpSocket::bind((HOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let p = Publication {
        proto: Proto::UDP,
        host_ip: None,
        first: port,
        last: port,
        ip: CONTAINER,
        port: 53,
    };
    let said = relay.publish(&p).unwrap_err().to_string();
    assert_eq!(
        said,
        format!("0.0.0.0:{port}/udp is taken by another program on this host")
    );
}
