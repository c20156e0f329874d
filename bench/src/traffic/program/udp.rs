//! UDP: datagrams as fast as the sender can, counted where they arrive.

use super::{Meter, PATIENCE, Programs, timed_out};
use crate::Result;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;

/// Receives, and after the end was called for what is still under way: until it was quiet twice,
/// since a machine that stood still for a while makes one limit run out.
pub(super) fn drain(p: &mut Programs, role: usize, port: u16) -> Result<()> {
    let socket = Arc::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?);
    socket.set_read_timeout(Some(PATIENCE))?;
    p.spawn(role, 1, move |m| {
        let mut buf = [0u8; 2048];
        let mut quiet = 0;
        loop {
            match socket.recv(&mut buf) {
                Ok(_) => {
                    m.got(1);
                    quiet = 0;
                }
                Err(e) if timed_out(&e) => {
                    quiet += u32::from(m.stopped());
                    if quiet == 2 {
                        return Ok(());
                    }
                }
                Err(e) => return Err(e),
            }
        }
    })
}

/// Sends one flow of datagrams of `size` bytes.
pub(super) fn flood(m: &mut Meter, to: SocketAddrV4, size: usize) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(to)?;
    let buf = vec![0x5a; size];
    while !m.stopped() {
        match socket.send(&buf) {
            Ok(_) => m.sent(1),
            // A full queue on the way.
            Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
