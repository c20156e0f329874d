//! Level 4: everything that decides, for frames that no index knew. The only place that joins
//! `conntrack` and `nat`.

pub mod config;

pub use config::{Config, Limits, Timeouts, UplinkConfig};
