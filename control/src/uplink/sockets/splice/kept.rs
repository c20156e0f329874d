//! What was read from the host's socket and the container has not acknowledged.
//!
//! It stays where it is, in the socket's receive queue: what is sent was only peeked at, and an
//! acknowledgement takes it out, without a copy (tcp(7), `MSG_TRUNC`). Where the kernel can't peek
//! further and further into a TCP socket (before Linux 6.9) a copy is kept here.

use crate::uplink::sockets::sys::set_peek_off;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;

/// See the module.
#[derive(Debug)]
pub(super) enum Kept {
    /// In the socket's queue.
    There {
        /// So many bytes.
        kept: usize,
        /// Behind so many that have been acknowledged, and are taken out together.
        done: usize,
    },
    /// A copy.
    Here(VecDeque<u8>),
}

/// What is acknowledged is taken out in portions of this: each makes the host's kernel tell the
/// peer of its window.
const TOGETHER: usize = 256 << 10;

thread_local! {
    /// Room that `MSG_TRUNC` asks for and does not use: no page of it is ever touched, since zeroed
    /// memory of this size comes as pages that are not there yet.
    static NOWHERE: RefCell<Vec<u8>> = RefCell::new(vec![0; super::UNACKED]);
}

impl Kept {
    /// Nothing yet, of this socket.
    pub fn of(fd: &OwnedFd) -> Kept {
        match set_peek_off(fd, 0) {
            Ok(()) => Kept::There { kept: 0, done: 0 },
            Err(_) => Kept::Here(VecDeque::new()),
        }
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        match self {
            Kept::There { kept, .. } => *kept,
            Kept::Here(bytes) => bytes.len(),
        }
    }

    /// How many bytes of our own memory.
    pub fn memory(&self) -> usize {
        match self {
            Kept::There { .. } => 0,
            Kept::Here(bytes) => bytes.len(),
        }
    }

    /// Memory that is held for it.
    pub fn capacity(&self) -> usize {
        match self {
            Kept::There { .. } => 0,
            Kept::Here(bytes) => bytes.capacity(),
        }
    }

    /// Gives memory back that is held for nothing.
    pub fn tidy(&mut self) {
        if let Kept::Here(bytes) = self
            && bytes.is_empty()
        {
            *bytes = VecDeque::new();
        }
    }

    /// What the socket has behind it: into `into`, and kept from now on. 0 at the end.
    pub fn read(&mut self, fd: &OwnedFd, into: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Kept::There { kept, .. } => {
                let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
                let (_, n) = recv(fd, &mut *into, flags)?;
                *kept += n;
                Ok(n)
            }
            Kept::Here(bytes) => {
                let (_, n) = recv(fd, &mut *into, RecvFlags::DONTWAIT)?;
                bytes.extend(into.get(..n).unwrap_or(&[]));
                Ok(n)
            }
        }
    }

    /// The first `n` bytes, to be sent again; fewer if the socket has failed since.
    pub fn front(&self, fd: &OwnedFd, n: usize) -> Vec<u8> {
        match self {
            Kept::There { kept, done } => {
                let mut bytes = vec![0; n.min(*kept)];
                let peeked = set_peek_off(fd, *done).and_then(|()| {
                    let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
                    recv(fd, bytes.as_mut_slice(), flags)
                });
                let _ = set_peek_off(fd, *done + *kept);
                bytes.truncate(peeked.map_or(0, |(_, n)| n));
                bytes
            }
            Kept::Here(bytes) => bytes.range(..n.min(bytes.len())).copied().collect(),
        }
    }

    /// The first `n` bytes have been acknowledged.
    pub fn acked(&mut self, fd: &OwnedFd, n: usize) {
        let n = n.min(self.len());
        match self {
            Kept::There { kept, done } => {
                *kept -= n;
                *done += n;
                if *done >= TOGETHER || *kept == 0 {
                    self.take_out(fd);
                }
            }
            Kept::Here(bytes) => {
                bytes.drain(..n);
            }
        }
    }

    /// Takes out of the socket what was acknowledged: one that is closed with something in its
    /// queue resets the connection.
    pub fn take_out(&mut self, fd: &OwnedFd) {
        let Kept::There { done, .. } = self else {
            return;
        };
        NOWHERE.with_borrow_mut(|nowhere| {
            while *done > 0 {
                let most = (*done).min(nowhere.len());
                let Some(room) = nowhere.get_mut(..most) else {
                    return;
                };
                let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
                match recv(fd, room, flags) {
                    Ok((_, n)) if n > 0 => *done = done.saturating_sub(n),
                    Err(Errno::INTR) => {}
                    // The socket has failed, as its next read says.
                    _ => return,
                }
            }
        });
    }
}
