//! conntrack

pub mod wheel;
