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
//!   container's window; it stays in the socket until it is acknowledged (`kept`).
//! - What is lost all the same is sent again after three duplicate ACKs or a time-out.

use super::wire::{Segment, TcpOut, flag};
use kept::Kept;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

mod kept;
mod reading;
mod writing;

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
/// A connection that rests for so long gives back the memory of its last burst, if that is more.
const TIDY: Duration = Duration::from_secs(1);
const SMALL: usize = 16 << 10;
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
    kept: Kept,
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
            kept: Kept::of(&new.fd),
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

    /// Bytes of our own memory that wait for the container's acknowledgement.
    pub fn held(&self) -> usize {
        self.kept.memory()
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
        let field = if self.scale.is_some() {
            told >> SCALE
        } else {
            told
        };
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
        let ack = if self.phase == Phase::Calling {
            0
        } else {
            flag::ACK
        };
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
        self.due = match self.una != self.nxt || self.wnd == 0 {
            true => Some(now + self.rto),
            false if self.kept.capacity() > SMALL => Some(now + TIDY),
            false => None,
        };
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
            self.kept.acked(&self.fd, bytes);
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

    /// Both directions closed, and nothing left to hand on.
    fn over(&self, todo: &mut Todo) {
        if self.shut && self.fin_out && self.una == self.nxt && todo.end.is_none() {
            todo.end = Some(End::Closed);
        }
    }
}

#[cfg(test)]
mod tests;
