//! Attaching the programs of `port::filter` to sockets (socket(7), `SO_ATTACH_FILTER`). A new
//! program takes the place of the old one in one step.

use crate::port::filter::Insn;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Has `socket` shown only what `program` says.
///
/// # Errors
/// What the kernel says; it takes every program of `port::filter` on any kind of socket.
pub fn attach(socket: &impl AsFd, program: &[Insn]) -> io::Result<()> {
    let mut code: Vec<libc::sock_filter> = program
        .iter()
        .map(|i| libc::sock_filter {
            code: i.code,
            jt: i.jt,
            jf: i.jf,
            k: i.k,
        })
        .collect();
    let all = libc::sock_fprog {
        len: u16::try_from(code.len()).map_err(io::Error::other)?,
        filter: code.as_mut_ptr(),
    };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &all)
}

/// Has `socket` shown everything again.
///
/// # Errors
/// What the kernel says; a socket without a program is no error.
pub fn detach(socket: &impl AsFd) -> io::Result<()> {
    match set(socket, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0_i32) {
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        done => done,
    }
}

/// `setsockopt(2)` with a value that is plain data.
pub(super) fn set<T: Copy>(
    socket: &impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the descriptor is open for the whole call, and `value` is readable for the length
    // that is given. A pointer in it (sock_fprog) is the caller's, who keeps it alive.
    let r = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    match r {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
