//! Level 3: maps tuples to tuples. Knows rules and ports, no connections.

pub mod chains;
pub mod frag;
mod frag_datagram;
mod frag_sources;
pub mod icmp_error;
mod mapping;
mod portmap;
pub mod ports;
pub mod portset;
mod prf;
pub mod publication;
pub mod rules;
mod space;
mod tallies;
pub mod view;

pub use chains::{ChainCounters, NatReport, Tally};
pub use frag::{FragKey, FragTable, FragVerdict, Fragment, HeldFragment, Lost, Offered};
pub use ports::{Endpoint, InUse, Ports};
pub use portset::PortSet;
pub use publication::{Publication, PublishError, RuleReport};
pub use rules::Rules;
pub use view::Match;
