//! TCP streams whose every byte is checked at the other end, both ways at once.

use super::Ns;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Bytes that nobody makes by accident: xorshift, from a seed.
struct Noise(u64);

impl Noise {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// FNV-1a over 8 bytes at a time, whatever pieces the bytes come in.
struct Hash {
    state: u64,
    tail: Vec<u8>,
    length: usize,
}

impl Hash {
    fn new() -> Hash {
        Hash {
            state: 0xcbf2_9ce4_8422_2325,
            tail: Vec::new(),
            length: 0,
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        self.tail.extend_from_slice(bytes);
        let whole = self.tail.len() / 8 * 8;
        for word in self.tail[..whole].chunks_exact(8) {
            let word = u64::from_le_bytes(word.try_into().expect("8 bytes"));
            self.state = (self.state ^ word)
                .wrapping_mul(0x0000_0100_0000_01b3)
                .rotate_left(23);
        }
        self.tail.drain(..whole);
    }

    fn finish(mut self) -> (u64, usize) {
        let length = self.length;
        let pad = self.tail.len().next_multiple_of(8) - self.tail.len();
        self.add(&[0; 8][..pad]);
        (self.state, length)
    }
}

type Digest = (u64, usize);

fn send(mut to: &TcpStream, seed: u64, bytes: usize) -> io::Result<Digest> {
    let (mut noise, mut hash) = (Noise(seed | 1), Hash::new());
    let mut buffer = vec![0; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let n = left.min(buffer.len());
        noise.fill(&mut buffer[..n]);
        hash.add(&buffer[..n]);
        to.write_all(&buffer[..n])?;
        left -= n;
    }
    to.shutdown(Shutdown::Write)?;
    Ok(hash.finish())
}

fn receive(mut from: &TcpStream) -> io::Result<Digest> {
    let mut hash = Hash::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(hash.finish()),
            n => hash.add(&buffer[..n]),
        }
    }
}

/// Sends `bytes` and reads to the other's end, at once: what was sent, what was received.
fn both_ways(stream: &TcpStream, seed: u64, bytes: usize) -> io::Result<(Digest, Digest)> {
    std::thread::scope(|s| {
        let sent = s.spawn(|| send(stream, seed, bytes));
        let received = receive(stream)?;
        Ok((sent.join().expect("the sender")?, received))
    })
}

/// A connection that carried all that it should.
#[derive(Debug)]
pub struct Exchanged {
    /// The client's address as the server saw it.
    pub seen_by_server: SocketAddr,
    /// The client's own idea of its address.
    pub client: SocketAddr,
}

/// `client` connects to `to`, which should lead to `listener`; `bytes` go each way at the same
/// time, and each end closes its half when it is done. Fails unless both ends have the same hash.
///
/// # Errors
/// No connection, or one that stalls or breaks.
pub fn try_exchange(
    client: &Ns,
    to: SocketAddr,
    listener: &TcpListener,
    bytes: usize,
) -> io::Result<Exchanged> {
    std::thread::scope(|s| {
        let server = s.spawn(|| -> io::Result<_> {
            let (stream, from) = accept(listener)?;
            Ok((both_ways(&stream, 0x5eed, bytes)?, from))
        });
        let client = client.connect(to).and_then(|stream| {
            let local = stream.local_addr()?;
            Ok((both_ways(&stream, 0xc1e7, bytes)?, local))
        });
        let server = server.join().expect("the server");
        let ((c_sent, c_received), client) = client?;
        let ((s_sent, s_received), seen_by_server) = server?;
        assert_eq!(c_sent, s_received, "client to server");
        assert_eq!(s_sent, c_received, "server to client");
        assert_eq!(c_sent.1, bytes);
        Ok(Exchanged {
            seen_by_server,
            client,
        })
    })
}

/// As [`try_exchange`], failing the test when the connection does.
pub fn exchange(client: &Ns, to: SocketAddr, listener: &TcpListener, bytes: usize) -> Exchanged {
    try_exchange(client, to, listener, bytes)
        .unwrap_or_else(|e| panic!("exchange of {bytes} bytes with {to}: {e}"))
}

/// Accepts one connection, within ten seconds.
///
/// # Errors
/// Nobody came.
pub fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    listener.set_nonblocking(true)?;
    let end = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        match listener.accept() {
            Ok((stream, from)) => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(Duration::from_secs(15)))?;
                stream.set_write_timeout(Some(Duration::from_secs(15)))?;
                return Ok((stream, from));
            }
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(e),
            Err(_) if std::time::Instant::now() > end => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody connected"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// A connection of which both ends are held: client's, server's.
pub fn pair(client: &Ns, to: SocketAddr, listener: &TcpListener) -> (TcpStream, TcpStream) {
    std::thread::scope(|s| {
        let server = s.spawn(|| accept(listener).expect("accepting").0);
        let client = client
            .connect(to)
            .unwrap_or_else(|e| panic!("connecting to {to}: {e}"));
        (client, server.join().expect("the server"))
    })
}

/// Whether what one end writes comes out at the other.
///
/// # Errors
/// The connection is broken, or nothing comes within the read timeout.
pub fn carries(mut from: &TcpStream, mut to: &TcpStream, text: &str) -> io::Result<()> {
    from.write_all(text.as_bytes())?;
    let mut got = vec![0; text.len()];
    to.read_exact(&mut got)?;
    assert_eq!(got, text.as_bytes());
    Ok(())
}

#[test]
fn the_hash_depends_on_bytes_and_not_on_pieces() {
    let digest = |bytes: &[u8], piece: usize| {
        let mut h = Hash::new();
        bytes.chunks(piece).for_each(|c| h.add(c));
        h.finish()
    };
    let mut noise = vec![0; 1001];
    Noise(7).fill(&mut noise);
    assert_eq!(digest(&noise, 1), digest(&noise, 1001));
    assert_eq!(digest(&noise, 3), digest(&noise, 64));
    let mut other = noise.clone();
    other[1000] ^= 1;
    assert_ne!(digest(&other, 64), digest(&noise, 64));
    other[1000] ^= 1;
    other.swap(16, 17);
    assert_ne!(digest(&other, 64), digest(&noise, 64));
}
