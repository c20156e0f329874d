//! Attaching to namespaces that the tests make, and real traffic between them.

use super::*;
use crate::netlink::fake::Fake;
use crate::netns::tests::new_netns;
use dataplane::base::{Instant, PortId};
use dataplane::frame::Batch;
use dataplane::port::{RecvError, SendError};
use dataplane::worker::Lane;
use dataplane::worker::wait::{SPIN, Wait};
use std::io::{IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

fn spec(last: u8) -> Spec {
    let ip = Ipv4Addr::new(10, 0, 0, last);
    Spec {
        ifname: "eth0".into(),
        mac: Mac::from_ip(ip),
        ip,
        prefix: 24,
        mtu: 1500,
        gateway: Some(Ipv4Addr::new(10, 0, 0, 1)),
        ipv6: true,
        txqlen: TXQLEN,
        queues: 1,
        offload: Offload::Auto,
    }
}

/// Interfaces but `lo`.
fn others(ns: &Netns) -> Vec<String> {
    let links = Real::inside(ns).unwrap().links().unwrap();
    let names = links.into_iter().map(|l| l.name);
    names.filter(|n| n != "lo").collect()
}

/// A namespace that plays switchd's own, so that the test touches nothing of the machine's.
fn at(home: &Netns, spec: &Spec, target: &Netns) -> Result<Attached, AttachError> {
    home.run(|| attach(spec, target)).unwrap()
}

#[test]
fn an_interface_as_asked_for_and_gone_when_dropped() {
    let (Some(home), Some(ns)) = (new_netns(), new_netns()) else {
        return;
    };
    for offload in [Offload::Auto, Offload::Off] {
        let mut s = spec(2);
        s.queues = 3;
        s.offload = offload;
        let a = at(&home, &s, &ns).unwrap();
        assert_eq!((a.queues.len(), a.netns), (3, ns.id()));
        let l = &a.link;
        assert_eq!(
            (l.name.as_str(), l.mac, l.mtu, l.txqlen, l.up),
            ("eth0", s.mac, 1500, TXQLEN, true)
        );
        assert!(l.running, "a carrier: its queues are open");
        assert_eq!(l.qdisc, "noqueue", "one for each of 256 queues costs 50 MB");
        let mut nl = Real::inside(&ns).unwrap();
        let address = nl.addresses().unwrap()[0];
        assert_eq!((address.ip, address.prefix), (s.ip, 24));
        let default = Route::default_via(s.gateway.unwrap(), l.index);
        assert!(nl.routes().unwrap().contains(&default));
        assert_eq!(others(&home), Vec::<String>::new());
        drop(a);
        assert_eq!(others(&ns), Vec::<String>::new());
    }
}

#[test]
fn the_hosts_interface_in_switchds_own_namespace() {
    let Some(home) = new_netns() else { return };
    let mut s = spec(1);
    s.ifname = "sw0".into();
    s.gateway = None;
    s.ipv6 = false;
    let a = at(&home, &s, &home).unwrap();
    assert_eq!(others(&home), ["sw0"]);
    assert!(a.link.running && a.netns == home.id());
    let v6 = home.run(|| {
        let path = "/proc/sys/net/ipv6/conf/sw0/disable_ipv6";
        let flag = std::fs::read_to_string(path);
        let addresses = std::fs::read_to_string("/proc/thread-self/net/if_inet6");
        (flag, addresses)
    });
    if let (Ok(flag), Ok(addresses)) = v6.unwrap() {
        assert_eq!(flag.trim(), "1");
        assert!(!addresses.contains("sw0"), "{addresses}");
    }
    let mut nl = Real::inside(&home).unwrap();
    let other = |ip: [u8; 4], except| {
        let mut nl = Real::inside(&home).unwrap();
        overlapping_route(&mut nl, ip.into(), 16, except).unwrap()
    };
    assert!(other([10, 0, 0, 0], None).is_some());
    assert!(other([10, 0, 0, 0], Some(a.link.index)).is_none());
    assert!(other([10, 1, 0, 0], None).is_none());
    loopback_up(&mut nl).unwrap();
    assert!(nl.link("lo").unwrap().unwrap().up);
}

#[test]
fn refusals_leave_nothing_behind() {
    let (Some(home), Some(ns)) = (new_netns(), new_netns()) else {
        return;
    };
    let _first = at(&home, &spec(2), &ns).unwrap();
    let mut second = spec(3);
    let e = at(&home, &second, &ns).unwrap_err();
    assert!(matches!(e, AttachError::Exists { .. }), "{e}");
    second.ifname = "eth1".into();
    let e = at(&home, &second, &ns).unwrap_err();
    assert!(e.to_string().contains("(via 10.0.0.1)"), "{e}");
    second.gateway = None;
    for (what, change) in [
        ("MTU", (|s| s.mtu = 40) as fn(&mut Spec)),
        ("MAC", |s| s.mac = Mac::BROADCAST),
        ("10.0.0.3/33", |s| s.prefix = 33),
        ("10.9.0.1", |s| s.gateway = Some([10, 9, 0, 1].into())),
        ("15 bytes", |s| s.ifname = "sixteen-bytes-xx".into()),
        ("at most 256", |s| s.queues = 257),
    ] {
        let mut s = second.clone();
        change(&mut s);
        // A default route is refused before anything is made: this one has to fail late.
        let clean = new_netns().unwrap();
        let target = if s.gateway.is_some() { &clean } else { &ns };
        let e = at(&home, &s, target).unwrap_err();
        let text = e.to_string();
        assert!(
            text.contains(what) || text.contains("Invalid"),
            "{what}: {text}"
        );
        assert_eq!(others(&ns), ["eth0"], "{what}");
        assert_eq!(others(&clean), Vec::<String>::new(), "{what}");
        assert_eq!(others(&home), Vec::<String>::new(), "{what}");
    }
    at(&home, &second, &ns).unwrap();
}

#[test]
fn a_namespace_that_ends_takes_only_its_port() {
    let (Some(home), Some(ns), Some(stays)) = (new_netns(), new_netns(), new_netns()) else {
        return;
    };
    for offload in [Offload::Auto, Offload::Off] {
        let make = |ns: &Netns| {
            let mut s = spec(2);
            s.offload = offload;
            at(&home, &s, ns).unwrap()
        };
        let doomed = new_netns().unwrap();
        let (mut a, mut b) = (make(&doomed), make(&stays));
        let (mut wait, _waker) = Wait::new(Duration::ZERO).unwrap();
        let (pa, pb) = (PortId(0), PortId(1));
        wait.add_queue(pa, &*a.queues[0]).unwrap();
        wait.add_queue(pb, &*b.queues[0]).unwrap();
        // The last hold on it; the kernel ends it a moment later, in the background.
        drop(doomed);
        let mut batch = Batch::new(64);
        let started = std::time::Instant::now();
        let gone = loop {
            assert!(started.elapsed() < Duration::from_secs(10), "{offload}");
            let later = Instant::from_millis(100);
            wait.turn(Instant::ZERO, Some(later)).unwrap();
            let ready: Vec<Lane> = std::iter::from_fn(|| wait.next_ready()).collect();
            let read = ready.iter().filter(|l| l.port == pa).map(|l| {
                batch.clear();
                a.queues[0].recv_lane(l.lane, &mut batch, usize::MAX)
            });
            if let Err(e) = read.collect::<Result<Vec<bool>, _>>() {
                break e;
            }
        };
        assert!(matches!(gone, RecvError::Gone), "{gone}");
        let f = [0xff; 60];
        let send = |q: &mut Box<dyn PortQueue>| {
            q.send(&dataplane::frame::VnetHdr::PLAIN, &[IoSlice::new(&f)])
        };
        assert!(matches!(send(&mut a.queues[0]), Err(SendError::Gone)));
        send(&mut b.queues[0]).unwrap();
        wait.remove_queue(pa, &*a.queues[0]);
        wait.remove_queue(pb, &*b.queues[0]);
    }
    drop(ns);
}

/// A step that the kernel refuses is the error, and nothing is asked after it.
#[test]
fn configuration_stops_at_the_first_refusal() {
    let mut whole = Fake::default();
    let index = whole.create_link("eth0");
    configure(&mut whole, &spec(2), index).unwrap();
    assert_eq!(whole.log.len(), 5);
    assert!(whole.log[1].contains("no queue"), "before it goes up");
    assert!(whole.log[2].contains("10.0.0.2/24"), "before it goes up");
    assert!(whole.links[0].up);
    for n in 0..4 {
        let mut f = Fake {
            refuse: Some((n, libc::EINVAL)),
            ..Fake::default()
        };
        let index = f.create_link("eth0");
        let e = configure(&mut f, &spec(2), index).unwrap_err();
        assert_eq!(e.errno(), Some(libc::EINVAL));
        assert_eq!(f.log, whole.log[..=n]);
    }
}

/// Frames of one worker's queues, each to the other port. Counts superframes.
fn patch(mut queues: [Box<dyn PortQueue>; 2], stop: &AtomicBool, supers: &AtomicU64) {
    let (mut wait, _waker) = Wait::new(SPIN).unwrap();
    for (n, q) in queues.iter().enumerate() {
        wait.add_queue(PortId(n as u16), &**q).unwrap();
    }
    let start = std::time::Instant::now();
    let now = || Instant(start.elapsed().as_nanos() as u64);
    let mut batch = Batch::default();
    while !stop.load(Ordering::Relaxed) {
        wait.turn(now(), Some(now() + Duration::from_millis(20)))
            .unwrap();
        while let Some(lane) = wait.next_ready() {
            let from = lane.port.index();
            batch.clear();
            if queues[from]
                .recv_lane(lane.lane, &mut batch, 256 << 10)
                .unwrap()
            {
                wait.again(lane, batch.bytes());
            }
            for f in batch.frames() {
                if f.hdr.is_super() {
                    supers.fetch_add(1, Ordering::Relaxed);
                }
                match queues[1 - from].send(&f.hdr, &[IoSlice::new(f.bytes())]) {
                    Ok(()) | Err(SendError::Full) => {}
                    Err(e) => panic!("{e}"),
                }
            }
        }
    }
}

/// Bytes of a generator that both ends know.
fn stream(seed: u64) -> impl FnMut() -> u8 {
    let mut x = seed | 1;
    move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    }
}

fn tcp_arrives(a: &Netns, b: &Netns, server: Ipv4Addr, bytes: usize) {
    let listener = b
        .run(|| TcpListener::bind((server, 5000)).unwrap())
        .unwrap();
    let mut client = a
        .run(|| TcpStream::connect((server, 5000)).unwrap())
        .unwrap();
    let (mut served, _) = listener.accept().unwrap();
    let limit = Some(Duration::from_secs(20));
    client.set_write_timeout(limit).unwrap();
    served.set_read_timeout(limit).unwrap();
    let writer = std::thread::spawn(move || {
        let mut next = stream(7);
        let data: Vec<u8> = (0..bytes).map(|_| next()).collect();
        client.write_all(&data).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        client
    });
    let mut got = Vec::new();
    served.read_to_end(&mut got).unwrap();
    writer.join().unwrap();
    let mut next = stream(7);
    assert_eq!(got.len(), bytes);
    assert!(got.iter().all(|&g| g == next()), "a byte differs");
}

fn udp_echoes(a: &Netns, b: &Netns, server: Ipv4Addr) {
    let echo = b.run(|| UdpSocket::bind((server, 7)).unwrap()).unwrap();
    let ask = a.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    for s in [&echo, &ask] {
        s.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    }
    for size in [1, 64, 1472, 4000] {
        let payload = vec![size as u8; size];
        ask.send_to(&payload, (server, 7)).unwrap();
        let mut buf = vec![0; 8000];
        let (n, from) = echo.recv_from(&mut buf).unwrap();
        echo.send_to(&buf[..n], from).unwrap();
        let n = ask.recv(&mut buf).unwrap();
        assert_eq!(buf[..n], payload);
    }
}

#[test]
fn real_traffic_passes_whole() {
    let cases = [
        (Offload::Auto, 1),
        (Offload::Auto, 2),
        (Offload::Off, 2),
        (
            Offload::Only(tap::Offload {
                csum: true,
                ..tap::Offload::NONE
            }),
            1,
        ),
    ];
    for (offload, workers) in cases {
        let (Some(home), Some(a), Some(b)) = (new_netns(), new_netns(), new_netns()) else {
            return;
        };
        let make = |last, ns| {
            let mut s = spec(last);
            s.offload = offload;
            s.queues = workers;
            at(&home, &s, ns).unwrap()
        };
        let (left, right) = (make(2, &a), make(3, &b));
        let caps = left.caps;
        let (stop, supers) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for (l, r) in left.queues.into_iter().zip(right.queues) {
                scope.spawn(|| patch([l, r], &stop, &supers));
            }
            // Also stops the workers when an assertion fails.
            struct Stop<'a>(&'a AtomicBool);
            impl Drop for Stop<'_> {
                fn drop(&mut self) {
                    self.0.store(true, Ordering::Relaxed);
                }
            }
            let _stop = Stop(&stop);
            let server = Ipv4Addr::new(10, 0, 0, 3);
            udp_echoes(&a, &b, server);
            tcp_arrives(&a, &b, server, 8 << 20);
        });
        let supers = supers.into_inner();
        assert_eq!(supers > 0, caps.tso4, "{offload}: {supers} superframes");
        // 8 MiB are at least 129 superframes of 64 KiB, and 5,800 segments.
        assert!(supers < 5_000, "{offload}: {supers}");
    }
}
