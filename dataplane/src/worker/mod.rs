//! worker

pub mod wait;
