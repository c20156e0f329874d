//! Outside worlds that are no interface of their own.

pub mod sockets;
