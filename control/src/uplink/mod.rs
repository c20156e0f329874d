//! Outsides that are more than a namespace.

pub mod nic;
pub mod sockets;
