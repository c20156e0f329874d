//! A container's TCP ended and gone on in a socket of the host, in memory: by the splice of
//! `--uplink sockets`, and by a smoltcp TCP socket in its place. Both get the same bytes from the
//! same scripted container, 64,000 bytes at a time, and pass them through the same kind of host
//! socket; checksums are left out on both sides. The splice takes superframes at every MTU, smoltcp a frame
//! for each segment.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that cannot be set up ends"
)]

use control::uplink::sockets::splice::{New, Read, Splice, Todo};
use control::uplink::sockets::wire::{self, Link, Segment, TcpOut, flag};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::base::Mac;
use dataplane::base::bytes::{be16, be32};
use dataplane::port::stack_wire::Wire;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::tcp;
use smoltcp::time::Instant as Time;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};
use std::collections::VecDeque;
use std::io::{IoSlice, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// Bytes of each round.
const ROUND: usize = 64_000;
const NEAR: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 0, 2), 4_000);
const FAR: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 0, 1), 80);
const LINK: Link = Link {
    own: Mac([2, 0, 0, 0, 0, 1]),
    to: Mac([2, 0, 0, 0, 0, 2]),
};
const HEADERS: usize = wire::ETH + wire::IP + wire::TCP;
const SCALE: u8 = 8;

/// The host's socket and its peer, which swallows and gives.
struct Host {
    ours: UnixStream,
    peer: UnixStream,
    buffer: Vec<u8>,
}

impl Host {
    fn new() -> Host {
        let (ours, peer) = UnixStream::pair().expect("two sockets");
        ours.set_nonblocking(true).expect("a socket");
        peer.set_nonblocking(true).expect("a socket");
        Host {
            ours,
            peer,
            buffer: vec![7; ROUND],
        }
    }

    fn swallow(&mut self, mut bytes: usize) {
        while bytes > 0 {
            bytes -= self.peer.read(&mut self.buffer).expect("what was sent");
        }
    }

    fn give(&mut self) {
        self.peer.write_all(&self.buffer).expect("room");
    }
}

/// What the container says.
struct Container {
    seq: u32,
    ack: u32,
}

impl Container {
    fn segment(&self, flags: u8) -> Segment {
        Segment {
            sport: NEAR.port(),
            dport: FAR.port(),
            seq: self.seq,
            ack: self.ack,
            flags,
            window: u16::MAX,
            payload: HEADERS,
            mss: Some(1_460),
            scale: Some(SCALE),
        }
    }

    fn frame(&self, flags: u8, options: bool, payload: &[u8]) -> Vec<u8> {
        let out = TcpOut {
            from: NEAR,
            to: FAR,
            seq: self.seq,
            ack: self.ack,
            flags,
            window: u16::MAX,
            options: options.then_some((65_000, Some(SCALE))),
            mss: u16::MAX,
        };
        let mut frame = vec![0; out.headers()];
        out.write(&mut frame, LINK, payload.len());
        frame.extend(payload);
        frame
    }
}

/// Our splice, its connection open.
struct Ours {
    splice: Splice,
    host: Host,
    container: Container,
    room: Vec<u8>,
}

impl Ours {
    fn new() -> Ours {
        let host = Host::new();
        let mut container = Container { seq: 1_000, ack: 0 };
        let new = New {
            far: FAR,
            near: NEAR,
            fd: host.ours.try_clone().expect("a descriptor").into(),
            iss: 5_000,
            mss: 1_460,
        };
        let syn = container.segment(flag::SYN);
        let mut splice = Splice::asked(new, &syn, Instant::now());
        splice.connected(Instant::now(), &mut Todo::default());
        (container.seq, container.ack) = (1_001, 5_001);
        let mut ours = Ours {
            splice,
            host,
            container,
            room: vec![0; 1 << 17],
        };
        ours.say(0);
        ours
    }

    /// A segment of so many bytes from the container.
    fn say(&mut self, len: usize) {
        let data = vec![7; 0];
        let payload = self.room.get(..len).unwrap_or(&data);
        let s = self.container.segment(flag::ACK);
        let parts = [IoSlice::new(payload)];
        let mut todo = Todo::default();
        let now = Instant::now();
        self.splice
            .segment(&s, &parts, len, now, 1 << 26, &mut todo);
        assert!(todo.end.is_none() && todo.out.is_empty());
        self.container.seq = self.container.seq.wrapping_add(len as u32);
    }

    fn outwards(&mut self) {
        self.say(ROUND);
        self.host.swallow(ROUND);
        self.splice.ack();
    }

    fn inwards(&mut self) {
        self.host.give();
        let mut left = ROUND;
        while left > 0 {
            match self.splice.read(&mut self.room, HEADERS, Instant::now()) {
                Read::Data(out, n, _) => {
                    out.write(&mut self.room, LINK, n);
                    self.container.ack = out.seq.wrapping_add(n as u32);
                    left -= n;
                }
                other => panic!("{other:?}"),
            }
            self.say(0);
        }
    }
}

/// A smoltcp host in the splice's place.
struct Theirs {
    iface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    cable: Wire,
    host: Host,
    container: Container,
    payload: Vec<u8>,
}

impl Theirs {
    fn new(mtu: usize) -> Theirs {
        let mut cable = Wire {
            rx: VecDeque::new(),
            tx: Vec::new(),
            mtu: mtu + wire::ETH,
            checksums: ChecksumCapabilities::ignored(),
        };
        let mac = HardwareAddress::Ethernet(EthernetAddress(LINK.to.0));
        let mut iface = Interface::new(Config::new(mac), &mut cable, Time::ZERO);
        iface.update_ip_addrs(|all| {
            all.push(IpCidr::new((*FAR.ip()).into(), 29))
                .expect("room for an address");
        });
        let buffer = || tcp::SocketBuffer::new(vec![0; 1 << 20]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.listen(FAR.port()).expect("a listener");
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        let mut t = Theirs {
            iface,
            sockets,
            handle,
            cable,
            host: Host::new(),
            container: Container { seq: 1_000, ack: 0 },
            payload: vec![7; mtu - wire::IP - wire::TCP],
        };
        let syn = t.container.frame(flag::SYN, true, &[]);
        t.cable.rx.push_back(syn);
        t.container.seq = 1_001;
        // Its answer needs the container's MAC first.
        for _ in 0..4 {
            t.poll();
        }
        let ack = t.container.frame(flag::ACK, false, &[]);
        t.cable.rx.push_back(ack);
        t.poll();
        assert!(t.sockets.get::<tcp::Socket<'_>>(handle).may_send());
        t
    }

    /// Lets it take what came and say what it has to; the container hears that.
    fn poll(&mut self) -> usize {
        self.iface
            .poll(Time::from_millis(1_000), &mut self.cable, &mut self.sockets);
        let mut bytes = 0;
        for frame in std::mem::take(&mut self.cable.tx) {
            if be16(&frame, 12) == 0x0806 {
                let own = (LINK.own, *NEAR.ip());
                self.cable
                    .rx
                    .push_back(wire::arp(2, own, (LINK.to, *FAR.ip())));
                continue;
            }
            let l4 = wire::ETH + wire::IP;
            let header = usize::from(frame[l4 + 12] >> 4) * 4;
            let len = usize::from(be16(&frame, wire::ETH + 2)) - wire::IP - header;
            let syn = u32::from(frame[l4 + 13] & flag::SYN != 0);
            self.container.ack = be32(&frame, l4 + 4).wrapping_add(len as u32 + syn);
            bytes += len;
        }
        bytes
    }

    fn outwards(&mut self) {
        let mut left = ROUND;
        while left > 0 {
            let n = left.min(self.payload.len());
            let frame =
                self.container
                    .frame(flag::ACK, false, self.payload.get(..n).unwrap_or(&[]));
            self.cable.rx.push_back(frame);
            self.container.seq = self.container.seq.wrapping_add(n as u32);
            left -= n;
        }
        self.poll();
        let mut ours = &self.host.ours;
        let mut sent = 0;
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        while sent < ROUND {
            sent += socket
                .recv(|bytes| {
                    let n = ours.write(bytes).expect("room");
                    (n, n)
                })
                .expect("an open socket");
        }
        self.host.swallow(ROUND);
        self.poll();
    }

    fn inwards(&mut self) {
        self.host.give();
        let mut left = ROUND;
        let mut ours = &self.host.ours;
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        while left > 0 {
            left -= socket
                .send(|room| {
                    let n = ours.read(room).expect("what was given");
                    (n, n)
                })
                .expect("an open socket");
        }
        let mut heard = 0;
        while heard < ROUND {
            let n = self.poll();
            assert!(n > 0, "it says nothing after {heard} bytes");
            heard += n;
            let ack = self.container.frame(flag::ACK, false, &[]);
            self.cable.rx.push_back(ack);
        }
        self.poll();
    }
}

fn benches(c: &mut Criterion) {
    let mut g = c.benchmark_group("splice");
    g.throughput(Throughput::Bytes(ROUND as u64));
    let mut ours = Ours::new();
    g.bench_function("out/ours", |b| b.iter(|| ours.outwards()));
    g.bench_function("in/ours", |b| b.iter(|| ours.inwards()));
    for mtu in [1_500, 65_520] {
        let mut theirs = Theirs::new(mtu);
        g.bench_function(format!("out/smoltcp, MTU {mtu}"), |b| {
            b.iter(|| theirs.outwards())
        });
        g.bench_function(format!("in/smoltcp, MTU {mtu}"), |b| {
            b.iter(|| theirs.inwards())
        });
    }
    g.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
