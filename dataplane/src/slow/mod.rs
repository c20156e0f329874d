//! Level 4: everything that decides, for frames that no index knew. The only place that joins
//! `conntrack` and `nat`.

pub use crate::base::config::{self, Config, Limits, PortInfo, PortSpec, Timeouts, UplinkConfig};
