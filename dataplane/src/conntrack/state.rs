//! The state byte of a record: TCP's states by their own numbers, one number for each other kind.

use super::tcp::{State, TimeoutClass};
use crate::base::Timeouts;
use std::time::Duration;

/// A UDP flow.
pub const UDP: u8 = 0x40;
/// An ICMP echo exchange.
pub const ICMP: u8 = 0x41;
/// A protocol of which only addresses are known.
pub const OTHER: u8 = 0x42;

/// Idle time after which a record in this state is forgotten.
pub fn timeout(state: u8, t: &Timeouts) -> Duration {
    match state {
        0 => Duration::ZERO,
        UDP | OTHER => t.udp,
        ICMP => t.icmp,
        s => match State::from_u8(s) {
            Some(s) if s.timeout_class() == TimeoutClass::Established => t.tcp_established,
            Some(s) if s.half_open() => t.tcp_transitory,
            _ => t.tcp_closing,
        },
    }
}

/// Whether the connection counts as half-open.
pub fn is_half_open(state: u8) -> bool {
    State::from_u8(state).is_some_and(State::half_open)
}

/// Whether a TCP connection is open: established, or half closed.
pub fn is_established(state: u8) -> bool {
    State::from_u8(state).is_some_and(|s| s.timeout_class() == TimeoutClass::Established)
}

/// Whether a TCP connection is over: both sides said so, or one reset it.
pub fn is_closed(state: u8) -> bool {
    State::from_u8(state).is_some_and(|s| matches!(s, State::TimeWait | State::Close))
}

/// conntrack's name of a TCP state, empty for other protocols.
pub fn name(state: u8) -> &'static str {
    State::from_u8(state).map_or("", State::name)
}
