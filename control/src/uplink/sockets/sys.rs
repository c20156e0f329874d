//! What needs `unsafe`: a socket option that no crate at hand knows.
#![allow(unsafe_code)]

use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd};

/// From where on `MSG_PEEK` reads; each peek moves it on, each read back (socket(7),
/// `SO_PEEK_OFF`).
///
/// # Errors
/// EOPNOTSUPP for TCP before Linux 6.9.
pub fn set_peek_off(fd: impl AsFd, offset: usize) -> Result<(), Errno> {
    let value = libc::c_int::try_from(offset).map_err(|_| Errno::INVAL)?;
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the whole call, which reads `size` bytes of `value`.
    let done = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEEK_OFF,
            (&raw const value).cast(),
            size,
        )
    };
    match done {
        0 => Ok(()),
        _ => {
            let e = std::io::Error::last_os_error();
            Err(Errno::from_io_error(&e).unwrap_or(Errno::INVAL))
        }
    }
}
