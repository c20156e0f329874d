//! Router advertisements, redirects and DHCPv6 server messages are for routers to send (RFC 6105,
//! RFC 7610). A container is none.

use crate::base::Reason;
use crate::frame::Parsed;
use crate::frame::parse::{Ipv6Control, ipv6_control};

/// Whether a container may send this IPv6 frame, tagged or not.
pub(super) fn check(p: &Parsed, bytes: &[u8]) -> Result<(), Reason> {
    match ipv6_control(bytes, p) {
        Ipv6Control::None => Ok(()),
        Ipv6Control::RouterAdvertisement => Err(Reason::RogueRa),
        Ipv6Control::Redirect => Err(Reason::RogueRedirect),
        Ipv6Control::DhcpServer => Err(Reason::RogueDhcpv6),
        Ipv6Control::Opaque => Err(Reason::Ipv6Chain),
    }
}
