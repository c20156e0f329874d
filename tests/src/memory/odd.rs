//! A device that is not as it should be.

use super::{Lab, mac, spec};
use dataplane::base::{Mac, Role};
use dataplane::frame::batch::Batch;
use dataplane::frame::{Frame, VnetHdr};
use dataplane::port::{Caps, PortQueue, RecvError, SendError};
use std::io::IoSlice;
use std::net::Ipv4Addr;
use std::os::fd::RawFd;

/// A queue that delivers one frame, even one that is longer than a slot, and fails every write.
pub struct Odd {
    /// What it will deliver.
    pub recv: Option<Frame>,
    /// Frames that it lost before.
    pub lost: u64,
}

impl PortQueue for Odd {
    fn caps(&self) -> Caps {
        Caps::ALL
    }

    fn recv(&mut self, batch: &mut Batch, _: usize) -> Result<bool, RecvError> {
        if let Some(frame) = self.recv.take()
            && let Some(slot) = batch.next_slot()
        {
            *slot = frame;
            batch.commit();
        }
        Ok(false)
    }

    fn lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    fn send(&mut self, _: &VnetHdr, _: &[IoSlice<'_>]) -> Result<(), SendError> {
        Err(SendError::Io(std::io::ErrorKind::Other.into()))
    }

    fn poll_fd(&self) -> Option<RawFd> {
        None
    }
}

/// Adds a port with such a queue, behind which 10.0.0.9 is.
///
/// # Panics
/// When the switch takes no more ports.
pub fn add_odd(lab: &mut Lab, recv: Option<Frame>) -> Mac {
    add(lab, Odd { recv, lost: 0 })
}

/// The same with one that says that it lost frames.
///
/// # Panics
/// When the switch takes no more ports.
pub fn add_odd_that_lost(lab: &mut Lab, lost: u64) -> Mac {
    add(lab, Odd { recv: None, lost })
}

fn add(lab: &mut Lab, odd: Odd) -> Mac {
    let ip = Ipv4Addr::new(10, 0, 0, 9);
    let queue = Box::new(odd);
    lab.sw
        .add_port(spec("odd", Role::Access, ip, 1500), vec![queue], lab.now)
        .expect("a port");
    mac(ip)
}
