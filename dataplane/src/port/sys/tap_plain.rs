//! A plain TAP by the crate `tun-tap`: whole, finished frames, one reader. For `--offload off`,
//! old kernels, and as the benches' baseline.
//!
//! The crate asks for neither `IFF_VNET_HDR` nor `IFF_MULTI_QUEUE`, so the device has one queue.
//! Worker 0 reads it; all workers write it (each write is one frame, and the kernel takes them
//! from any thread).

use super::ioctl::{self, TapError};
use super::tap::iff_error;
use super::write::send_error;
use crate::frame::batch::MAX_FRAME;
use crate::frame::{Batch, VnetHdr};
use crate::port::{Caps, PortQueue, RecvError, SendError};
use rustix::io::Errno;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use tun_tap::{Iface, Mode};

/// A plain TAP interface; it lives as long as one of its queues does.
pub struct PlainDevice {
    /// The interface's name as the kernel gave it.
    pub name: String,
    /// One per worker; only the first reads.
    pub queues: Vec<Box<dyn PortQueue>>,
}

/// Makes a plain TAP in the calling thread's network namespace, down and without an address,
/// with an end for each of `workers` (at least one).
pub fn create(name: &str, workers: usize) -> Result<PlainDevice, TapError> {
    ioctl::check_name(name)?;
    // Without IFF_TUN_EXCL the kernel would attach us to a TAP that somebody left there.
    if ioctl::exists(name) {
        return Err(TapError::Exists(name.to_owned()));
    }
    // The crate's errors don't say which of its two calls failed: the node is tried first.
    drop(ioctl::open()?);
    let iface = Iface::without_packet_info(name, Mode::Tap).map_err(|e| iff_error(name, e))?;
    rustix::io::ioctl_fionbio(borrow(&iface), true)
        .map_err(|e| TapError::Other("FIONBIO", e.into()))?;
    let iface = Arc::new(iface);
    let queues = (0..workers.max(1))
        .map(|n| Box::new(PlainQueue::new(&iface, n == 0)) as Box<dyn PortQueue>);
    Ok(PlainDevice {
        name: iface.name().to_owned(),
        queues: queues.collect(),
    })
}

fn borrow(iface: &Iface) -> BorrowedFd<'_> {
    // SAFETY: the crate keeps the descriptor open as long as the Iface lives, and the borrow is
    // bound to it.
    unsafe { BorrowedFd::borrow_raw(iface.as_raw_fd()) }
}

/// One worker's end of a plain TAP.
struct PlainQueue {
    iface: Arc<Iface>,
    reads: bool,
    /// Where a frame of several parts is put together.
    whole: Vec<u8>,
}

impl PlainQueue {
    fn new(iface: &Arc<Iface>, reads: bool) -> PlainQueue {
        PlainQueue {
            iface: Arc::clone(iface),
            reads,
            whole: Vec::new(),
        }
    }
}

impl PortQueue for PlainQueue {
    fn caps(&self) -> Caps {
        Caps::NONE
    }

    fn recv(&mut self, batch: &mut Batch, budget: usize) -> Result<bool, RecvError> {
        let before = batch.len();
        while self.reads && batch.bytes() <= budget {
            let Some(frame) = batch.next_slot() else {
                return Ok(true);
            };
            match self.iface.recv(frame.rx_room(0)).map_err(errno) {
                Ok(n) => frame.set_received(n, VnetHdr::PLAIN),
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => continue,
                Err(_) if batch.len() > before => return Ok(true),
                Err(Errno::BADFD | Errno::NODEV) => return Err(RecvError::Gone),
                Err(e) => return Err(RecvError::Io(e.into())),
            }
            batch.commit();
        }
        Ok(self.reads)
    }

    fn send(&mut self, hdr: &VnetHdr, parts: &[IoSlice<'_>]) -> Result<(), SendError> {
        if hdr.needs_csum || hdr.is_super() {
            return Err(SendError::Refused);
        }
        let bytes: &[u8] = match parts {
            [one] => one,
            several => {
                self.whole.clear();
                for p in several {
                    if self.whole.len() + p.len() > MAX_FRAME {
                        return Err(SendError::Refused);
                    }
                    self.whole.extend_from_slice(p);
                }
                &self.whole
            }
        };
        loop {
            return match self.iface.send(bytes).map_err(errno) {
                Ok(_) => Ok(()),
                Err(Errno::INTR) => continue,
                Err(e) => Err(send_error(e)),
            };
        }
    }

    fn share(&self) -> Option<Box<dyn PortQueue>> {
        Some(Box::new(PlainQueue::new(&self.iface, self.reads)))
    }

    fn poll_fd(&self) -> Option<RawFd> {
        self.reads.then(|| self.iface.as_raw_fd())
    }
}

/// The crate's I/O errors come straight from the system call.
fn errno(e: std::io::Error) -> Errno {
    Errno::from_io_error(&e).unwrap_or(Errno::IO)
}
