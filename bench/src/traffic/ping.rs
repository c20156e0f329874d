//! ICMP echo, back to back.

use super::{PATIENCE, Programs, Shared, timed_out};
use crate::Result;
use control::netns::Netns;
use dataplane::frame::checksum::{finish, sum};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, connect, recv, send,
    setsockopt, socket, sockopt,
};
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;

/// Sends an echo request of 64 bytes when the answer to the last one is there; counts answers and
/// keeps their times.
///
/// # Errors
/// When the thread can't be started.
pub fn ping(ends: (Arc<Netns>, Arc<Netns>, SocketAddrV4)) -> Result<Programs> {
    let (client, _, to) = ends;
    let mut programs = Programs::default();
    programs.spawn(&client, move |s| run(s, to))?;
    Ok(programs)
}

fn run(s: &Shared, to: SocketAddrV4) -> io::Result<()> {
    let fd = socket(
        AddressFamily::Inet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Icmp,
    )?;
    let limit = nix::sys::time::TimeVal::new(0, PATIENCE.subsec_micros().into());
    setsockopt(&fd, sockopt::ReceiveTimeout, &limit)?;
    let to = SocketAddrV4::new(*to.ip(), 0);
    connect(fd.as_raw_fd(), &SockaddrIn::from(to))?;
    let id = (std::process::id() as u16).to_be_bytes();
    let mut seq = 0u16;
    while !s.stopped() {
        seq = seq.wrapping_add(1);
        // RFC 792: type 8, code 0, checksum, identifier, sequence number, data.
        let mut packet = [0u8; 64];
        packet[0] = 8;
        packet[4..6].copy_from_slice(&id);
        packet[6..8].copy_from_slice(&seq.to_be_bytes());
        let c = finish(sum(&packet, 0));
        packet[2..4].copy_from_slice(&c.to_be_bytes());
        let begun = Instant::now();
        send(fd.as_raw_fd(), &packet, MsgFlags::empty())?;
        loop {
            // A raw socket gives the IP header too.
            let mut got = [0u8; 128];
            match recv(fd.as_raw_fd(), &mut got, MsgFlags::empty()).map_err(io::Error::from) {
                Ok(n) if n >= 28 && got[20] == 0 && got[24..28] == packet[4..8] => break,
                Ok(_) => {}
                Err(e) if timed_out(&e) && s.stopped() => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        s.latency(begun.elapsed());
        s.count(1);
    }
    Ok(())
}
