//! What an inside endpoint holds of the external ports.

/// One external port of an inside endpoint, and how many connections hold it.
pub(super) struct Hold {
    pub(super) external: u16,
    pub(super) connections: u32,
}

/// The external ports of an inside endpoint. The first is its mapping; further ones exist only
/// where a shared port clashed.
pub(super) struct Mapping {
    pub(super) first: Hold,
    pub(super) further: Vec<Hold>,
}

impl Mapping {
    /// One connection by `external`.
    pub(super) fn new(external: u16) -> Mapping {
        let connections = 1;
        Mapping {
            first: Hold {
                external,
                connections,
            },
            further: Vec::new(),
        }
    }

    pub(super) fn holds(&mut self) -> impl Iterator<Item = &mut Hold> {
        std::iter::once(&mut self.first).chain(&mut self.further)
    }

    /// Lets one connection go. Whether its port lost its last one, and whether all are gone.
    pub(super) fn release(&mut self, external: u16) -> (bool, bool) {
        let Some(i) = self.holds().position(|h| h.external == external) else {
            return (false, false);
        };
        // 0 is the first, i the further one of index i - 1.
        let Some(hold) = self.holds().nth(i) else {
            return (false, false);
        };
        hold.connections = hold.connections.saturating_sub(1);
        if hold.connections > 0 {
            return (false, false);
        }
        if i > 0 {
            self.further.remove(i - 1);
        } else if self.further.is_empty() {
            return (true, true);
        } else {
            self.first = self.further.remove(0);
        }
        (true, false)
    }
}
