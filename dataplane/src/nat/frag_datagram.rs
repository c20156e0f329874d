//! One fragmented datagram: which fragments have come, which are held, and which can't be.

use super::frag_sources::Slot;
use crate::base::{Instant, PortId, Reason, Tuple};
use crate::frame::Frame;

/// Most fragments of one datagram.
pub const MAX_FRAGMENTS: usize = 64;
/// Most bytes held of one datagram: the largest there is, and headers.
pub const MAX_HELD_BYTES: usize = 65_536 + 4_096;
/// Last byte that a fragment's payload can reach behind the shortest IPv4 header.
const MAX_END: u32 = 65_535 - 20;
/// One fragment, from its IPv4 header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// Offset of its payload in the datagram's, in bytes.
    pub offset: u16,
    /// Bytes of IP payload in it.
    pub len: u16,
    /// More fragments follow.
    pub more: bool,
}

impl Fragment {
    fn end(&self) -> u32 {
        u32::from(self.offset) + u32::from(self.len)
    }

    pub(super) fn is_possible(&self) -> bool {
        self.len > 0 && self.end() <= MAX_END && (!self.more || self.len.is_multiple_of(8))
    }
}

/// A fragment that waits for the first one of its datagram.
#[derive(Debug)]
pub struct HeldFragment {
    /// The port that it came from.
    pub ingress: PortId,
    /// Its bytes.
    pub frame: Frame,
}

/// A held frame that was dropped: it no longer counts as held, and is to be counted as a drop of
/// its port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lost {
    /// The port that it came from.
    pub ingress: PortId,
    /// Why.
    pub reason: Reason,
}

/// What is known of a datagram.
pub(super) enum State {
    /// The first fragment is missing.
    Waiting,
    /// The first fragment had this tuple; the identification to carry outside.
    Known(Tuple, Option<u16>),
    /// Everything that comes is dropped.
    Spoilt(Reason),
}

/// What has come of a datagram.
pub(super) struct Datagram {
    pub slot: Slot,
    pub since: Instant,
    pub state: State,
    pub parts: Vec<Fragment>,
    /// Where it ends, once the last fragment has come.
    pub end: Option<u32>,
    pub covered: u32,
    pub held: Vec<HeldFragment>,
    pub held_bytes: usize,
}

impl Datagram {
    /// One of which nothing has come yet.
    pub(super) fn new(slot: Slot, since: Instant) -> Datagram {
        Datagram {
            slot,
            since,
            state: State::Waiting,
            parts: Vec::new(),
            end: None,
            covered: 0,
            held: Vec::new(),
            held_bytes: 0,
        }
    }

    /// What is wrong with `f` beside the others. `Err(None)`: it was here before.
    pub(super) fn admit(&mut self, f: Fragment) -> Result<(), Option<Reason>> {
        if self.parts.contains(&f) {
            return Err(None);
        }
        let (from, to) = (u32::from(f.offset), f.end());
        let meets = |p: &Fragment| from < p.end() && u32::from(p.offset) < to;
        if self.parts.iter().any(meets) {
            return Err(Some(Reason::FragOverlap));
        }
        let past_end = self.end.is_some_and(|e| to > e || !f.more);
        let short = !f.more && self.parts.iter().any(|p| p.end() > to);
        if past_end || short {
            return Err(Some(Reason::FragMalformed));
        }
        if self.parts.len() >= MAX_FRAGMENTS {
            return Err(Some(Reason::FragTooMany));
        }
        if !f.more {
            self.end = Some(to);
        }
        self.covered += u32::from(f.len);
        self.parts.push(f);
        Ok(())
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, State::Known(..)) && self.end == Some(self.covered)
    }

    pub(super) fn drop_held(&mut self, reason: Reason, lost: &mut Vec<Lost>) {
        self.held_bytes = 0;
        let ports = self.held.drain(..).map(|h| h.ingress);
        lost.extend(ports.map(|ingress| Lost { ingress, reason }));
    }
}
