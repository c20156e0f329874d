//! The way to the container: reading the host's socket, and sending again what was lost.

use super::{End, LONGEST_RTO, Phase, Read, SUPER, Splice, TRIES, Todo, UNACKED};
use crate::uplink::sockets::wire::flag;
use rustix::io::Errno;
use std::time::Instant;

impl Splice {
    /// Payload bytes that the container and our own bound allow now.
    pub(super) fn allowed(&self) -> usize {
        let flying = self.nxt.wrapping_sub(self.una);
        let free = self.wnd.saturating_sub(flying) as usize;
        free.min(UNACKED.saturating_sub(self.kept.len()))
    }

    /// Reads what the host's socket has into `room`, whose front is kept free for `headers` bytes.
    pub fn read(&mut self, room: &mut [u8], headers: usize, now: Instant) -> Read {
        if self.phase != Phase::Open || self.unsynced() || self.fin_out {
            return Read::Empty;
        }
        let mss = usize::from(self.mss);
        // Whole segments, so that the last is no crumb.
        let most = (SUPER / mss * mss).max(mss);
        let cap = self.allowed().min(most);
        // RFC 9293 section 3.8.6.2.1: no crumbs while something is under way.
        if cap == 0 || (cap < mss && self.una != self.nxt) {
            self.blocked = true;
            if self.due.is_none() {
                self.due = Some(now + self.rto);
            }
            return Read::Blocked;
        }
        let Some(into) = room.get_mut(headers..headers + cap) else {
            return Read::Failed(Errno::MSGSIZE);
        };
        match self.kept.read(&self.fd, into) {
            Ok(0) => {
                self.fin_out = true;
                self.tell_window();
                let fin = self.segment_at(self.nxt, flag::FIN | flag::ACK);
                self.nxt = self.nxt.wrapping_add(1);
                self.start(now);
                Read::Fin(fin)
            }
            Ok(n) => {
                self.last = now;
                self.tell_window();
                let out = self.segment_at(self.nxt, flag::PSH | flag::ACK);
                self.nxt = self.nxt.wrapping_add(n as u32);
                self.start(now);
                Read::Data(out, n, n == cap || self.hup)
            }
            Err(Errno::AGAIN | Errno::INTR) => Read::Empty,
            Err(e) => Read::Failed(e),
        }
    }

    fn start(&mut self, now: Instant) {
        if self.due.is_none() {
            self.due = Some(now + self.rto);
        }
    }

    /// Sends the oldest unacknowledged bytes again, or what else is unacknowledged.
    pub(super) fn resend(&mut self, todo: &mut Todo) {
        if self.unsynced() {
            todo.out.push((self.syn(), Vec::new()));
            return;
        }
        self.tell_window();
        let mss = usize::from(self.mss);
        let n = self
            .kept
            .len()
            .min((SUPER / mss * mss).max(mss))
            .min(self.wnd as usize);
        if n > 0 {
            let bytes = self.kept.front(&self.fd, n);
            let out = self.segment_at(self.una, flag::PSH | flag::ACK);
            todo.out.push((out, bytes));
        } else if self.fin_out && self.kept.len() == 0 && self.una != self.nxt {
            let fin = self.segment_at(self.una, flag::FIN | flag::ACK);
            todo.out.push((fin, Vec::new()));
        } else {
            // A closed window: an old sequence number asks for an answer.
            let probe = self.segment_at(self.una.wrapping_sub(1), flag::ACK);
            todo.out.push((probe, Vec::new()));
        }
    }

    /// Both directions have ended: nothing is left in the socket.
    pub fn take_out(&mut self) {
        self.kept.take_out(&self.fd);
    }

    /// Sends what is unacknowledged once more, at once.
    pub fn again(&mut self, todo: &mut Todo) {
        if self.una != self.nxt {
            self.resend(todo);
        }
    }

    /// Looks whether [`Splice::due`] has come.
    pub fn timeout(&mut self, now: Instant, todo: &mut Todo) {
        let Some(due) = self.due.filter(|due| *due <= now) else {
            return;
        };
        let flying = self.una != self.nxt;
        if !flying && self.wnd > 0 {
            // It waited for a window that is there now, or rests.
            self.kept.tidy();
            self.due = None;
            self.blocked = false;
            todo.read = true;
            return;
        }
        if flying && self.wnd > 0 || self.unsynced() {
            self.tries += 1;
            if self.tries > TRIES {
                todo.out.push((self.reset(), Vec::new()));
                todo.end = Some(End::Silent);
                return;
            }
            self.recover = Some(self.nxt);
        }
        self.resend(todo);
        self.rto = (self.rto * 2).min(LONGEST_RTO);
        self.due = Some(due.max(now) + self.rto);
    }
}
