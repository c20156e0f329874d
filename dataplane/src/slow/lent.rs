//! First packets that wait for a port. Where the address is shared with a host, external ports are
//! lent in blocks; a packet that finds none while the next block is on its way is held until that
//! has come, so that nobody is refused only because many connections open at once.
//!
//! Bounded in frames and bytes; what waits for longer than [`PATIENCE`] at a time is refused, and so
//! is all that comes after it until more ports are lent.

use super::ctx::{Ctx, Verdict};
use super::forward::Packet;
use super::switch::Switch;
use crate::base::{Instant, PortId, Proto, Reason};
use crate::flow::Zone;
use crate::frame::Frame;
use crate::frame::parse::{self, bits};
use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Frames that may wait.
const FRAMES: usize = 1_024;
/// Bytes that they may have together.
const BYTES: usize = 4 << 20;
/// How long the host may take to lend more: TCP sends its SYN again after as long.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// The frames that wait, and how often ports were lent since.
#[derive(Default)]
pub struct Waiting {
    queue: Mutex<Queue>,
    /// Its length.
    count: AtomicUsize,
    /// How often ports were lent.
    lent: AtomicUsize,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<(PortId, Frame)>,
    bytes: usize,
    /// [`Waiting::lent`] before the first of them found no port.
    seen: usize,
    /// When the first of them is refused.
    until: Option<Instant>,
}

impl Waiting {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ports were lent, or will not be: nothing waits any longer.
    pub fn go(&self) {
        self.lent.fetch_add(1, SeqCst);
    }

    /// How often ports were lent: asked before one is looked for.
    pub fn lent(&self) -> usize {
        self.lent.load(SeqCst)
    }

    /// Whether frames wait.
    pub fn any(&self) -> bool {
        self.count.load(SeqCst) > 0
    }

    /// Keeps a copy of a frame that found no port when [`Waiting::lent`] was `seen`. False when too
    /// much waits already.
    fn hold(&self, frame: &Frame, ingress: PortId, seen: usize, now: Instant) -> bool {
        let mut q = self.queue();
        if q.frames.len() >= FRAMES || q.bytes + frame.len() > BYTES {
            return false;
        }
        if q.frames.is_empty() {
            (q.seen, q.until) = (seen, Some(now + PATIENCE));
        }
        q.seen = q.seen.min(seen);
        q.bytes += frame.len();
        q.frames.push_back((ingress, frame.clone()));
        self.count.store(q.frames.len(), SeqCst);
        true
    }

    /// When they are tried again: at once, if ports were lent while they came here; else when the
    /// first of them is refused.
    pub fn deadline(&self) -> Option<Instant> {
        if !self.any() {
            return None;
        }
        let q = self.queue();
        if q.seen != self.lent() {
            return Some(Instant::ZERO);
        }
        q.until
    }

    /// The frames that wait, if it is time to try them again, and whether they waited in vain.
    pub fn take(&self, now: Instant) -> Option<(VecDeque<(PortId, Frame)>, bool)> {
        if !self.any() {
            return None;
        }
        let mut q = self.queue();
        let lent = q.seen != self.lent();
        let late = q.until.is_some_and(|until| now >= until);
        if !lent && !late {
            return None;
        }
        self.count.store(0, SeqCst);
        let Queue { frames, .. } = std::mem::take(&mut *q);
        (!frames.is_empty()).then_some((frames, !lent))
    }
}

impl Switch {
    /// Nobody lends any more for now: what waits is refused.
    pub fn no_more_ports(&self, proto: Proto) {
        self.external.expect_more(proto, false);
        self.waiting.go();
    }
}

impl Ctx<'_> {
    /// Whether a first packet that finds no port may wait: the host has been told what masquerade
    /// lacks and may still lend it.
    pub(super) fn may_wait_for_port(&self, pkt: &Packet<'_>) -> bool {
        pkt.zone == Zone::Inside
            && !pkt.p.has(bits::FRAGMENT)
            && self.sw.external.expects_more(pkt.tuple.proto)
    }

    /// Holds a first packet that found no port and may wait, if there is room. `seen` is
    /// [`Waiting::lent`] from before it was looked for.
    pub(super) fn wait_for_port(&mut self, pkt: &Packet<'_>, seen: usize) -> Option<Verdict> {
        let waits = self.sw.waiting.hold(pkt.frame, pkt.ingress, seen, self.now);
        waits.then(|| {
            self.counters.hold(1);
            Verdict::Held
        })
    }

    /// Frames that waited for a port go their way, or wait again.
    pub fn let_go(&mut self, frames: VecDeque<(PortId, Frame)>) {
        for (ingress, mut frame) in frames {
            self.counters.hold(-1);
            let parsed = parse::parse(frame.bytes(), &frame.hdr);
            let v = match (parsed, self.ports.get(ingress)) {
                (Err(reason), _) => Verdict::Drop(reason),
                // Its sender left meanwhile.
                (_, None) => Verdict::Drop(Reason::PortGone),
                (Ok(p), Some(_)) => self.route(&mut frame, &p, ingress, Zone::Inside),
            };
            self.settle_made(frame, ingress, v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_secs(5);
    const PORT: PortId = PortId(1);

    #[test]
    fn they_wait_for_ports_or_for_a_second() {
        let w = Waiting::default();
        let frame = Frame::from_bytes(&[7; 60]);
        assert!(w.deadline().is_none() && w.take(NOW + PATIENCE).is_none());
        assert!(w.hold(&frame, PORT, w.lent(), NOW));
        assert!(w.hold(&frame, PORT, w.lent(), NOW + PATIENCE / 2));
        assert_eq!(w.deadline(), Some(NOW + PATIENCE), "the first one's");
        assert!(w.take(NOW + PATIENCE / 2).is_none());
        let (frames, in_vain) = w.take(NOW + PATIENCE).expect("it is time");
        assert_eq!((frames.len(), in_vain), (2, true));
        assert!(!w.any() && w.deadline().is_none());
        // Ports were lent.
        assert!(w.hold(&frame, PORT, w.lent(), NOW));
        w.go();
        assert_eq!(w.deadline(), Some(Instant::ZERO), "at once");
        assert!(
            w.take(NOW)
                .is_some_and(|(frames, in_vain)| frames.len() == 1 && !in_vain)
        );
        // They were lent while it was looked for one.
        let before = w.lent();
        w.go();
        assert!(w.hold(&frame, PORT, before, NOW));
        assert_eq!(w.deadline(), Some(Instant::ZERO));
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        let w = Waiting::default();
        let large = Frame::from_bytes(&[7; 60_000]);
        let held = (0..FRAMES).filter(|_| w.hold(&large, PORT, 0, NOW)).count();
        assert_eq!(held, BYTES / 60_000);
        let w = Waiting::default();
        let small = Frame::from_bytes(&[7; 60]);
        let held = (0..2 * FRAMES)
            .filter(|_| w.hold(&small, PORT, 0, NOW))
            .count();
        assert_eq!(held, FRAMES);
    }
}
