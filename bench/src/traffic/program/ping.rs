//! ICMP echo, back to back, as `ping -f` sends it to a peer that always answers, and timed as ping
//! does: until the kernel has the answer (SO_TIMESTAMPNS, socket(7)), not until this program runs
//! again. That wake-up is the same whatever carried the packets, and longer than all else.

use super::{GRACE, Meter, PATIENCE, timed_out};
use dataplane::frame::checksum::{finish, sum};
use nix::cmsg_space;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn,
    connect, recvmsg, send, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    setsockopt(&fd, sockopt::ReceiveTimestampns, &true)?;
    connect(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(to, 0)))?;
    let id = (std::process::id() as u16).to_be_bytes();
    let mut seq = 0u16;
    while !m.stopped() {
        seq = seq.wrapping_add(1);
        let packet = request(id, seq);
        let begun = SystemTime::now();
        send(fd.as_raw_fd(), &packet, MsgFlags::empty())?;
        m.sent(1);
        if let Some(at) = answered(&fd, &packet)? {
            m.took((UNIX_EPOCH + at).duration_since(begun).unwrap_or_default());
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

/// Waits for the answer and says when the kernel had it, since the epoch; `None` when it does not
/// come within [`GRACE`] limits of time.
fn answered(fd: &OwnedFd, packet: &[u8; 64]) -> io::Result<Option<Duration>> {
    let mut waited = 0;
    loop {
        // A raw socket gives the IP header too.
        let mut got = [0u8; 128];
        match receive(fd, &mut got) {
            Ok((n, at)) if n >= 28 && got[20] == 0 && got[24..28] == packet[4..8] => {
                return Ok(Some(at));
            }
            Ok(_) => {}
            Err(e) if timed_out(&e) => {
                waited += 1;
                if waited == GRACE {
                    return Ok(None);
                }
            }
            Err(e) => return Err(e),
        }
    }
}

/// A packet's length, and when it was received.
fn receive(fd: &OwnedFd, into: &mut [u8]) -> io::Result<(usize, Duration)> {
    let mut room = cmsg_space!(TimeSpec);
    let mut iov = [IoSliceMut::new(into)];
    let flags = MsgFlags::empty();
    let got = recvmsg::<()>(fd.as_raw_fd(), &mut iov, Some(&mut room), flags)?;
    let at = got.cmsgs()?.find_map(|c| match c {
        ControlMessageOwned::ScmTimestampns(t) => Some(Duration::from(t)),
        _ => None,
    });
    let at = at.ok_or_else(|| io::Error::other("a packet without the time of its reception"))?;
    Ok((got.bytes, at))
}
