use super::*;
use crate::frame::Batch;
use crate::port::fault::FaultConfig;
use crate::port::segment;

/// Two hosts on one cable.
struct Cable {
    now: Instant,
    hosts: [StackPort; 2],
    ends: [Box<dyn PortQueue>; 2],
    batch: Batch,
    superframes: usize,
}

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);

impl Cable {
    fn new(offload: bool, caps: [Caps; 2]) -> Cable {
        let make = |ip, caps| {
            let cfg = StackConfig {
                offload,
                buffer: 8_192,
                ..StackConfig::new(ip, 24, None)
            };
            let (host, mut ends) = StackPort::new(cfg, 1, caps, Instant::ZERO);
            (host, ends.remove(0))
        };
        let (a, qa) = make(A, caps[0]);
        let (b, qb) = make(B, caps[1]);
        Cable {
            now: Instant::ZERO,
            hosts: [a, b],
            ends: [qa, qb],
            batch: Batch::default(),
            superframes: 0,
        }
    }

    /// Moves frames until nothing moves, then time to the next event.
    fn step(&mut self) {
        loop {
            let mut moved = 0;
            for h in &mut self.hosts {
                moved += h.poll(self.now);
            }
            for (from, to) in [(0, 1), (1, 0)] {
                self.batch.clear();
                while self.ends[from].recv(&mut self.batch, usize::MAX).unwrap() {
                    self.cross(to);
                }
                self.cross(to);
            }
            if moved == 0 {
                break;
            }
        }
        let now = self.now;
        let wait = self
            .hosts
            .iter_mut()
            .filter_map(|h| h.poll_delay(now))
            .min();
        self.now = now
            + wait
                .unwrap_or(Duration::from_millis(10))
                .max(Duration::from_micros(1));
    }

    fn cross(&mut self, to: usize) {
        let end = self.ends[to].as_mut();
        let caps = end.caps();
        for f in self.batch.frames() {
            self.superframes += usize::from(f.hdr.is_super());
            segment::send(end, caps, f.bytes(), &f.hdr).unwrap();
        }
        self.batch.clear();
    }

    /// `n` connections, each sending `bytes` from A to B; returns what arrived, by A's port.
    fn transfer(&mut self, n: u16, bytes: usize) -> BTreeMap<u16, Vec<u8>> {
        self.hosts[1].listen(80, usize::from(n)).unwrap();
        let mut tx: Vec<(SocketHandle, Vec<u8>)> = (0..n)
            .map(|i| {
                let to = SocketAddrV4::new(B, 80);
                let h = self.hosts[0].connect(to, 10_000 + i).unwrap();
                (h, content(10_000 + i, bytes))
            })
            .collect();
        let mut rx: Vec<(SocketHandle, u16, Vec<u8>)> = Vec::new();
        let mut done = 0;
        while done < usize::from(n) {
            self.step();
            assert!(self.now < Instant::from_secs(600), "{done} of {n} done");
            for (h, left) in &mut tx {
                let sent = self.hosts[0].send(*h, left);
                left.drain(..sent);
                if left.is_empty() && self.hosts[0].tcp(*h).may_send() {
                    self.hosts[0].close(*h);
                }
            }
            while let Some(h) = self.hosts[1].accept(80) {
                let port = self.hosts[1].tcp(h).remote_endpoint().unwrap().port;
                rx.push((h, port, Vec::new()));
            }
            done = 0;
            for (h, _, got) in &mut rx {
                self.hosts[1].recv(*h, got);
                if !self.hosts[1].tcp(*h).may_recv() {
                    self.hosts[1].close(*h);
                    done += 1;
                }
            }
        }
        rx.into_iter().map(|(_, port, got)| (port, got)).collect()
    }
}

fn content(port: u16, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(u64::from(port));
    (0..len).map(|_| rng.next_u64() as u8).collect()
}

fn check(got: &BTreeMap<u16, Vec<u8>>, n: usize, bytes: usize) {
    assert_eq!(got.len(), n);
    for (port, data) in got {
        assert!(*data == content(*port, bytes), "bytes of {port} differ");
    }
}

#[test]
fn bytes_cross_a_good_wire() {
    for (offload, caps) in [
        (false, [Caps::NONE; 2]),
        (true, [Caps::ALL; 2]),
        (true, [Caps::ALL, Caps::NONE]),
    ] {
        let mut c = Cable::new(offload, caps);
        check(&c.transfer(3, 100_000), 3, 100_000);
        assert_eq!(c.superframes > 20, offload, "{}", c.superframes);
    }
}

#[test]
fn bytes_cross_a_bad_wire_the_same_way_twice() {
    let run = || {
        let mut c = Cable::new(true, [Caps::ALL; 2]);
        for (i, h) in c.hosts.iter_mut().enumerate() {
            let cfg = FaultConfig {
                seed: i as u64,
                loss: 200,
                duplicate: 200,
                reorder: 500,
                reorder_by: Duration::from_millis(3),
                corrupt: 200,
                delay: Duration::from_millis(1),
            };
            let other = FaultConfig {
                seed: 10 + i as u64,
                ..cfg
            };
            h.set_faults(Some(Fault::new(cfg)), Some(Fault::new(other)));
        }
        check(&c.transfer(5, 30_000), 5, 30_000);
        let counts: Vec<_> = c
            .hosts
            .iter()
            .flat_map(|h| {
                [
                    h.faults().0.unwrap().counts(),
                    h.faults().1.unwrap().counts(),
                ]
            })
            .collect();
        assert!(counts.iter().all(|c| c.lost > 0), "{counts:?}");
        assert!(counts.iter().map(|c| c.corrupted).sum::<u64>() > 0);
        (c.now, counts)
    };
    assert_eq!(run(), run());
}

#[test]
fn many_connections() {
    let mut c = Cable::new(false, [Caps::NONE; 2]);
    check(&c.transfer(500, 100), 500, 100);
}

#[test]
fn datagrams_come_back() {
    let mut c = Cable::new(true, [Caps::ALL; 2]);
    let a = c.hosts[0].bind_udp(1000, 16).unwrap();
    let b = c.hosts[1].bind_udp(53, 16).unwrap();
    for i in 0..5u8 {
        assert!(c.hosts[0].send_to(a, &[i; 100], SocketAddrV4::new(B, 53)));
    }
    let mut echoed = 0;
    for _ in 0..20 {
        c.step();
        while let Some((data, from)) = c.hosts[1].recv_from(b) {
            assert_eq!(from, SocketAddrV4::new(A, 1000));
            c.hosts[1].send_to(b, &data, from);
        }
        while let Some((data, _)) = c.hosts[0].recv_from(a) {
            assert_eq!(data, [echoed; 100]);
            echoed += 1;
        }
    }
    assert_eq!(echoed, 5);
}

#[test]
fn wrong_ports_are_typed_errors() {
    let mut c = Cable::new(false, [Caps::NONE; 2]);
    assert!(matches!(
        c.hosts[0].listen(0, 1),
        Err(StackError::Listen(_))
    ));
    assert!(matches!(
        c.hosts[0].bind_udp(0, 1),
        Err(StackError::Bind(_))
    ));
    let to = SocketAddrV4::new(B, 0);
    assert!(matches!(
        c.hosts[0].connect(to, 5),
        Err(StackError::Connect(_))
    ));
}
