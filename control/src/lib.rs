//! The control side of switchd: what people type, what is checked, what is made in namespaces,
//! and how the packet path is told. It talks to the workers over channels only.

pub mod api;
pub mod attach;
pub mod awake;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod flags;
pub mod forward;
pub mod log;
pub mod netlink;
pub mod netns;
pub mod plan;
pub mod render;
pub mod replay;
pub(crate) mod resolv;
pub mod run;
pub mod signals;
pub mod uplink;
pub mod workers;
