//! ICMP echo, back to back, as `ping -f` sends it to a peer that always answers.

use super::{GRACE, Meter, PATIENCE, timed_out};
use dataplane::frame::checksum::{finish, sum};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, connect, recv, send,
    setsockopt, socket, sockopt,
};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

/// Sends an echo request of 64 bytes when the answer to the last one is there, or lost.
pub(super) fn ping(m: &mut Meter, to: Ipv4Addr) -> io::Result<()> {
    let fd = socket(
        AddressFamily::Inet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::Icmp,
    )?;
    let limit = nix::sys::time::TimeVal::new(0, PATIENCE.subsec_micros().into());
    setsockopt(&fd, sockopt::ReceiveTimeout, &limit)?;
    connect(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(to, 0)))?;
    let id = (std::process::id() as u16).to_be_bytes();
    let mut seq = 0u16;
    while !m.stopped() {
        seq = seq.wrapping_add(1);
        let packet = request(id, seq);
        let begun = Instant::now();
        send(fd.as_raw_fd(), &packet, MsgFlags::empty())?;
        m.sent(1);
        if answered(&fd, &packet)? {
            m.time(begun);
            m.got(1);
        }
    }
    Ok(())
}

/// RFC 792: type 8, code 0, checksum, identifier, sequence number, data.
fn request(id: [u8; 2], seq: u16) -> [u8; 64] {
    let mut packet = [0u8; 64];
    packet[0] = 8;
    packet[4..6].copy_from_slice(&id);
    packet[6..8].copy_from_slice(&seq.to_be_bytes());
    let c = finish(sum(&packet, 0));
    packet[2..4].copy_from_slice(&c.to_be_bytes());
    packet
}

/// Waits for the answer; false when it does not come within [`GRACE`] limits of time.
fn answered(fd: &OwnedFd, packet: &[u8; 64]) -> io::Result<bool> {
    let mut waited = 0;
    loop {
        // A raw socket gives the IP header too.
        let mut got = [0u8; 128];
        match recv(fd.as_raw_fd(), &mut got, MsgFlags::empty()).map_err(io::Error::from) {
            Ok(n) if n >= 28 && got[20] == 0 && got[24..28] == packet[4..8] => return Ok(true),
            Ok(_) => {}
            Err(e) if timed_out(&e) => {
                waited += 1;
                if waited == GRACE {
                    return Ok(false);
                }
            }
            Err(e) => return Err(e),
        }
    }
}
