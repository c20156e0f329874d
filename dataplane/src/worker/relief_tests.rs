use super::*;
use crossbeam_channel::{Receiver, unbounded};

const SECOND: bool = true;
const FIRST: bool = false;

fn lane(n: u8) -> Lane {
    Lane {
        port: PortId(7),
        lane: n,
    }
}

/// One of two workers, the time, and what it told the other.
struct Side {
    relief: Relief,
    now: Instant,
    told: Receiver<Command>,
    _poll: mio::Poll,
}

impl Side {
    fn new(second: bool) -> Side {
        let (commands, told) = unbounded();
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), mio::Token(0)).unwrap());
        Side {
            relief: Relief::beside(Peer { commands, waker }, second),
            now: Instant(1_000_000_000),
            told,
            _poll: poll,
        }
    }

    /// A period with this much bulk by lanes 0, 1, ..; a part of it spent waiting.
    fn period(&mut self, batches: &[u32], waited: Duration) -> Vec<u8> {
        for (n, count) in (0..).zip(batches) {
            (0..*count).for_each(|_| self.relief.served(lane(n), BULK));
        }
        self.relief.waited(waited);
        self.now = self.now + PERIOD;
        self.relief.due(self.now).iter().map(|l| l.lane).collect()
    }

    fn busy(&mut self, batches: &[u32]) -> Vec<u8> {
        self.period(batches, Duration::ZERO)
    }
}

#[test]
fn half_of_the_lanes_with_bulk_go_once_it_has_lasted() {
    let mut s = Side::new(FIRST);
    let four = [BATCHES; 4];
    // The first look ends whatever was before.
    assert_eq!(s.busy(&[]), []);
    assert_eq!(s.busy(&four), []);
    assert_eq!(s.busy(&four), []);
    assert_eq!(s.busy(&four), [0, 1]);
    // Two and two: enough.
    let rest = [0, 0, BATCHES, BATCHES];
    for _ in 0..5 {
        assert_eq!(s.busy(&rest), []);
    }
    // Four and two: one more.
    let more = [0, 0, BATCHES, BATCHES, BATCHES, BATCHES];
    assert_eq!([s.busy(&more), s.busy(&more)], [[], []]);
    assert_eq!(s.busy(&more), [2]);
}

#[test]
fn one_stream_small_frames_and_a_worker_with_time_to_spare_need_no_help() {
    let mut s = Side::new(FIRST);
    for _ in 0..10 {
        assert_eq!(s.busy(&[1000]), []);
    }
    for _ in 0..10 {
        assert_eq!(s.busy(&[BATCHES, BATCHES - 1]), []);
    }
    for _ in 0..10 {
        assert_eq!(s.period(&[100, 100], PERIOD / SPARE), []);
    }
    for _ in 0..10 {
        (0..1000).for_each(|n| s.relief.served(lane(n as u8 % 4), BULK - 1));
        assert_eq!(s.busy(&[]), []);
    }
    // A rest in between begins the count anew.
    assert_eq!(
        [s.busy(&[9, 9]), s.busy(&[9, 9]), s.busy(&[9])],
        [[], [], []]
    );
    assert_eq!([s.busy(&[9, 9]), s.busy(&[9, 9])], [[], []]);
    assert_eq!(s.busy(&[9, 9]), [0]);
}

#[test]
fn a_lane_goes_back_when_its_own_bulk_is_over() {
    let mut s = Side::new(SECOND);
    // After a long sleep nothing is held against what comes then.
    s.now = s.now + Duration::from_secs(5);
    s.relief.taken(lane(0), s.now);
    s.relief.taken(lane(1), s.now);
    for _ in 0..5 {
        assert_eq!(s.busy(&[BATCHES, BATCHES]), []);
    }
    assert_eq!([s.busy(&[9]), s.busy(&[9])], [[], []]);
    // A burst in time keeps it.
    assert_eq!(s.busy(&[9, 9]), []);
    assert_eq!([s.busy(&[9]), s.busy(&[9])], [[], []]);
    assert_eq!(s.busy(&[9]), [1]);
    // One frame after a silence says it at once.
    s.now = s.now + PERIOD * 3;
    assert_eq!(s.busy(&[1]), [0]);
    assert_eq!(s.busy(&[9, 9, 9, 9]), [], "it has nothing any more");
}

#[test]
fn what_came_back_and_ports_that_went_are_not_counted_as_given() {
    let three = [9, 9, 9];
    let mut s = Side::new(FIRST);
    s.busy(&[]);
    s.busy(&three);
    s.busy(&three);
    assert_eq!(s.busy(&three), [0]);
    s.relief.taken(lane(0), s.now);
    s.busy(&three);
    s.busy(&three);
    assert_eq!(s.busy(&three), [0], "as if it had never been away");
    s.relief.forget(PortId(7));
    s.busy(&three);
    s.busy(&three);
    assert_eq!(s.busy(&three), [0]);
}

#[test]
fn the_other_worker_is_told_and_woken() {
    let mut s = Side::new(FIRST);
    s.relief.give(lane(3));
    assert!(matches!(s.told.try_recv(), Ok(Command::Take(l)) if l == lane(3)));
    let mut events = mio::Events::with_capacity(1);
    s._poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    assert!(!events.is_empty());
    // On its own a worker gives nothing, whatever comes.
    s.relief = Relief::default();
    for _ in 0..5 {
        assert_eq!(s.busy(&[99, 99]), []);
    }
}
