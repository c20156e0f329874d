use super::*;
use crate::uplink::sockets::wire::MAX_PACKET;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;

const NEAR: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 0, 2), 4_000);
const FAR: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 80);
const ISS: u32 = 0xffff_ff00;
/// The container's first sequence number.
const IRS: u32 = 0xffff_fff0;
const ROOM: usize = 1 << 26;

thread_local! {
    /// Whether a copy is kept of what was read, as before Linux 6.9.
    static COPIES: Cell<bool> = const { Cell::new(false) };
}

/// A connection with its peer on the host, and the time.
struct Pair {
    s: Splice,
    peer: UnixStream,
    now: Instant,
}

fn segment(seq: u32, ack: u32, flags: u8, window: u16) -> Segment {
    Segment {
        sport: NEAR.port(),
        dport: FAR.port(),
        seq,
        ack,
        flags,
        window,
        ..Segment::default()
    }
}

fn new(fd: UnixStream) -> New {
    fd.set_nonblocking(true).unwrap();
    New {
        far: FAR,
        near: NEAR,
        fd: fd.into(),
        iss: ISS,
        mss: 1_460,
    }
}

impl Pair {
    /// A container's connection, established, whose window is `window` << 2.
    fn open(window: u16) -> Pair {
        let (ours, peer) = UnixStream::pair().unwrap();
        peer.set_nonblocking(true).unwrap();
        let now = Instant::now();
        let syn = Segment {
            mss: Some(1_000),
            scale: Some(2),
            ..segment(IRS, 0, flag::SYN, 5_000)
        };
        let mut s = Splice::asked(new(ours), &syn, now);
        assert!(matches!(s.kept, Kept::There { .. }), "Linux 6.9 or later");
        if COPIES.get() {
            s.kept = Kept::Here(VecDeque::new());
        }
        let mut todo = Todo::default();
        s.connected(now, &mut todo);
        let syn_ack = todo.out[0].0;
        assert_eq!((syn_ack.seq, syn_ack.ack), (ISS, IRS.wrapping_add(1)));
        assert_eq!(syn_ack.flags, flag::SYN | flag::ACK);
        assert_eq!(syn_ack.options, Some((1_000, Some(SCALE))));
        let mut pair = Pair { s, peer, now };
        let todo = pair.give(1, ISS.wrapping_add(1), flag::ACK, window, b"");
        assert!(todo.read && todo.end.is_none());
        pair
    }

    /// A segment of the container: `seq` counts from its SYN.
    fn give(&mut self, seq: u32, ack: u32, flags: u8, window: u16, data: &[u8]) -> Todo {
        let mut todo = Todo::default();
        let s = segment(IRS.wrapping_add(seq), ack, flags, window);
        let parts = [IoSlice::new(data)];
        self.s
            .segment(&s, &parts, data.len(), self.now, ROOM, &mut todo);
        todo
    }

    fn data(&mut self, seq: u32, data: &[u8]) -> Todo {
        self.give(seq, self.s.nxt, flag::ACK, 10_000, data)
    }

    fn read(&mut self) -> (Read, Vec<u8>) {
        let mut room = vec![0; MAX_PACKET];
        let read = self.s.read(&mut room, 54, self.now);
        let n = match read {
            Read::Data(_, n, _) => n,
            _ => 0,
        };
        (read, room[54..54 + n].to_vec())
    }

    fn heard(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = self.peer.read_to_end(&mut all);
        all
    }

    fn later(&mut self, by: Duration) -> Todo {
        self.now += by;
        let mut todo = Todo::default();
        self.s.timeout(self.now, &mut todo);
        todo
    }
}

#[test]
fn bytes_pass_both_ways_and_are_acknowledged() {
    let mut p = Pair::open(10_000);
    let todo = p.data(1, b"hello");
    assert!(todo.ack && todo.out.is_empty());
    assert_eq!(p.s.ack().ack, IRS.wrapping_add(6));
    assert_eq!(p.heard(), b"hello");
    p.peer.write_all(b"answer").unwrap();
    let (read, bytes) = p.read();
    let Read::Data(out, 6, false) = read else {
        panic!("{read:?}");
    };
    assert_eq!(
        (out.seq, bytes.as_slice()),
        (ISS.wrapping_add(1), &b"answer"[..])
    );
    assert_eq!(p.read().0, Read::Empty);
    assert_eq!(p.s.kept.len(), 6);
    p.give(6, ISS.wrapping_add(7), flag::ACK, 10_000, b"");
    assert_eq!((p.s.kept.len(), p.s.due), (0, None));
}

#[test]
fn what_was_taken_is_not_taken_twice_and_gaps_are_told() {
    let mut p = Pair::open(10_000);
    p.data(1, b"abc");
    let todo = p.data(1, b"abcde");
    assert!(todo.ack);
    assert_eq!(p.heard(), b"abcde");
    let todo = p.data(9, b"xyz");
    assert_eq!(todo.out.len(), 1, "an ACK of its own for each gap");
    assert_eq!(todo.out[0].0.ack, IRS.wrapping_add(6));
    assert!(p.heard().is_empty());
}

#[test]
fn a_slow_host_closes_the_window_and_loses_nothing() {
    let mut p = Pair::open(10_000);
    let chunk = vec![7; 60_000];
    let (mut sent, mut told) = (0u32, WINDOW);
    while told > 0 {
        let n = told.min(60_000) as usize;
        let todo = p.data(1 + sent, &chunk[..n]);
        assert!(todo.end.is_none());
        sent += n as u32;
        let ack = p.s.ack();
        assert_eq!(ack.ack, IRS.wrapping_add(1 + sent), "taken");
        told = p.s.edge.wrapping_sub(p.s.rcv);
        assert_eq!(u32::from(ack.window), told >> SCALE);
    }
    assert_eq!(p.s.waiting(), WINDOW as usize);
    // A probe of the closed window is answered, and its byte not taken.
    assert!(p.data(1 + sent, b"x").ack);
    assert_eq!(p.s.rcv, IRS.wrapping_add(1 + sent));
    let mut heard = 0;
    while p.s.waiting() > 0 {
        heard += p.heard().len();
        let mut todo = Todo::default();
        p.s.writable(&mut todo);
        assert!(todo.end.is_none());
    }
    heard += p.heard().len();
    assert_eq!(heard, sent as usize);
    assert_eq!(p.s.ack().window, (WINDOW >> SCALE) as u16);
}

#[test]
fn no_room_for_all_means_that_the_rest_comes_again() {
    let mut p = Pair::open(10_000);
    let chunk = vec![7; 60_000];
    let mut seq = 1;
    while p.s.waiting() == 0 {
        p.data(seq, &chunk);
        seq += 60_000;
    }
    let (before, rcv) = (p.s.waiting(), p.s.rcv);
    let s = segment(rcv, p.s.nxt, flag::ACK, 100);
    let mut todo = Todo::default();
    p.s.segment(&s, &[IoSlice::new(&chunk)], 60_000, p.now, 10, &mut todo);
    assert_eq!(
        (p.s.waiting(), p.s.rcv),
        (before + 10, rcv.wrapping_add(10))
    );
}

#[test]
fn the_containers_window_is_kept() {
    let mut p = Pair::open(500);
    p.peer.write_all(&[1; 9_000]).unwrap();
    let (read, _) = p.read();
    // Whole segments of 1000 bytes fit in 2000.
    assert!(matches!(read, Read::Data(_, 2_000, true)), "{read:?}");
    assert_eq!(p.read().0, Read::Blocked);
    let todo = p.give(1, ISS.wrapping_add(2_001), flag::ACK, 0, b"");
    assert!(!todo.read);
    assert_eq!(p.read().0, Read::Blocked);
    // The window is asked for.
    let todo = p.later(RTO);
    assert_eq!(todo.out[0].0.seq, ISS.wrapping_add(2_000));
    assert!(todo.out[0].1.is_empty());
    let todo = p.give(1, ISS.wrapping_add(2_001), flag::ACK, 500, b"");
    assert!(todo.read);
    assert!(matches!(p.read().0, Read::Data(_, 2_000, true)));
}

#[test]
fn lost_bytes_come_again_after_duplicates_or_in_time() {
    let mut p = Pair::open(10_000);
    p.peer.write_all(&[1; 3_000]).unwrap();
    assert!(matches!(p.read().0, Read::Data(_, 3_000, _)));
    let ack = ISS.wrapping_add(1);
    let again = |todo: &Todo| {
        todo.out
            .iter()
            .any(|(o, b)| o.seq == ack && b.len() == 3_000)
    };
    for n in 1..=3 {
        let todo = p.give(1, ack, flag::ACK, 10_000, b"");
        assert_eq!(again(&todo), n == 3, "duplicate {n}");
    }
    assert!(again(&p.later(RTO)));
    assert!(p.later(RTO).out.is_empty(), "twice as long");
    assert!(again(&p.later(RTO)));
    // One that never answers is given up, with a RST.
    let mut todo = Todo::default();
    for _ in 0..TRIES {
        todo = p.later(LONGEST_RTO);
    }
    assert_eq!(todo.end, Some(End::Silent));
    assert_eq!(todo.out[0].0.flags & flag::RST, flag::RST);
}

#[test]
fn each_direction_closes_by_itself() {
    let mut p = Pair::open(10_000);
    let todo = p.give(1, p.s.nxt, flag::ACK | flag::FIN, 10_000, b"last");
    assert!(todo.ack && todo.end.is_none());
    assert_eq!(p.s.ack().ack, IRS.wrapping_add(6));
    assert_eq!(p.heard(), b"last");
    assert_eq!(p.peer.read(&mut [0]).unwrap(), 0, "the host saw the end");
    p.peer.write_all(b"still").unwrap();
    assert_eq!(p.read().1, b"still");
    p.peer.shutdown(std::net::Shutdown::Write).unwrap();
    let (read, _) = p.read();
    assert!(matches!(read, Read::Fin(out) if out.seq == ISS.wrapping_add(6)));
    let todo = p.give(6, ISS.wrapping_add(7), flag::ACK, 10_000, b"");
    assert_eq!(todo.end, Some(End::Closed));
}

#[test]
fn a_fin_waits_for_the_bytes_before_it() {
    let mut p = Pair::open(10_000);
    let mut seq = 1;
    while p.s.waiting() == 0 {
        p.data(seq, &[7; 60_000]);
        seq += 60_000;
    }
    p.give(seq, p.s.nxt, flag::ACK | flag::FIN, 10_000, b"");
    let mut heard = 0;
    while p.s.waiting() > 0 {
        heard += p.heard().len();
        p.s.writable(&mut Todo::default());
    }
    heard += p.heard().len();
    assert_eq!(heard, (seq - 1) as usize);
    assert_eq!(p.peer.read(&mut [0]).unwrap(), 0);
}

#[test]
fn only_an_exact_reset_ends_it() {
    let mut p = Pair::open(10_000);
    let todo = p.give(2, p.s.nxt, flag::RST, 0, b"");
    assert!(todo.end.is_none() && todo.ack);
    let todo = p.give(1, p.s.nxt, flag::RST, 0, b"");
    assert_eq!(todo.end, Some(End::ByContainer));
}

#[test]
fn a_host_that_is_gone_resets_the_container() {
    let mut p = Pair::open(10_000);
    drop(std::mem::replace(
        &mut p.peer,
        UnixStream::pair().unwrap().0,
    ));
    let todo = p.data(1, b"x");
    assert!(matches!(todo.end, Some(End::ByHost(Errno::PIPE))));
    assert_eq!(todo.out[0].0.flags, flag::RST | flag::ACK);
}

#[test]
fn a_client_of_the_host_calls_the_container() {
    let (ours, mut peer) = UnixStream::pair().unwrap();
    let now = Instant::now();
    let mut todo = Todo::default();
    let mut s = Splice::calling(new(ours), now, &mut todo);
    let syn = todo.out[0].0;
    assert_eq!((syn.seq, syn.flags, syn.ack), (ISS, flag::SYN, 0));
    assert_eq!(syn.options, Some((1_460, Some(SCALE))));
    // It was lost.
    let mut todo = Todo::default();
    s.timeout(now + RTO, &mut todo);
    assert_eq!(todo.out[0].0.flags, flag::SYN);
    // An old connection's ACK is told to go away, and changes nothing.
    let mut todo = Todo::default();
    s.segment(&segment(5, 99, flag::ACK, 10), &[], 0, now, ROOM, &mut todo);
    assert_eq!((todo.out[0].0.flags, todo.out[0].0.seq), (flag::RST, 99));
    let answer = Segment {
        mss: Some(500),
        ..segment(IRS, ISS.wrapping_add(1), flag::SYN | flag::ACK, 4_000)
    };
    let mut todo = Todo::default();
    s.segment(&answer, &[], 0, now, ROOM, &mut todo);
    assert!(todo.ack && todo.read && s.phase == Phase::Open);
    // Without a scale of its own there is none of ours.
    assert_eq!(s.ack().window, u16::MAX);
    peer.write_all(&[1; 5_000]).unwrap();
    let mut room = vec![0; MAX_PACKET];
    assert!(matches!(s.read(&mut room, 54, now), Read::Data(out, 4_000, true) if out.mss == 500));
}

#[test]
fn a_refusal_of_the_container_refuses_the_client() {
    let (ours, _peer) = UnixStream::pair().unwrap();
    let now = Instant::now();
    let mut s = Splice::calling(new(ours), now, &mut Todo::default());
    let mut todo = Todo::default();
    let rst = segment(0, ISS.wrapping_add(1), flag::RST | flag::ACK, 0);
    s.segment(&rst, &[], 0, now, ROOM, &mut todo);
    assert_eq!(todo.end, Some(End::ByContainer));
}

#[test]
fn a_syn_that_waits_ends_with_its_sender() {
    let (ours, _peer) = UnixStream::pair().unwrap();
    let now = Instant::now();
    let syn = segment(IRS, 0, flag::SYN, 5_000);
    let mut s = Splice::asked(new(ours), &syn, now);
    let mut todo = Todo::default();
    s.segment(&syn, &[], 0, now, ROOM, &mut todo);
    assert!(
        todo.out.is_empty() && todo.end.is_none(),
        "it goes on waiting"
    );
    assert_eq!(s.refusal().ack, IRS.wrapping_add(1));
    s.segment(
        &segment(IRS.wrapping_add(1), 0, flag::RST, 0),
        &[],
        0,
        now,
        ROOM,
        &mut todo,
    );
    assert_eq!(todo.end, Some(End::ByContainer));
}

#[test]
fn with_copies_kept_it_is_the_same() {
    COPIES.set(true);
    bytes_pass_both_ways_and_are_acknowledged();
    the_containers_window_is_kept();
    lost_bytes_come_again_after_duplicates_or_in_time();
    each_direction_closes_by_itself();
    a_fin_waits_for_the_bytes_before_it();
    a_host_that_is_gone_resets_the_container();
    let mut p = Pair::open(10_000);
    p.peer.write_all(&[7; 3_000]).unwrap();
    p.read();
    assert_eq!((p.s.kept.memory(), p.s.kept.len()), (3_000, 3_000));
    p.give(1, ISS.wrapping_add(2_001), flag::ACK, 10_000, b"");
    assert_eq!((p.s.kept.memory(), p.s.kept.len()), (1_000, 1_000));
}
