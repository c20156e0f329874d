//! A TAP with offloads: the default back end. Each of several workers has one queue of it, a
//! single worker has several ([`LANES`]).
//!
//! Facts that the code rests on (drivers/net/tun.c; each tried on Linux 6.18, `tests.rs`):
//! - An interface that is *down* reads as empty (EAGAIN) and refuses writes with EIO. One that is
//!   *gone* (deleted, or its namespace was) polls as POLLERR and gives EBADFD for both. So EIO
//!   costs a frame and EBADFD the port.
//! - A read whose superframe the kernel can't describe in a `virtio_net_hdr` fails with EINVAL and
//!   has consumed the frame.
//! - A further `TUNSETIFF` with the name of a multi-queue device attaches to it, whoever made it:
//!   `IFF_TUN_EXCL` on the first queue makes sure that the device is ours.
//! - The kernel answers a superframe of a kind that it doesn't know with EINVAL.
//! - With `hdr_len` 0 the kernel copies a superframe into one contiguous block (an allocation of
//!   up to 64 KiB); with the length of the headers it uses pages, from their beginning (`write.rs`).

use super::home::home;
use super::ioctl::{self, TapError};
use super::steer::steer;
use super::write::{send_error, set_apart, write_with};
use crate::base::Mac;
use crate::frame::{Batch, VnetHdr};
use crate::port::onward::Onward;
use crate::port::{Caps, PortQueue, RecvError, SendError};
use rustix::io::Errno;
use std::io::IoSlice;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// The kinds of offload that `--offload` can name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offload {
    /// Partial checksums; without them there are no superframes either.
    pub csum: bool,
    /// TCP superframes, IPv4 and IPv6, ECN included.
    pub tso: bool,
    /// UDP superframes; need Linux 6.2.
    pub uso: bool,
    /// TCP superframes beyond 64 KiB, towards the TAP ([`Caps::big`]); need Linux 6.3.
    pub big: bool,
}

impl Offload {
    /// Everything that the kernel has.
    pub const AUTO: Offload = Offload {
        csum: true,
        tso: true,
        uso: true,
        big: true,
    };
    /// Nothing: whole, finished frames.
    pub const NONE: Offload = Offload {
        csum: false,
        tso: false,
        uso: false,
        big: false,
    };

    /// The masks to try, best first. The last is 0, which every kernel takes.
    fn masks(self) -> Vec<libc::c_uint> {
        let tso = libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
        let ecn = libc::TUN_F_TSO_ECN;
        let uso = libc::TUN_F_USO4 | libc::TUN_F_USO6;
        let mut wanted = 0;
        if self.csum {
            wanted |= libc::TUN_F_CSUM;
            if self.tso {
                wanted |= tso | ecn;
            }
            if self.uso {
                wanted |= uso;
            }
        }
        let mut masks = vec![
            wanted,
            wanted & !uso,
            wanted & !(uso | ecn),
            wanted & libc::TUN_F_CSUM,
            0,
        ];
        masks.dedup();
        masks
    }
}

/// What a mask in force, and being asked for `big`, means for a queue's writer. There is no bit for
/// that: a TAP hands on what is written, and the stack behind it understands it or does not.
fn caps_of(mask: libc::c_uint, big: bool) -> Caps {
    let tso4 = mask & libc::TUN_F_TSO4 != 0;
    Caps {
        csum: mask & libc::TUN_F_CSUM != 0,
        tso4,
        tso6: mask & libc::TUN_F_TSO6 != 0,
        uso: mask & libc::TUN_F_USO4 != 0,
        big: big && tso4 && reads_big(&rustix::system::uname().release().to_string_lossy()),
    }
}

/// Whether the kernel of this release takes the length of a TCP superframe for the packet's where
/// the IPv4 header says 0 (`iph_totlen`, ip.h: since 6.3).
fn reads_big(release: &str) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(3))
}

/// Queues that a single worker reads of each TAP: one flow waits behind another's bulk in one of
/// seven cases (`steer.rs`).
pub const LANES: u8 = 8;

/// A TAP interface and all its queues. It lives as long as one of them does.
#[derive(Debug)]
pub struct TapDevice {
    /// The interface's name as the kernel gave it.
    pub name: String,
    /// One per worker.
    pub queues: Vec<TapQueue>,
    /// The offloads in force.
    pub caps: Caps,
}

impl TapDevice {
    /// Says which address the interface has or will be given: frames from others tell of a bridge
    /// behind it ([`PortQueue::passes_on`]).
    pub fn expect_source(&self, address: Mac) {
        let first = self.queues.first();
        first.inspect(|q| q.onward.expect_source(address));
    }

    /// The queues as the switch takes them.
    pub fn into_queues(self) -> Vec<Box<dyn PortQueue>> {
        boxed(self.queues)
    }
}

/// Makes a TAP in the calling thread's network namespace: down, without an address, with
/// `queues` queues (at least one). `%d` in the name becomes the first free number. What the
/// kernel refuses of `offload` is left out; [`TapDevice::caps`] says what is in force.
pub fn create(name: &str, queues: usize, offload: Offload) -> Result<TapDevice, TapError> {
    let (first, name, caps) = make(name, offload)?;
    let mut fds = vec![first];
    while fds.len() < queues {
        fds.push(further(&name, fds.len())?);
    }
    Ok(TapDevice {
        name,
        queues: one_lane_each(fds, caps, Onward::default()),
        caps,
    })
}

/// The same for one worker, with [`LANES`] queues over which flows are spread; with one where the
/// kernel lets nobody say which flow goes where (it needs CAP_BPF).
pub fn create_lanes(name: &str, offload: Offload) -> Result<TapDevice, TapError> {
    let (first, name, caps) = make(name, offload)?;
    let mut lanes = vec![first];
    if steer(&lanes[0], LANES).is_ok() {
        while lanes.len() < LANES.into() {
            lanes.push(further(&name, lanes.len())?);
        }
    }
    Ok(TapDevice {
        name,
        queues: vec![TapQueue {
            lanes: 0..lanes.len(),
            all: lanes.into(),
            caps,
            onward: Arc::default(),
        }],
        caps,
    })
}

/// Flags of every queue.
const FLAGS: libc::c_int =
    libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE;

/// The interface with its first queue, its name, and the offloads in force.
fn make(name: &str, offload: Offload) -> Result<(OwnedFd, String, Caps), TapError> {
    ioctl::check_name(name)?;
    let first = ioctl::open()?;
    let name =
        ioctl::set_iff(&first, name, FLAGS | libc::IFF_TUN_EXCL).map_err(|e| iff_error(name, e))?;
    ioctl::set_vnet_hdr_len(&first, VnetHdr::LEN as libc::c_int)
        .map_err(|e| TapError::Other("TUNSETVNETHDRSZ", e))?;
    let caps = negotiate(&first, offload)?;
    Ok((first, name, caps))
}

/// Another queue of an interface that has `so_many`.
fn further(name: &str, so_many: usize) -> Result<OwnedFd, TapError> {
    let fd = ioctl::open()?;
    ioctl::set_iff(&fd, name, FLAGS).map_err(|e| match e.raw_os_error() {
        Some(libc::E2BIG) => TapError::TooManyQueues(so_many + 1),
        _ => iff_error(name, e),
    })?;
    Ok(fd)
}

/// Queues of a TAP with this address that another process made as [`create`] does, and handed over.
pub fn adopt(queues: Vec<OwnedFd>, caps: Caps, address: Mac) -> Vec<Box<dyn PortQueue>> {
    let onward = Onward::default();
    onward.expect_source(address);
    boxed(one_lane_each(queues, caps, onward))
}

/// An end for each of several workers.
fn one_lane_each(fds: Vec<OwnedFd>, caps: Caps, onward: Onward) -> Vec<TapQueue> {
    let (all, onward) = (Arc::<[OwnedFd]>::from(fds), Arc::new(onward));
    let queue = |n| TapQueue {
        all: Arc::clone(&all),
        lanes: n..n + 1,
        caps,
        onward: Arc::clone(&onward),
    };
    (0..all.len()).map(queue).collect()
}

fn boxed(queues: Vec<TapQueue>) -> Vec<Box<dyn PortQueue>> {
    let boxes = queues.into_iter().map(|q| Box::new(q) as Box<_>);
    boxes.collect()
}

/// Sets the best mask that the kernel takes.
fn negotiate(fd: &OwnedFd, offload: Offload) -> Result<Caps, TapError> {
    let mut refused = None;
    for mask in offload.masks() {
        match ioctl::set_offload(fd, mask) {
            Ok(()) => return Ok(caps_of(mask, offload.big)),
            Err(e) => refused = Some(e),
        }
    }
    match refused {
        None => Ok(Caps::NONE),
        Some(e) => Err(TapError::Other("TUNSETOFFLOAD", e)),
    }
}

/// What a failed `TUNSETIFF` means.
pub(super) fn iff_error(name: &str, e: std::io::Error) -> TapError {
    match e.raw_os_error() {
        Some(libc::EPERM) => TapError::NeedsNetAdmin,
        Some(libc::EBUSY | libc::EEXIST) => TapError::Exists(name.to_owned()),
        // An interface of another kind has the name.
        Some(libc::EINVAL) if ioctl::exists(name) => TapError::Exists(name.to_owned()),
        _ => TapError::Other("TUNSETIFF", e),
    }
}

/// One worker's end of a TAP.
#[derive(Clone, Debug)]
pub struct TapQueue {
    /// Every queue of the interface.
    all: Arc<[OwnedFd]>,
    /// Which of them this worker reads, at least one.
    lanes: Range<usize>,
    caps: Caps,
    /// Whether what is written is passed on by whoever reads it: the same for all queues.
    onward: Arc<Onward>,
}

impl TapQueue {
    fn first(&self) -> &OwnedFd {
        &self.all[self.lanes.start]
    }

    fn lane(&self, lane: u8) -> Option<&OwnedFd> {
        self.all.get(self.lanes.clone())?.get(usize::from(lane))
    }

    /// By which queue a frame is written: a worker's first one, or where there are several workers
    /// that where its flow is at home.
    fn writer(&self, parts: &[IoSlice<'_>]) -> &OwnedFd {
        let home = match self.lanes.len() < self.all.len() {
            true => parts.first().and_then(|head| home(head, self.all.len())),
            false => None,
        };
        let fd = home.and_then(|n| self.all.get(n));
        fd.unwrap_or_else(|| self.first())
    }

    fn read_lane(&self, lane: u8, batch: &mut Batch, budget: usize) -> Result<bool, RecvError> {
        let Some(fd) = self.lane(lane) else {
            return Ok(false);
        };
        let before = batch.len();
        while batch.takes_more(budget) {
            let Some(frame) = batch.next_slot() else {
                return Ok(true);
            };
            let room = frame.rx_room(VnetHdr::LEN);
            match rustix::io::read(fd, &mut *room) {
                Ok(n) => {
                    let hdr = VnetHdr::decode(room.get(..n).unwrap_or(&[]))
                        .unwrap_or(VnetHdr::IMPOSSIBLE);
                    frame.set_received(n.saturating_sub(VnetHdr::LEN), hdr);
                }
                // Consumed, and lost in the kernel: an empty frame stands for it.
                Err(Errno::INVAL) => frame.set_received(0, VnetHdr::IMPOSSIBLE),
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => continue,
                // What was read before has to be processed first; the next call says why.
                Err(_) if batch.len() > before => return Ok(true),
                Err(Errno::BADFD | Errno::NODEV) => return Err(RecvError::Gone),
                Err(e) => return Err(RecvError::Io(e.into())),
            }
            batch.commit();
        }
        Ok(true)
    }

    /// Looks whether the last of what was just read was passed on to us.
    fn listen(&self, batch: &Batch, before: usize) {
        if self.caps.big
            && let Some(last) = batch.frames().get(before..).and_then(<[_]>::last)
        {
            self.onward.heard(last.bytes());
        }
    }
}

/// For those who move frames without a batch: each read and write is one, `virtio_net_hdr` first.
impl AsFd for TapQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.first().as_fd()
    }
}

impl PortQueue for TapQueue {
    fn caps(&self) -> Caps {
        self.caps
    }

    fn passes_on(&self) -> bool {
        self.onward.suspected()
    }

    fn lanes(&self) -> u8 {
        u8::try_from(self.lanes.len()).unwrap_or(LANES)
    }

    fn lane_fd(&self, lane: u8) -> Option<RawFd> {
        self.lane(lane).map(AsRawFd::as_raw_fd)
    }

    fn recv(&mut self, batch: &mut Batch, budget: usize) -> Result<bool, RecvError> {
        self.recv_lane(0, batch, budget)
    }

    fn recv_lane(&mut self, lane: u8, batch: &mut Batch, budget: usize) -> Result<bool, RecvError> {
        let before = batch.len();
        let more = self.read_lane(lane, batch, budget);
        self.listen(batch, before);
        more
    }

    fn share(&self) -> Option<Box<dyn PortQueue>> {
        Some(Box::new(self.clone()))
    }

    fn send(&mut self, hdr: &VnetHdr, parts: &[IoSlice<'_>]) -> Result<(), SendError> {
        write_with(
            self.writer(parts),
            &set_apart(hdr, parts),
            parts,
            send_error,
        )
    }

    fn poll_fd(&self) -> Option<RawFd> {
        self.lane_fd(0)
    }
}

#[cfg(test)]
mod release_tests {
    use super::reads_big;

    #[test]
    fn kernels_from_6_3_on_take_what_is_beyond_64_kib() {
        for old in ["", "weird", "2.6.60", "5.15.0-91-generic", "6.2.16", "6"] {
            assert!(!reads_big(old), "{old}");
        }
        for new in ["6.3.0", "6.3-rc1", "6.18.44-fc-v669", "7.0", "10.1"] {
            assert!(reads_big(new), "{new}");
        }
    }
}
