//! What became of each frame of a batch, in order: a list that never grows beyond a batch, so that
//! the lane of hits stores and does nothing else.

use crate::frame::batch::BATCH;
use crate::slow::ctx::Verdict;

/// The verdicts so far.
pub(super) struct Verdicts {
    /// Those behind the first `len` are an older batch's.
    pub all: Box<[Verdict]>,
    /// Frames that have one.
    pub len: usize,
}

impl Verdicts {
    pub fn new() -> Verdicts {
        Verdicts {
            all: vec![Verdict::Done; BATCH].into(),
            len: 0,
        }
    }

    /// Those of this batch.
    pub fn said(&self) -> &[Verdict] {
        self.all.get(..self.len).unwrap_or_default()
    }

    /// The next frame's.
    pub fn push(&mut self, v: Verdict) {
        if let Some(next) = self.all.get_mut(self.len) {
            *next = v;
            self.len += 1;
        }
    }
}
