//! Datagrams to and from a socket of the host, with what travels beside them: the host's address
//! (ip(7), `IP_PKTINFO`), and the length of each of several that travel as one (udp(7),
//! `UDP_SEGMENT` and `UDP_GRO`).

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use rustix::io::Errno;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

/// What was received.
pub(super) struct Received {
    /// Bytes of payload.
    pub len: usize,
    /// The sender.
    pub from: Option<SocketAddrV4>,
    /// The host's address that it was sent to, if that was asked for.
    pub to: Option<Ipv4Addr>,
    /// Several datagrams of so many bytes; the last may be shorter.
    pub each: Option<u16>,
}

/// Has the kernel hand over several datagrams of one sender as one, where they came so.
pub(super) fn gather(fd: &OwnedFd) {
    // Without it (before Linux 5.0) each comes alone.
    let _ = setsockopt(fd, sockopt::UdpGroSegment, &true);
}

fn errno(e: nix::errno::Errno) -> Errno {
    Errno::from_raw_os_error(e as i32)
}

/// Receives without waiting.
pub(super) fn receive(fd: &OwnedFd, into: &mut [u8]) -> Result<Received, Errno> {
    let mut control = nix::cmsg_space!(libc::in_pktinfo, i32);
    let mut iov = [IoSliceMut::new(into)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrIn>(fd.as_raw_fd(), &mut iov, Some(&mut control), flags)
        .map_err(errno)?;
    let len = message.bytes;
    let (mut to, mut each) = (None, None);
    for c in message.cmsgs().into_iter().flatten() {
        match c {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                to = Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)));
            }
            ControlMessageOwned::UdpGroSegments(n) => {
                each = u16::try_from(n)
                    .ok()
                    .filter(|n| *n > 0 && len > usize::from(*n));
            }
            _ => {}
        }
    }
    let from = message.address.map(|a| SocketAddrV4::new(a.ip(), a.port()));
    Ok(Received {
        len,
        from,
        to,
        each,
    })
}

/// Sends without waiting: from an address of the host if one is given, and as datagrams of `each`
/// bytes if that is.
pub(super) fn send(
    fd: &OwnedFd,
    to: SocketAddrV4,
    data: &[IoSlice<'_>],
    from: Option<Ipv4Addr>,
    each: Option<u16>,
) -> Result<usize, Errno> {
    let info = from.map(|ip| libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr {
            s_addr: u32::from(ip).to_be(),
        },
        ipi_addr: libc::in_addr { s_addr: 0 },
    });
    let info = info.iter().map(ControlMessage::Ipv4PacketInfo);
    let each = each.iter().map(ControlMessage::UdpGsoSegments);
    let control: Vec<ControlMessage<'_>> = info.chain(each).collect();
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let to = SockaddrIn::from(to);
    sendmsg(fd.as_raw_fd(), data, &control, flags, Some(&to)).map_err(errno)
}

/// How many datagrams these bytes are.
pub(super) fn count(data: &[IoSlice<'_>], each: Option<u16>) -> u64 {
    let len: usize = data.iter().map(|d| d.len()).sum();
    each.map_or(1, |each| len.div_ceil(usize::from(each).max(1)) as u64)
}

/// Each datagram of those that came as one; an empty one is one, too.
pub(super) fn each_of(data: &[u8], one: usize) -> impl Iterator<Item = &[u8]> {
    let empty = data.is_empty().then_some(data);
    empty.into_iter().chain(data.chunks(one))
}

/// Whether the kernel does not cut what it was given: it can't (before Linux 4.18), there are too
/// many, or each alone would have to be fragmented.
pub(super) const fn uncut(e: Errno) -> bool {
    matches!(
        e,
        Errno::INVAL | Errno::MSGSIZE | Errno::IO | Errno::OPNOTSUPP | Errno::NOPROTOOPT
    )
}
