//! Frames of one batch to one port: joined where the port takes superframes, finished in software
//! where it does not.

use super::coalesce::{Coalescer, Write};
use super::segment;
use super::{Caps, PortQueue, SendError};
use crate::base::Reason;
use crate::frame::Frame;

/// What became of one write.
pub struct Written {
    /// Frames of the batch that it carried.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that software segmentation made of them (0: none was needed).
    pub segments: u64,
    /// Why they are lost, if they are.
    pub result: Result<(), Reason>,
}

/// Reused state of the last stage.
#[derive(Default)]
pub struct Egress {
    coalescer: Coalescer,
}

impl Egress {
    /// Writes `count` frames, of which `frame` gives each, and tells of every write. Order is kept
    /// within each flow.
    pub fn write<'f>(
        &mut self,
        queue: &mut dyn PortQueue,
        count: usize,
        frame: impl Fn(usize) -> &'f Frame,
        mut told: impl FnMut(Written),
    ) {
        let caps = queue.caps();
        self.coalescer
            .flush(caps, count, &frame, |w| match send(queue, caps, w) {
                Ok(()) => {
                    let bytes = w
                        .members
                        .iter()
                        .map(|m| frame(usize::from(*m)).len() as u64)
                        .sum();
                    told(Written {
                        frames: w.members.len() as u64,
                        bytes,
                        segments: 0,
                        result: Ok(()),
                    });
                }
                // Not offered, or refused although it was: some kernels answer EINVAL to superframes
                // that others take.
                Err(SendError::Refused) => {
                    for m in w.members {
                        told(cut(queue, caps, frame(usize::from(*m))));
                    }
                }
                Err(e) => {
                    let reason = segment::TxError::Send(e).reason();
                    let frames = w.members.len() as u64;
                    told(Written {
                        frames,
                        bytes: 0,
                        segments: 0,
                        result: Err(reason),
                    });
                }
            });
    }
}

fn send(queue: &mut dyn PortQueue, caps: Caps, w: &Write<'_>) -> Result<(), SendError> {
    if !segment::takes(caps, &w.hdr) {
        return Err(SendError::Refused);
    }
    queue.send(&w.hdr, w.parts)
}

/// A frame that the port does not take as it is.
fn cut(queue: &mut dyn PortQueue, caps: Caps, frame: &Frame) -> Written {
    // If it was refused as it is, it is given as little to do as can be.
    let caps = if segment::takes(caps, &frame.hdr) {
        Caps::NONE
    } else {
        caps
    };
    let sent = segment::send(queue, caps, frame.bytes(), &frame.hdr);
    let (segments, result) = match sent {
        Ok(n) if frame.hdr.is_super() => (n as u64, Ok(())),
        Ok(_) => (0, Ok(())),
        Err(e) => (0, Err(e.reason())),
    };
    Written {
        frames: 1,
        bytes: frame.len() as u64,
        segments,
        result,
    }
}
