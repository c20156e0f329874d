//! The relay on the loopback of whoever runs the tests: 127.0.0.2 plays the gateway, 127.0.0.3
//! the container.

mod descriptors;
mod publish;
mod streams;
mod udp;

use super::*;
use dataplane::base::Proto;
use rustix::net::sockopt;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::time::Instant;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const CONTAINER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn relay(cfg: RelayConfig) -> Relay {
    Relay::start(None, GATEWAY, cfg).unwrap()
}

/// Publishes `port` of the container on some free port of `host_ip`.
fn publish_on(relay: &Relay, proto: Proto, host_ip: Option<Ipv4Addr>, port: u16) -> (RelayId, u16) {
    for _ in 0..100 {
        let free = TcpListener::bind((HOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let p = Publication {
            proto,
            host_ip,
            first: free,
            last: free,
            ip: CONTAINER,
            port,
        };
        match relay.publish(&p) {
            Ok(id) => return (id, free),
            Err(ForwardError::InUse { .. }) => {}
            Err(e) => panic!("{e}"),
        }
    }
    panic!("no free port");
}

fn publish(relay: &Relay, port: u16) -> (RelayId, u16) {
    publish_on(relay, Proto::TCP, Some(HOST), port)
}

/// A listener in the container, and a relay's port that leads to it.
fn server(relay: &Relay) -> (TcpListener, RelayId, u16) {
    let listener = TcpListener::bind((CONTAINER, 0)).unwrap();
    // The 128 of the standard library overflow on a busy machine, and the kernel, which answers with
    // SYN cookies then, loses connections that their clients believe in.
    rustix::net::listen(&listener, socket::BACKLOG).unwrap();
    // Whoever is lost all the same fails the test instead of holding it up.
    sockopt::set_socket_timeout(&listener, sockopt::Timeout::Recv, Some(PATIENCE)).unwrap();
    let (id, port) = publish(relay, listener.local_addr().unwrap().port());
    (listener, id, port)
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((HOST, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Both ends of one relayed connection: the client's, the container's.
fn pair(relay: &Relay) -> (TcpStream, TcpStream) {
    let (listener, _, port) = server(relay);
    let client = connect(port);
    let (inside, _) = listener.accept().unwrap();
    inside.set_read_timeout(Some(PATIENCE)).unwrap();
    inside.set_write_timeout(Some(PATIENCE)).unwrap();
    // A byte each way: the relay has seen that both streams are up.
    let mut byte = [0];
    (&client).write_all(b">").unwrap();
    (&inside).read_exact(&mut byte).unwrap();
    (&inside).write_all(b"<").unwrap();
    (&client).read_exact(&mut byte).unwrap();
    (client, inside)
}

fn until(what: &str, test: impl Fn() -> bool) {
    let start = Instant::now();
    while !test() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A stream of bytes that never repeats within a test (xorshift64).
struct Bytes(u64);

impl Bytes {
    fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            *byte = (self.0 >> 32) as u8;
        }
    }
}

/// Sends `len` bytes of the stream `seed` in pieces of uneven size, then a FIN.
fn send_all(mut stream: &TcpStream, seed: u64, len: usize) {
    let (mut bytes, mut left, mut piece) = (Bytes(seed), len, 1);
    let mut buffer = vec![0; 100_000];
    while left > 0 {
        let n = piece.min(left).min(buffer.len());
        bytes.fill(&mut buffer[..n]);
        stream.write_all(&buffer[..n]).unwrap();
        left -= n;
        piece = piece * 7 % 99_991 + 1;
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Reads to the FIN and compares each byte with the stream `seed`.
fn expect_all(mut stream: &TcpStream, seed: u64, len: usize) {
    let (mut bytes, mut seen) = (Bytes(seed), 0);
    let (mut got, mut want) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        let n = stream.read(&mut got).unwrap();
        if n == 0 {
            break;
        }
        bytes.fill(&mut want[..n]);
        assert!(
            got[..n] == want[..n],
            "wrong bytes between {seen} and {}",
            seen + n
        );
        seen += n;
    }
    assert_eq!(seen, len);
}

fn is_reset(result: std::io::Result<usize>) -> bool {
    result.is_err_and(|e| {
        matches!(
            e.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        )
    })
}
