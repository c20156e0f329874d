//! An existing interface as a port: `AF_PACKET` (packet(7)), for an uplink that shares the
//! interface and its address with the host.
//!
//! Facts that the code rests on (net/packet/af_packet.c):
//! - `PACKET_VNET_HDR` puts the header of a TAP in front of each frame: what the interface
//!   received as one (GRO) stays one, and what is sent may be a superframe with a partial
//!   checksum, which the driver or the kernel finishes.
//! - It has to be set before frames come, and the filter too: so the socket is bound last, and
//!   made for no protocol.
//! - `PACKET_IGNORE_OUTGOING` and the filter keep away what the host sends.
//! - An interface that goes down gives ENETDOWN once, then nothing; frames come again when it is
//!   up. One that is deleted looks the same: whoever watches the interface removes the port.
//! - What does not fit into the receive buffer is counted by the kernel (`PACKET_STATISTICS`,
//!   reset by reading).
//! - An interface with a raised `gro_ipv4_max_size` hands on TCP superframes beyond 64 KiB. The first
//!   comes cut off and is lost (`ipv4_total_length`); from then on there is room behind the slot
//!   (`long.rs`).
//!
//! Each frame is a `read` and a `writev`, as with a TAP: a ring would have to have slots of 64 KiB
//! for superframes, and copies once more into the batch. Not measured against `recvmmsg`.

use super::filter;
use super::long::Long;
use crate::frame::{Batch, VnetHdr};
use crate::port::filter::Insn;
use crate::port::{Caps, PortQueue, RecvError, SendError};
use rustix::io::Errno;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Weak};

/// Why an interface can't be used. Each message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// The capability is missing.
    #[error(
        "sharing an interface needs CAP_NET_RAW in its network namespace: run as root, or give \
         the program the capability (setcap cap_net_raw,cap_net_admin+ep)"
    )]
    NeedsNetRaw,
    /// No such interface.
    #[error("the interface is gone")]
    Gone,
    /// Anything else, with the call that failed.
    #[error("{0} on a packet socket failed: {1}")]
    Other(&'static str, #[source] io::Error),
}

// linux/if_packet.h
const PACKET_STATISTICS: libc::c_int = 6;
const PACKET_VNET_HDR: libc::c_int = 15;
const PACKET_FANOUT: libc::c_int = 18;
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
const FANOUT_HASH: u32 = 0;
/// The kernel chooses a group number that is free.
const FANOUT_UNIQUE: u32 = 0x2000;

/// Bytes that may wait to be read or to be sent by one queue: some milliseconds at 10 Gbit/s.
const RECEIVE_BUFFER: libc::c_int = 16 << 20;
const SEND_BUFFER: libc::c_int = 4 << 20;

/// `struct tpacket_stats`
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Statistics {
    packets: u32,
    drops: u32,
}

/// Opens the interface `index` of the calling thread's network namespace, with `queues` queues
/// (at least one) that share out what comes in by flow. Only what `program` shows comes in.
///
/// # Errors
/// See [`PacketError`].
pub fn open(
    index: u32,
    queues: usize,
    program: &[Insn],
) -> Result<(Vec<Box<dyn PortQueue>>, Filter), PacketError> {
    let sockets = (0..queues.max(1))
        .map(|_| socket(index, program).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()?;
    if sockets.len() > 1 {
        share_out(&sockets).map_err(|e| PacketError::Other("PACKET_FANOUT", e))?;
    }
    let filter = Filter(sockets.iter().map(Arc::downgrade).collect());
    let queues = sockets
        .into_iter()
        .map(|fd| Box::new(PacketQueue::new(fd)) as Box<dyn PortQueue>)
        .collect();
    Ok((queues, filter))
}

/// What the queues of an interface are shown can be changed while they are in use.
#[derive(Debug)]
pub struct Filter(Vec<Weak<OwnedFd>>);

impl Filter {
    /// Shows only what `program` says from now on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set(&self, program: &[Insn]) -> io::Result<()> {
        let mut open = self.0.iter().filter_map(Weak::upgrade);
        open.try_for_each(|fd| filter::attach(&*fd, program))
    }
}

fn socket(index: u32, program: &[Insn]) -> Result<OwnedFd, PacketError> {
    let flags = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: three numbers; the result is checked.
    let fd = unsafe { libc::socket(libc::AF_PACKET, flags, 0) };
    if fd < 0 {
        let e = io::Error::last_os_error();
        return Err(match e.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => PacketError::NeedsNetRaw,
            _ => PacketError::Other("socket", e),
        });
    }
    // SAFETY: a descriptor that was opened above and that nobody else knows of.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let other = |what| move |e| PacketError::Other(what, e);
    filter::attach(&fd, program).map_err(other("SO_ATTACH_FILTER"))?;
    filter::set(&fd, libc::SOL_PACKET, PACKET_VNET_HDR, &1_i32)
        .map_err(other("PACKET_VNET_HDR"))?;
    // Since Linux 4.20; before, the filter alone keeps it away.
    let _ = filter::set(&fd, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1_i32);
    for (force, plain, bytes) in [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_BUFFER),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_BUFFER),
    ] {
        // Without the capability as much as the system allows.
        if filter::set(&fd, libc::SOL_SOCKET, force, &bytes).is_err() {
            filter::set(&fd, libc::SOL_SOCKET, plain, &bytes).map_err(other("SO_RCVBUF"))?;
        }
    }
    bind(&fd, index).map_err(|e| match e.raw_os_error() {
        Some(libc::ENODEV | libc::ENXIO) => PacketError::Gone,
        _ => PacketError::Other("bind", e),
    })?;
    Ok(fd)
}

fn bind(fd: &OwnedFd, index: u32) -> io::Result<()> {
    // SAFETY: sockaddr_ll is plain old data, for which all zeros is a value.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = libc::AF_PACKET as libc::c_ushort;
    to.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    to.sll_ifindex = libc::c_int::try_from(index).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for the whole call, and `to` is a sockaddr_ll of the length
    // that is given.
    let r = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const to).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    match r {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Puts the sockets into one group whose members get a flow each.
fn share_out(sockets: &[Arc<OwnedFd>]) -> io::Result<()> {
    let mut group = (FANOUT_HASH | FANOUT_UNIQUE) << 16;
    for (n, fd) in sockets.iter().enumerate() {
        filter::set(&**fd, libc::SOL_PACKET, PACKET_FANOUT, &group)?;
        if n == 0 {
            let made: u32 = get(fd, PACKET_FANOUT)?;
            group = made & 0xffff | FANOUT_HASH << 16;
        }
    }
    Ok(())
}

/// `getsockopt(2)` of a packet socket for a value that is plain data.
fn get<T: Copy + Default>(fd: &OwnedFd, option: libc::c_int) -> io::Result<T> {
    let mut value = T::default();
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the whole call, and `value` is writable for `len` bytes;
    // the callers' types are made of integers, for which all bits are values.
    let r = unsafe {
        libc::getsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    match r {
        0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}

/// One worker's end of an interface.
#[derive(Debug)]
struct PacketQueue {
    fd: Arc<OwnedFd>,
    /// Where frames beyond 64 KiB are read, once one was seen.
    long: Option<Box<Long>>,
    /// A batch was filled since the kernel's losses were last asked for.
    behind: bool,
    lost: u64,
}

impl PacketQueue {
    fn new(fd: Arc<OwnedFd>) -> PacketQueue {
        PacketQueue {
            fd,
            long: None,
            behind: false,
            lost: 0,
        }
    }

    /// Asks for what was lost before it could be read, if there was reason to lose anything.
    fn ask(&mut self) {
        if std::mem::take(&mut self.behind) {
            let s: io::Result<Statistics> = get(&self.fd, PACKET_STATISTICS);
            self.lost += s.map_or(0, |s| u64::from(s.drops));
        }
    }
}

impl PortQueue for PacketQueue {
    /// The kernel finishes what the interface can't.
    fn caps(&self) -> Caps {
        Caps::ALL
    }

    fn recv(&mut self, batch: &mut Batch, budget: usize) -> Result<bool, RecvError> {
        let before = batch.len();
        while batch.takes_more(budget) {
            if self.long.is_some() && !Long::fits(batch) {
                break;
            }
            let Some(frame) = batch.next_slot() else {
                break;
            };
            let room = frame.rx_room(VnetHdr::LEN);
            let got = match &mut self.long {
                None => rustix::io::read(&*self.fd, &mut *room),
                Some(long) => {
                    let behind = IoSliceMut::new(long.behind(room.len()));
                    rustix::io::readv(&*self.fd, &mut [IoSliceMut::new(room), behind])
                }
            };
            match (got, &mut self.long) {
                (Ok(n), Some(long)) if Long::is(n) => {
                    long.begin(room);
                    self.lost += long.cut(n, batch);
                    continue;
                }
                (Ok(n), long) => {
                    if Long::is(n) {
                        *long = Some(Box::default());
                    }
                    let hdr = VnetHdr::decode(room.get(..n).unwrap_or(&[]))
                        .unwrap_or(VnetHdr::IMPOSSIBLE);
                    frame.set_received(n.saturating_sub(VnetHdr::LEN), hdr);
                }
                // Consumed, and of a kind that no header can describe.
                (Err(Errno::INVAL), _) => frame.set_received(0, VnetHdr::IMPOSSIBLE),
                (Err(Errno::AGAIN | Errno::NETDOWN), _) => {
                    self.ask();
                    return Ok(false);
                }
                (Err(Errno::INTR), _) => continue,
                (Err(_), _) if batch.len() > before => return Ok(true),
                (Err(e), _) => return Err(RecvError::Io(e.into())),
            }
            batch.commit();
        }
        self.behind = true;
        Ok(true)
    }

    fn lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    fn send(&mut self, hdr: &VnetHdr, parts: &[IoSlice<'_>]) -> Result<(), SendError> {
        super::write::write_with(&*self.fd, hdr, parts, send_error)
    }

    fn share(&self) -> Option<Box<dyn PortQueue>> {
        Some(Box::new(PacketQueue::new(Arc::clone(&self.fd))))
    }

    fn poll_fd(&self) -> Option<RawFd> {
        Some(self.fd.as_raw_fd())
    }
}

/// What a failed write means. An interface that is down or gone costs the frame, not the port.
fn send_error(e: Errno) -> SendError {
    match e {
        Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM => SendError::Full,
        Errno::INVAL | Errno::OPNOTSUPP => SendError::Refused,
        e => SendError::Io(e.into()),
    }
}
