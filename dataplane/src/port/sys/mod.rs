//! The device back ends: with `base::mem` the only unsafe code.
#![allow(unsafe_code)]

mod bpf;
pub mod filter;
mod home;
mod ioctl;
mod long;
pub mod lookup;
pub mod packet;
mod steer;
pub mod tap;
pub mod tap_plain;
#[cfg(test)]
mod tests;
mod write;

pub use ioctl::{TapError, check_name};
