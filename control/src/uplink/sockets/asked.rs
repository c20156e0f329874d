//! Which of the host's addresses a client of a published UDP port asked, so that the answer comes
//! from there (ip(7), `IP_PKTINFO`). A socket bound to one address needs none of it.

use super::engine::Engine;
use super::listen::LOCALS;
use super::message;
use crate::forward::slab::Key;
use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::Errno;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

/// Has the kernel tell with each datagram where it was sent to.
pub(super) fn watch(fd: &OwnedFd) {
    // Without it answers come from the address that the route prefers.
    let _ = setsockopt(fd, sockopt::Ipv4PacketInfo, &true);
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

    /// Sends by a published port's socket, from the address that the client asked; `each` as in
    /// [`message::send`].
    pub(super) fn send_answer(
        &mut self,
        socket: Key,
        to: SocketAddrV4,
        data: &[IoSlice<'_>],
        each: Option<u16>,
    ) -> Result<usize, Errno> {
        let asked = self.asked.get(&(socket, to)).copied();
        let Some(d) = self.datagrams.get_mut(socket) else {
            return Err(Errno::BADF);
        };
        message::send(&d.fd, to, data, asked, each)
    }
}
