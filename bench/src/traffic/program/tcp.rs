//! What the TCP programs share: sockets, listeners, connecting.

use super::{Meter, PATIENCE, Programs, timed_out};
use crate::Result;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, connect, listen, setsockopt,
    socket, sockopt,
};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

/// Request and answer.
pub(super) const SMALL: usize = 64;

/// A socket whose congestion control is chosen before it is connected: one that was bbr once goes
/// on pacing. Its calls come back after a while to see whether to end. Everything else is left as
/// programs find it, Nagle's algorithm included.
fn tcp_socket(cc: Option<&str>) -> io::Result<OwnedFd> {
    let fd = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    if let Some(cc) = cc {
        setsockopt(&fd, sockopt::TcpCongestion, &cc.into()).map_err(|e| {
            let why = format!("congestion control {cc}: {}", e.desc());
            io::Error::new(io::Error::from(e).kind(), why)
        })?;
    }
    let limit = nix::sys::time::TimeVal::new(0, PATIENCE.subsec_micros().into());
    setsockopt(&fd, sockopt::ReceiveTimeout, &limit)?;
    setsockopt(&fd, sockopt::SendTimeout, &limit)?;
    Ok(fd)
}

/// Connects, however often the SYN has to be sent. `None` when the end is called for before.
pub(super) fn dial(m: &mut Meter, to: SocketAddrV4) -> io::Result<Option<TcpStream>> {
    let fd = tcp_socket(m.cc())?;
    loop {
        match connect(fd.as_raw_fd(), &SockaddrIn::from(to)) {
            Ok(()) => return Ok(Some(TcpStream::from(fd))),
            // The time limit for sending is one for connecting too (socket(7)); a further call
            // goes on waiting.
            Err(Errno::EINPROGRESS | Errno::EALREADY | Errno::EAGAIN | Errno::EINTR) => {
                if m.give_up() {
                    return Ok(None);
                }
            }
            Err(e) => return Err(e.into()),
        }
    }
}

/// A listener; what it accepts has its options, congestion control included.
pub(super) fn listener(programs: &Programs, port: u16) -> Result<TcpListener> {
    let fd = tcp_socket(programs.shared.cc.as_deref())?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    let at = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
    bind(fd.as_raw_fd(), &SockaddrIn::from(at))?;
    listen(&fd, Backlog::new(1024)?)?;
    Ok(TcpListener::from(fd))
}

/// Serves so many connections, each on a thread of its own.
pub(super) fn serve_each(
    programs: &mut Programs,
    role: usize,
    port: u16,
    connections: usize,
    serve: fn(&mut Meter, TcpStream) -> io::Result<()>,
) -> Result<()> {
    let listener = Arc::new(listener(programs, port)?);
    programs.spawn(role, connections, move |m| match accept(m, &listener)? {
        Some(stream) => serve(m, stream),
        None => Ok(()),
    })
}

/// The next connection; `None` when the end is called for.
pub(super) fn accept(m: &Meter, listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    while !m.stopped() {
        match listener.accept() {
            Ok((stream, _)) => return Ok(Some(stream)),
            Err(e) if timed_out(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

/// Fills `buf`. False when the other side closed, or nothing comes although the end was called for.
pub(super) fn read_all(m: &mut Meter, c: &mut TcpStream, buf: &mut [u8]) -> io::Result<bool> {
    let mut have = 0;
    while have < buf.len() {
        match c.read(buf.get_mut(have..).unwrap_or(&mut [])) {
            Ok(0) => return Ok(false),
            Ok(n) => have += n,
            Err(e) if timed_out(&e) => {
                if m.give_up() {
                    return Ok(false);
                }
            }
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}
