//! The call `bpf(2)` as far as it is needed here (linux/bpf.h): maps, programs, links.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

const PROG_LOAD: libc::c_int = 5;

/// The part of `union bpf_attr` that the calls here use.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Attributes([u64; 16]);

impl Attributes {
    /// From 32-bit fields at their byte offsets, the pointers at theirs, the rest zero.
    pub(super) fn new(small: &[(usize, u32)], large: &[(usize, u64)]) -> Attributes {
        let mut bytes = [0u8; 128];
        let mut put = |at: usize, value: &[u8]| {
            if let Some(to) = bytes.get_mut(at..at + value.len()) {
                to.copy_from_slice(value);
            }
        };
        small.iter().for_each(|(at, v)| put(*at, &v.to_ne_bytes()));
        large.iter().for_each(|(at, v)| put(*at, &v.to_ne_bytes()));
        let mut words = [0; 16];
        for (word, eight) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_ne_bytes(*eight);
        }
        Attributes(words)
    }
}

/// `bpf(2)`. The caller keeps alive what the pointers in `attributes` lead to.
pub(super) fn bpf(command: libc::c_int, attributes: &Attributes) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads `attributes`, which is as long as is said, and through its pointers
    // what the callers here keep alive until this returns; it writes nothing for these commands.
    let r = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<Attributes>(),
        )
    };
    match r {
        0.. => Ok(r),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A `bpf(2)` whose result is a new descriptor.
pub(super) fn made(command: libc::c_int, attributes: &Attributes) -> io::Result<OwnedFd> {
    let fd = bpf(command, attributes)?;
    let fd = libc::c_int::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: a descriptor that the call has just opened and that nobody else knows of.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// One instruction (`struct bpf_insn`).
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Insn {
    pub(super) code: u8,
    /// Source register in the high, destination in the low half (little-endian machines).
    registers: u8,
    pub(super) offset: i16,
    immediate: i32,
}

pub(super) const fn insn(code: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> Insn {
    let registers = match cfg!(target_endian = "little") {
        true => src << 4 | dst,
        false => dst << 4 | src,
    };
    Insn {
        code,
        registers,
        offset,
        immediate,
    }
}

/// Loads a program of `kind`, to be attached as `attach` (0 where that says nothing).
///
/// # Errors
/// The kernel forbids it (CAP_BPF), knows no such kind, or its verifier refuses the program.
pub(super) fn load(kind: u32, attach: u32, program: &[Insn]) -> io::Result<OwnedFd> {
    let pointers = [
        (8, program.as_ptr().expose_provenance() as u64),
        (16, c"Apache-2.0".as_ptr().expose_provenance() as u64),
    ];
    let count = u32::try_from(program.len()).map_err(io::Error::other)?;
    let small = [(0, kind), (4, count), (68, attach)];
    made(PROG_LOAD, &Attributes::new(&small, &pointers))
}
