//! The device back ends: with `base::mem` the only unsafe code.
#![allow(unsafe_code)]
