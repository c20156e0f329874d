//! Level 0: newtypes with units, the table of drop reasons, counters, memory.

pub mod bytes;
pub mod config;
pub mod counters;
pub mod drop;
pub mod hash;
pub mod host;
pub mod ids;
pub mod mac;
pub mod mem;
pub mod quota;
pub mod sync;
pub mod time;
pub mod tuple;
pub mod wide;

pub use config::{Config, Limits, PortInfo, PortSpec, Timeouts, UplinkConfig};
pub use counters::Counters;
pub use drop::Reason;
pub use host::{HostNet, HostRoute, Via};
pub use ids::{PortId, Role, RuleId, Vid};
pub use mac::Mac;
pub use time::{Instant, Tick};
pub use tuple::{Proto, Tuple};
pub use wide::WideClock;
