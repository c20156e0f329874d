//! Frames of one batch to one port: joined where the port takes superframes, finished in software
//! where it does not.

use super::coalesce::{Coalescer, Write};
use super::segment;
use super::{Caps, PortQueue, SendError};
use crate::base::Reason;
use crate::frame::batch::MAX_FRAME;
use crate::frame::{Frame, VnetHdr};
use std::io::IoSlice;

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

/// Batches for which nothing is joined beyond 64 KiB after the system had no room for it.
const REST: u32 = 64;

/// Reused state of the last stage.
#[derive(Default)]
pub struct Egress {
    coalescer: Coalescer,
    /// Batches until frames are joined beyond 64 KiB again.
    rest: u32,
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
        let mut caps = queue.caps();
        // As most batches of exchanges are.
        if count == 1 {
            return told(alone(queue, caps, frame(0)));
        }
        caps.big &= self.rest == 0 && !queue.passes_on();
        self.rest = self.rest.saturating_sub(1);
        let mut no_room = false;
        self.coalescer.flush(caps, count, &frame, |w| {
            let members = || w.members.iter().map(|m| frame(usize::from(*m)));
            match send(queue, caps, &w.hdr, w.parts) {
                // A kernel whose memory is in small pieces has no room for much beyond 64 KiB.
                Err(SendError::Full) if is_big(w) => {
                    no_room = true;
                    members().for_each(|f| told(alone(queue, caps, f)));
                }
                // Not offered, or refused although it was: some kernels answer EINVAL to superframes
                // that others take.
                Err(SendError::Refused) if w.members.len() > 1 => {
                    members().for_each(|f| told(alone(queue, caps, f)));
                }
                Err(SendError::Refused) => members().for_each(|f| told(cut(queue, caps, f))),
                result => {
                    let bytes = members().map(|f| f.len() as u64).sum();
                    told(written(w.members.len() as u64, bytes, result));
                }
            }
        });
        if no_room {
            self.rest = REST;
        }
    }
}

/// Whether frames became one of more bytes than each can have.
fn is_big(w: &Write<'_>) -> bool {
    w.parts.iter().map(|p| p.len()).sum::<usize>() > MAX_FRAME
}

/// What became of a write of so many frames with so many bytes.
fn written(frames: u64, bytes: u64, result: Result<(), SendError>) -> Written {
    let result = result.map_err(|e| segment::TxError::Send(e).reason());
    Written {
        frames,
        bytes: if result.is_ok() { bytes } else { 0 },
        segments: 0,
        result,
    }
}

/// A frame that nothing can be joined with.
fn alone(queue: &mut dyn PortQueue, caps: Caps, frame: &Frame) -> Written {
    match send(queue, caps, &frame.hdr, &[IoSlice::new(frame.bytes())]) {
        Err(SendError::Refused) => cut(queue, caps, frame),
        result => written(1, frame.len() as u64, result),
    }
}

/// Writes what the port takes as it is.
fn send(
    queue: &mut dyn PortQueue,
    caps: Caps,
    hdr: &VnetHdr,
    parts: &[IoSlice<'_>],
) -> Result<(), SendError> {
    if !segment::takes(caps, hdr) {
        return Err(SendError::Refused);
    }
    queue.send(hdr, parts)
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
