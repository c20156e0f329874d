//! Level 4: everything that decides, for frames that no index knew. The only place that joins
//! `conntrack` and `nat`.
//!
//! [`route`] is a packet's way through it; [`connect`] opens connections by the rules, [`forward`]
//! sends what belongs to one, [`icmp`] translates errors, [`error`] makes them, [`arp`] and
//! [`next_hop`] deal with neighbours, [`multicast`] with groups inside the bridge; [`lent`] holds
//! first packets for which there is no port yet, [`external`] takes ports and ends connections,
//! [`orphans`] is about those whose address is gone. [`switch`] is what all of it shares, with its
//! table of [`ports`]; [`settings`] is how a worker reads what is replaced whole, [`ctx`] what one
//! batch sees.

pub mod arp;
pub mod budget;
pub mod connect;
pub mod ctx;
pub mod error;
pub mod external;
pub mod forward;
pub mod icmp;
pub mod lent;
pub mod multicast;
pub mod next_hop;
pub mod orphans;
pub mod ports;
pub mod route;
pub mod settings;
pub mod switch;

pub use crate::base::config::{self, Config, Limits, PortInfo, PortSpec, Timeouts, UplinkConfig};
pub use ctx::Verdict;
pub use switch::Switch;
