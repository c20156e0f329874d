//! The tracker driven from both directions.

mod agreement;
mod closing;
mod endpoints;
mod handshake;
mod model;
mod options;
mod resets;
mod windows;

use super::*;
use bytemuck::Zeroable;
use tcp_flags::{ACK, FIN, PSH, RST, SYN};

const ORIG: Dir = Dir::Orig;
const REPLY: Dir = Dir::Reply;

/// A segment with the fields that most tests set; `len` bytes of payload.
fn seg(flags: u8, seq: u32, ack: u32, len: u32) -> Tcp {
    Tcp {
        seq,
        ack,
        window: 64_240,
        flags,
        header_len: 20,
        payload: len,
    }
}

fn win(t: Tcp, window: u16) -> Tcp {
    Tcp { window, ..t }
}

/// A TCP header with these options behind the fixed part.
fn header(options: &[u8]) -> Vec<u8> {
    let mut h = vec![0; 20];
    h.extend_from_slice(options);
    h.resize(h.len().next_multiple_of(4), 0);
    h[12] = (h.len() as u8 / 4) << 4;
    h
}

fn scale_option(scale: Option<u8>) -> Vec<u8> {
    match scale {
        Some(s) => header(&[3, 3, s, 1]),
        None => header(&[]),
    }
}

/// One connection under test.
struct Conn(Record);

impl Conn {
    fn blank() -> Conn {
        Conn(Zeroable::zeroed())
    }

    /// A record opened by a SYN at `seq`.
    fn syn(seq: u32, scale: Option<u8>) -> Conn {
        let c = Conn::blank();
        let options = syn_options(&scale_option(scale));
        assert_eq!(
            open(&c.0, &seg(SYN, seq, 0, 0), Some(options), false),
            Ok(State::SynSent)
        );
        c
    }

    /// After a handshake; the next byte is 1001 (original) and 5001 (reply).
    fn established() -> Conn {
        Conn::established_with(None, None)
    }

    fn established_with(orig: Option<u8>, reply: Option<u8>) -> Conn {
        let c = Conn::syn(1000, orig);
        c.becomes(
            c.put_syn(REPLY, seg(SYN | ACK, 5000, 1001, 0), reply),
            State::SynRecv,
        );
        c.becomes(c.put(ORIG, seg(ACK, 1001, 5001, 0)), State::Established);
        c
    }

    fn put(&self, dir: Dir, t: Tcp) -> Verdict {
        segment(&self.0, dir, &t, &header(&[]))
    }

    fn put_syn(&self, dir: Dir, t: Tcp, scale: Option<u8>) -> Verdict {
        segment(&self.0, dir, &t, &scale_option(scale))
    }

    fn state(&self) -> State {
        State::of(&self.0).expect("a state")
    }

    /// The segment passed and the state is now this one, by it.
    #[track_caller]
    fn becomes(&self, v: Verdict, state: State) {
        assert_eq!(v, Verdict::PassChanged(state));
        assert_eq!(self.state(), state);
    }

    /// The segment passes and changes nothing.
    #[track_caller]
    fn passes(&self, dir: Dir, t: Tcp) {
        let state = self.state();
        assert_eq!(self.put(dir, t), Verdict::Pass, "{t:?}");
        assert_eq!(self.state(), state);
    }

    /// The segment is lost and changes nothing.
    #[track_caller]
    fn loses(&self, dir: Dir, t: Tcp, reason: Reason) {
        let state = self.state();
        assert_eq!(self.put(dir, t), Verdict::Drop(reason), "{t:?}");
        assert_eq!(self.state(), state);
    }
}

#[test]
fn states_have_numbers_names_and_classes() {
    for (i, s) in State::ALL.into_iter().enumerate() {
        assert_eq!(s as usize, i + 1);
        assert_eq!(State::from_u8(s as u8), Some(s));
    }
    assert_eq!(State::from_u8(0), None);
    assert_eq!(State::from_u8(10), None);
    assert_eq!(State::SynRecv.name(), "SYN_RECV");
    assert!(State::SynRecv.half_open() && !State::Established.half_open());
    assert_eq!(
        State::CloseWait.timeout_class(),
        TimeoutClass::Established,
        "half-closed is open"
    );
    assert_eq!(State::LastAck.timeout_class(), TimeoutClass::Transitory);
}

#[test]
fn flag_combinations_that_no_stack_sends() {
    let c = Conn::established();
    let urg = tcp_flags::URG;
    for flags in [
        0,
        PSH,
        FIN,
        FIN | PSH | urg,
        SYN | FIN,
        SYN | RST,
        SYN | ACK | FIN,
        RST | FIN | ACK,
        SYN | RST | ACK,
        0xff,
    ] {
        c.loses(ORIG, seg(flags, 1001, 5001, 0), Reason::TcpMalformed);
        assert_eq!(
            open(&Conn::blank().0, &seg(flags, 1, 0, 0), None, true),
            Err(Reason::TcpMalformed)
        );
    }
}

#[test]
fn a_dead_record_takes_nothing() {
    let c = Conn::blank();
    for flags in [SYN, ACK, RST, SYN | ACK, FIN | ACK] {
        assert_eq!(
            c.put(ORIG, seg(flags, 1, 1, 0)),
            Verdict::Drop(Reason::TcpNoConnection)
        );
    }
}
