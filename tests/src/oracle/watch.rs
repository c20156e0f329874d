//! TCP conversations as far as the kernel let them through: what each direction said, so that a
//! matcher can tell where a segment lies without asking the switch.

use super::canon::assembled;
use super::segment::{Segment, at_most, came_in, later, segment};
use super::{Out, Wire};
use dataplane::base::Tuple;
use dataplane::frame::parse::tcp_flags::{ACK, FIN, RST, SYN};

/// What the switch allows beyond a window, as its documentation has it: one superframe.
const MARGIN: u32 = 66_000;

/// What a direction said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said {
    /// Number of the first byte behind its last SYN.
    syn: Option<u32>,
    /// The highest number behind a segment of it.
    end: Option<u32>,
    /// The highest number that it acknowledged.
    ack: Option<u32>,
    /// The highest number that it ever allowed the other to send.
    allows: Option<u32>,
    /// The largest window that it announced, as the field says, and the one of its SYN.
    windows: (u32, u32),
    /// Its window scale.
    scale: Option<u8>,
    finished: bool,
    /// Its last SYN had no ACK.
    asked: bool,
    /// It sent a SYN of another number before that.
    again: bool,
    /// The highest number behind what the switch counts: of fragments, the first.
    counted: Option<u32>,
    /// The largest window field of what Linux let pass without taking account of it.
    passing: u32,
}

/// A segment beside what was said before it.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    segment: Segment,
    own: Said,
    other: Said,
    /// Its sender opened the conversation.
    pub by_initiator: bool,
    /// A RST, or the FINs of both, went before.
    pub ended: bool,
    /// And then a SYN that was refused.
    pub given_up: bool,
    /// Or one that passed.
    reopened: bool,
    /// With a number of before the end.
    pub late: bool,
    /// Who opened it sent a RST from elsewhere, before the other was heard.
    left: bool,
    /// A RST passed of which Linux took no account.
    unheeded: bool,
}

/// A conversation: what its two ends send, as it comes in.
#[derive(Debug)]
struct Conversation {
    tuples: [Tuple; 2],
    said: [Said; 2],
    /// SYNs that passed though the conversation was open.
    challenged: [Option<Segment>; 2],
    reset: bool,
    /// A SYN after its end was refused, for which Linux forgets it.
    given_up: bool,
    /// A SYN after its end passed.
    reopened: bool,
    /// It had a number of before the end.
    late: bool,
    /// Its initiator, before anything else was heard, sent a RST that is not behind what the
    /// switch counts of its SYN.
    left: bool,
    /// A RST at its place has other numbers than Linux takes.
    unheeded: bool,
}

/// All conversations of a sequence.
#[derive(Debug, Default)]
pub struct Watch(Vec<Conversation>);

impl Watch {
    /// Where the segment that goes in lies, if it is one of a conversation.
    pub fn place(&self, wires: &[Wire]) -> Option<Placed> {
        let s = came_in(wires)?;
        let (c, dir) = self.find(&s.tuple)?;
        Some(self.0[c].place(dir, s))
    }

    /// Whether Linux has forgotten the conversation: the first answer in it was a RST, or a SYN
    /// after its end was refused.
    pub fn is_forgotten(&self, opened_by: &Tuple) -> bool {
        let refused = |c: &Conversation| c.given_up || c.reset && c.said[1].end.is_none();
        self.find(opened_by)
            .is_some_and(|(c, _)| refused(&self.0[c]))
    }

    /// Remembers what went in if the kernel let it through.
    pub fn hear(&mut self, wires: &[Wire], out: &[Out]) {
        let Some(s) = came_in(wires) else {
            return;
        };
        let all = assembled(out);
        let through = |o: &Segment| o.seq == s.seq && (o.flags ^ s.flags) & (SYN | RST) == 0;
        let Some(left) = all.iter().filter_map(|o| segment(&o.0)).find(through) else {
            if let (Some((c, dir)), SYN) = (self.find(&s.tuple), s.flags & (SYN | ACK)) {
                let c = &mut self.0[c];
                c.given_up |= c.place(dir, s).ended;
            }
            return;
        };
        let (c, dir) = self.find(&s.tuple).unwrap_or_else(|| {
            self.0.push(Conversation {
                tuples: [s.tuple, left.tuple.reversed()],
                said: [Said::default(); 2],
                challenged: [None; 2],
                reset: false,
                given_up: false,
                reopened: false,
                late: false,
                left: false,
                unheeded: false,
            });
            (self.0.len() - 1, 0)
        });
        self.0[c].tuples[1 - dir] = left.tuple.reversed();
        self.0[c].hear(dir, &s);
    }

    fn find(&self, t: &Tuple) -> Option<(usize, usize)> {
        let of = |c: &Conversation| c.tuples.iter().position(|k| k == t);
        self.0
            .iter()
            .enumerate()
            .find_map(|(n, c)| Some((n, of(c)?)))
    }
}

impl Conversation {
    fn place(&self, dir: usize, segment: Segment) -> Placed {
        Placed {
            segment,
            own: self.said[dir],
            other: self.said[1 - dir],
            by_initiator: dir == 0,
            given_up: self.given_up,
            reopened: self.reopened,
            late: self.late,
            left: self.left,
            unheeded: self.unheeded,
            ended: self.reset || self.said[0].finished && self.said[1].finished,
        }
    }

    fn hear(&mut self, dir: usize, s: &Segment) {
        let before = self.place(dir, *s);
        if s.flags & RST != 0 {
            self.reset = true;
            self.left |= before.alone() && before.own.counted != Some(s.seq);
            let outside = before.both_heard() && !before.linux_takes(true);
            self.unheeded |= before.resets_exactly() && (outside || !before.linux_takes_ack());
            return;
        }
        if s.flags & SYN == 0 {
            // Linux lets some pass without taking account of them: what lies outside, and the
            // answer of one who has not opened.
            let outside = before.both_heard() && !before.linux_takes(true);
            if before.own.syn.is_none() || outside {
                let own = &mut self.said[dir];
                own.passing = own.passing.max(s.window);
                return;
            }
        } else if before.own.syn != Some(s.seq.wrapping_add(1)) {
            if s.ack.is_none() && before.both_heard() && !before.ended {
                // For its receiver to challenge, or to answer if it has forgotten the rest.
                self.challenged[dir] = Some(*s);
                return;
            }
            let answered = self.challenged[1 - dir].filter(|c| s.ack == Some(c.end));
            let at_once = before.own.asked && before.other.asked;
            let open = before.both_heard() && !before.ended && !at_once;
            if open && s.ack.is_some() && answered.is_none() {
                // Nor does it take account of a SYN-ACK that answers nothing.
                let own = &mut self.said[dir];
                own.passing = own.passing.max(s.window);
                return;
            }
            if let Some(again) = answered {
                self.said[1 - dir] = Said::opening(&again, false);
            }
            if before.ended && s.ack.is_none() {
                self.said[1 - dir] = Said::default();
                self.challenged = [None; 2];
                self.reopened = true;
                self.late = before.own.end.is_some_and(|end| !at_most(end, s.seq));
            }
            let again = before.own.syn.is_some() && !before.ended;
            self.said[dir] = Said::opening(s, again || before.own.again);
            (self.reset, self.given_up) = (false, false);
        }
        let (mut own, other) = (self.said[dir], self.said[1 - dir]);
        own.end = Some(later(own.end, s.end));
        own.counted = Some(later(own.counted, s.cut.unwrap_or(s.end)));
        if let Some(ack) = s.ack {
            own.ack = Some(later(own.ack, ack));
            let shift = if s.flags & SYN == 0 {
                scale(&own, &other)
            } else {
                0
            };
            let allows = s
                .sack
                .unwrap_or(ack)
                .wrapping_add((s.window << shift).max(1));
            own.allows = Some(later(own.allows, allows));
        }
        own.finished |= s.flags & FIN != 0;
        if s.flags & SYN == 0 {
            own.windows.0 = own.windows.0.max(s.window);
        }
        self.said[dir] = own;
    }
}

impl Said {
    /// Nothing but this SYN; `again`: not the first.
    fn opening(s: &Segment, again: bool) -> Said {
        Said {
            syn: Some(s.seq.wrapping_add(1)),
            end: Some(s.end),
            ack: s.ack,
            allows: None,
            windows: (0, s.window),
            scale: s.scale,
            finished: false,
            asked: s.ack.is_none(),
            again,
            counted: s.cut.or(Some(s.end)),
            passing: 0,
        }
    }
}

/// The largest window in bytes.
fn window(of: &Said, beside: &Said, field: u32) -> u32 {
    (of.windows.0.max(field) << scale(of, beside)).max(of.windows.1)
}

/// The scale of one's windows, where both offered to scale.
fn scale(of: &Said, beside: &Said) -> u8 {
    beside.scale.and(of.scale).unwrap_or(0)
}

impl Placed {
    /// Its flags.
    pub const fn flags(&self) -> u8 {
        self.segment.flags
    }

    /// Whether both ends were heard.
    const fn both_heard(&self) -> bool {
        self.own.end.is_some() && self.other.end.is_some()
    }

    /// Whether Linux's four conditions hold.
    pub fn inside(&self) -> bool {
        self.linux_takes(false)
    }

    /// The same; `unknown` is the answer where the receiver has allowed nothing yet.
    fn linux_takes(&self, unknown: bool) -> bool {
        let (own, other, s) = (&self.own, &self.other, &self.segment);
        let (Some(end), Some(other_end)) = (own.end, other.end) else {
            return false;
        };
        let (mine, theirs) = (window(own, other, 0), window(other, own, 0));
        let ack = s.sack.or(s.ack).unwrap_or(other_end);
        other.allows.map_or(unknown, |to| at_most(s.seq, to))
            && at_most(end.wrapping_sub(theirs), s.end)
            && at_most(ack, other_end)
            && at_most(other_end.wrapping_sub(mine.max(MARGIN)), ack)
    }

    /// Whether Linux takes what it acknowledges for something that the other side, from whom it
    /// may have heard nothing, can have sent.
    fn linux_takes_ack(&self) -> bool {
        let (own, other) = (&self.own, &self.other);
        let end = other.end.unwrap_or(0);
        let oldest = end.wrapping_sub(window(own, other, 0).max(MARGIN));
        let ack = self.segment.ack.filter(|ack| *ack != 0);
        ack.is_none_or(|ack| at_most(ack, end) && at_most(oldest, ack))
    }

    /// Whether it lies at most one window, and a superframe where it is old, beside what was said.
    pub fn within_grace(&self) -> bool {
        let (own, other, s) = (&self.own, &self.other, &self.segment);
        let (Some(end), Some(other_end)) = (own.end, other.end) else {
            return false;
        };
        let mine = window(own, other, s.window.max(own.passing));
        let theirs = window(other, own, other.passing);
        let ack = s.ack.unwrap_or(other_end);
        let not_ahead = match other.ack {
            Some(acked) => {
                at_most(s.seq, acked.wrapping_add(theirs))
                    || at_most(s.seq, end.wrapping_add(theirs))
            }
            None => at_most(s.seq, end.wrapping_add(theirs + MARGIN)),
        };
        let from = |n: u32| at_most(n.wrapping_sub(mine + MARGIN), ack);
        not_ahead
            && at_most(end.wrapping_sub(theirs + MARGIN), s.end)
            && at_most(ack, other_end.wrapping_add(mine))
            && (from(other_end) || own.ack.is_some_and(|a| at_most(ack, a) && from(a)))
    }

    /// Whether the first acknowledgement of its sender is one of the other's SYN.
    fn acknowledges_the_syn(&self) -> bool {
        let (Some(ack), Some(syn)) = (self.segment.ack, self.other.syn) else {
            return false;
        };
        at_most(syn, ack) && self.other.end.is_some_and(|end| at_most(ack, end))
    }

    /// Whether it is outside of what the switch has reason to carry.
    pub fn outside(&self) -> bool {
        !self.both_heard()
            || !self.within_grace()
            || self.own.ack.is_none() && !self.acknowledges_the_syn()
    }

    /// Whether a SYN or SYN-ACK is the one that is next, or that was sent before.
    pub fn opens_well(&self) -> bool {
        let (own, other, s) = (&self.own, &self.other, &self.segment);
        let known = own.syn.is_none_or(|syn| syn == s.seq.wrapping_add(1));
        match s.ack {
            None => known && (self.by_initiator || other.syn.is_some()),
            Some(_) => known && !self.by_initiator && self.acknowledges_the_syn(),
        }
    }

    /// Whether a RST is at the place where its receiver takes it, or behind the last of its
    /// sender, or refuses a SYN.
    pub fn resets_exactly(&self) -> bool {
        let (own, other, s) = (&self.own, &self.other, &self.segment);
        other.ack == Some(s.seq)
            || own.end == Some(s.seq)
            || (own.ack.is_none() && own.end.is_none() || other.ack.is_none())
                && self.acknowledges_the_syn()
    }

    /// Whether a RST is in the window of its receiver, who will challenge it.
    pub fn resets_inside(&self) -> bool {
        let (own, other, s) = (&self.own, &self.other, &self.segment);
        let far = window(other, own, 0);
        other
            .ack
            .is_some_and(|acked| at_most(acked, s.seq) && at_most(s.seq, acked.wrapping_add(far)))
    }

    /// Whether the sender made a new attempt, and this follows it.
    pub fn follows_a_new_attempt(&self) -> bool {
        self.own.again && self.within_grace()
    }

    /// Whether its sender, the only one that was heard, made more than one attempt.
    pub const fn is_another_attempt(&self) -> bool {
        self.own.again && self.alone()
    }

    /// Whether it acknowledges the other's SYN after a SYN of each side.
    pub fn agrees_to_open_at_once(&self) -> bool {
        self.own.asked && self.other.asked && self.acknowledges_the_syn()
    }

    /// Whether it belongs to an attempt whose only side then sent a RST from elsewhere.
    pub const fn of_a_left_attempt(&self) -> bool {
        self.left
    }

    /// Whether it comes after a RST at its place of which Linux took no account.
    pub const fn follows_an_unheeded_reset(&self) -> bool {
        self.unheeded
    }

    /// Whether it answers a SYN on a conversation that had ended, and is none.
    pub fn answers_a_reopening(&self) -> bool {
        self.reopened && self.own.end.is_none() && self.other.end.is_some()
    }

    /// Whether it comes after an end, or a new beginning, that one side alone has made.
    pub fn of_one_side(&self) -> bool {
        let alone = self.own.syn.is_none() || self.other.syn.is_none();
        alone && (self.ended || self.reopened)
    }

    /// Whether it is the first acknowledgement of data that came in fragments, behind what the
    /// first one held, or a RST behind such data that is acknowledged by none.
    pub fn counts_a_cut_segment(&self) -> bool {
        let (own, other, s) = (&self.own, &self.other, &self.segment);
        let behind = |n, of: &Said| {
            let beyond = of.counted.is_some_and(|counted| !at_most(n, counted));
            beyond && of.end.is_some_and(|end| at_most(n, end))
        };
        let first = own.ack.is_none() || s.flags & SYN != 0;
        let ends = s.flags & RST != 0 && own.end == Some(s.seq) && other.ack != own.end;
        first && s.ack.is_some_and(|ack| behind(ack, other)) || ends && behind(s.seq, own)
    }

    /// Whether the sender is the only one that was heard.
    pub const fn alone(&self) -> bool {
        self.own.end.is_some() && self.other.end.is_none()
    }
}
