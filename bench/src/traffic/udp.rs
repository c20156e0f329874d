//! UDP: datagrams as fast as the sender can, counted where they arrive.

use super::{PATIENCE, Programs, timed_out};
use crate::Result;
use control::netns::Netns;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;

/// One flow of datagrams of `size` bytes; counts those delivered.
///
/// # Errors
/// When a namespace or socket fails.
pub fn flood(ends: (Arc<Netns>, Arc<Netns>, SocketAddrV4), size: usize) -> Result<Programs> {
    let (client, server, to) = ends;
    let mut programs = Programs::default();
    let socket = server.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, to.port())))??;
    socket.set_read_timeout(Some(PATIENCE))?;
    programs.spawn(&server, move |s| {
        let mut buf = [0u8; 2048];
        while !s.stopped() {
            match socket.recv(&mut buf) {
                Ok(_) => s.count(1),
                Err(e) if timed_out(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    })?;
    programs.spawn(&client, move |s| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(to)?;
        let buf = vec![0x5a; size];
        while !s.stopped() {
            match socket.send(&buf) {
                Ok(_) => {}
                // The receiver's end at the end of the run; a full queue on the way.
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    })?;
    Ok(programs)
}
