//! ICMP echo from a raw socket, which root of a network namespace may open.

use dataplane::frame::checksum::{finish, sum};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// What a row of echo requests met.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Pings {
    /// Requests sent.
    pub sent: u32,
    /// Requests whose answer came back whole, in time.
    pub answered: u32,
    /// The answers' round trips, added up.
    pub total: Duration,
    /// Time to live of the last answer.
    pub ttl: u8,
}

impl Pings {
    /// Whether at least one was sent and none was lost.
    pub fn all(&self) -> bool {
        self.sent > 0 && self.sent == self.answered
    }
}

/// Identifiers, so that several at a time don't take each other's answers.
static NEXT_ID: AtomicU16 = AtomicU16::new(1);

/// Sends `count` echo requests with `size` bytes of data to `to` from the calling thread's network
/// namespace, each once the one before is answered, or after `patience`.
///
/// # Errors
/// What the system says about opening the socket or sending.
pub fn ping(to: Ipv4Addr, count: u32, size: usize, patience: Duration) -> io::Result<Pings> {
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed) ^ (std::process::id() as u16) << 6;
    ping_as(id, to, count, size, patience)
}

/// [`ping`] with an identifier of the caller's choice.
///
/// # Errors
/// As [`ping`].
pub fn ping_as(
    id: u16,
    to: Ipv4Addr,
    count: u32,
    size: usize,
    patience: Duration,
) -> io::Result<Pings> {
    let raw = socket(
        AddressFamily::Inet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Icmp,
    )?;
    // Sending to and receiving from a raw socket are the same calls as for UDP.
    let socket = UdpSocket::from(raw);
    let mut pings = Pings::default();
    for seq in 0..count {
        let request = echo_request(id, seq as u16, size);
        let start = Instant::now();
        socket.send_to(&request, SocketAddr::new(IpAddr::V4(to), 0))?;
        pings.sent += 1;
        if let Some(ttl) = answer(&socket, to, &request, start + patience)? {
            pings.answered += 1;
            pings.total += start.elapsed();
            pings.ttl = ttl;
        }
    }
    Ok(pings)
}

/// The time to live of the answer to `request`, if it comes before `end`.
fn answer(
    socket: &UdpSocket,
    from: Ipv4Addr,
    request: &[u8],
    end: Instant,
) -> io::Result<Option<u8>> {
    let mut buffer = vec![0; 65_536];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        let (n, peer) = match socket.recv_from(&mut buffer) {
            Ok(r) => r,
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let packet = buffer.get(..n).unwrap_or(&[]);
        if peer.ip() == IpAddr::V4(from) && answers(packet, request) {
            return Ok(packet.get(8).copied());
        }
    }
}

/// Whether an IPv4 packet is the echo reply to `request`: all but type and checksum is the same
/// (RFC 792).
fn answers(packet: &[u8], request: &[u8]) -> bool {
    let header = usize::from(packet.first().copied().unwrap_or(0) & 0xf) * 4;
    let icmp = packet.get(header..).unwrap_or(&[]);
    icmp.first() == Some(&0) && icmp.len() == request.len() && icmp.get(4..) == request.get(4..)
}

fn echo_request(id: u16, seq: u16, size: usize) -> Vec<u8> {
    let mut m = vec![8, 0, 0, 0];
    m.extend(id.to_be_bytes());
    m.extend(seq.to_be_bytes());
    m.extend((0..size).map(|i| (i ^ (i >> 8)) as u8));
    let sum = checksum(&m).to_be_bytes();
    m.splice(2..4, sum);
    m
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    finish(sum(bytes, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_sum_to_zero_and_only_their_reply_answers() {
        let request = echo_request(0x1234, 7, 33);
        assert_eq!(request.len(), 41);
        assert_eq!(checksum(&request), 0);
        let mut reply = vec![0x45; 20];
        reply.extend(&request);
        assert!(!answers(&reply, &request), "the request itself, seen on lo");
        reply[20] = 0;
        assert!(answers(&reply, &request));
        *reply.last_mut().unwrap() ^= 1;
        assert!(!answers(&reply, &request), "other data");
        assert!(!answers(&reply[..30], &request) && !answers(&[], &request));
    }
}
