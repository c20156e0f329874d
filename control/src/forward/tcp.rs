//! One relayed TCP connection: two streams, two flows of bytes.
//!
//! The poller is edge-triggered, so each side remembers whether it may have something to read
//! or room to write; only `EAGAIN` clears that. A flow moves bytes source → pipe → destination
//! and holds the pipe only while the destination is full. It reads nothing more until the pipe
//! is empty: the source's window closes, which is all the back-pressure there is. Without a pipe
//! bytes are peeked, sent, and then taken as far as they were sent, so none need a place to wait.

use super::RelayId;
use super::pipes::{Pipe, Pool};
use super::stats::{Stats, add};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use rustix::pipe::{SpliceFlags, splice};
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;

/// Most bytes moved by one `splice`.
const CHUNK: usize = 256 * 1024;
/// Moves by one flow before others get their turn.
const TURNS: usize = 16;
/// Size of the scratch buffer that [`Conn::pump`] copies through when no pipe can be had.
pub(super) const SCRATCH: usize = 64 * 1024;

/// One of the two streams.
#[derive(Debug)]
pub(super) struct Side {
    pub fd: OwnedFd,
    pub readable: bool,
    pub writable: bool,
}

impl Side {
    pub const fn new(fd: OwnedFd) -> Side {
        Side {
            fd,
            readable: false,
            writable: false,
        }
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Flow {
    pipe: Option<Pipe>,
    /// Bytes in `pipe`.
    pending: usize,
    /// The source has sent its FIN.
    eof: bool,
    /// And the destination was told.
    done: bool,
}

/// Which of the two streams an event is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Which {
    /// The accepted one.
    Client,
    /// The one to the container.
    Upstream,
}

/// What is to become of a connection after [`Conn::pump`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Wait for an event.
    Wait,
    /// There is more to do, but it is someone else's turn.
    Again,
    /// Both directions ended: close.
    Close,
    /// One side broke: reset the other.
    Reset,
}

/// A relayed connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub owner: RelayId,
    pub client: Side,
    pub upstream: Side,
    /// The connection to the container is up.
    pub connected: bool,
    to_container: Flow,
    to_client: Flow,
}

/// What the flows share.
pub(super) struct Tools<'a> {
    pub pool: &'a mut Pool,
    pub scratch: &'a mut [u8],
    pub stats: &'a Stats,
}

impl Conn {
    pub fn new(owner: RelayId, client: OwnedFd, upstream: OwnedFd, connected: bool) -> Conn {
        Conn {
            owner,
            client: Side::new(client),
            upstream: Side::new(upstream),
            connected,
            to_container: Flow::default(),
            to_client: Flow::default(),
        }
    }

    /// Remembers what the poller said about one side. False: that side broke after its last
    /// byte was read, so no read will ever tell.
    pub fn note(&mut self, which: Which, readable: bool, writable: bool, error: bool) -> bool {
        let (side, flow) = match which {
            Which::Client => (&mut self.client, &self.to_container),
            Which::Upstream => (&mut self.upstream, &self.to_client),
        };
        side.readable |= readable || error;
        side.writable |= writable || error;
        !(error && flow.eof)
    }

    /// Moves what can be moved.
    pub fn pump(&mut self, tools: &mut Tools<'_>) -> Next {
        if !self.connected {
            return Next::Wait;
        }
        let stats = tools.stats;
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        let (to_container, to_client) = (&mut self.to_container, &mut self.to_client);
        let into = step(client, upstream, to_container, &stats.bytes_in, true, tools);
        let back = step(upstream, client, to_client, &stats.bytes_out, true, tools);
        match (into, back) {
            (Ok(a), Ok(b)) => {
                if to_container.done && to_client.done {
                    Next::Close
                } else if a || b {
                    Next::Again
                } else {
                    Next::Wait
                }
            }
            _ => {
                // What a broken side had already sent is still good for the other. After the
                // error its reads look like a FIN: that must not be told.
                let _ = step(
                    client,
                    upstream,
                    to_container,
                    &stats.bytes_in,
                    false,
                    tools,
                );
                let _ = step(upstream, client, to_client, &stats.bytes_out, false, tools);
                Next::Reset
            }
        }
    }

    /// Gives the pipes back and hands the two sockets over to be closed: client, upstream.
    pub fn end(self, pool: &mut Pool) -> (OwnedFd, OwnedFd) {
        for flow in [self.to_container, self.to_client] {
            if let Some(pipe) = flow.pipe {
                pool.discard(pipe);
            }
        }
        (self.client.fd, self.upstream.fd)
    }
}

/// Moves bytes of one direction and, if `fin`, their end; true if its turn ended with more to
/// move.
fn step(
    src: &mut Side,
    dst: &mut Side,
    flow: &mut Flow,
    moved: &AtomicU64,
    fin: bool,
    tools: &mut Tools<'_>,
) -> Result<bool, Errno> {
    for _ in 0..TURNS {
        if flow.done {
            return Ok(false);
        }
        if flow.pending > 0 {
            if !drain(dst, flow, moved, tools.pool)? {
                return Ok(false);
            }
        } else if flow.eof {
            // ENOTCONN: the destination is gone already, which its own reads tell.
            if fin {
                let _ = shutdown(&dst.fd, Shutdown::Write);
            }
            flow.done = true;
        } else if !src.readable || !dst.writable {
            return Ok(false);
        } else {
            match tools.pool.take() {
                Some(pipe) => fill(src, flow, pipe, tools.pool)?,
                None => copy(src, dst, flow, moved, tools)?,
            }
        }
    }
    Ok(true)
}

/// Source → pipe.
fn fill(src: &mut Side, flow: &mut Flow, pipe: Pipe, pool: &mut Pool) -> Result<(), Errno> {
    match splice(
        &src.fd,
        None,
        &pipe.write,
        None,
        CHUNK,
        SpliceFlags::NONBLOCK,
    ) {
        Ok(n) if n > 0 => {
            flow.pipe = Some(pipe);
            flow.pending = n;
            return Ok(());
        }
        Ok(_) => flow.eof = true,
        // The pipe is empty, so it is the source that has nothing.
        Err(Errno::AGAIN) => src.readable = false,
        Err(Errno::INTR) => {}
        Err(e) => {
            pool.give(pipe);
            return Err(e);
        }
    }
    pool.give(pipe);
    Ok(())
}

/// Pipe → destination; false when the destination is full.
fn drain(
    dst: &mut Side,
    flow: &mut Flow,
    moved: &AtomicU64,
    pool: &mut Pool,
) -> Result<bool, Errno> {
    let Some(pipe) = &flow.pipe else {
        flow.pending = 0;
        return Ok(true);
    };
    if !dst.writable {
        return Ok(false);
    }
    match splice(
        &pipe.read,
        None,
        &dst.fd,
        None,
        flow.pending,
        SpliceFlags::NONBLOCK,
    ) {
        Ok(n) => {
            add(moved, n as u64);
            flow.pending = flow.pending.saturating_sub(n);
        }
        Err(Errno::AGAIN) => {
            dst.writable = false;
            return Ok(false);
        }
        Err(Errno::INTR) => {}
        Err(e) => return Err(e),
    }
    if flow.pending == 0
        && let Some(pipe) = flow.pipe.take()
    {
        pool.give(pipe);
    }
    Ok(true)
}

/// Source → destination without a pipe: nothing is taken from the source before it was sent.
fn copy(
    src: &mut Side,
    dst: &mut Side,
    flow: &mut Flow,
    moved: &AtomicU64,
    tools: &mut Tools<'_>,
) -> Result<(), Errno> {
    add(&tools.stats.copies, 1);
    let seen = match recv(&src.fd, &mut *tools.scratch, RecvFlags::PEEK) {
        Ok((_, 0)) => {
            flow.eof = true;
            return Ok(());
        }
        Ok((_, n)) => n,
        Err(Errno::AGAIN) => {
            src.readable = false;
            return Ok(());
        }
        Err(Errno::INTR) => return Ok(()),
        Err(e) => return Err(e),
    };
    let sent = match send(
        &dst.fd,
        tools.scratch.get(..seen).unwrap_or_default(),
        SendFlags::NOSIGNAL,
    ) {
        Ok(n) => n,
        Err(Errno::AGAIN) => {
            dst.writable = false;
            return Ok(());
        }
        Err(Errno::INTR) => return Ok(()),
        Err(e) => return Err(e),
    };
    add(moved, sent as u64);
    let mut left = sent;
    while left > 0 {
        let room = tools.scratch.get_mut(..left).unwrap_or_default();
        match recv(&src.fd, room, RecvFlags::empty()) {
            Ok((_, 0)) => return Err(Errno::IO),
            Ok((_, n)) => left = left.saturating_sub(n),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
