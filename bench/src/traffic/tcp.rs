//! TCP: bulk, request/response, connections.

use super::{PATIENCE, Programs, Shared, timed_out};
use crate::Result;
use control::netns::Netns;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, connect, listen, setsockopt,
    socket, sockopt,
};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

/// Bytes in one call of a bulk program (iperf3's default).
const BLOCK: usize = 128 * 1024;
/// Request and answer.
const SMALL: usize = 64;

/// A socket with the congestion control of all measures, chosen before it is connected: a socket
/// that was bbr once goes on pacing. Its calls come back after a while to see whether to end.
fn tcp_socket() -> io::Result<OwnedFd> {
    let fd = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    setsockopt(&fd, sockopt::TcpCongestion, &"reno".into())?;
    setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
    let limit = nix::sys::time::TimeVal::new(0, PATIENCE.subsec_micros().into());
    setsockopt(&fd, sockopt::ReceiveTimeout, &limit)?;
    setsockopt(&fd, sockopt::SendTimeout, &limit)?;
    Ok(fd)
}

fn dial(to: SocketAddrV4) -> io::Result<TcpStream> {
    let fd = tcp_socket()?;
    match connect(fd.as_raw_fd(), &SockaddrIn::from(to)) {
        // The time limit for sending is one for connecting too (socket(7)).
        Err(nix::Error::EINPROGRESS | nix::Error::EAGAIN) => Err(io::ErrorKind::TimedOut.into()),
        Err(e) => Err(e.into()),
        Ok(()) => Ok(TcpStream::from(fd)),
    }
}

/// A listener; what it accepts has its options, congestion control included.
fn listener(ns: &Netns, port: u16) -> Result<TcpListener> {
    let made = ns.run(|| -> io::Result<TcpListener> {
        let fd = tcp_socket()?;
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        let at = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        bind(fd.as_raw_fd(), &SockaddrIn::from(at))?;
        listen(&fd, Backlog::new(1024)?)?;
        Ok(TcpListener::from(fd))
    })?;
    Ok(made?)
}

/// Accepts until told to end, each connection served on a thread of its own.
fn serve_each(
    programs: &mut Programs,
    ns: &Arc<Netns>,
    port: u16,
    connections: usize,
    serve: fn(&Shared, TcpStream) -> io::Result<()>,
) -> Result<()> {
    let listener = Arc::new(listener(ns, port)?);
    for _ in 0..connections {
        let listener = Arc::clone(&listener);
        programs.spawn(ns, move |s| match accept(s, &listener)? {
            Some(stream) => serve(s, stream),
            None => Ok(()),
        })?;
    }
    Ok(())
}

fn accept(s: &Shared, listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    while !s.stopped() {
        match listener.accept() {
            Ok((stream, _)) => return Ok(Some(stream)),
            Err(e) if timed_out(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

/// `streams` connections by which the client sends as much as it can; counts bytes received.
///
/// # Errors
/// When a namespace or socket fails; likewise for the further ones.
pub fn bulk(ends: (Arc<Netns>, Arc<Netns>, SocketAddrV4), streams: usize) -> Result<Programs> {
    let (client, server, to) = ends;
    let mut programs = Programs::default();
    serve_each(&mut programs, &server, to.port(), streams, |s, mut c| {
        let mut buf = vec![0; BLOCK];
        while !s.stopped() {
            match c.read(&mut buf) {
                Ok(0) => return Ok(()),
                Ok(n) => s.count(n as u64),
                Err(e) if timed_out(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    })?;
    for _ in 0..streams {
        programs.spawn(&client, move |s| send_bulk(s, to))?;
    }
    Ok(programs)
}

fn send_bulk(s: &Shared, to: SocketAddrV4) -> io::Result<()> {
    let mut c = dial(to)?;
    let buf = vec![0x5a; BLOCK];
    while !s.stopped() {
        match c.write(&buf) {
            Ok(_) => {}
            Err(e) if timed_out(&e) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// `connections` connections on each of which a request of 64 bytes waits for its answer of 64
/// bytes, one after the other; counts exchanges and keeps their times. With `bulk` one more
/// stream sends as much as it can beside them.
pub fn request_response(
    ends: (Arc<Netns>, Arc<Netns>, SocketAddrV4),
    connections: usize,
    with_bulk: bool,
) -> Result<Programs> {
    let (client, server, to) = ends;
    let mut programs = Programs::default();
    serve_each(&mut programs, &server, to.port(), connections, echo)?;
    if with_bulk {
        let beside = SocketAddrV4::new(*to.ip(), to.port() + 1);
        serve_each(&mut programs, &server, beside.port(), 1, |s, mut c| {
            let mut buf = vec![0; BLOCK];
            while !s.stopped() && !matches!(c.read(&mut buf), Ok(0)) {}
            Ok(())
        })?;
        programs.spawn(&client, move |s| send_bulk(s, beside))?;
    }
    for _ in 0..connections {
        programs.spawn(&client, move |s| {
            let mut c = dial(to)?;
            let mut buf = [0u8; SMALL];
            while !s.stopped() {
                let begun = Instant::now();
                c.write_all(&buf)?;
                read_all(s, &mut c, &mut buf)?;
                s.latency(begun.elapsed());
                s.count(1);
            }
            Ok(())
        })?;
    }
    Ok(programs)
}

fn echo(s: &Shared, mut c: TcpStream) -> io::Result<()> {
    let mut buf = [0u8; SMALL];
    while read_all(s, &mut c, &mut buf)? {
        c.write_all(&buf)?;
    }
    Ok(())
}

/// Fills `buf`; false when the other side closed, or the end was called for.
fn read_all(s: &Shared, c: &mut TcpStream, buf: &mut [u8]) -> io::Result<bool> {
    let mut have = 0;
    while have < buf.len() {
        match c.read(buf.get_mut(have..).unwrap_or(&mut [])) {
            Ok(0) => return Ok(false),
            Ok(n) => have += n,
            Err(e) if timed_out(&e) && !s.stopped() => {}
            Err(e) if timed_out(&e) => return Ok(false),
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

/// `clients` clients that connect, ask once, read the answer to its end and connect again; the
/// server closes first. Counts connections.
pub fn connections(
    ends: (Arc<Netns>, Arc<Netns>, SocketAddrV4),
    clients: usize,
) -> Result<Programs> {
    let (client, server, to) = ends;
    let mut programs = Programs::default();
    let listener = Arc::new(listener(&server, to.port())?);
    for _ in 0..clients {
        let listener = Arc::clone(&listener);
        programs.spawn(&server, move |s| {
            while let Some(mut c) = accept(s, &listener)? {
                let mut buf = [0u8; SMALL];
                // A client that was told to end may leave at any point.
                if read_all(s, &mut c, &mut buf).unwrap_or(false) {
                    let _ = c.write_all(&buf);
                }
            }
            Ok(())
        })?;
        programs.spawn(&client, move |s| {
            while !s.stopped() {
                one_connection(s, to)?;
                s.count(1);
            }
            Ok(())
        })?;
    }
    Ok(programs)
}

fn one_connection(s: &Shared, to: SocketAddrV4) -> io::Result<()> {
    let mut c = dial(to)?;
    let mut buf = [0u8; SMALL];
    c.write_all(&buf)?;
    if read_all(s, &mut c, &mut buf)? {
        // The server's FIN.
        read_all(s, &mut c, &mut buf[..1])?;
    }
    Ok(())
}
