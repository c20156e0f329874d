//! What the slow path is given for a batch, and what it answers.

use super::next_hop::Hops;
use super::ports::PortTable;
use super::switch::Switch;
use crate::base::{Config, Counters, Instant, PortId, Reason};
use crate::flow::RecordId;
use crate::frame::Frame;
use crate::nat::view::View;

/// What becomes of the frame in a slot. The caller owns its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Leaves by this port.
    To(PortId),
    /// Leaves by every port of the bridge domain but this one.
    FloodBut(PortId),
    /// Lost.
    Drop(Reason),
    /// Answered, or taken by the switch for itself.
    Consumed,
    /// A copy waits inside for a neighbour or a first fragment.
    Held,
    /// Dealt with already: its parts were put out as frames of their own (counted as copies), or
    /// it had to leave before others that waited for it.
    Done,
}

/// One thing to send, in order.
pub enum Out {
    /// The frame in this slot of the batch.
    Slot(u16, PortId),
    /// Copies of the frame in this slot to the bridge domain, but not by this port.
    SlotFlood(u16, PortId),
    /// A frame that is not in the batch. Boxed, so that the list of what nearly always are slots
    /// stays small.
    Made(Box<Frame>, PortId),
    /// Copies of a frame that is not in the batch, but not by this port.
    MadeFlood(Box<Frame>, PortId),
}

/// A timer that a connection needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timer {
    /// The record.
    pub id: RecordId,
    /// Its incarnation when the timer was set.
    pub incarnation: u32,
    /// Whether this is the further, shorter timer of a closing connection.
    pub closing: bool,
}

/// A worker's view during one batch.
pub struct Ctx<'a> {
    /// The shared switch.
    pub sw: &'a Switch,
    /// The configuration at the batch's start.
    pub cfg: &'a Config,
    /// The worker's number.
    pub worker: usize,
    /// The ports at the batch's start.
    pub ports: &'a PortTable,
    /// The published ports at the batch's start. A connection that is made by them has to be counted
    /// afterwards, which asks the present ones ([`crate::nat::rules::Rules::count`]).
    pub rules: &'a View,
    /// This worker's counters.
    pub counters: &'a Counters,
    /// The time of the batch.
    pub now: Instant,
    /// The slot of the frame in hand; `None` outside a batch.
    pub slot: Option<u16>,
    /// Next hops that the batch has found.
    pub hops: Hops,
    /// What is to be sent.
    pub out: &'a mut Vec<Out>,
    /// Timers to set, with their deadline.
    pub timers: &'a mut Vec<(crate::base::Tick, Timer)>,
}

impl Ctx<'_> {
    /// Carries a verdict out for the frame in the slot in hand.
    #[inline(always)]
    pub fn settle(&mut self, ingress: PortId, v: Verdict) {
        match (v, self.slot) {
            (Verdict::To(port), Some(slot)) => self.out.push(Out::Slot(slot, port)),
            (Verdict::FloodBut(port), Some(slot)) => self.out.push(Out::SlotFlood(slot, port)),
            (Verdict::Drop(reason), _) => self.counters.drop(ingress, reason),
            // Counted where it was decided.
            (Verdict::Consumed | Verdict::Held | Verdict::Done, _)
            | (Verdict::To(_) | Verdict::FloodBut(_), None) => {}
        }
    }

    /// Carries a verdict out for a frame that is in no slot.
    pub fn settle_made(&mut self, frame: Frame, ingress: PortId, v: Verdict) {
        match v {
            Verdict::To(port) => self.out.push(Out::Made(Box::new(frame), port)),
            Verdict::FloodBut(port) => self.out.push(Out::MadeFlood(Box::new(frame), port)),
            Verdict::Drop(reason) => self.counters.drop(ingress, reason),
            Verdict::Consumed | Verdict::Held | Verdict::Done => {}
        }
    }

    /// Sends a frame that the switch made of its own.
    pub fn originate(&mut self, frame: Frame, to: PortId) {
        self.counters.originated.add(1);
        self.out.push(Out::Made(Box::new(frame), to));
    }

    /// Sends a frame that the switch made of its own to the bridge domain, but not by `except`.
    pub fn originate_flood(&mut self, frame: Frame, except: PortId) {
        self.counters.originated.add(1);
        self.out.push(Out::MadeFlood(Box::new(frame), except));
    }

    /// Asks for a timer at the record's present deadline.
    pub fn set_timer(&mut self, id: RecordId, closing: bool) {
        if let Some(r) = self.sw.conntrack.slab.get(id) {
            let incarnation = r.incarnation.load(std::sync::atomic::Ordering::Relaxed);
            self.timers.push((
                self.sw.conntrack.deadline(r),
                Timer {
                    id,
                    incarnation,
                    closing,
                },
            ));
        }
    }
}
