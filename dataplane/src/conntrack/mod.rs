//! Level 3: connections. Knows pairs of tuples, no NAT.

pub mod observe;
pub mod state;
pub mod table;
pub mod tcp;
pub mod wheel;

pub use observe::{Observed, observe};
pub use table::{ConnReport, Conntrack};
pub use wheel::Wheel;
