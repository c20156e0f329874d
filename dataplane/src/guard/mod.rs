//! Level 2: what no port may send, whoever it is for. A few comparisons per frame, no state.
//!
//! [`check`] is for every frame that was parsed, [`routed`] for those that the switch is about to
//! route as well. Both know an address only by what it may be, not by whom it belongs to: that a
//! container uses another's address is seen by nobody here, as on docker0. ARP has its own rules
//! in `neigh`.

mod ipv6;
mod martian;
#[cfg(test)]
mod tests;

use crate::base::config::Config;
use crate::base::{Reason, Role};
use crate::frame::{L3, Parsed, parse};

/// What a port of one role may not send, drawn from the configuration once for a whole batch.
pub struct Guard {
    role: Role,
    /// As a number; of the host, whose it is, one that is no MAC.
    gateway_mac: u64,
    ours: martian::Ours,
}

impl Guard {
    /// For the frames of a port of `role`.
    #[inline]
    pub fn new(cfg: &Config, role: Role) -> Guard {
        Guard {
            role,
            gateway_mac: match role {
                Role::Host => u64::MAX,
                _ => cfg.gateway_mac.to_u64(),
            },
            ours: martian::Ours::new(cfg, role),
        }
    }

    /// Whether the port may send this frame.
    ///
    /// # Errors
    /// [`Reason::SrcMacGroup`], [`Reason::SrcMacZero`], [`Reason::SrcMacGateway`]; for IPv4
    /// [`Reason::Land`] and [`Reason::Martian`]; for IPv6 from a container [`Reason::RogueRa`],
    /// [`Reason::RogueRedirect`], [`Reason::RogueDhcpv6`] and [`Reason::Ipv6Chain`].
    #[inline(always)]
    pub fn check(&self, p: &Parsed, bytes: &[u8]) -> Result<(), Reason> {
        let (_, src) = parse::addresses(bytes);
        if src >> 40 & 1 == 1 {
            return Err(Reason::SrcMacGroup);
        }
        if src == self.gateway_mac {
            return Err(Reason::SrcMacGateway);
        }
        if src == 0 {
            return Err(Reason::SrcMacZero);
        }
        match p.l3 {
            L3::Ipv4 => martian::check(&self.ours, p),
            L3::Ipv6 if self.role == Role::Access => ipv6::check(p, bytes),
            _ => Ok(()),
        }
    }
}

/// [`Guard::check`] of one frame.
///
/// # Errors
/// As there.
#[inline]
pub fn check(cfg: &Config, role: Role, p: &Parsed, bytes: &[u8]) -> Result<(), Reason> {
    Guard::new(cfg, role).check(p, bytes)
}

/// Whether an IPv4 frame that passed [`check`] may be routed: sent to the gateway's MAC, or come
/// in by the uplink.
///
/// # Errors
/// [`Reason::GroupDestination`], [`Reason::Martian`]; from inside [`Reason::SourceNotInSubnet`].
/// None of them may be answered with an ICMP error.
#[inline]
pub fn routed(cfg: &Config, role: Role, p: &Parsed) -> Result<(), Reason> {
    martian::routed(cfg, role, p)
}
