//! The states of a TCP connection as a tracker sees it.

use crate::flow::Record;
use std::sync::atomic::Ordering::Acquire;

/// State of a connection, stored in [`Record::state`]; 0 there means none. In the order in which
/// a connection goes through them, of which each step may be left out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum State {
    /// One SYN was seen.
    SynSent = 1,
    /// A SYN of each direction was seen (simultaneous open, RFC 9293 section 3.5).
    SynSent2,
    /// One direction acknowledged the other's SYN.
    SynRecv,
    /// Both did.
    Established,
    /// One direction sent a FIN.
    FinWait,
    /// It was acknowledged; the other direction may go on sending.
    CloseWait,
    /// Both directions sent a FIN.
    LastAck,
    /// Both FINs were acknowledged.
    TimeWait,
    /// A RST was seen. The record stays for the transitory time, and data revives it
    /// (RFC 7857 section 2.2).
    Close,
}

/// Which timeout a state has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeoutClass {
    /// The idle time of an open connection (RFC 5382 REQ-5: 7,440 s). A connection with one FIN
    /// is open: its other direction may be used for as long as it pleases.
    Established,
    /// The time of one that opens or closes: both FINs or a RST were seen (240 s).
    Transitory,
}

impl State {
    /// Every state, in order.
    pub const ALL: [State; 9] = [
        State::SynSent,
        State::SynSent2,
        State::SynRecv,
        State::Established,
        State::FinWait,
        State::CloseWait,
        State::LastAck,
        State::TimeWait,
        State::Close,
    ];

    /// The state of this number.
    pub fn from_u8(n: u8) -> Option<State> {
        State::ALL.get(usize::from(n).wrapping_sub(1)).copied()
    }

    /// The record's state; `None` when it is not a TCP connection's.
    pub fn of(r: &Record) -> Option<State> {
        State::from_u8(r.state.load(Acquire))
    }

    /// The name that `conntrack -L` prints.
    pub const fn name(self) -> &'static str {
        match self {
            State::SynSent => "SYN_SENT",
            State::SynSent2 => "SYN_SENT2",
            State::SynRecv => "SYN_RECV",
            State::Established => "ESTABLISHED",
            State::FinWait => "FIN_WAIT",
            State::CloseWait => "CLOSE_WAIT",
            State::LastAck => "LAST_ACK",
            State::TimeWait => "TIME_WAIT",
            State::Close => "CLOSE",
        }
    }

    /// Which timeout applies.
    pub const fn timeout_class(self) -> TimeoutClass {
        match self {
            State::Established | State::FinWait | State::CloseWait => TimeoutClass::Established,
            _ => TimeoutClass::Transitory,
        }
    }

    /// Whether the handshake is not finished.
    pub const fn half_open(self) -> bool {
        matches!(self, State::SynSent | State::SynSent2 | State::SynRecv)
    }
}
