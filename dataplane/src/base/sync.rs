//! What workers share is made of these: the standard library's atomics and locks, or under
//! `--cfg loom` loom's, so that the models in `tests/loom` run the very code of the packet path.
//!
//! loom's atomics are objects that can't be made from zeroed memory. There `Zeroable` stands for
//! `Default`, and a [`Table`] is a boxed slice.

#[cfg(not(loom))]
mod kind {
    pub use crate::base::mem::Table;
    pub use bytemuck::Zeroable;
    pub use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, fence};
    pub use std::sync::{Mutex, MutexGuard};
}

#[cfg(loom)]
mod kind {
    pub use loom::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, fence};
    pub use loom::sync::{Mutex, MutexGuard};
    pub use std::default::Default as Zeroable;

    /// A fixed-size array, blank at first.
    pub struct Table<T>(Box<[T]>);

    impl<T: Default> Table<T> {
        /// `len` blank elements.
        pub fn zeroed(len: usize) -> Table<T> {
            Table((0..len.max(1)).map(|_| T::default()).collect())
        }
    }

    impl<T> Table<T> {
        /// Bytes of the elements.
        pub const fn bytes(&self) -> u64 {
            (self.0.len() * size_of::<T>()) as u64
        }
    }

    impl<T> std::ops::Deref for Table<T> {
        type Target = [T];

        fn deref(&self) -> &[T] {
            &self.0
        }
    }
}

pub use kind::*;
