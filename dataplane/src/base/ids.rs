//! Small identifiers, so that a port is never passed where a rule is meant.

use std::fmt;

/// A port of the switch: an index into its port table, below [`PortId::MAX_PORTS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PortId(pub u16);

impl PortId {
    /// Most ports that one switch can have at a time.
    pub const MAX_PORTS: usize = 4096;
    /// "No port": never in the table.
    pub const NONE: PortId = PortId(u16::MAX);

    /// The index into a table of ports.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port{}", self.0)
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a port is to the switch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// A container's interface: member of the bridge domain.
    Access,
    /// `sw0`, the host's interface: member of the bridge domain, owner of the gateway's MAC.
    Host,
    /// The outside world: not bridged, reached by routing only.
    Uplink,
}

/// A published-port rule, unique for the life of the switch. 0 is "no rule".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct RuleId(pub u32);

impl RuleId {
    /// "No rule made this".
    pub const NONE: RuleId = RuleId(0);
}

/// An 802.1Q VLAN identifier, 0 (untagged or priority-tagged) to 4094.
pub type Vid = u16;
