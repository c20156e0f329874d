//! The way to the host: what the container sends goes into the socket, or waits for it.

use super::{End, Splice, Todo, WINDOW, before};
use crate::uplink::sockets::wire::{self, Segment, flag};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::time::Duration;

impl Splice {
    /// What the container sends: as much as fits goes on to the host.
    pub(super) fn take(
        &mut self,
        s: &Segment,
        payload: &[IoSlice<'_>],
        len: usize,
        room: usize,
        todo: &mut Todo,
    ) {
        let fin = s.has(flag::FIN);
        if len == 0 && !fin {
            // A probe of a closed window or of a silent peer (RFC 9293 section 3.8.4).
            if before(s.seq, self.rcv) {
                todo.ack = true;
                if self.una == self.nxt {
                    self.keep_alive();
                }
            }
            return;
        }
        todo.ack = true;
        let old = self.rcv.wrapping_sub(s.seq);
        if before(self.rcv, s.seq) {
            // A gap: each such segment has an ACK of its own, so that three of them are seen.
            let ack = self.ack();
            todo.out.push((ack, Vec::new()));
            return;
        }
        let old = old as usize;
        if old > len || (old == len && !fin) || self.fin_in {
            return;
        }
        let fits = (self.edge.wrapping_sub(self.rcv)) as usize;
        let wanted = (len - old).min(fits);
        let taken = match self.hand_on(payload, old, wanted, room) {
            Ok(n) => n,
            Err(e) => {
                todo.out.push((self.reset(), Vec::new()));
                todo.end = Some(End::ByHost(e));
                return;
            }
        };
        self.rcv = self.rcv.wrapping_add(taken as u32);
        if fin && taken == len - old {
            self.rcv = self.rcv.wrapping_add(1);
            if before(self.edge, self.rcv) {
                self.edge = self.rcv;
            }
            self.fin_in = true;
            self.shut_when_empty();
        }
    }

    /// Sends `wanted` bytes behind `skip` to the host's socket; what it has no room for waits.
    fn hand_on(
        &mut self,
        payload: &[IoSlice<'_>],
        skip: usize,
        wanted: usize,
        room: usize,
    ) -> Result<usize, Errno> {
        let parts = wire::payload(payload, skip, skip + wanted);
        let sent = match self.pending.is_empty() && wanted > 0 {
            true => send(&self.fd, &parts)?,
            false => 0,
        };
        let mut left = (wanted - sent).min(room);
        let mut taken = sent;
        for part in wire::payload(&parts, sent, wanted) {
            let n = left.min(part.len());
            self.pending.extend(part.get(..n).unwrap_or(&[]));
            taken += n;
            left -= n;
        }
        Ok(taken)
    }

    /// The host's socket has room again.
    pub fn writable(&mut self, todo: &mut Todo) {
        if self.pending.is_empty() {
            return;
        }
        let (a, b) = self.pending.as_slices();
        match send(&self.fd, &[IoSlice::new(a), IoSlice::new(b)]) {
            Ok(n) => {
                self.pending.drain(..n);
                if self.pending.is_empty() {
                    self.pending = VecDeque::new();
                }
                let told = self.edge.wrapping_sub(self.rcv);
                // RFC 9293 section 3.8.6.2.2: no window update for crumbs.
                if self.window() >= told + (WINDOW / 4) || (told == 0 && self.window() > 0) {
                    todo.ack = true;
                }
                self.shut_when_empty();
                self.over(todo);
            }
            Err(e) => {
                todo.out.push((self.reset(), Vec::new()));
                todo.end = Some(End::ByHost(e));
            }
        }
    }

    fn shut_when_empty(&mut self) {
        if self.fin_in && self.pending.is_empty() && !self.shut {
            self.shut = true;
            // An error: the peer is gone, which the next read says.
            let _ = rustix::net::shutdown(&self.fd, rustix::net::Shutdown::Write);
        }
    }

    /// The container wants to know whether its peer is there, so the host asks too.
    fn keep_alive(&self) {
        use rustix::net::sockopt as so;
        if so::socket_keepalive(&self.fd) == Ok(false) {
            let every = Duration::from_secs(30);
            let _ = so::set_tcp_keepidle(&self.fd, every);
            let _ = so::set_tcp_keepintvl(&self.fd, every);
            let _ = so::set_socket_keepalive(&self.fd, true);
        }
    }
}

/// What the socket takes of `parts` now.
fn send(fd: &OwnedFd, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    loop {
        let mut none = SendAncillaryBuffer::default();
        return match rustix::net::sendmsg(fd, parts, &mut none, flags) {
            Ok(n) => Ok(n),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Ok(0),
            Err(e) => Err(e),
        };
    }
}
