//! A port made of vectors: what a test or bench pushes is received, what the switch sends is kept.
//!
//! The queues refuse what their capabilities don't cover, as a device does, so a test that runs
//! over them also finds a superframe or partial checksum that should have been finished.

use super::segment::takes;
use super::{Caps, PortQueue, RecvError, SendError};
use crate::frame::{Batch, Frame, VnetHdr};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

struct State {
    caps: Caps,
    capacity: usize,
    gone: bool,
    refuse_super: bool,
    /// Frames to be received, by queue.
    rx: Vec<VecDeque<Frame>>,
    /// Frames sent, with the queue they left by.
    tx: Vec<(usize, Frame)>,
}

/// The outside end of a memory port. Clones are the same port.
#[derive(Clone)]
pub struct MemoryPort {
    state: Arc<Mutex<State>>,
}

impl MemoryPort {
    /// A port with `queues` queues (at least one) and their inside ends, in order.
    pub fn new(queues: usize, caps: Caps) -> (MemoryPort, Vec<Box<dyn PortQueue>>) {
        let queues = queues.max(1);
        let port = MemoryPort {
            state: Arc::new(Mutex::new(State {
                caps,
                capacity: usize::MAX,
                gone: false,
                refuse_super: false,
                rx: (0..queues).map(|_| VecDeque::new()).collect(),
                tx: Vec::new(),
            })),
        };
        let ends = (0..queues)
            .map(|index| {
                let state = Arc::clone(&port.state);
                Box::new(MemoryQueue { state, index }) as Box<dyn PortQueue>
            })
            .collect();
        (port, ends)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Number of queues.
    pub fn queues(&self) -> usize {
        self.lock().rx.len()
    }

    /// Puts a frame where queue `queue` (modulo their number) will receive it.
    pub fn push(&self, queue: usize, bytes: &[u8], hdr: VnetHdr) {
        self.push_frame(queue, Frame::with_hdr(bytes, hdr));
    }

    /// The same with a frame at hand.
    pub fn push_frame(&self, queue: usize, frame: Frame) {
        let mut s = self.lock();
        let n = s.rx.len();
        if let Some(q) = s.rx.get_mut(queue % n) {
            q.push_back(frame);
        }
    }

    /// Takes everything that was sent, in order of sending.
    pub fn take(&self) -> Vec<Frame> {
        let sent = std::mem::take(&mut self.lock().tx);
        sent.into_iter().map(|(_, f)| f).collect()
    }

    /// The same with the index of the queue that each frame left by.
    pub fn take_with_queue(&self) -> Vec<(usize, Frame)> {
        std::mem::take(&mut self.lock().tx)
    }

    /// Frames pushed and not yet received.
    pub fn waiting(&self) -> usize {
        self.lock().rx.iter().map(VecDeque::len).sum()
    }

    /// What the queues take from now on.
    pub fn set_caps(&self, caps: Caps) {
        self.lock().caps = caps;
    }

    /// Most frames that wait to be taken; the next is [`SendError::Full`]. Unlimited at first.
    pub fn set_capacity(&self, frames: usize) {
        self.lock().capacity = frames;
    }

    /// Makes the queues refuse superframes that their capabilities announce, as some kernels do.
    pub fn refuse_superframes(&self, refuse: bool) {
        self.lock().refuse_super = refuse;
    }

    /// The device is gone from now on.
    pub fn kill(&self) {
        self.lock().gone = true;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One queue of a [`MemoryPort`].
struct MemoryQueue {
    state: Arc<Mutex<State>>,
    index: usize,
}

impl PortQueue for MemoryQueue {
    fn caps(&self) -> Caps {
        lock(&self.state).caps
    }

    fn recv(&mut self, batch: &mut Batch, budget: usize) -> Result<bool, RecvError> {
        let mut s = lock(&self.state);
        if s.gone {
            return Err(RecvError::Gone);
        }
        let Some(q) = s.rx.get_mut(self.index) else {
            return Ok(false);
        };
        while !batch.is_full() && batch.bytes() <= budget {
            let Some(f) = q.pop_front() else {
                return Ok(false);
            };
            // Too long for a slot: a device could not have delivered it either.
            let _ = batch.push(f.bytes(), f.hdr);
        }
        Ok(!q.is_empty())
    }

    fn send(&mut self, hdr: &VnetHdr, parts: &[IoSlice<'_>]) -> Result<(), SendError> {
        let mut s = lock(&self.state);
        if s.gone {
            return Err(SendError::Gone);
        }
        if !takes(s.caps, hdr) || (hdr.is_super() && s.refuse_super) {
            return Err(SendError::Refused);
        }
        if s.tx.len() >= s.capacity {
            return Err(SendError::Full);
        }
        let index = self.index;
        s.tx.push((index, Frame::with_hdr(&join(parts), *hdr)));
        Ok(())
    }

    fn poll_fd(&self) -> Option<RawFd> {
        None
    }
}

/// The bytes of `parts`, one after the other.
pub fn join(parts: &[IoSlice<'_>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|p| p.len()).sum());
    for p in parts {
        bytes.extend_from_slice(p);
    }
    bytes
}

/// What a [`Sink`] counted.
#[derive(Default)]
pub struct SinkCounts {
    writes: AtomicU64,
    bytes: AtomicU64,
}

impl SinkCounts {
    /// Writes taken.
    pub fn writes(&self) -> u64 {
        self.writes.load(Relaxed)
    }

    /// Bytes in them.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

/// A queue that receives nothing, takes everything and only counts it: for benches.
pub struct Sink {
    caps: Caps,
    counts: Arc<SinkCounts>,
}

impl Sink {
    /// A sink and its counts.
    pub fn new(caps: Caps) -> (Sink, Arc<SinkCounts>) {
        let counts = Arc::new(SinkCounts::default());
        let sink = Sink {
            caps,
            counts: Arc::clone(&counts),
        };
        (sink, counts)
    }
}

impl PortQueue for Sink {
    fn caps(&self) -> Caps {
        self.caps
    }

    fn recv(&mut self, _batch: &mut Batch, _budget: usize) -> Result<bool, RecvError> {
        Ok(false)
    }

    fn send(&mut self, hdr: &VnetHdr, parts: &[IoSlice<'_>]) -> Result<(), SendError> {
        if !takes(self.caps, hdr) {
            return Err(SendError::Refused);
        }
        let bytes: usize = parts.iter().map(|p| p.len()).sum();
        // One worker writes to a queue: no read-modify-write, which a bench would see.
        let add = |c: &AtomicU64, n: u64| c.store(c.load(Relaxed).wrapping_add(n), Relaxed);
        add(&self.counts.writes, 1);
        add(&self.counts.bytes, bytes as u64);
        Ok(())
    }

    fn poll_fd(&self) -> Option<RawFd> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_pass_both_ways() {
        let (port, mut q) = MemoryPort::new(2, Caps::ALL);
        for i in 0..70u8 {
            port.push(1, &[i; 60], VnetHdr::PLAIN);
        }
        let mut batch = Batch::default();
        assert!(!q[0].recv(&mut batch, 1 << 20).unwrap() && batch.is_empty());
        assert!(q[1].recv(&mut batch, 1 << 20).unwrap());
        assert_eq!((batch.len(), port.waiting()), (64, 6));
        assert_eq!(batch.frames()[63].bytes(), &[63; 60]);
        batch.clear();
        assert!(q[1].recv(&mut batch, 100).unwrap());
        assert_eq!(batch.len(), 2, "the budget ends the batch");

        q[1].send(
            &VnetHdr::PLAIN,
            &[IoSlice::new(&[1, 2]), IoSlice::new(&[3])],
        )
        .unwrap();
        let sent = port.take_with_queue();
        assert_eq!((sent[0].0, sent[0].1.bytes()), (1, &[1, 2, 3][..]));
        assert!(port.take().is_empty());
    }

    #[test]
    fn refuses_as_a_device_does() {
        let (port, mut q) = MemoryPort::new(1, Caps::ALL);
        let hdr = VnetHdr {
            needs_csum: true,
            gso: Gso::TcpV4,
            gso_size: 1000,
            ..VnetHdr::PLAIN
        };
        let part = [IoSlice::new(&[0; 60])];
        q[0].send(&hdr, &part).unwrap();
        port.refuse_superframes(true);
        assert!(matches!(q[0].send(&hdr, &part), Err(SendError::Refused)));
        port.set_caps(Caps::NONE);
        let partial = VnetHdr {
            gso: Gso::None,
            ..hdr
        };
        assert!(matches!(
            q[0].send(&partial, &part),
            Err(SendError::Refused)
        ));
        port.set_capacity(1);
        assert!(matches!(
            q[0].send(&VnetHdr::PLAIN, &part),
            Err(SendError::Full)
        ));
        port.kill();
        assert!(matches!(
            q[0].send(&VnetHdr::PLAIN, &part),
            Err(SendError::Gone)
        ));
        let mut batch = Batch::new(1);
        assert!(matches!(q[0].recv(&mut batch, 1), Err(RecvError::Gone)));
    }

    #[test]
    fn sink_counts() {
        let (mut sink, counts) = Sink::new(Caps::NONE);
        sink.send(&VnetHdr::PLAIN, &[IoSlice::new(&[0; 60])])
            .unwrap();
        assert_eq!((counts.writes(), counts.bytes()), (1, 60));
    }

    use crate::frame::Gso;
}
