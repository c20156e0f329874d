//! The TCP tracker: states and windows of a connection from the segments of both directions.
//!
//! Read first: RFC 9293 section 3.10.7, RFC 5382 section 5, RFC 5961 sections 3 to 5, RFC 7857
//! section 2. What passes and what does not follows Linux's tracker where that is known to serve
//! real stacks; the differences are said where they are.
//!
//! A segment that belongs to a known connection goes through [`segment`]. Its first lines are the
//! whole cost of an established one: one comparison of flags, the four conditions of `window` and
//! at most three plain stores. All else is behind it, a function per kind of segment. States only
//! change by compare-and-swap, and what they change to is computed from flags that each direction
//! set before (`progress`): so of two workers that race, the one that loses recomputes with the
//! winner's flags in sight.

mod options;
mod state;
mod window;

pub use options::{SynOptions, syn_options};
pub use state::{State, TimeoutClass};

use crate::base::Reason;
use crate::flow::{Dir, Record};
use crate::frame::parse::{Tcp, tcp_flags};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use window::{RstPlace, at_most, bits, has};

/// What is to become of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It passes.
    Pass,
    /// It passes and the connection is now in this state: its timer may be another one.
    PassChanged(State),
    /// It is lost under this reason.
    Drop(Reason),
    /// A SYN that begins a new connection with the tuple of one that has ended: the record is to
    /// be removed and the frame to be treated as the first of a connection.
    Reopen,
}

/// The combinations of SYN, FIN, RST and ACK that a segment can have; the other flags say nothing
/// about the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Syn,
    SynAck,
    Ack,
    FinAck,
    Rst,
}

impl Kind {
    fn of(flags: u8) -> Option<Kind> {
        use tcp_flags::{ACK, FIN, RST, SYN};
        const SYN_ACK: u8 = SYN | ACK;
        const FIN_ACK: u8 = FIN | ACK;
        const RST_ACK: u8 = RST | ACK;
        match flags & (SYN | FIN | RST | ACK) {
            SYN => Some(Kind::Syn),
            SYN_ACK => Some(Kind::SynAck),
            ACK => Some(Kind::Ack),
            FIN_ACK => Some(Kind::FinAck),
            RST | RST_ACK => Some(Kind::Rst),
            _ => None,
        }
    }
}

/// The first segment of a connection: fills in the TCP part of a record that nobody else can see
/// yet. `syn` are the options of a SYN. With `pickup` an ACK is taken as the middle of a
/// connection that was there before the switch: its windows are taken to be as large as can be.
///
/// # Errors
/// [`Reason::TcpNoConnection`] for a segment that opens nothing, [`Reason::TcpMalformed`] for one
/// that no stack sends.
pub fn open(r: &Record, t: &Tcp, syn: Option<SynOptions>, pickup: bool) -> Result<State, Reason> {
    let (orig, reply) = (r.tcp(Dir::Orig), r.tcp(Dir::Reply));
    let state = match Kind::of(t.flags) {
        Some(Kind::Syn) => {
            window::begin(orig, t, syn.unwrap_or_default());
            reply.flags.store(0, Release);
            State::SynSent
        }
        Some(Kind::Ack) if pickup => {
            window::pick_up(orig, reply, t);
            State::Established
        }
        Some(_) => return Err(Reason::TcpNoConnection),
        None => return Err(Reason::TcpMalformed),
    };
    r.state.store(state as u8, Release);
    Ok(state)
}

/// Any later segment. `header` begins at the TCP header; it is read for a SYN only.
#[inline]
pub fn segment(r: &Record, dir: Dir, t: &Tcp, header: &[u8]) -> Verdict {
    if steady(r, dir, t) {
        return Verdict::Pass;
    }
    other_segment(r, dir, t, header)
}

/// Whether it is the steady case: [`segment`] says that it passes, and nothing changed but its
/// numbers.
#[inline(always)]
pub fn steady(r: &Record, dir: Dir, t: &Tcp) -> bool {
    use tcp_flags::{ACK, FIN, RST, SYN};
    t.flags & (SYN | FIN | RST | ACK) == ACK
        && r.state.load(Acquire) == State::Established as u8
        && window::fits(r.tcp(dir), r.tcp(dir.other()), t)
}

#[cold]
#[inline(never)]
fn other_segment(r: &Record, dir: Dir, t: &Tcp, header: &[u8]) -> Verdict {
    let Some(state) = State::of(r) else {
        return Verdict::Drop(Reason::TcpNoConnection);
    };
    match Kind::of(t.flags) {
        Some(Kind::Syn) => syn(r, state, dir, t, header),
        Some(Kind::SynAck) => syn_ack(r, state, dir, t, header),
        Some(Kind::Ack | Kind::FinAck) => ack(r, state, dir, t),
        Some(Kind::Rst) => rst(r, state, dir, t),
        None => Verdict::Drop(Reason::TcpMalformed),
    }
}

/// A SYN. On an open connection it passes and changes nothing, so that its receiver can challenge
/// it (RFC 5961 section 4); but it is remembered, because the receiver may have forgotten the
/// connection and answer with a SYN-ACK.
fn syn(r: &Record, state: State, dir: Dir, t: &Tcp, header: &[u8]) -> Verdict {
    let (own, other) = (r.tcp(dir), r.tcp(dir.other()));
    let known = has(own, bits::SEEN);
    // Until both FINs are acknowledged, what was lost before them may come again.
    let ended = state > State::LastAck;
    let again = ended && has(own, bits::SYN_AGAIN);
    if known && !again && t.seq.wrapping_add(1) == window::syn_of(own) {
        // Retransmitted. Some stacks insist when they were refused.
        if state == State::Close && !has(own, bits::ACKED) {
            return Verdict::Reopen;
        }
        // One with Fast Open data may come again without, and the reverse.
        if state.half_open() {
            window::extend(own, t);
        }
        return Verdict::Pass;
    }
    match state {
        State::SynSent | State::SynSent2 if !known || !has(other, bits::SEEN) => {
            // The other side's first, or a new attempt of the only side that was heard.
            window::begin_beside(own, other, t, syn_options(header));
            forward(r, state)
        }
        State::SynSent | State::SynSent2 => Verdict::Drop(Reason::TcpInvalidState),
        State::SynRecv if !has(other, bits::ACKED) => Verdict::Drop(Reason::TcpInvalidState),
        _ if ended && (!known || at_most(window::end(own), t.seq)) => {
            if dir == Dir::Orig || !has(other, bits::SYN_AGAIN) {
                return Verdict::Reopen;
            }
            // It crosses one of the initiator's: simultaneous open (RFC 9293 section 3.5).
            window::begin_again(r, other);
            window::begin_beside(own, other, t, syn_options(header));
            change(r, state, |_| Some(State::SynSent2))
        }
        _ => {
            window::remember_syn(r, own, t, syn_options(header));
            Verdict::Pass
        }
    }
}

fn syn_ack(r: &Record, state: State, dir: Dir, t: &Tcp, header: &[u8]) -> Verdict {
    let (own, other) = (r.tcp(dir), r.tcp(dir.other()));
    if !has(other, bits::SEEN) {
        return Verdict::Drop(Reason::TcpInvalidState);
    }
    let known = has(own, bits::SEEN);
    let retransmitted = known && t.seq.wrapping_add(1) == window::syn_of(own);
    match state {
        State::SynSent | State::SynSent2 if known && !retransmitted => {
            Verdict::Drop(Reason::TcpInvalidState)
        }
        // The answer to the SYN; or a server that forgot its first one and answers anew.
        State::SynSent | State::SynSent2 | State::SynRecv
            if !has(other, bits::ACKED) && !retransmitted =>
        {
            if dir == Dir::Orig || !window::acks_syn(other, t.ack) {
                return Verdict::Drop(Reason::TcpInvalidState);
            }
            window::begin_beside(own, other, t, syn_options(header));
            forward(r, state)
        }
        // Simultaneous open: the SYN again, now with an acknowledgement.
        State::SynSent2 | State::SynRecv if retransmitted && !has(own, bits::ACKED) => {
            if !window::acks_syn(other, t.ack) {
                return Verdict::Drop(Reason::TcpInvalidState);
            }
            window::acknowledge(own, t);
            forward(r, state)
        }
        _ if retransmitted && at_most(t.ack, window::end(other)) => {
            if state.half_open() {
                window::extend(own, t);
            }
            Verdict::Pass
        }
        _ if window::acks_syn_again(r, other, t.ack) => {
            // The receiver knows nothing of the old connection: this is a new one.
            window::begin_again(r, other);
            window::begin_beside(own, other, t, syn_options(header));
            change(r, state, |_| Some(State::SynRecv))
        }
        _ => Verdict::Drop(Reason::TcpInvalidState),
    }
}

/// An ACK, with or without data and FIN, that is not the steady case.
fn ack(r: &Record, state: State, dir: Dir, t: &Tcp) -> Verdict {
    let (own, other) = (r.tcp(dir), r.tcp(dir.other()));
    let fin = t.flags & tcp_flags::FIN != 0;
    if !has(own, bits::SEEN) {
        // A host that still knows an older connection of this tuple answers the SYN with an ACK,
        // to be told so by a RST (RFC 9293 section 3.5.1).
        return if state == State::SynSent && !fin {
            Verdict::Pass
        } else {
            Verdict::Drop(Reason::TcpInvalidState)
        };
    }
    if !has(other, bits::SEEN) {
        return Verdict::Drop(Reason::TcpInvalidState);
    }
    let first = !has(own, bits::ACKED);
    if first && !window::acks_syn(other, t.ack) || !window::fits_with_grace(own, other, t) {
        return Verdict::Drop(Reason::TcpOutOfWindow);
    }
    if first {
        window::set(own, bits::ACKED);
    }
    // A FIN is the last that its direction sends; one below the highest end is no FIN of ours.
    if fin && window::end_of(t) == window::end(own) {
        window::set(own, bits::FIN);
    }
    match state {
        State::Close if t.payload == 0 || fin => Verdict::Pass,
        State::Close => change(r, state, |now| {
            let alive = progress(r);
            (now == State::Close && (State::Established..State::LastAck).contains(&alive))
                .then_some(alive)
        }),
        _ => forward(r, state),
    }
}

/// A RST. It ends an open connection only from the exact place: whoever can't see the connection
/// must not be able to end it (RFC 5961 section 3). One that is inside the window passes without
/// effect: the receiver will challenge it, and the answer to that is exact.
fn rst(r: &Record, state: State, dir: Dir, t: &Tcp) -> Verdict {
    let (own, other) = (r.tcp(dir), r.tcp(dir.other()));
    let acks = t.flags & tcp_flags::ACK != 0;
    let place = window::place_of_rst(own, other, t);
    let close = || change(r, state, |_| Some(State::Close));
    let refuses_new_syn = acks && window::acks_syn_again(r, other, t.ack);
    match state {
        // Behind its SYN its sender gives up, and the other side may then open with this tuple. Any
        // other may answer an ACK about an older connection (RFC 9293 section 3.5.1).
        State::SynSent if dir == Dir::Orig && place == RstPlace::Exact => close(),
        State::SynSent if dir == Dir::Orig => Verdict::Pass,
        State::SynSent if acks && window::acks_syn(other, t.ack) => close(),
        State::SynSent2 | State::SynRecv
            if place == RstPlace::Exact
                || acks && !has(other, bits::ACKED) && window::acks_syn(other, t.ack) =>
        {
            close()
        }
        State::Established | State::FinWait | State::CloseWait
            if place == RstPlace::Exact || refuses_new_syn =>
        {
            close()
        }
        State::Established if place == RstPlace::Inside => Verdict::Pass,
        // Closing: the side that is gone may have answered any segment, and there is less to lose.
        State::FinWait | State::CloseWait if place == RstPlace::Inside => close(),
        State::LastAck | State::TimeWait if place != RstPlace::Outside => close(),
        State::LastAck | State::TimeWait | State::Close => Verdict::Pass,
        _ if refuses_new_syn => close(),
        _ => Verdict::Drop(Reason::TcpRstInexact),
    }
}

/// The state that the flags and numbers of both directions amount to.
fn progress(r: &Record) -> State {
    let (a, b) = (r.tcp(Dir::Orig), r.tcp(Dir::Reply));
    let both = |bit| has(a, bit) && has(b, bit);
    let either = |bit| has(a, bit) || has(b, bit);
    if !both(bits::ACKED) {
        return if either(bits::ACKED) {
            State::SynRecv
        } else if both(bits::SEEN) {
            State::SynSent2
        } else {
            State::SynSent
        };
    }
    let a_done = at_most(window::end(a), window::acked(b));
    let b_done = at_most(window::end(b), window::acked(a));
    match (has(a, bits::FIN), has(b, bits::FIN)) {
        (false, false) => State::Established,
        (true, true) if a_done && b_done => State::TimeWait,
        (true, true) => State::LastAck,
        (true, false) if a_done => State::CloseWait,
        (false, true) if b_done => State::CloseWait,
        _ => State::FinWait,
    }
}

/// Moves the state on to what the directions amount to, never back.
fn forward(r: &Record, state: State) -> Verdict {
    change(r, state, |now| Some(progress(r).max(now)))
}

/// Changes the state from `now` to `next(now)`, again with whatever another worker made of it
/// in the meantime. `None` leaves it.
fn change(r: &Record, mut now: State, next: impl Fn(State) -> Option<State>) -> Verdict {
    loop {
        let Some(to) = next(now).filter(|&to| to != now) else {
            return Verdict::Pass;
        };
        match r
            .state
            .compare_exchange(now as u8, to as u8, AcqRel, Acquire)
        {
            Ok(_) => return Verdict::PassChanged(to),
            Err(found) => match State::from_u8(found) {
                Some(state) => now = state,
                // The record was taken away; this frame is the last that used it.
                None => return Verdict::Pass,
            },
        }
    }
}

#[cfg(test)]
mod tests;
