//! The five calls to `/dev/net/tun` (linux/if_tun.h, Documentation/networking/tuntap.rst), and
//! what their errors mean to a person.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// `_IOR('T', 224, int)` in linux/if_tun.h, which the crate `libc` doesn't have.
const TUNSETSTEERINGEBPF: libc::Ioctl = libc::_IOR::<libc::c_int>(b'T' as u32, 224);

/// Longest interface name: `IFNAMSIZ` without the closing zero.
pub const NAME_MAX: usize = libc::IFNAMSIZ - 1;

/// Why a TAP could not be made. Each message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// There is no tun driver, or no device node.
    #[error(
        "no /dev/net/tun: load the driver (modprobe tun), or give this container the device \
         (--device /dev/net/tun)"
    )]
    NoDevice,
    /// The node exists but this user may not open it.
    #[error(
        "may not open /dev/net/tun: run as root, or let this user read and write it \
         (chmod 0666 /dev/net/tun)"
    )]
    OpenDenied,
    /// No right to make interfaces in this network namespace.
    #[error(
        "making a TAP interface needs CAP_NET_ADMIN in this network namespace: run as root, or \
         give the program the capability (setcap cap_net_admin+ep)"
    )]
    NeedsNetAdmin,
    /// An interface of this name is there already.
    #[error("an interface '{0}' exists already: choose another name or remove it")]
    Exists(String),
    /// No interface can have this name.
    #[error("'{0}' is no interface name: 1 to 15 bytes, no '/', ':' or space")]
    BadName(String),
    /// More queues than the kernel gives one device.
    #[error("the kernel refuses queue {0} of a TAP (at most 256): use fewer workers")]
    TooManyQueues(usize),
    /// Anything else, with the call that failed.
    #[error("{0} on /dev/net/tun failed: {1}")]
    Other(&'static str, #[source] io::Error),
}

impl From<TapError> for io::Error {
    fn from(e: TapError) -> io::Error {
        let kind = match &e {
            TapError::NoDevice => io::ErrorKind::NotFound,
            TapError::OpenDenied | TapError::NeedsNetAdmin => io::ErrorKind::PermissionDenied,
            TapError::Exists(_) => io::ErrorKind::AlreadyExists,
            TapError::BadName(_) | TapError::TooManyQueues(_) => io::ErrorKind::InvalidInput,
            TapError::Other(_, e) => e.kind(),
        };
        io::Error::new(kind, e)
    }
}

/// Refuses what the kernel would refuse or cut (`dev_valid_name` in net/core/dev.c). A `%d` is
/// replaced by the kernel with the first free number.
pub fn check_name(name: &str) -> Result<(), TapError> {
    let fits = !name.is_empty()
        && name.len() <= NAME_MAX
        && name != "."
        && name != ".."
        && !name
            .bytes()
            .any(|b| matches!(b, b'/' | b':') || b.is_ascii_whitespace() || b == 0);
    match fits {
        true => Ok(()),
        false => Err(TapError::BadName(name.to_owned())),
    }
}

/// Opens the clone device, non-blocking.
pub(super) fn open() -> Result<OwnedFd, TapError> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open("/dev/net/tun", flags, Mode::empty()).map_err(open_error)
}

/// What a failed `open` of the device node means.
pub(super) fn open_error(e: Errno) -> TapError {
    match e {
        Errno::NOENT | Errno::NODEV | Errno::NXIO => TapError::NoDevice,
        Errno::ACCESS | Errno::PERM => TapError::OpenDenied,
        e => TapError::Other("open", e.into()),
    }
}

/// `TUNSETIFF`: makes the interface, or attaches a further queue to it. Returns its name.
pub(super) fn set_iff(fd: &OwnedFd, name: &str, flags: libc::c_int) -> io::Result<String> {
    // SAFETY: ifreq is plain old data, for which all zeros is a value.
    let mut req: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in req.ifr_name.iter_mut().zip(name.bytes().take(NAME_MAX)) {
        *to = from as libc::c_char;
    }
    // The kernel reads 16 bits: IFF_TUN_EXCL is the highest of them.
    req.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: the descriptor is open for the whole call, and TUNSETIFF reads and writes one
    // ifreq, which `req` is.
    let r = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &raw mut req) };
    if r < 0 {
        return Err(io::Error::last_os_error());
    }
    let bytes: Vec<u8> = req.ifr_name.iter().map(|&c| c as u8).collect();
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    Ok(String::from_utf8_lossy(bytes.get(..end).unwrap_or(&[])).into_owned())
}

/// `TUNSETVNETHDRSZ`: the length of the header in front of each frame.
pub(super) fn set_vnet_hdr_len(fd: &OwnedFd, len: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open for the whole call, and TUNSETVNETHDRSZ reads one int.
    let r = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const len) };
    if r < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// `TUNSETOFFLOAD`: what the kernel may leave undone in the frames that we read. The mask is the
/// device's, not the queue's.
pub(super) fn set_offload(fd: &OwnedFd, mask: libc::c_uint) -> io::Result<()> {
    // SAFETY: the descriptor is open for the whole call; the argument is a number, no pointer.
    let r = unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            libc::TUNSETOFFLOAD,
            libc::c_ulong::from(mask),
        )
    };
    if r < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// `TUNSETSTEERINGEBPF`: the loaded program whose result is the queue of each frame. The kernel
/// keeps a reference of its own.
pub(super) fn set_steering(fd: &OwnedFd, program: RawFd) -> io::Result<()> {
    // SAFETY: the descriptor is open for the whole call, and TUNSETSTEERINGEBPF reads one int.
    let r = unsafe { libc::ioctl(fd.as_raw_fd(), TUNSETSTEERINGEBPF, &raw const program) };
    if r < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Whether an interface of this name exists in the calling thread's network namespace.
pub(super) fn exists(name: &str) -> bool {
    let Ok(c) = std::ffi::CString::new(name) else {
        return false;
    };
    // SAFETY: `c` is a string that ends in a zero byte and outlives the call.
    unsafe { libc::if_nametoindex(c.as_ptr()) != 0 }
}
