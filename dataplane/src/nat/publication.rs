//! What is published, and what the workers counted for it.

use crate::base::{Proto, RuleId};
use std::fmt;
use std::net::Ipv4Addr;

/// One `-p [HOST_IP:]PORT[-END]:CONTAINER_IP:PORT[-END]/PROTO`: one rule, however long the range.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Publication {
    /// TCP or UDP.
    pub proto: Proto,
    /// Only this local address; `None`: any.
    pub host_ip: Option<Ipv4Addr>,
    /// First external port, not 0.
    pub first: u16,
    /// Last external port, at least `first`.
    pub last: u16,
    /// The container.
    pub ip: Ipv4Addr,
    /// Container port of `first`; the rest follow in step.
    pub port: u16,
}

impl Publication {
    /// Container port of `last`.
    pub(super) const fn port_last(&self) -> u16 {
        self.port
            .saturating_add(self.last.saturating_sub(self.first))
    }
}

impl fmt::Display for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ip) = self.host_ip {
            write!(f, "{ip}:")?;
        }
        write!(f, "{}", self.first)?;
        if self.last != self.first {
            write!(f, "-{}", self.last)?;
        }
        write!(f, ":{}:{}", self.ip, self.port)?;
        if self.last != self.first {
            write!(f, "-{}", self.port_last())?;
        }
        write!(f, "/{}", self.proto.name())
    }
}

/// Why a publication was refused. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PublishError {
    /// Only TCP and UDP have ports.
    #[error("protocol {0} has no ports to publish (tcp or udp)")]
    Protocol(u8),
    /// Port 0, or a range that runs backwards or past 65535 on either side.
    #[error("{0}: ports must be 1 to 65535 and the ranges of equal length")]
    Range(Publication),
    /// Another rule already takes a port of this one on an overlapping address.
    #[error("{new} overlaps the published {old}")]
    Overlap {
        /// The refused one.
        new: Publication,
        /// The one in its way.
        old: Publication,
    },
}

/// A rule with its counters, as `switchctl rules` shows it. As in netfilter's nat table, only the
/// first packet of each connection is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleReport {
    /// The rule.
    pub id: RuleId,
    /// What it publishes.
    pub publication: Publication,
    /// Connections whose destination it translated: packets, bytes (chain DOCKER, target DNAT).
    pub dnat: (u64, u64),
    /// Hairpin connections whose source was translated too (chain POSTROUTING, MASQUERADE).
    pub masquerade: (u64, u64),
}
