//! `--uplink nic`: the host's own interface, shared with the host.
//!
//! The kernel goes on serving the host by the same interface and address. The switch sees what
//! comes in beside it (`AF_PACKET`) and must not be answered over: so whatever external port is
//! the switch's has a socket of ours in the kernel, which no other program can have then, and
//! which hears nothing of what comes in by that interface.
//!
//! - `look`: what the host has now, and which interface, address and next hops follow from it;
//! - `hold`: the sockets that hold ports of masquerade, ahead of need;
//! - `claim`: only one switch on an interface.
//!
//! The listeners of published ports are the localhost relay's (`forward`). `daemon::nic` puts all
//! of it together and follows the host.

pub mod claim;
pub mod hold;
pub mod look;

pub use claim::Claim;
pub use hold::Holders;
pub use look::{Absent, Choice, View};
