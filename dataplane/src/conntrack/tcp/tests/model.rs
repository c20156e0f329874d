//! The same rules written plainly for one thread, with options where the record has flag bits and
//! windows in bytes where it has units. `agreement` compares the two.

use super::*;

/// What one direction said, once it said anything.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub syn: u32,
    pub end: u32,
    /// Set once it acknowledged the other's SYN.
    pub ack: Option<u32>,
    /// Largest window of a SYN, in bytes.
    syn_window: u32,
    /// Largest window of other segments, as in the header.
    window: u32,
    scale: Option<u8>,
    fin: bool,
    /// The scale of a SYN that passed on an open connection.
    again: Option<Option<u8>>,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub state: State,
    /// Bytes in the SYN that passed on an open connection last.
    syn_data: u32,
    pub sides: [Option<Side>; 2],
}

/// `a - b`, modulo 2^32, as a distance.
fn gap(a: u32, b: u32) -> i64 {
    i64::from(a.wrapping_sub(b) as i32)
}

/// Whether `a` is not after `b + more`.
fn up_to(a: u32, b: u32, more: i64) -> bool {
    gap(b.wrapping_add(more as u32), a) >= 0
}

fn rounded(window: u16, scale: u8) -> u32 {
    u32::from(window).div_ceil(1 << scale).max(1) << scale
}

impl Model {
    pub fn open(t: &Tcp, scale: Option<u8>, pickup: bool) -> Result<Model, Reason> {
        match t.flags & (SYN | FIN | RST | ACK) {
            SYN => {
                let mut m = Model {
                    state: State::SynSent,
                    syn_data: 0,
                    sides: [None, None],
                };
                m.begin(0, t, scale);
                Ok(m)
            }
            ACK if pickup => {
                let side = |end, ack, window: u16| Side {
                    syn: 0,
                    end,
                    ack: Some(ack),
                    syn_window: 0,
                    window: u32::from(window),
                    scale: Some(14),
                    fin: false,
                    again: None,
                };
                let orig = side(t.seq.wrapping_add(t.payload), t.ack, t.window.max(1));
                let reply = side(t.ack, t.seq, 65_535);
                Ok(Model {
                    state: State::Established,
                    syn_data: 0,
                    sides: [Some(orig), Some(reply)],
                })
            }
            _ if Model::good_flags(t.flags) => Err(Reason::TcpNoConnection),
            _ => Err(Reason::TcpMalformed),
        }
    }

    fn good_flags(flags: u8) -> bool {
        let f = flags & (SYN | FIN | RST | ACK);
        f & ACK != 0 && (f & (SYN | FIN | RST)).count_ones() < 2 || f == SYN || f == RST
    }

    fn begin(&mut self, me: usize, t: &Tcp, scale: Option<u8>) {
        let scale = scale.map(|s| s.min(14));
        self.sides[me] = Some(Side {
            syn: t.seq.wrapping_add(1),
            end: t.seq.wrapping_add(1).wrapping_add(t.payload),
            ack: (t.flags & ACK != 0).then_some(t.ack),
            syn_window: rounded(t.window, scale.unwrap_or(0)),
            window: 0,
            scale,
            fin: false,
            again: None,
        });
    }

    /// Window in bytes, with one more that is in a segment now.
    fn window(&self, me: usize, more: u32) -> i64 {
        let (Some(a), Some(b)) = (&self.sides[me], &self.sides[1 - me]) else {
            return 0;
        };
        i64::from(match (a.scale, b.scale) {
            (Some(s), Some(_)) => a.syn_window.max(a.window.max(more) << s),
            _ => a.syn_window.min(65_535).max(a.window).max(more),
        })
    }

    fn syn_again(&mut self, me: usize, t: &Tcp) {
        let settled = self.sides[1 - me]
            .as_ref()
            .is_some_and(|o| o.scale.is_none());
        let s = self.sides[me].as_mut().expect("seen");
        let end = t.seq.wrapping_add(1).wrapping_add(t.payload);
        if gap(s.end, end) < 0 {
            s.end = end;
        }
        let scale = if settled { 0 } else { s.scale.unwrap_or(0) };
        s.syn_window = s.syn_window.max(rounded(t.window, scale));
    }

    fn acks_syn(&self, me: usize, ack: u32) -> bool {
        self.sides[1 - me]
            .as_ref()
            .is_some_and(|o| gap(ack, o.syn) >= 0 && gap(o.end, ack) >= 0)
    }

    /// A RST or SYN-ACK that belongs to a SYN that passed on an open connection.
    fn answers_new_syn(&self, me: usize, ack: u32) -> bool {
        self.sides[1 - me].as_ref().is_some_and(|o| {
            let beyond = gap(ack, o.syn);
            o.again.is_some() && beyond >= 0 && beyond <= self.syn_data.into()
        })
    }

    fn to(&mut self, state: State) -> Verdict {
        if state == self.state {
            return Verdict::Pass;
        }
        self.state = state;
        Verdict::PassChanged(state)
    }

    fn target(&self) -> State {
        let [a, b] = &self.sides;
        let (Some(a), Some(b)) = (a, b) else {
            return State::SynSent;
        };
        let (aa, ba) = match (a.ack, b.ack) {
            (None, None) => return State::SynSent2,
            (Some(aa), Some(ba)) => (aa, ba),
            _ => return State::SynRecv,
        };
        let a_acked = a.fin && gap(ba, a.end) >= 0;
        let b_acked = b.fin && gap(aa, b.end) >= 0;
        match (a.fin, b.fin) {
            (false, false) => State::Established,
            (true, true) if a_acked && b_acked => State::TimeWait,
            (true, true) => State::LastAck,
            _ if a_acked || b_acked => State::CloseWait,
            _ => State::FinWait,
        }
    }

    fn forward(&mut self) -> Verdict {
        self.to(self.target().max(self.state))
    }

    pub fn segment(&mut self, me: usize, t: &Tcp, scale: Option<u8>) -> Verdict {
        if !Model::good_flags(t.flags) {
            return Verdict::Drop(Reason::TcpMalformed);
        }
        if t.flags & RST != 0 {
            self.rst(me, t)
        } else if t.flags & SYN == 0 {
            self.ack(me, t)
        } else if t.flags & ACK == 0 {
            self.syn(me, t, scale)
        } else {
            self.syn_ack(me, t, scale)
        }
    }

    fn syn(&mut self, me: usize, t: &Tcp, scale: Option<u8>) -> Verdict {
        let ended = matches!(self.state, State::TimeWait | State::Close);
        let other_acked = self.sides[1 - me].as_ref().is_some_and(|o| o.ack.is_some());
        let crosses = ended && me == 1 && self.sides[0].as_ref().is_some_and(|o| o.again.is_some());
        let Some(own) = self.sides[me].clone() else {
            if ended && !crosses {
                return Verdict::Reopen;
            }
            if crosses {
                return self.open_anew(me, t, scale, State::SynSent2);
            }
            self.begin(me, t, scale);
            return self.forward();
        };
        if t.seq.wrapping_add(1) == own.syn && !(ended && own.again.is_some()) {
            if self.state == State::Close && own.ack.is_none() {
                return Verdict::Reopen;
            }
            if self.state.half_open() {
                self.syn_again(me, t);
            }
            return Verdict::Pass;
        }
        if self.state.half_open() && !other_acked {
            if self.sides[1 - me].is_some() {
                return Verdict::Drop(Reason::TcpInvalidState);
            }
            self.begin(me, t, scale);
            return Verdict::Pass;
        }
        if ended && gap(t.seq, own.end) >= 0 {
            if crosses {
                return self.open_anew(me, t, scale, State::SynSent2);
            }
            return Verdict::Reopen;
        }
        let own = self.sides[me].as_mut().expect("seen");
        own.syn = t.seq.wrapping_add(1);
        own.again = Some(scale);
        self.syn_data = t.payload.min(65_535);
        Verdict::Pass
    }

    fn syn_ack(&mut self, me: usize, t: &Tcp, scale: Option<u8>) -> Verdict {
        let invalid = Verdict::Drop(Reason::TcpInvalidState);
        let Some(other) = self.sides[1 - me].clone() else {
            return invalid;
        };
        let own = self.sides[me].clone();
        let same = own.as_ref().is_some_and(|o| o.syn == t.seq.wrapping_add(1));
        let own_acked = own.as_ref().is_some_and(|o| o.ack.is_some());
        if self.state.half_open() && !same && other.ack.is_none() {
            // an answer, or another one in place of the first
            let simultaneous = own.is_some() && !own_acked;
            if me == 0 || simultaneous || !self.acks_syn(me, t.ack) {
                return invalid;
            }
            self.begin(me, t, scale);
            return self.forward();
        }
        if self.state.half_open() && same && !own_acked {
            if !self.acks_syn(me, t.ack) {
                return invalid;
            }
            self.syn_again(me, t);
            self.sides[me].as_mut().expect("seen").ack = Some(t.ack);
            return self.forward();
        }
        if same && gap(other.end, t.ack) >= 0 {
            if self.state.half_open() {
                self.syn_again(me, t);
            }
            return Verdict::Pass;
        }
        if !self.answers_new_syn(me, t.ack) {
            return invalid;
        }
        self.open_anew(me, t, scale, State::SynRecv)
    }

    /// The other side's later SYN and this segment begin a connection.
    fn open_anew(&mut self, me: usize, t: &Tcp, scale: Option<u8>, state: State) -> Verdict {
        let other = self.sides[1 - me].clone().expect("heard");
        let new_scale = other.again.flatten();
        self.sides[1 - me] = Some(Side {
            end: other.syn.wrapping_add(self.syn_data),
            ack: None,
            syn_window: 1 << new_scale.unwrap_or(0),
            window: 0,
            scale: new_scale,
            fin: false,
            again: None,
            ..other
        });
        self.begin(me, t, scale);
        self.to(state)
    }

    fn ack(&mut self, me: usize, t: &Tcp) -> Verdict {
        let fin = t.flags & FIN != 0;
        let (Some(own), Some(other)) = (self.sides[me].clone(), self.sides[1 - me].clone()) else {
            let stale = self.sides[me].is_none() && self.state == State::SynSent && !fin;
            return if stale {
                Verdict::Pass
            } else {
                Verdict::Drop(Reason::TcpInvalidState)
            };
        };
        let end = t.seq.wrapping_add(t.payload).wrapping_add(u32::from(fin));
        let mine = self.window(me, u32::from(t.window));
        let theirs = self.window(1 - me, 0);
        const MARGIN: i64 = 66_000;
        let in_limit = match other.ack {
            Some(ack) => up_to(t.seq, ack, theirs) || up_to(t.seq, own.end, theirs),
            None => up_to(t.seq, own.end, theirs + MARGIN),
        };
        let fits = in_limit
            && up_to(own.end, end, theirs + MARGIN)
            && up_to(t.ack, other.end, mine)
            && (up_to(other.end, t.ack, mine + MARGIN)
                || own.ack.is_some_and(|newest| {
                    up_to(t.ack, newest, 0) && up_to(newest, t.ack, mine + MARGIN)
                }))
            && (own.ack.is_some() || self.acks_syn(me, t.ack));
        if !fits {
            return Verdict::Drop(Reason::TcpOutOfWindow);
        }
        let own = self.sides[me].as_mut().expect("seen");
        if gap(own.end, end) < 0 {
            own.end = end;
        }
        match own.ack {
            Some(ack) if gap(other.end, t.ack) < 0 || gap(ack, t.ack) >= 0 => {}
            _ => own.ack = Some(t.ack),
        }
        own.window = own.window.max(u32::from(t.window));
        own.fin |= fin && end == own.end;
        if self.state != State::Close {
            return self.forward();
        }
        let alive = self.target();
        let open = [State::Established, State::FinWait, State::CloseWait];
        if t.payload > 0 && !fin && open.contains(&alive) {
            self.to(alive)
        } else {
            Verdict::Pass
        }
    }

    fn rst(&mut self, me: usize, t: &Tcp) -> Verdict {
        let acked = self.sides[1 - me].as_ref().and_then(|o| o.ack);
        let own_end = self.sides[me].as_ref().map(|s| s.end);
        let exact = Some(t.seq) == acked || Some(t.seq) == own_end;
        let inside =
            acked.is_some_and(|a| gap(t.seq, a) >= 0 && up_to(t.seq, a, self.window(1 - me, 0)));
        let has_ack = t.flags & ACK != 0;
        let refuses = has_ack && acked.is_none() && self.acks_syn(me, t.ack);
        let refuses_new = has_ack && self.answers_new_syn(me, t.ack);
        let (close, harmless) = match self.state {
            State::SynSent if me == 0 => (exact, true),
            State::SynSent => (refuses, false),
            State::SynSent2 | State::SynRecv => (exact || refuses || refuses_new, false),
            State::Established => (exact || refuses_new, inside),
            State::FinWait | State::CloseWait => (exact || inside || refuses_new, false),
            State::LastAck | State::TimeWait => (exact || inside, true),
            State::Close => (false, true),
        };
        if close {
            self.to(State::Close)
        } else if harmless {
            Verdict::Pass
        } else {
            Verdict::Drop(Reason::TcpRstInexact)
        }
    }
}
