//! Which of the host's addresses a client of a published UDP port asked, so that the answer comes
//! from there (ip(7), `IP_PKTINFO`). A socket bound to one address needs none of it.

use super::datagram::Datagrams;
use super::engine::Engine;
use super::listen::LOCALS;
use crate::forward::slab::Key;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use rustix::io::Errno;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

/// Has the kernel tell with each datagram where it was sent to.
pub(super) fn watch(fd: &OwnedFd) {
    // Without it answers come from the address that the route prefers.
    let _ = setsockopt(fd, sockopt::Ipv4PacketInfo, &true);
}

/// Receives a datagram: its length, its sender, and the address that it was sent to.
pub(super) fn receive(
    socket: &Datagrams,
    into: &mut [u8],
) -> Result<(usize, Option<SocketAddrV4>, Option<Ipv4Addr>), Errno> {
    let mut control = nix::cmsg_space!(libc::in_pktinfo);
    let mut iov = [IoSliceMut::new(into)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let fd = socket.fd.as_raw_fd();
    let message = recvmsg::<SockaddrIn>(fd, &mut iov, Some(&mut control), flags)
        .map_err(|e| Errno::from_raw_os_error(e as i32))?;
    let mut asked = None;
    for c in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::Ipv4PacketInfo(info) = c {
            asked = Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)));
        }
    }
    let from = message.address.map(|a| SocketAddrV4::new(a.ip(), a.port()));
    Ok((message.bytes, from, asked))
}

impl Engine {
    /// Remembers which address a client asked.
    pub(super) fn remember_asked(&mut self, socket: Key, client: SocketAddrV4, asked: Ipv4Addr) {
        if self.asked.len() >= LOCALS {
            // Each comes back with its client's next datagram.
            self.asked.clear();
        }
        self.asked.insert((socket, client), asked);
    }

    /// Sends by a published port's socket, from the address that the client asked.
    pub(super) fn send_answer(
        &mut self,
        socket: Key,
        to: SocketAddrV4,
        data: &[IoSlice<'_>],
    ) -> Result<usize, Errno> {
        let asked = self.asked.get(&(socket, to)).copied();
        let Some(d) = self.datagrams.get_mut(socket) else {
            return Err(Errno::BADF);
        };
        let info = asked.map(|ip| libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr {
                s_addr: u32::from(ip).to_be(),
            },
            ipi_addr: libc::in_addr { s_addr: 0 },
        });
        let control: Vec<ControlMessage<'_>> =
            info.iter().map(ControlMessage::Ipv4PacketInfo).collect();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let to = SockaddrIn::from(to);
        sendmsg(d.fd.as_raw_fd(), data, &control, flags, Some(&to))
            .map_err(|e| Errno::from_raw_os_error(e as i32))
    }
}
