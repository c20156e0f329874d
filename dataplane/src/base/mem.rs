//! The memory module: zeroed tables on huge pages, and prefetch. With `port::sys` the only place
//! with `unsafe`.
#![allow(unsafe_code)]

use bytemuck::Zeroable;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::Deref;
use std::ptr::NonNull;

const HUGE: usize = 2 << 20;

/// A fixed-size array of `T`, all zero at first. One of 2 MiB or more is a mapping of its own,
/// aligned to huge pages and advised to be backed by them (`madvise(2)`, `MADV_HUGEPAGE`) before
/// anything touches it: pages that were touched before the advice stay small, so the allocator,
/// which zeroes what it aligns, is no help. Pages that are never touched cost nothing.
pub struct Table<T> {
    ptr: NonNull<T>,
    len: usize,
    memory: Memory,
}

/// Where a table's bytes are.
enum Memory {
    /// The allocator's.
    Allocated(Layout),
    /// A private anonymous mapping: address and length.
    Mapped(NonNull<libc::c_void>, usize),
}

impl Memory {
    const fn bytes(&self) -> usize {
        match self {
            Memory::Allocated(layout) => layout.size(),
            Memory::Mapped(_, len) => *len - HUGE,
        }
    }
}

/// Maps `bytes` zeroes and gives their address, aligned to a huge page.
fn map(bytes: usize) -> Option<(NonNull<u8>, Memory)> {
    // One huge page more, of which alignment takes a part; what is left of it is never touched.
    let bytes = bytes.checked_next_multiple_of(HUGE)?;
    let len = bytes.checked_add(HUGE)?;
    let (access, kind) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
    );
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let raw = unsafe { libc::mmap(std::ptr::null_mut(), len, access, kind, -1, 0) };
    if raw == libc::MAP_FAILED {
        return None;
    }
    let start = raw.cast::<u8>();
    // SAFETY: the mapping is a huge page longer than `bytes`, so the range lies inside of it.
    let aligned = unsafe { start.add(start.align_offset(HUGE)) };
    // SAFETY: the range is ours; the advice changes no content, and a refusal (no transparent huge
    // pages) is harmless.
    unsafe { libc::madvise(aligned.cast(), bytes, libc::MADV_HUGEPAGE) };
    Some((
        NonNull::new(aligned)?,
        Memory::Mapped(NonNull::new(raw)?, len),
    ))
}

// SAFETY: a Table owns its elements as a Box<[T]> does.
unsafe impl<T: Send> Send for Table<T> {}
// SAFETY: a shared Table gives out only &T.
unsafe impl<T: Sync> Sync for Table<T> {}

impl<T: Zeroable> Table<T> {
    /// `len` zeroed elements. Aborts as `Vec` does when memory is out.
    pub fn zeroed(len: usize) -> Table<T> {
        const { assert!(!std::mem::needs_drop::<T>()) };
        let len = len.max(1);
        let bytes = len.saturating_mul(size_of::<T>()).max(1);
        let Ok(layout) = Layout::from_size_align(bytes, align_of::<T>().max(64)) else {
            handle_alloc_error(Layout::new::<T>())
        };
        // Miri knows no advice.
        let found = if bytes >= HUGE && !cfg!(miri) {
            map(bytes)
        } else {
            // SAFETY: the layout has a non-zero size.
            let raw = unsafe { alloc_zeroed(layout) };
            NonNull::new(raw).map(|p| (p, Memory::Allocated(layout)))
        };
        let Some((ptr, memory)) = found else {
            handle_alloc_error(layout)
        };
        Table {
            ptr: ptr.cast(),
            len,
            memory,
        }
    }
}

impl<T> Table<T> {
    /// Bytes of address space that the elements take, touched or not.
    pub const fn bytes(&self) -> u64 {
        self.memory.bytes() as u64
    }
}

impl<T> Deref for Table<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` elements were allocated and zeroed, and T: Zeroable makes that valid.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        match self.memory {
            // SAFETY: allocated in `zeroed` with this very layout; T needs no drop (asserted
            // there).
            Memory::Allocated(layout) => unsafe { dealloc(self.ptr.as_ptr().cast(), layout) },
            // SAFETY: the whole of the mapping that `zeroed` made, to which no reference is left.
            Memory::Mapped(start, len) => unsafe {
                libc::munmap(start.as_ptr(), len);
            },
        }
    }
}

/// Asks the CPU to bring the cache line of `t` near. A hint: no effect on what is computed.
#[inline(always)]
pub fn prefetch<T>(t: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching a valid reference has no architectural effect.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(
            std::ptr::from_ref(t).cast(),
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = t;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_zero_and_aligned() {
        for len in [0, 1, 1000, 1 << 20] {
            let t: Table<u64> = Table::zeroed(len);
            assert_eq!(t.len(), len.max(1));
            assert!(t.iter().all(|&v| v == 0));
            assert_eq!(t.as_ptr() as usize % 64, 0);
            prefetch(&t[0]);
        }
    }

    /// Bytes of this process that are in memory.
    fn resident() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    #[test]
    fn a_large_table_costs_memory_only_where_it_is_touched() {
        let before = resident();
        let t: Table<std::sync::atomic::AtomicU64> = Table::zeroed(1 << 27);
        assert_eq!(t.as_ptr() as usize % HUGE, 0);
        assert!(t.bytes() >= 1 << 30);
        t[1 << 26].store(7, std::sync::atomic::Ordering::Relaxed);
        let grown = resident().saturating_sub(before);
        assert!(grown < 1 << 28, "{grown} bytes of a table of {}", t.bytes());
    }
}
