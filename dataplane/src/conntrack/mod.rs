//! Level 3: connections. Knows pairs of tuples, no NAT.

pub mod observe;
pub mod state;
pub mod table;
pub mod tcp;
pub mod wheel;

pub use observe::{Observed, observe, observe_plain, observe_steady};
pub use table::{ConnReport, Conntrack};
pub use wheel::Wheel;
