//! Errors of the outside about datagrams of containers (ip(7), `IP_RECVERR`).

use super::dest::{DNS, Side};
use super::engine::Engine;
use super::stats::add;
use super::wire::{self, proto};
use crate::forward::slab::Key;
use dataplane::base::bytes::be32;
use dataplane::frame::VnetHdr;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg};
use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

impl Engine {
    /// Hands the socket's queued errors to the container as the ICMP messages that they were. An
    /// error of this host's own names no port and no datagram: the MTU that it tells of is given
    /// back, for the datagram at hand.
    pub(super) fn errors(&mut self, id: Key) -> Option<u32> {
        let mut mtu = None;
        // More than this at once are the next event's.
        for _ in 0..64 {
            let socket = self.datagrams.get_mut(id)?;
            let Some(error) = read_error(&socket.fd) else {
                break;
            };
            let (to, head, len, what, offender) = match error {
                Queued::Own(found) => {
                    mtu = found.or(mtu);
                    continue;
                }
                Queued::Icmp(to, head, len, what, offender) => (to, head, len, what, offender),
            };
            let (near, mac) = (socket.near, socket.mac);
            let (far, word) = match (near.echo, near.side) {
                (true, _) => {
                    let id = u32::from(near.at.port());
                    (
                        SocketAddrV4::new(*to.ip(), 0),
                        (id << 16) | (be32(&head, 4) & 0xffff),
                    )
                }
                (false, Side::Uplink) => (to, (len as u32 + 8) << 16),
                (false, Side::Host) => {
                    let at = SocketAddrV4::new(self.config.gateway, DNS);
                    (at, (len as u32 + 8) << 16)
                }
            };
            let src = match near.echo {
                true => SocketAddrV4::new(*near.at.ip(), 0x0800),
                false => near.at,
            };
            let (proto, inner) = match near.echo {
                true => (proto::ICMP, len),
                false => (proto::UDP, len + 8),
            };
            let quote = wire::quote(src, far, proto, inner, word);
            let from = match near.side {
                Side::Uplink => offender
                    .filter(|ip| self.can_be_client(*ip))
                    .unwrap_or(super::NEXT_HOP),
                Side::Host => self.config.gateway,
            };
            let link = self.link(near.side, mac);
            let bytes = wire::icmp_error(link, from, *near.at.ip(), what, &quote);
            add(&self.stats.errors_in, 1);
            self.say(near.side, bytes, VnetHdr::PLAIN);
        }
        mtu
    }
}

/// One entry of a socket's error queue.
enum Queued {
    /// The host itself refused a datagram; with the MTU if it was too long.
    Own(Option<u32>),
    /// An ICMP error: where the datagram went, its first bytes and length, type, code and rest,
    /// and who sent it.
    Icmp(
        SocketAddrV4,
        [u8; 8],
        usize,
        (u8, u8, u32),
        Option<Ipv4Addr>,
    ),
}

fn read_error(fd: &OwnedFd) -> Option<Queued> {
    let mut data = [0; 2_048];
    let mut control = nix::cmsg_space!([u8; 128]);
    let mut iov = [IoSliceMut::new(&mut data)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message =
        recvmsg::<SockaddrIn>(fd.as_raw_fd(), &mut iov, Some(&mut control), flags).ok()?;
    let (to, len) = (message.address, message.bytes);
    let mut found = None;
    for c in message.cmsgs().ok()? {
        if let ControlMessageOwned::Ipv4RecvErr(e, offender) = c {
            found = Some((e, offender));
        }
    }
    let (e, offender) = found?;
    if e.ee_origin != libc::SO_EE_ORIGIN_ICMP {
        let too_long = e.ee_errno == libc::EMSGSIZE as u32;
        return Some(Queued::Own(too_long.then_some(e.ee_info)));
    }
    let to = to?;
    let to = SocketAddrV4::new(to.ip(), to.port());
    let rest = match (e.ee_type, e.ee_code) {
        (3, 4) => e.ee_info & 0xffff,
        _ => 0,
    };
    let head = data.first_chunk().copied().unwrap_or([0; 8]);
    let ip = offender.map(|a| Ipv4Addr::from(u32::from_be(a.sin_addr.s_addr)));
    Some(Queued::Icmp(
        to,
        head,
        len,
        (e.ee_type, e.ee_code, rest),
        ip,
    ))
}
