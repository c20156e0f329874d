//! A worker and the second one for sustained bulk, in threads of their own: lanes go from one to the
//! other and back while frames come, and no frame is lost, doubled or overtaken.

use dataplane::base::{Config, Instant, Role};
use dataplane::frame::{Batch, VnetHdr};
use dataplane::port::{Caps, PortQueue, RecvError, SendError};
use dataplane::slow::PortSpec;
use dataplane::worker::{Pace, Runtime};
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use switchd_tests::memory::packet::eth;
use switchd_tests::memory::{APP, WEB, mac};

const LANES: u8 = 4;
/// Those with bulk: so few that each has enough of it however slow the machine is.
const BUSY: u8 = 2;
/// A local experimental EtherType (IEEE 802): bridged, and looked at no further.
const ETHER_TYPE: u16 = 0x88b5;
const BULK: usize = 40_000;
const SMALL: usize = 60;
/// What writing a frame of bulk takes: so long that the worker, not the sender, is the limit.
const COPY: Duration = Duration::from_micros(200);
/// Long enough for a machine whose cores others want.
const PATIENCE: Duration = Duration::from_secs(120);

/// A port whose lanes are sockets; it notes what is written to it.
struct Wire {
    lanes: Arc<[UnixDatagram]>,
    written: Arc<Mutex<Vec<(u8, u32)>>>,
}

impl PortQueue for Wire {
    fn caps(&self) -> Caps {
        Caps::NONE
    }

    fn lanes(&self) -> u8 {
        self.lanes.len() as u8
    }

    fn lane_fd(&self, lane: u8) -> Option<RawFd> {
        self.lanes.get(usize::from(lane)).map(AsRawFd::as_raw_fd)
    }

    fn poll_fd(&self) -> Option<RawFd> {
        self.lane_fd(0)
    }

    fn recv(&mut self, batch: &mut Batch, budget: usize) -> Result<bool, RecvError> {
        self.recv_lane(0, batch, budget)
    }

    fn recv_lane(&mut self, lane: u8, batch: &mut Batch, budget: usize) -> Result<bool, RecvError> {
        while batch.bytes() <= budget {
            let Some(frame) = batch.next_slot() else {
                return Ok(true);
            };
            match self.lanes[usize::from(lane)].recv(frame.rx_room(0)) {
                Ok(n) => frame.set_received(n, VnetHdr::PLAIN),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e.into()),
            }
            batch.commit();
        }
        Ok(true)
    }

    fn share(&self) -> Option<Box<dyn PortQueue>> {
        Some(Box::new(Wire {
            lanes: Arc::clone(&self.lanes),
            written: Arc::clone(&self.written),
        }))
    }

    fn send(&mut self, _: &VnetHdr, parts: &[IoSlice<'_>]) -> Result<(), SendError> {
        let length: usize = parts.iter().map(|p| p.len()).sum();
        let head: Vec<u8> = parts
            .iter()
            .flat_map(|p| p.iter().take(19))
            .copied()
            .collect();
        let seq = head[15..19].try_into().unwrap();
        let mut written = self.written.lock().unwrap();
        written.push((head[14], u32::from_be_bytes(seq)));
        drop(written);
        if length > SMALL * 2 {
            let began = std::time::Instant::now();
            while began.elapsed() < COPY {}
        }
        Ok(())
    }
}

/// The far ends of a port's lanes, and what was written to the port.
struct Far {
    lanes: Vec<UnixDatagram>,
    written: Arc<Mutex<Vec<(u8, u32)>>>,
}

fn wire(lanes: u8) -> (Vec<Box<dyn PortQueue>>, Far) {
    let (near, far): (Vec<_>, Vec<_>) = (0..lanes).map(|_| UnixDatagram::pair().unwrap()).unzip();
    near.iter().for_each(|s| s.set_nonblocking(true).unwrap());
    // A lane that nobody reads any more is a failure, not a test without an end.
    far.iter()
        .for_each(|s| s.set_write_timeout(Some(PATIENCE)).unwrap());
    let written = Arc::default();
    let queue = Wire {
        lanes: near.into(),
        written: Arc::clone(&written),
    };
    (
        vec![Box::new(queue)],
        Far {
            lanes: far,
            written,
        },
    )
}

fn spec(name: &str, ip: Ipv4Addr) -> PortSpec {
    PortSpec {
        name: name.to_owned(),
        role: Role::Access,
        mac: mac(ip),
        ip: Some(ip),
        mtu: u16::MAX - 14,
    }
}

fn runtime(bulk_worker: bool) -> Runtime {
    let mut cfg = Config::new(Ipv4Addr::new(10, 0, 0, 0), 24, Ipv4Addr::new(10, 0, 0, 1));
    cfg.mtu = u16::MAX - 14;
    let origin = std::time::Instant::now();
    let clock = Arc::new(move || Instant(1 + origin.elapsed().as_nanos() as u64));
    let pace = Pace {
        bulk_worker,
        ..Pace::default()
    };
    Runtime::start(cfg, 1, &pace, clock).unwrap()
}

/// Sends numbered frames by lanes.
struct Sender<'a> {
    far: &'a Far,
    next: [u32; LANES as usize],
    /// The longest frame, made once: the sender has to be faster than the workers.
    frame: Vec<u8>,
}

impl Sender<'_> {
    fn by(far: &Far) -> Sender<'_> {
        let next = [0; LANES as usize];
        let frame = eth(mac(APP), mac(WEB), ETHER_TYPE, &[0; BULK - 14]);
        Sender { far, next, frame }
    }

    /// One frame by each of so many lanes; waits where a lane is full.
    fn send(&mut self, lanes: u8, length: usize) {
        for lane in 0..lanes {
            let next = &mut self.next[usize::from(lane)];
            self.frame[14] = lane;
            self.frame[15..19].copy_from_slice(&next.to_be_bytes());
            self.far.lanes[usize::from(lane)]
                .send(&self.frame[..length])
                .unwrap();
            *next += 1;
        }
    }

    /// Bulk until the second worker has a lane.
    fn bulk_until_it_helps(&mut self, sw: &Runtime) {
        let before = by_the_second(sw);
        until(
            "the second worker gets a lane",
            || by_the_second(sw) > before + 100,
            || self.send(BUSY, BULK),
        );
    }
}

/// One test at a time: whether a worker is pressed is a matter of who else wants the cores.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Frames that the second worker has read.
fn by_the_second(sw: &Runtime) -> u64 {
    sw.totals().1[1].rx
}

/// A runtime with the ports `web`, whose lanes are to be written to, and `app`.
fn joined(bulk_worker: bool) -> (Runtime, Far, Far) {
    let sw = runtime(bulk_worker);
    let (web, from) = wire(LANES);
    let (app, to) = wire(1);
    sw.add_port(spec("web", WEB), web).unwrap();
    sw.add_port(spec("app", APP), app).unwrap();
    (sw, from, to)
}

/// Does `step` until `done`; fails when that takes too long.
fn until(what: &str, mut done: impl FnMut() -> bool, mut step: impl FnMut()) {
    let began = std::time::Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        step();
    }
}

#[test]
fn lanes_change_hands_under_bulk_and_no_frame_is_overtaken() {
    let _alone = alone();
    let (sw, from, to) = joined(true);
    assert_eq!((sw.workers(), sw.queues()), (2, 1));
    let mut s = Sender::by(&from);
    for round in 0..3 {
        s.bulk_until_it_helps(&sw);
        // Small frames by lanes whose bulk is over: after the first ones the second worker reads none.
        let back = Cell::new(false);
        until(
            &format!("round {round}: the lanes go back"),
            || back.get(),
            || {
                let before = by_the_second(&sw);
                for _ in 0..50 {
                    s.send(LANES, SMALL);
                    std::thread::sleep(Duration::from_millis(1));
                }
                back.set(by_the_second(&sw) == before);
            },
        );
    }
    let sent: u32 = s.next.iter().sum();
    let written = || to.written.lock().unwrap().len() as u32;
    until(
        "all frames arrive",
        || written() >= sent,
        || {
            std::thread::sleep(Duration::from_millis(1));
        },
    );
    let mut expected = [0; LANES as usize];
    for (lane, seq) in to.written.lock().unwrap().iter() {
        let next = &mut expected[usize::from(*lane)];
        assert_eq!(seq, next, "lane {lane}");
        *next += 1;
    }
    assert_eq!(expected, s.next);
    let (total, each) = sw.totals();
    assert_eq!((total.rx, total.drops.iter().sum()), (u64::from(sent), 0));
    assert_eq!(each.iter().map(|w| w.rx).sum::<u64>(), total.rx);
}

#[test]
fn a_port_that_goes_while_the_other_worker_has_its_lanes_leaves_nothing_behind() {
    let _alone = alone();
    let sw = runtime(true);
    let (app, to) = wire(1);
    sw.add_port(spec("app", APP), app).unwrap();
    // The same number is given again: what the second worker had of the old one must not matter.
    for round in 0..3 {
        let (web, from) = wire(LANES);
        let id = sw.add_port(spec("web", WEB), web).unwrap();
        let mut s = Sender::by(&from);
        s.bulk_until_it_helps(&sw);
        assert!(sw.remove_port(id));
        let closed = from.lanes[0].send(&[0; 60]).unwrap_err();
        assert_eq!(
            closed.kind(),
            io::ErrorKind::ConnectionRefused,
            "round {round}"
        );
        to.written.lock().unwrap().clear();
    }
    // Every lane of a new one is heard.
    let (web, from) = wire(LANES);
    sw.add_port(spec("web", WEB), web).unwrap();
    let mut s = Sender::by(&from);
    s.send(LANES, SMALL);
    until(
        "a frame by each lane",
        || to.written.lock().unwrap().len() >= LANES.into(),
        || std::thread::sleep(Duration::from_millis(1)),
    );
}

#[test]
fn without_it_there_is_one_worker_whatever_comes() {
    let _alone = alone();
    let (sw, from, to) = joined(false);
    assert_eq!((sw.workers(), sw.queues()), (1, 1));
    let mut s = Sender::by(&from);
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_millis(200) {
        s.send(BUSY, BULK);
    }
    let sent: u32 = s.next.iter().sum();
    until(
        "all frames arrive",
        || to.written.lock().unwrap().len() as u32 >= sent,
        || std::thread::sleep(Duration::from_millis(1)),
    );
}

#[test]
fn a_port_of_one_end_is_refused_where_two_are_needed() {
    let _alone = alone();
    struct One;
    impl PortQueue for One {
        fn caps(&self) -> Caps {
            Caps::NONE
        }
        fn recv(&mut self, _: &mut Batch, _: usize) -> Result<bool, RecvError> {
            Ok(false)
        }
        fn send(&mut self, _: &VnetHdr, _: &[IoSlice<'_>]) -> Result<(), SendError> {
            Ok(())
        }
        fn poll_fd(&self) -> Option<RawFd> {
            None
        }
    }
    let sw = runtime(true);
    let refused = sw
        .add_port(spec("web", WEB), vec![Box::new(One)])
        .unwrap_err();
    assert!(refused.to_string().contains("share"), "{refused}");
    assert!(sw.ports().is_empty());
    let sw = runtime(false);
    sw.add_port(spec("web", WEB), vec![Box::new(One)]).unwrap();
}
