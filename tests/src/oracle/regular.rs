//! Whether a TCP conversation went so far as two stacks would let it go. Where it did, no
//! difference about its segments is one that we mean.

use super::sequence::{Form, Said, Segment};

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
enum Phase {
    #[default]
    Nothing,
    Syn,
    SynAck,
    Open,
    Closed,
}

/// A conversation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conversation {
    phase: Phase,
    /// Client, server.
    finished: [bool; 2],
    /// The flow that has spoken. Another of the same tuple counts from numbers of its own.
    flow: Option<usize>,
    /// Something was odd.
    pub odd: bool,
}

impl Conversation {
    /// One end of a flow says something, and it arrived or not.
    pub fn say(&mut self, flow: usize, by_client: bool, s: &Said, f: &Form, arrived: bool) {
        use Segment::{Ack, Fin, Rst, RstAck, Syn, SynAck};
        let own = usize::from(!by_client);
        let same = *self.flow.get_or_insert(flow) == flow;
        let numbers = same && s.seq == 0 && s.ack == 0 && s.window >= 60_000 && f.checksum == 0;
        let data = s.len > 0;
        let next = match (self.phase, s.segment) {
            (Phase::Nothing, Syn) if by_client && !data => Some(Phase::Syn),
            (Phase::Syn, SynAck) if !by_client && !data => Some(Phase::SynAck),
            (Phase::Syn, RstAck) if !by_client && !data => Some(Phase::Closed),
            (Phase::SynAck, Ack) if by_client => Some(Phase::Open),
            (Phase::Open, Ack) if !(data && self.finished[own]) => Some(Phase::Open),
            (Phase::Open, Fin) if !self.finished[own] => {
                self.finished[own] = true;
                Some(Phase::Open)
            }
            (Phase::SynAck | Phase::Open, Rst | RstAck) if !data => Some(Phase::Closed),
            _ => None,
        };
        match next {
            Some(next) if numbers && arrived => self.phase = next,
            _ => self.odd = true,
        }
    }

    /// Something came that was not said in order.
    pub const fn disturb(&mut self) {
        self.odd = true;
    }
}
