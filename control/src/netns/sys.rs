//! What needs `unsafe`: one query to nsfs, and code between `fork` and `exec`.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Whether a file is a network namespace (`NS_GET_NSTYPE`, ioctl_nsfs(2)).
pub fn is_netns(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: the descriptor is open for the whole call; the request takes no argument and
    // returns a number, and files of other kinds answer ENOTTY.
    let kind = unsafe { libc::ioctl(fd.as_raw_fd(), libc::NS_GET_NSTYPE) };
    kind == libc::CLONE_NEWNET
}

/// The user namespace that owns a namespace (`NS_GET_USERNS`, ioctl_nsfs(2)).
///
/// # Errors
/// EPERM when it is neither the caller's nor one below.
pub fn owner(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is open for the whole call; the request takes no argument and
    // returns a new descriptor, which is owned by nobody else.
    unsafe {
        let fd = libc::ioctl(fd.as_raw_fd(), libc::NS_GET_USERNS);
        match fd < 0 {
            true => Err(io::Error::last_os_error()),
            false => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// Takes over a descriptor that this process was started with.
///
/// # Errors
/// EBADF when it is not open, or one of the standard ones.
pub fn take_fd(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: the first call only asks. A descriptor above 2 that is open before this program
    // has opened any of that number was inherited: nothing else here owns it. The flag is set so
    // that no program started from here inherits it.
    unsafe {
        if number <= 2 || libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) < 0 {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        Ok(OwnedFd::from_raw_fd(number))
    }
}

/// Lets `cmd` start in new user, network and mount namespaces, where it is root over what it
/// makes there. `uid` and `gid` are the caller's own.
pub(super) fn start_in_user_namespace(cmd: &mut Command, uid: u32, gid: u32) {
    let uid_map = format!("0 {uid} 1");
    let gid_map = format!("0 {gid} 1");
    let child = move || -> io::Result<()> {
        let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNET | libc::CLONE_NEWNS;
        // SAFETY: the child of a fork has one thread, as CLONE_NEWUSER wants.
        if unsafe { libc::unshare(flags) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // user_namespaces(7): setgroups has to be given up before an ordinary user's gid_map.
        write(c"/proc/self/setgroups", b"deny")?;
        write(c"/proc/self/uid_map", uid_map.as_bytes())?;
        write(c"/proc/self/gid_map", gid_map.as_bytes())
    };
    // SAFETY: between fork and exec `child` makes only async-signal-safe calls (unshare, open,
    // write, close); the strings were formatted before.
    unsafe { cmd.pre_exec(child) };
}

fn write(path: &CStr, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: `path` ends in a zero byte, and `bytes` is valid for its length; the descriptor is
    // closed on each way out.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let n = libc::write(fd, bytes.as_ptr().cast(), bytes.len());
        let e = io::Error::last_os_error();
        libc::close(fd);
        match n < 0 {
            true => Err(e),
            false => Ok(()),
        }
    }
}

/// Lets `cmd` get SIGTERM when the thread that starts it ends, so that it does not outlive a
/// program that was killed (`PR_SET_PDEATHSIG`).
pub fn end_with_parent(cmd: &mut Command) -> &mut Command {
    let child = || -> io::Result<()> {
        // SAFETY: the call takes a number and touches no memory.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec `child` makes only one async-signal-safe call.
    unsafe { cmd.pre_exec(child) }
}
