//! The host's own interface as uplink: containers, LAN and the host itself by one address.

mod changes;
mod many;
mod pinging;
mod publishing;
mod refusals;
mod sharing;
mod strangers;
mod untouched;
