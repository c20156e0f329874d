//! conntrack

pub mod tcp;
pub mod wheel;
