//! The memory module: zeroed tables on huge pages, and prefetch. With `port::sys` the only place
//! with `unsafe`.
#![allow(unsafe_code)]

use bytemuck::Zeroable;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::Deref;
use std::ptr::NonNull;

const HUGE: usize = 2 << 20;

/// A fixed-size array of `T`, all zero at first, aligned to a huge page when it is that large and
/// then advised to be backed by huge pages (`madvise(2)`, `MADV_HUGEPAGE`). Pages that are never
/// touched cost nothing.
pub struct Table<T> {
    ptr: NonNull<T>,
    len: usize,
    layout: Layout,
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
        let align = if bytes >= HUGE {
            HUGE
        } else {
            align_of::<T>().max(64)
        };
        let Ok(layout) = Layout::from_size_align(bytes, align) else {
            handle_alloc_error(Layout::new::<T>())
        };
        // SAFETY: the layout has a non-zero size.
        let raw = unsafe { alloc_zeroed(layout) };
        let Some(ptr) = NonNull::new(raw.cast::<T>()) else {
            handle_alloc_error(layout)
        };
        if bytes >= HUGE && !cfg!(miri) {
            // SAFETY: the range is ours and page-aligned; the advice changes no content, and a
            // refusal (no transparent huge pages) is harmless.
            unsafe { libc::madvise(raw.cast(), bytes, libc::MADV_HUGEPAGE) };
        }
        Table { ptr, len, layout }
    }
}

impl<T> Table<T> {
    /// Bytes of address space that the elements take, touched or not.
    pub const fn bytes(&self) -> u64 {
        self.layout.size() as u64
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
        // SAFETY: allocated in `zeroed` with this very layout; T needs no drop (asserted there).
        unsafe { dealloc(self.ptr.as_ptr().cast(), self.layout) };
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
}
