//! One TCP connection of a container, ended here and gone on in a socket of the host.
//!
//! Read RFC 9293 section 3.10 and RFC 7323 section 2 first. This is no whole TCP: the container is
//! on the other end of a link in memory that loses and reorders next to nothing, and congestion
//! and round trips are the host socket's business. What is left: sequence numbers, windows, ends.
//!
//! - What the container sends goes straight from the switch's buffer into the socket and is
//!   acknowledged when the socket took it. What the socket has no room for waits here, never more
//!   than the window that the container was told of.
//! - What the socket has is read straight into a frame of up to 64 KiB, no more than the
//!   container's window; a copy stays here until it is acknowledged.
//! - What is lost all the same is sent again after three duplicate ACKs or a time-out.

use super::wire::{Segment, TcpOut, flag};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Most bytes that wait for one host socket, and so the window that a container is told of.
pub const WINDOW: u32 = 1 << 20;
/// Most bytes read from one host socket that the container has not acknowledged.
pub const UNACKED: usize = 1 << 20;
/// Scale of our window field: `WINDOW` fits in 16 bits of it.
pub const SCALE: u8 = 6;
/// First time-out: there is no distance to the container, only its scheduling.
const RTO: Duration = Duration::from_millis(250);
const LONGEST_RTO: Duration = Duration::from_secs(60);
/// Time-outs in a row after which the container is given up: it is gone.
const TRIES: u8 = 9;
/// Largest payload of a superframe: what an IP packet holds.
const SUPER: usize = super::wire::MAX_PACKET - super::wire::IP - super::wire::TCP;

/// Where a connection stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The container sent a SYN; the host's connect is under way, and the SYN waits for its answer.
    Connecting,
    /// A client was accepted on the host; our SYN waits for the container's answer.
    Calling,
    /// Both sides are there. Our SYN of a container's connection may still be unacknowledged.
    Open,
}

/// What has to be done after a step.
#[derive(Default, Debug)]
pub struct Todo {
    /// Segments to send, with their payload.
    pub out: Vec<(TcpOut, Vec<u8>)>,
    /// An acknowledgement is due, unless data goes out first.
    pub ack: bool,
    /// The host socket may be read again.
    pub read: bool,
    /// The connection is over: close the host socket.
    pub end: Option<End>,
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Both directions were closed.
    Closed,
    /// The container reset it: so is the host's.
    ByContainer,
    /// The host's socket failed: the container got a RST.
    ByHost(Errno),
    /// The container does not answer.
    Silent,
}

/// What a read of the host socket came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read {
    /// A segment of this many payload bytes; `more`: there may be more at once.
    Data(TcpOut, usize, bool),
    /// The end of the stream.
    Fin(TcpOut),
    /// Nothing there; an event will say when there is.
    Empty,
    /// The container's window is closed; its ACK will open it.
    Blocked,
    /// The socket failed.
    Failed(Errno),
}

/// One connection. See the module.
#[derive(Debug)]
pub struct Splice {
    /// The far end, as the container knows it.
    pub far: SocketAddrV4,
    /// The container's end, as the engine knows it.
    pub near: SocketAddrV4,
    /// The host's socket.
    pub fd: OwnedFd,
    /// Where it stands.
    pub phase: Phase,
    /// Last time that something came from either side.
    pub last: Instant,
    /// When [`Splice::timeout`] wants to be called.
    pub due: Option<Instant>,
    /// The host's socket has said that its peer ended the stream.
    pub hup: bool,

    iss: u32,
    una: u32,
    nxt: u32,
    wnd: u32,
    scale: Option<u8>,
    mss: u16,
    unacked: VecDeque<u8>,
    fin_out: bool,
    blocked: bool,
    dups: u8,
    recover: Option<u32>,
    rto: Duration,
    tries: u8,

    rcv: u32,
    edge: u32,
    pending: VecDeque<u8>,
    fin_in: bool,
    shut: bool,
}

/// What a new connection is made of.
pub struct New {
    /// The far end.
    pub far: SocketAddrV4,
    /// The container's end.
    pub near: SocketAddrV4,
    /// The host's socket.
    pub fd: OwnedFd,
    /// Our first sequence number.
    pub iss: u32,
    /// Largest segment that the link takes.
    pub mss: u16,
}

const fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl Splice {
    /// A connection that a container's SYN asks for.
    pub fn asked(new: New, syn: &Segment, now: Instant) -> Splice {
        let mut s = Splice::new(new, Phase::Connecting, now);
        s.meet(syn);
        s
    }

    /// A connection of a client that the host accepted; `todo` gets our SYN.
    pub fn calling(new: New, now: Instant, todo: &mut Todo) -> Splice {
        let mut s = Splice::new(new, Phase::Calling, now);
        // What is offered; the answer decides.
        s.scale = Some(0);
        s.edge = s.rcv.wrapping_add(s.window());
        s.nxt = s.iss.wrapping_add(1);
        todo.out.push((s.syn(), Vec::new()));
        s.restart(now);
        s
    }

    fn new(new: New, phase: Phase, now: Instant) -> Splice {
        Splice {
            far: new.far,
            near: new.near,
            fd: new.fd,
            phase,
            last: now,
            due: None,
            hup: false,
            iss: new.iss,
            una: new.iss,
            nxt: new.iss,
            wnd: 0,
            scale: None,
            mss: new.mss,
            unacked: VecDeque::new(),
            fin_out: false,
            blocked: false,
            dups: 0,
            recover: None,
            rto: RTO,
            tries: 0,
            rcv: 0,
            edge: 0,
            pending: VecDeque::new(),
            fin_in: false,
            shut: false,
        }
    }

    /// Takes what a SYN says of its sender.
    fn meet(&mut self, syn: &Segment) {
        self.rcv = syn.seq.wrapping_add(1);
        self.edge = self.rcv;
        self.scale = syn.scale;
        // RFC 9293 section 3.7.1: 536 when nothing is said.
        self.mss = self.mss.min(syn.mss.unwrap_or(536)).max(64);
        // The window of a SYN is never scaled.
        self.wnd = u32::from(syn.window);
        self.edge = self.rcv.wrapping_add(self.window());
    }

    /// Bytes that wait for the host socket.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Bytes that wait for the container's acknowledgement.
    pub fn held(&self) -> usize {
        self.unacked.len()
    }

    /// The host's connect succeeded: the container's SYN is answered.
    pub fn connected(&mut self, now: Instant, todo: &mut Todo) {
        if self.phase == Phase::Connecting {
            self.phase = Phase::Open;
            self.nxt = self.iss.wrapping_add(1);
            todo.out.push((self.syn(), Vec::new()));
            self.restart(now);
        }
    }

    /// The RST that says that the host's connect was refused.
    pub fn refusal(&self) -> TcpOut {
        self.segment_at(0, flag::RST | flag::ACK)
    }

    /// The RST for a container whose connection failed on the host's side.
    pub fn reset(&self) -> TcpOut {
        self.segment_at(self.nxt, flag::RST | flag::ACK)
    }

    /// An acknowledgement of all that was taken, with the window of now.
    pub fn ack(&mut self) -> TcpOut {
        self.tell_window();
        self.segment_at(self.nxt, flag::ACK)
    }

    fn segment_at(&self, seq: u32, flags: u8) -> TcpOut {
        let told = self.edge.wrapping_sub(self.rcv);
        let field = if self.scale.is_some() { told >> SCALE } else { told };
        TcpOut {
            from: self.far,
            to: self.near,
            seq,
            ack: self.rcv,
            flags,
            window: u16::try_from(field).unwrap_or(u16::MAX),
            options: None,
            mss: self.mss,
        }
    }

    /// Our SYN, alone or with an ACK.
    fn syn(&self) -> TcpOut {
        let ack = if self.phase == Phase::Calling { 0 } else { flag::ACK };
        let told = self.edge.wrapping_sub(self.rcv);
        TcpOut {
            ack: if ack == 0 { 0 } else { self.rcv },
            window: u16::try_from(told).unwrap_or(u16::MAX),
            options: Some((self.mss, self.scale.map(|_| SCALE))),
            ..self.segment_at(self.iss, flag::SYN | ack)
        }
    }

    /// The window that we have room for.
    fn window(&self) -> u32 {
        let most = if self.scale.is_some() { WINDOW } else { 65_535 };
        most.saturating_sub(self.pending.len() as u32)
    }

    /// Moves the right edge that the container knows; never back (RFC 9293 section 3.8.6).
    fn tell_window(&mut self) {
        let edge = self.rcv.wrapping_add(self.window());
        if before(self.edge, edge) {
            self.edge = edge;
        }
    }

    /// Whether our SYN is still unacknowledged.
    fn unsynced(&self) -> bool {
        self.una == self.iss
    }

    fn restart(&mut self, now: Instant) {
        self.rto = RTO;
        self.tries = 0;
        self.due = (self.una != self.nxt || self.wnd == 0).then(|| now + self.rto);
    }

    /// A segment of the container, whose payload of `len` bytes is `payload`. `room`: how many
    /// bytes may be kept for slow host sockets by all connections together.
    pub fn segment(
        &mut self,
        s: &Segment,
        payload: &[IoSlice<'_>],
        len: usize,
        now: Instant,
        room: usize,
        todo: &mut Todo,
    ) {
        self.last = now;
        match self.phase {
            Phase::Connecting => {
                // It gave up waiting; else its SYN once more, which waits already.
                if s.has(flag::RST) {
                    todo.end = Some(End::ByContainer);
                }
                return;
            }
            Phase::Calling => return self.answer(s, now, todo),
            Phase::Open => {}
        }
        if s.has(flag::RST) {
            // RFC 5961 section 3.2: exactly, else a challenge.
            match s.seq == self.rcv {
                true => todo.end = Some(End::ByContainer),
                false => todo.ack = true,
            }
            return;
        }
        if s.has(flag::SYN) {
            match self.unsynced() && s.seq.wrapping_add(1) == self.rcv {
                true => todo.out.push((self.syn(), Vec::new())),
                false => todo.ack = true,
            }
            return;
        }
        if !s.has(flag::ACK) {
            return;
        }
        self.acked(s, len, now, todo);
        if todo.end.is_none() {
            self.take(s, payload, len, room, todo);
        }
        self.over(todo);
    }

    /// The answer to our SYN.
    fn answer(&mut self, s: &Segment, now: Instant, todo: &mut Todo) {
        let ours = s.has(flag::ACK) && s.ack == self.nxt;
        if s.has(flag::RST) {
            if ours {
                todo.end = Some(End::ByContainer);
            }
        } else if s.has(flag::SYN) && ours {
            self.meet(s);
            self.una = self.nxt;
            self.phase = Phase::Open;
            self.restart(now);
            todo.ack = true;
            todo.read = true;
        } else if s.has(flag::ACK) {
            // RFC 9293 section 3.10.7.3: an ACK of something else is answered with a RST.
            let mut rst = self.segment_at(s.ack, flag::RST);
            rst.ack = 0;
            todo.out.push((rst, Vec::new()));
        }
    }

    /// What the container acknowledges, and its window.
    fn acked(&mut self, s: &Segment, len: usize, now: Instant, todo: &mut Todo) {
        if before(self.nxt, s.ack) {
            todo.ack = true;
            return;
        }
        let window = u32::from(s.window) << self.scale.unwrap_or(0);
        if before(self.una, s.ack) {
            let mut bytes = s.ack.wrapping_sub(self.una) as usize;
            if self.unsynced() {
                bytes -= 1;
                todo.read = true;
            }
            self.unacked.drain(..bytes.min(self.unacked.len()));
            self.una = s.ack;
            self.wnd = window;
            self.dups = 0;
            self.restart(now);
            match self.recover {
                // More was lost than what was sent again.
                Some(end) if before(self.una, end) => self.resend(todo),
                _ => self.recover = None,
            }
        } else if s.ack == self.una {
            let same = self.wnd == window && len == 0 && !s.has(flag::FIN);
            self.wnd = window;
            if same && self.una != self.nxt && !self.unsynced() {
                self.dups = self.dups.saturating_add(1);
                if self.dups == 3 && self.recover.is_none() {
                    self.recover = Some(self.nxt);
                    self.resend(todo);
                }
            } else if self.wnd == 0 && self.due.is_none() {
                self.due = Some(now + self.rto);
            }
        }
        if self.blocked && self.allowed() > 0 {
            self.blocked = false;
            todo.read = true;
        }
    }

    /// What the container sends: as much as fits goes on to the host.
    fn take(
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
        let parts = super::wire::payload(payload, skip, skip + wanted);
        let sent = match self.pending.is_empty() && wanted > 0 {
            true => send(&self.fd, &parts)?,
            false => 0,
        };
        let mut left = (wanted - sent).min(room);
        let mut taken = sent;
        for part in super::wire::payload(&parts, sent, wanted) {
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

    /// Both directions closed, and nothing left to hand on.
    fn over(&self, todo: &mut Todo) {
        if self.shut && self.fin_out && self.una == self.nxt && todo.end.is_none() {
            todo.end = Some(End::Closed);
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

    /// Payload bytes that the container and our own bound allow now.
    fn allowed(&self) -> usize {
        let flying = self.nxt.wrapping_sub(self.una);
        let free = self.wnd.saturating_sub(flying) as usize;
        free.min(UNACKED.saturating_sub(self.unacked.len()))
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
        match rustix::net::recv(&self.fd, &mut *into, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => {
                self.fin_out = true;
                self.tell_window();
                let fin = self.segment_at(self.nxt, flag::FIN | flag::ACK);
                self.nxt = self.nxt.wrapping_add(1);
                self.start(now);
                Read::Fin(fin)
            }
            Ok((_, n)) => {
                self.last = now;
                self.unacked.extend(into.get(..n).unwrap_or(&[]));
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
    fn resend(&mut self, todo: &mut Todo) {
        if self.unsynced() {
            todo.out.push((self.syn(), Vec::new()));
            return;
        }
        self.tell_window();
        let mss = usize::from(self.mss);
        let n = self
            .unacked
            .len()
            .min((SUPER / mss * mss).max(mss))
            .min(self.wnd as usize);
        if n > 0 {
            let bytes = self.unacked.range(..n).copied().collect();
            let out = self.segment_at(self.una, flag::PSH | flag::ACK);
            todo.out.push((out, bytes));
        } else if self.fin_out && self.unacked.is_empty() && self.una != self.nxt {
            let fin = self.segment_at(self.una, flag::FIN | flag::ACK);
            todo.out.push((fin, Vec::new()));
        } else {
            // A closed window: an old sequence number asks for an answer.
            let probe = self.segment_at(self.una.wrapping_sub(1), flag::ACK);
            todo.out.push((probe, Vec::new()));
        }
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
            // It waited for a window that is there now.
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

#[cfg(test)]
#[path = "splice_tests.rs"]
mod tests;
