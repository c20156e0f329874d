//! Batches of frames of one port, and the time that some work takes over them.
//!
//! A batch is rewritten in place, so it has to be made anew before each pass. That is left out of
//! the time, and so is what reading the clock costs, for the switch and for the floor alike.

use super::draw::{Draw, Sequence};
use crate::frames::Template;
use dataplane::base::{PortId, Tuple};
use dataplane::frame::{Batch, VnetHdr};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Where the frames come from.
enum Stock {
    /// Made beforehand.
    Made(Vec<(Vec<u8>, VnetHdr)>),
    /// One for each flow from this number on, made when drawn: millions of flows need no memory
    /// here.
    Flows(Template, fn(u32) -> Tuple, u32),
}

/// Frames of one port, drawn again and again.
pub struct Pass {
    /// The port that they come in by.
    pub ingress: PortId,
    stock: Stock,
    sequence: Sequence,
    batch: Batch,
    size: usize,
    n: u32,
}

/// What two readings of the clock, one after the other, cost.
fn clock() -> Duration {
    static COST: OnceLock<Duration> = OnceLock::new();
    *COST.get_or_init(|| {
        let mut all: Vec<Duration> = (0..1001).map(|_| Instant::now().elapsed()).collect();
        all.sort_unstable();
        all.get(500).copied().unwrap_or_default()
    })
}

/// The time of `work`, without the clock's own.
pub fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed().saturating_sub(clock())
}

impl Pass {
    fn of(ingress: PortId, stock: Stock, n: u32) -> Pass {
        Pass {
            ingress,
            stock,
            sequence: Sequence::new(Draw::Uniform, n),
            batch: Batch::default(),
            size: dataplane::frame::batch::BATCH,
            n,
        }
    }

    /// Of frames that come in by `ingress`, drawn uniformly, 64 in a batch.
    pub fn new(ingress: PortId, frames: Vec<(Vec<u8>, VnetHdr)>) -> Pass {
        let n = u32::try_from(frames.len()).unwrap_or(u32::MAX);
        Pass::of(ingress, Stock::Made(frames), n)
    }

    /// Of the first `n` flows, a frame like `template` for each.
    pub fn flows(ingress: PortId, template: Template, n: u32, tuple: fn(u32) -> Tuple) -> Pass {
        Pass::of(ingress, Stock::Flows(template, tuple, 0), n)
    }

    /// The same with batches of `size` frames.
    #[must_use]
    pub fn batches_of(mut self, size: usize) -> Pass {
        self.size = size;
        self
    }

    /// Batches of `size` frames from now on.
    pub fn set_batches_of(&mut self, size: usize) {
        self.size = size;
    }

    /// The same with flows drawn in another way.
    #[must_use]
    pub fn drawn(mut self, draw: Draw) -> Pass {
        self.sequence = Sequence::new(draw, self.n);
        self
    }

    /// The same flows further on: from the `first`-th, if there is a frame for each flow.
    #[must_use]
    pub fn starting_at(mut self, n: u32) -> Pass {
        if let Stock::Flows(_, _, first) = &mut self.stock {
            *first = n;
        }
        self
    }

    /// Fills the batch.
    pub fn refill(&mut self) -> &mut Batch {
        self.batch.clear();
        for _ in 0..self.size {
            let at = self.sequence.draw();
            match &self.stock {
                Stock::Made(frames) => {
                    if let Some((bytes, hdr)) = frames.get(at as usize) {
                        self.batch.push(bytes, *hdr);
                    }
                }
                Stock::Flows(template, tuple, first) => {
                    template.push(&tuple(first + at), &mut self.batch);
                }
            }
        }
        // The headers once more: copying superframes drove those of the first ones out of the
        // cache, which frames of 64 bytes do not do to each other.
        for f in self.batch.frames_mut() {
            if f.hdr.is_super()
                && let Some(h) = f.bytes_mut().first_chunk_mut::<64>()
            {
                *h = std::hint::black_box(*h);
            }
        }
        &mut self.batch
    }

    /// Takes at least `frames` frames through `work` and gives the time for just that many.
    pub fn time(&mut self, frames: u64, mut work: impl FnMut(&mut Batch, PortId)) -> Duration {
        self.time_in_part(frames, &mut work, |_, _| ())
    }

    /// The same, with something that has to be done after `work` and is not timed.
    pub fn time_in_part(
        &mut self,
        frames: u64,
        mut work: impl FnMut(&mut Batch, PortId),
        mut then: impl FnMut(&mut Batch, PortId),
    ) -> Duration {
        let mut spent = Duration::ZERO;
        let mut done = 0u64;
        let ingress = self.ingress;
        while done < frames {
            let batch = self.refill();
            spent += timed(|| work(batch, ingress));
            then(batch, ingress);
            done += batch.len() as u64;
        }
        spent.mul_f64(frames as f64 / done.max(1) as f64)
    }
}
