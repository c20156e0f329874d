//! The sockets that hold external ports of masquerade, so that the kernel neither answers nor
//! resets what comes in for them and gives them to no other program.
//!
//! Each costs a descriptor and some 4 KiB, so they are taken in blocks ahead of need. Ports that
//! no program asks for by number go first: those above the range from which the kernel takes
//! ports of its own choice (`ip_local_port_range`), then those below it from the top down, and
//! that range itself last. The filter is on the socket before the port is.
//!
//! Beyond half of the descriptors a port can be *bare*: without a socket, where the kernel can be
//! kept quiet about it by other means (`dataplane::port::sys::lookup`). Then nothing but its place
//! outside of the kernel's own range keeps it from other programs.

use crate::forward::{ForwardError, limits, refusal};
use dataplane::base::Proto;
use dataplane::nat::Publication;
use dataplane::port::filter::nothing;
use dataplane::port::sys::filter;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
use std::collections::{BTreeSet, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

/// Ports of each protocol that are held at first.
pub const FIRST: usize = 512;
/// Identifiers of echo requests. Nobody can be asked who uses which: a ping by a raw socket takes
/// what it likes, mostly its process id or a random number. So the last eighth, less those of ping
/// sockets, which the kernel lists, and later those whose answers come in for the host
/// (`dataplane::nat::ports::Ports::host_pings`).
pub const ECHO: std::ops::RangeInclusive<u16> = 57_344..=65_535;
/// Ports below this one are left to services.
const LOWEST: u16 = 1_024;
/// Descriptors that are left to the rest of the program.
const RESERVE: usize = 512;

/// Ports that are held of one protocol.
#[derive(Debug)]
struct Held {
    proto: Proto,
    kind: SocketType,
    /// Ports with their sockets; a bare one has none.
    sockets: Vec<(u16, Option<OwnedFd>)>,
    /// Ports not tried yet, as their places in the order.
    rest: BTreeSet<usize>,
}

/// What a block added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// The protocol.
    pub proto: Proto,
    /// The ports that are new.
    pub new: Vec<u16>,
    /// Those of them that have no socket.
    pub bare: Vec<u16>,
    /// How many are held in all.
    pub in_all: u32,
    /// First and last of all.
    pub span: (u16, u16),
}

/// The ports that are held on one address.
#[derive(Debug)]
pub struct Holders {
    ip: Ipv4Addr,
    /// In which order ports are taken.
    order: Vec<u16>,
    /// The kernel's own range.
    local: (u16, u16),
    each: [Held; 2],
}

/// Closes sockets, many of them in the background: each takes some 25 µs, and whoever publishes a
/// large range waits.
fn close(sockets: Vec<OwnedFd>) {
    const MANY: usize = 32;
    if sockets.len() > MANY {
        // Where there is no thread to be had, the closure is dropped here, and they with it.
        let _ = std::thread::Builder::new()
            .name("let-go".into())
            .spawn(move || drop(sockets));
    }
}

impl Holders {
    /// None held yet on `ip`; `order` is the order in which ports are taken, `local` the kernel's
    /// own range.
    pub fn new(ip: Ipv4Addr, (order, local): (&[u16], (u16, u16))) -> Holders {
        let held = |proto, kind| Held {
            proto,
            kind,
            sockets: Vec::new(),
            rest: (0..order.len()).collect(),
        };
        Holders {
            ip,
            order: order.to_vec(),
            local,
            each: [
                held(Proto::TCP, SocketType::STREAM),
                held(Proto::UDP, SocketType::DGRAM),
            ],
        }
    }

    /// The address on which they are held.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// The ports of a protocol that are held.
    pub fn ports(&self, proto: Proto) -> impl Iterator<Item = u16> + '_ {
        let held = self.each.iter().filter(move |h| h.proto == proto);
        held.flat_map(|h| h.sockets.iter().map(|(port, _)| *port))
    }

    /// Holds up to `want` more ports of a protocol, of those that nobody has. Fewer, or none, when
    /// no port is left, or half of the `limit` of descriptors is in use and ports may not be `bare`
    /// then. The calling thread is in the host's namespace.
    pub fn grow(&mut self, proto: Proto, want: usize, limit: usize, bare: bool) -> Option<Block> {
        let room = (limit / 2).saturating_sub(limits::open_now() + RESERVE);
        let local = self.local.0..=self.local.1;
        let held = self.each.iter_mut().find(|h| h.proto == proto)?;
        let before = held.sockets.len();
        while held.sockets.len() - before < want {
            let with_socket = held.sockets.len() - before < room;
            let Some(place) = held.rest.first().copied() else {
                break;
            };
            let port = self.order.get(place).copied();
            let Some(port) = port.filter(|p| with_socket || bare && !local.contains(p)) else {
                break;
            };
            held.rest.remove(&place);
            match hold(held.kind, SocketAddrV4::new(self.ip, port)) {
                Ok(fd) => held.sockets.push((port, with_socket.then_some(fd))),
                Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => {
                    held.rest.insert(place);
                    break;
                }
                // Taken by a program of the host, or not ours to take.
                Err(_) => {}
            }
        }
        let added = || held.sockets.iter().skip(before);
        let new: Vec<u16> = added().map(|(p, _)| *p).collect();
        let bare = added().filter(|(_, fd)| fd.is_none());
        let bare = bare.map(|(p, _)| *p).collect();
        let ports = || held.sockets.iter().map(|(p, _)| *p);
        let span = (ports().min()?, ports().max()?);
        (!new.is_empty()).then_some(Block {
            proto,
            in_all: u32::try_from(held.sockets.len()).unwrap_or(u32::MAX),
            new,
            bare,
            span,
        })
    }

    /// Lets go of the ports of a range, which get another owner. Gives those that were held. They
    /// are free for other sockets when this returns, unless nobody is to have them (`bare`).
    pub fn release(&mut self, proto: Proto, first: u16, last: u16, bare: bool) -> Vec<u16> {
        let mut gone = Vec::new();
        let mut sockets = Vec::new();
        for held in self.each.iter_mut().filter(|h| h.proto == proto) {
            let out = held
                .sockets
                .extract_if(.., |(port, _)| (first..=last).contains(port));
            for (port, socket) in out {
                gone.push(port);
                sockets.extend(socket);
            }
        }
        if bare {
            close(sockets);
        }
        gone
    }

    /// Holds the same ports on another address, in place of this one. Gives those that can't be
    /// had there.
    pub fn move_to(&mut self, ip: Ipv4Addr) -> Vec<(Proto, Vec<u16>)> {
        self.ip = ip;
        let moved = self.each.iter_mut().map(|held| {
            let mut lost = Vec::new();
            for (port, was) in std::mem::take(&mut held.sockets) {
                match hold(held.kind, SocketAddrV4::new(ip, port)) {
                    Ok(fd) => held.sockets.push((port, was.and(Some(fd)))),
                    Err(_) => lost.push(port),
                }
            }
            (held.proto, lost)
        });
        moved.collect()
    }

    /// What is held of a protocol, as a block that adds nothing; without a port it says so.
    pub fn all(&self, proto: Proto) -> Block {
        let (first, last) = (self.ports(proto).min(), self.ports(proto).max());
        Block {
            proto,
            new: Vec::new(),
            bare: Vec::new(),
            in_all: u32::try_from(self.count(proto)).unwrap_or(u32::MAX),
            span: (first.unwrap_or(0), last.unwrap_or(0)),
        }
    }

    /// Ports of a range that has lost its owner are tried again, where they stood in the order.
    pub fn put_back(&mut self, proto: Proto, first: u16, last: u16) {
        let range = first..=last;
        for held in self.each.iter_mut().filter(|h| h.proto == proto) {
            let ports = held.sockets.iter().map(|(port, _)| *port);
            let ours: HashSet<u16> = ports.filter(|p| range.contains(p)).collect();
            let order = self.order.iter().enumerate();
            let again = order.filter(|(_, p)| range.contains(p) && !ours.contains(p));
            held.rest.extend(again.map(|(place, _)| place));
        }
    }

    /// The ports of a protocol that are held without a socket.
    pub fn bare(&self, proto: Proto) -> impl Iterator<Item = u16> + '_ {
        let held = self.each.iter().filter(move |h| h.proto == proto);
        let all = held.flat_map(|h| &h.sockets);
        all.filter(|(_, fd)| fd.is_none()).map(|(port, _)| *port)
    }

    /// How many of a protocol are held.
    pub fn count(&self, proto: Proto) -> usize {
        let held = self.each.iter().find(|h| h.proto == proto);
        held.map_or(0, |h| h.sockets.len())
    }
}

/// Holds the ports of a publication that no listener has, on its HOST_IP or all addresses.
///
/// # Errors
/// The first port that can't be had, or too few descriptors; none is held then.
pub fn published(p: &Publication, limit: usize) -> Result<Vec<OwnedFd>, ForwardError> {
    let need = usize::from(p.last - p.first) + 1;
    let open = limits::open_now();
    if open + need + limits::RESERVE > limit {
        return Err(ForwardError::Holders {
            publication: *p,
            need,
            open,
            limit,
        });
    }
    let kind = match p.proto {
        Proto::UDP => SocketType::DGRAM,
        _ => SocketType::STREAM,
    };
    let ip = p.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let at = |port| SocketAddrV4::new(ip, port);
    let ports = p.first..=p.last;
    ports
        .map(|port| hold(kind, at(port)).map_err(|e| refusal(at(port), p.proto, e.into())))
        .collect()
}

/// A socket that has the port and hears nothing.
fn hold(kind: SocketType, addr: SocketAddrV4) -> Result<OwnedFd, Errno> {
    let fd = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    filter::attach(&fd, &nothing()).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    bind(&fd, &addr)?;
    if kind == SocketType::STREAM {
        listen(&fd, 1)?;
    }
    Ok(fd)
}

/// The order in which ports are taken. `local` is the kernel's own range, `reserved` are ports
/// that an administrator has set apart.
pub fn order(local: (u16, u16), reserved: &[(u16, u16)]) -> Vec<u16> {
    let (first, last) = local;
    let above = last.saturating_add(1)..=u16::MAX;
    let above = above.filter(|p| *p > last);
    let below = (LOWEST..first.max(LOWEST)).rev();
    let inside = (first.max(LOWEST)..=last).rev();
    let free = |p: &u16| !reserved.iter().any(|(a, b)| (a..=b).contains(&p));
    above.chain(below).chain(inside).filter(free).collect()
}

/// The order on the host that the calling thread is in, and its kernel's own range.
pub fn order_here() -> (Vec<u16>, (u16, u16)) {
    let read = |name| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"));
    let local = read("ip_local_port_range").unwrap_or_default();
    let mut words = local.split_ascii_whitespace().map(str::parse::<u16>);
    let local = match (words.next(), words.next()) {
        (Some(Ok(first)), Some(Ok(last))) if first <= last => (first, last),
        _ => (32_768, 60_999),
    };
    let reserved = ranges(&read("ip_local_reserved_ports").unwrap_or_default());
    (order(local, &reserved), local)
}

/// A list like `8080,9000-9010`.
fn ranges(text: &str) -> Vec<(u16, u16)> {
    let items = text.trim().split(',');
    let range = |item: &str| {
        let (a, b) = item.split_once('-').unwrap_or((item, item));
        Some((a.trim().parse().ok()?, b.trim().parse().ok()?))
    };
    items.filter_map(range).collect()
}

/// Echo identifiers that no ping socket of the host has.
pub fn echo_identifiers() -> Vec<u16> {
    let listed = std::fs::read_to_string("/proc/net/icmp").unwrap_or_default();
    let used = ping_sockets(&listed);
    ECHO.filter(|id| !used.contains(id)).collect()
}

/// The identifiers in `/proc/net/icmp`, whose second column is `ADDRESS:IDENTIFIER` in hexadecimal.
fn ping_sockets(listed: &str) -> Vec<u16> {
    let of = |line: &str| {
        let local = line.split_ascii_whitespace().nth(1)?;
        u16::from_str_radix(local.split_once(':')?.1, 16).ok()
    };
    listed.lines().skip(1).filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_range_comes_last_and_services_keep_theirs() {
        let all = order((32_768, 60_999), &[(61_000, 61_001), (30_000, 32_767)]);
        assert_eq!(all[..2], [61_002, 61_003]);
        let at = |port| all.iter().position(|p| *p == port);
        assert_eq!(at(65_535).unwrap() + 1, at(29_999).unwrap());
        assert_eq!(at(1_024).unwrap() + 1, at(60_999).unwrap());
        assert_eq!(all.last(), Some(&32_768));
        assert_eq!((at(1_023), at(61_000), at(30_000)), (None, None, None));
        // A range that leaves nothing outside.
        let all = order((1_000, 65_535), &[]);
        assert_eq!((all.len(), all[0]), (65_536 - 1_024, 65_535));
        assert_eq!(ranges("8080,9000-9010\n"), [(8080, 8080), (9000, 9010)]);
        assert_eq!(ranges("\n"), []);
    }

    #[test]
    fn identifiers_of_ping_sockets_are_read() {
        let listed = "  sl  local_address rem_address   st tx_queue\n \
                      1: 00000000:E001 00000000:0000 07 00000000:00000000\n";
        assert_eq!(ping_sockets(listed), [0xe001]);
        assert!(ping_sockets("").is_empty());
    }

    #[test]
    fn what_is_held_is_given_to_no_other_and_hears_nothing() {
        let ip = Ipv4Addr::LOCALHOST;
        let taken = std::net::TcpListener::bind((ip, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        // Another test may have one of the others by chance.
        let order: Vec<u16> = std::iter::once(port).chain(41_000..41_020).collect();
        let mut h = Holders::new(ip, (&order, (1, 2)));
        let block = h.grow(Proto::TCP, 4, usize::MAX / 4, false).unwrap();
        assert_eq!((block.new.len(), block.in_all), (4, 4));
        assert!(!block.new.contains(&port), "in use by another");
        assert!(
            block
                .new
                .iter()
                .all(|p| (block.span.0..=block.span.1).contains(p))
        );
        let held = block.new[0];
        let e = std::net::TcpListener::bind((ip, held)).unwrap_err();
        assert_eq!(e.kind(), std::io::ErrorKind::AddrInUse);
        let client = std::net::TcpStream::connect_timeout(
            &(ip, held).into(),
            std::time::Duration::from_millis(200),
        );
        let e = client.unwrap_err();
        assert_eq!(
            e.kind(),
            std::io::ErrorKind::TimedOut,
            "neither answered nor reset"
        );
        assert_eq!(h.grow(Proto::TCP, 4, 0, false), None, "no descriptor left");
        let bare = h.grow(Proto::TCP, 4, 0, true).unwrap();
        assert_eq!((bare.bare.len(), bare.in_all), (4, 8));
        assert_eq!(h.bare(Proto::TCP).collect::<Vec<_>>(), bare.bare);
        std::net::TcpListener::bind((ip, bare.bare[0])).expect("nothing has it");
        let all = h.grow(Proto::TCP, 100, usize::MAX / 4, false).unwrap();
        assert_eq!(all.in_all as usize, h.count(Proto::TCP));
        assert_eq!(
            h.grow(Proto::TCP, 1, usize::MAX / 4, true),
            None,
            "no port left"
        );
        assert_eq!(h.count(Proto::UDP), 0);
    }
}
