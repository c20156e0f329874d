use super::*;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

const A: PortId = PortId(3);
const B: PortId = PortId(9);

fn at(us: u64) -> Instant {
    Instant(us * 1000)
}

fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    (a, b)
}

/// The ports that a round serves.
fn round(w: &mut Wait) -> Vec<PortId> {
    std::iter::from_fn(|| w.next_ready())
        .map(|lane| lane.port)
        .collect()
}

#[test]
fn an_edge_comes_once_and_again_keeps_the_port() {
    let (mut w, _waker) = Wait::new(Duration::ZERO).unwrap();
    let (a, mut a2) = pair();
    let (b, mut b2) = pair();
    w.add(A, a.as_raw_fd()).unwrap();
    w.add(B, b.as_raw_fd()).unwrap();
    w.turn(at(0), Some(at(0))).unwrap();
    assert_eq!(round(&mut w), [A, B], "ready when added");
    let t = w.turn(at(0), Some(at(0))).unwrap();
    assert_eq!((round(&mut w), t.woken), (vec![], false));

    a2.write_all(b"x").unwrap();
    b2.write_all(b"y").unwrap();
    w.turn(at(0), None).unwrap();
    let mut first = round(&mut w);
    first.sort();
    assert_eq!(first, [A, B]);
    w.again(B, 0);
    w.again(B, 0);
    w.turn(at(0), None).unwrap();
    assert_eq!(round(&mut w), [B], "once, and A's edge is spent");
}

#[test]
fn a_round_ends_even_if_a_port_always_has_more() {
    let (mut w, _waker) = Wait::new(Duration::ZERO).unwrap();
    w.mark(A);
    w.mark(B);
    w.turn(at(0), None).unwrap();
    let mut seen = Vec::new();
    while let Some(lane) = w.next_ready() {
        seen.push(lane.port);
        w.again(lane, 0);
    }
    assert_eq!(seen, [A, B]);
}

/// What is new comes first, and one lane with a backlog a round; each of those has its turn.
#[test]
fn the_ready_lanes_of_a_port_are_served_together() {
    let (mut w, _waker) = Wait::new(Duration::ZERO).unwrap();
    let of = |port, lane| Lane { port, lane };
    let all = [of(A, 3), of(B, 0), of(A, 1), of(B, 7)];
    all.iter().for_each(|l| w.mark(*l));
    w.turn(at(0), None).unwrap();
    assert_eq!(w.next_ready(), Some(of(A, 3)));
    // One that became ready since is of the next round.
    w.mark(of(A, 2));
    assert_eq!(w.next_ready_of(A), Some(of(A, 1)));
    assert_eq!(w.next_ready_of(A), None);
    assert_eq!(w.next_ready(), Some(of(B, 0)));
    assert_eq!(w.next_ready_of(B), Some(of(B, 7)));
    assert_eq!((w.next_ready(), w.next_ready_of(B)), (None, None));
    w.mark(of(A, 1));
    w.turn(at(0), None).unwrap();
    let next: Vec<Lane> = std::iter::from_fn(|| w.next_ready()).collect();
    assert_eq!(next, [of(A, 2), of(A, 1)]);
}

#[test]
fn sparse_lanes_do_not_wait_for_bulk() {
    sparse_beside_bulk(0, STAY / ROUND + 1);
    // Four superframes a batch: a turn has as many bytes.
    sparse_beside_bulk(4 * ROUND, STAY / ROUND / 4 + 1);
}

/// Two lanes with a backlog, of which each read takes this much, have so many rounds a turn, with a
/// third lane before them whenever it has something.
fn sparse_beside_bulk(bytes: usize, turn: usize) {
    let (mut w, _waker) = Wait::new(Duration::ZERO).unwrap();
    let bulk = [0, 1].map(|lane| Lane { port: A, lane });
    let sparse = Lane { port: A, lane: 7 };
    w.mark(bulk[0]);
    w.mark(bulk[1]);
    let mut next = |fresh: bool| {
        if fresh {
            w.mark(sparse);
        }
        w.turn(at(0), None).unwrap();
        let seen: Vec<Lane> = std::iter::from_fn(|| w.next_ready()).collect();
        for lane in seen.iter().filter(|l| bulk.contains(l)) {
            w.again(*lane, bytes);
        }
        seen
    };
    assert_eq!(next(false), bulk);
    let mut turns = [0, 0];
    for n in 0..10 * turn {
        let seen = next(n % 3 == 0);
        let (first, rest) = seen.split_first().unwrap();
        let lane = match n % 3 {
            0 => {
                assert_eq!((*first, rest.len()), (sparse, 1));
                rest[0]
            }
            _ => {
                assert!(rest.is_empty());
                *first
            }
        };
        turns[usize::from(lane.lane)] += 1;
    }
    assert_eq!(turns, [5 * turn; 2]);
    // A lane that is gone leaves the backlog too.
    w.remove(bulk[0], -1);
    w.remove(bulk[1], -1);
    w.mark(sparse);
    assert_eq!(round(&mut w), []);
    w.turn(at(0), None).unwrap();
    assert_eq!(
        std::iter::from_fn(|| w.next_ready()).collect::<Vec<_>>(),
        [sparse]
    );
}

#[test]
fn hang_up_is_ready_once_and_removal_forgets() {
    let (mut w, _waker) = Wait::new(Duration::ZERO).unwrap();
    let (mut a, a2) = pair();
    w.add(A, a.as_raw_fd()).unwrap();
    w.turn(at(0), None).unwrap();
    assert_eq!(round(&mut w), [A]);
    drop(a2);
    w.turn(at(0), None).unwrap();
    assert_eq!(round(&mut w), [A]);
    assert_eq!(a.read(&mut [0; 4]).unwrap(), 0);
    w.turn(at(0), Some(at(0))).unwrap();
    assert_eq!(round(&mut w), [], "no busy loop on a dead port");
    w.mark(B);
    w.mark(A);
    w.failed(A, at(0));
    w.remove(A, a.as_raw_fd());
    w.turn(at(20_000), None).unwrap();
    assert_eq!(round(&mut w), [B]);
}

#[test]
fn removal_inside_a_round_skips_only_that_port() {
    let (mut w, _waker) = Wait::new(Duration::ZERO).unwrap();
    for n in 0..4 {
        w.mark(PortId(n));
    }
    w.turn(at(0), None).unwrap();
    assert_eq!(w.next_ready(), Some(PortId(0).into()));
    w.again(PortId(0), 0);
    w.remove(PortId(2), -1);
    assert_eq!(round(&mut w), [PortId(1), PortId(3)]);
    w.turn(at(0), None).unwrap();
    assert_eq!(round(&mut w), [PortId(0)]);
}

#[test]
fn a_failing_port_is_set_aside() {
    let (mut w, _waker) = Wait::new(Duration::ZERO).unwrap();
    w.failed(A, at(0));
    w.failed(A, at(0));
    w.turn(at(0), Some(at(0))).unwrap();
    assert_eq!(round(&mut w), []);
    let begun = std::time::Instant::now();
    let t = w.turn(at(0), None).unwrap();
    assert!(t.slept && begun.elapsed() >= SET_ASIDE, "sleeps until then");
    w.turn(at(10_000), None).unwrap();
    assert_eq!(round(&mut w), [A]);
}

#[test]
fn the_waker_ends_a_block() {
    let (mut w, waker) = Wait::new(Duration::ZERO).unwrap();
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        waker.wake().unwrap();
        waker
    });
    let t = w.turn(at(0), None).unwrap();
    assert_eq!(
        t,
        Turn {
            woken: true,
            slept: true
        }
    );
    drop(other.join().unwrap());
    assert!(!w.turn(at(0), Some(at(0))).unwrap().woken);
}

/// The next lane's port.
fn next(w: &mut Wait) -> Option<PortId> {
    w.next_ready().map(|lane| lane.port)
}

/// A wait in the midst of an exchange by two ports, B's frame being the last.
fn exchanging() -> Wait {
    let (mut w, _waker) = Wait::new(Duration::from_micros(50)).unwrap();
    for n in 0..4 {
        assert!(!w.in_exchange());
        assert_eq!(next(&mut w), None, "too early");
        w.found([A, B][n % 2].into(), 1);
    }
    assert!(w.in_exchange());
    w
}

#[test]
fn the_other_lane_of_an_exchange_is_read_without_an_event() {
    let mut w = exchanging();
    for n in 0..3 {
        // Twice before events are looked at, if each read finds a frame.
        assert_eq!(next(&mut w), Some(A));
        w.found(A.into(), 1);
        assert_eq!(next(&mut w), Some(B));
        w.found(B.into(), 1);
        assert_eq!(next(&mut w), None);
        assert!(!w.turn(at(n), None).unwrap().slept);
    }
    assert_eq!(next(&mut w), Some(A));
    assert_eq!(next(&mut w), None, "that read found nothing");
    // One that is on the list leaves it when it is guessed.
    w.mark(B);
    w.mark(A);
    w.turn(at(4), None).unwrap();
    assert_eq!(round(&mut w), [B, A, A]);
    w.mark(B);
    w.mark(A);
    w.exchange.ready(0);
    assert_eq!(round(&mut w), [A]);
    w.turn(at(5), None).unwrap();
    assert_eq!(next(&mut w), Some(B));
}

#[test]
fn nothing_is_guessed_beside_a_backlog_or_without_a_spin() {
    let mut w = exchanging();
    w.again(B, 0);
    assert_eq!(next(&mut w), None);
    w.turn(at(3), None).unwrap();
    assert_eq!(next(&mut w), Some(B));
    w.again(B, 0);
    assert_eq!(next(&mut w), None);

    let (mut w, _waker) = Wait::new(Duration::ZERO).unwrap();
    for n in 0..4 {
        w.found(A.into(), 1);
        w.found(B.into(), 1);
        w.turn(at(n), Some(at(n))).unwrap();
        assert_eq!((round(&mut w), w.in_exchange()), (vec![], false));
    }
}

/// Both ends of two lanes that are held, in an exchange whose next frame is A's.
struct Held {
    w: Wait,
    here: [OwnedFd; 2],
    there: [UnixStream; 2],
}

impl Held {
    fn new() -> Held {
        let (mut w, _waker) = Wait::new(Duration::from_micros(50)).unwrap();
        let ((a, a2), (b, b2)) = (pair(), pair());
        let here = [a, b].map(OwnedFd::from);
        w.add(A, here[0].as_raw_fd()).unwrap();
        w.add(B, here[1].as_raw_fd()).unwrap();
        w.turn(at(0), None).unwrap();
        assert_eq!(round(&mut w), [A, B]);
        let mut frames = 0;
        let lanes = loop {
            if let Some(lanes) = w.settled() {
                break lanes;
            }
            w.found([A, B][frames % 2].into(), 1);
            frames += 1;
        };
        assert!((64..=70).contains(&frames), "{frames}");
        assert_eq!(lanes, [B, A].map(Lane::from), "the latest first");
        w.hold([
            (lanes[0], here[1].as_raw_fd()),
            (lanes[1], here[0].as_raw_fd()),
        ]);
        assert_eq!(w.settled(), None, "once");
        Held {
            w,
            here,
            there: [a2, b2],
        }
    }

    /// Sends a byte to a lane, so that it can be read.
    fn send(&mut self, n: usize) {
        self.there[n].write_all(b"x").unwrap();
    }

    /// Whether a round finds a byte by a lane. All that it offers is read.
    fn finds(&mut self, n: usize) -> bool {
        let lanes = round(&mut self.w);
        let lane = [A, B][n];
        lanes.contains(&lane) && rustix::io::read(&self.here[n], &mut [0; 4]).is_ok()
    }
}

#[test]
fn held_lanes_are_read_and_nobody_tells_of_them() {
    let mut h = Held::new();
    for n in 0..20 {
        // The expected one every round.
        h.send(0);
        h.w.turn(at(1), None).unwrap();
        assert!(h.finds(0));
        h.w.found(A.into(), 1);
        assert_eq!(next(&mut h.w), Some(B), "its answer at once");
        h.w.found(B.into(), 1);
        assert_eq!(next(&mut h.w), None, "round {n}");
    }
    // The other one of an exchange, every eighth round.
    h.send(1);
    let found = (0..8).filter(|_| {
        h.w.turn(at(2), None).unwrap();
        h.finds(1)
    });
    assert_eq!(found.count(), 1);
    // Of both there was no event.
    h.w.held.forget(A.into());
    h.w.held.forget(B.into());
    h.send(0);
    h.w.turn(at(60), Some(at(60))).unwrap();
    assert!(!h.w.ready.contains(&A.into()));
}

#[test]
fn held_lanes_are_watched_again_before_a_block_and_when_the_exchange_is_over() {
    // What is there already is told of, so that nothing is slept over.
    let mut h = Held::new();
    assert!(!h.w.turn(at(0), None).unwrap().slept && !h.finds(1));
    h.send(1);
    let begun = std::time::Instant::now();
    let turn = h.w.turn(at(1_000), None).unwrap();
    assert!(turn.slept && begun.elapsed() < Duration::from_secs(20));
    assert!(h.w.held.is_empty() && h.finds(1));

    // A frame by another lane ends it; a burst does.
    for (lane, frames) in [(PortId(5), 1), (A, 2)] {
        let mut h = Held::new();
        h.w.found(lane.into(), frames);
        h.w.turn(at(0), None).unwrap();
        assert!(h.w.held.is_empty());
        h.send(0);
        h.w.turn(at(1), None).unwrap();
        assert!(h.finds(0), "told of once more");
    }
}

#[test]
fn one_of_two_held_lanes_may_go() {
    let mut h = Held::new();
    h.w.remove(A, h.here[0].as_raw_fd());
    h.send(1);
    h.w.turn(at(0), None).unwrap();
    assert!(h.w.held.is_empty());
    assert!(h.finds(1));
    assert_eq!(round(&mut h.w), []);
}

/// The lanes' descriptors can't be watched any more: epoll takes no regular files.
#[test]
fn what_cannot_be_watched_again_is_read_now_and_then() {
    let mut h = Held::new();
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    for fd in &mut h.here {
        rustix::io::dup2(&file, fd).unwrap();
    }
    assert!(!h.w.turn(at(0), None).unwrap().slept);
    round(&mut h.w);
    let begun = std::time::Instant::now();
    assert!(h.w.turn(at(1_000), None).unwrap().slept);
    assert!(begun.elapsed() >= SET_ASIDE);
    let mut lanes = round(&mut h.w);
    lanes.sort();
    lanes.dedup();
    assert_eq!(lanes, [A, B]);
}
