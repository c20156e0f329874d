//! How the relay's sockets are made. All are non-blocking and closed on exec; the caller's
//! thread is in the host's namespace.

use dataplane::port::filter::not_from;
use dataplane::port::sys::filter;
use nix::sys::socket::{setsockopt, sockopt as nixopt};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect, listen, socket_with, sockopt,
};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Connections that the kernel may hold for us before we accept them (bounded by somaxconn).
pub(super) const BACKLOG: i32 = 4_096;

fn open(kind: SocketType) -> Result<OwnedFd, Errno> {
    socket_with(
        AddressFamily::INET,
        kind,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        None,
    )
}

fn from_nix(e: nix::errno::Errno) -> Errno {
    Errno::from_raw_os_error(e as i32)
}

/// Has a listener ignore what comes in by this interface, which the switch serves: the kernel
/// neither answers nor resets it then. `None`: it hears all.
pub(super) fn deaf_to(fd: &OwnedFd, uplink: Option<u32>) -> Result<(), Errno> {
    let done = match uplink {
        Some(index) => filter::attach(fd, &not_from(index)),
        None => filter::detach(fd),
    };
    done.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
}

/// A listening TCP socket. `SO_REUSEADDR` only spares it the wait for old connections
/// (TIME_WAIT); a second listener is still refused.
pub(super) fn tcp_listener(addr: SocketAddrV4, uplink: Option<u32>) -> Result<OwnedFd, Errno> {
    let fd = open(SocketType::STREAM)?;
    deaf_to(&fd, uplink)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    bind(&fd, &addr)?;
    listen(&fd, BACKLOG)?;
    Ok(fd)
}

/// A bound UDP socket that reports the address each datagram was sent to (ip(7), `IP_PKTINFO`).
pub(super) fn udp_listener(addr: SocketAddrV4, uplink: Option<u32>) -> Result<OwnedFd, Errno> {
    let fd = open(SocketType::DGRAM)?;
    deaf_to(&fd, uplink)?;
    setsockopt(&fd, nixopt::Ipv4PacketInfo, &true).map_err(from_nix)?;
    bind(&fd, &addr)?;
    Ok(fd)
}

/// Where upstream sockets come from.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    /// Their source address.
    pub gateway: Ipv4Addr,
    /// The only interface that they may leave by.
    pub device: Option<String>,
}

impl Upstream {
    fn open(&self, kind: SocketType) -> Result<OwnedFd, Errno> {
        let fd = open(kind)?;
        if let Some(device) = &self.device {
            let name = std::ffi::OsString::from(device);
            setsockopt(&fd, nixopt::BindToDevice, &name).map_err(from_nix)?;
        }
        // The kernel picks the port at connect, so that one port can serve several targets.
        setsockopt(&fd, nixopt::IpBindAddressNoPort, &true).map_err(from_nix)?;
        bind(&fd, &SocketAddrV4::new(self.gateway, 0))?;
        Ok(fd)
    }

    /// A TCP socket that connects to `target`; true: it already did.
    pub fn tcp(&self, target: SocketAddrV4) -> Result<(OwnedFd, bool), Errno> {
        let fd = self.open(SocketType::STREAM)?;
        stream_options(&fd);
        match connect(&fd, &target) {
            Ok(()) => Ok((fd, true)),
            Err(Errno::INPROGRESS) => Ok((fd, false)),
            Err(e) => Err(e),
        }
    }

    /// A UDP socket that sends to and hears from `target` only.
    pub fn udp(&self, target: SocketAddrV4) -> Result<OwnedFd, Errno> {
        let fd = self.open(SocketType::DGRAM)?;
        connect(&fd, &target)?;
        Ok(fd)
    }
}

/// What both streams of a relayed connection want: no delay of small writes, and an end if the
/// other side vanished (first probe after 10 minutes: idle connections may live for ever).
pub(super) fn stream_options(fd: &OwnedFd) {
    // None of these can fail on a TCP socket; if one does, the connection works without.
    let _ = sockopt::set_tcp_nodelay(fd, true);
    let _ = sockopt::set_socket_keepalive(fd, true);
    let _ = sockopt::set_tcp_keepidle(fd, Duration::from_secs(600));
    let _ = sockopt::set_tcp_keepintvl(fd, Duration::from_secs(60));
}

/// Closes a TCP socket with a reset: what it still had to send is thrown away.
pub(super) fn reset(fd: OwnedFd) {
    let _ = sockopt::set_socket_linger(&fd, Some(Duration::ZERO));
    drop(fd);
}
