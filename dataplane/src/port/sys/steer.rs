//! Which queue of a TAP a frame waits in, where one worker reads several.
//!
//! Nothing limits what a TCP connection has queued in a TAP but its window: the device takes frames
//! from their socket at once (`skb_orphan` in `tun_net_xmit`), so small queues are no help of the
//! sender's. A bulk stream keeps megabytes there, a millisecond and more, and whatever else the
//! container sends would wait behind them. So each flow gets a queue by its hash, and the worker
//! serves them in turn.
//!
//! The kernel's own choice goes by the queue to which the answers were written, which is what keeps
//! both directions of a flow at one of several workers (`home.rs`), but puts all flows into one queue where one
//! worker writes by one queue. A program of five instructions (`TUNSETSTEERINGEBPF`, Linux 4.16)
//! chooses instead, and spares the kernel its own hashing.

use super::bpf::{Insn, insn, load};
use super::ioctl;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// `BPF_PROG_TYPE_SOCKET_FILTER`.
const SOCKET_FILTER: u32 = 1;
/// Where `struct __sk_buff` has the flow's hash. Linux draws one for each TCP connection and each
/// connected UDP socket; frames without one have 0.
const HASH: i16 = 68;

/// Frames with a hash to one of the queues 1 to `lanes - 1`, all others (ARP, ping, datagrams
/// of unconnected sockets) to queue 0. `lanes` is at least 2.
const fn program(lanes: u8) -> [Insn; 5] {
    [
        insn(0x61, 0, 1, HASH, 0),
        insn(0x15, 0, 0, 2, 0),
        insn(0x97, 0, 0, 0, lanes as i32 - 1),
        insn(0x07, 0, 0, 0, 1),
        insn(0x95, 0, 0, 0, 0),
    ]
}

/// Lets flows of the TAP that `queue` belongs to have `lanes` queues.
///
/// # Errors
/// The kernel is too old, or forbids it (CAP_BPF): then there should be one queue.
pub(super) fn steer(queue: &OwnedFd, lanes: u8) -> io::Result<()> {
    let program = load(SOCKET_FILTER, 0, &program(lanes.max(2)))?;
    ioctl::set_steering(queue, program.as_raw_fd())
}
