//! External ports for masquerade. Read RFC 4787 sections 4.1 to 4.2.2 and RFC 6056 first.
//!
//! A mapping belongs to an inside endpoint (protocol, address, port), not to a destination
//! (endpoint-independent, REQ-1), and lives as long as a connection holds it. A port is kept
//! where it is free, else drawn at random from its own range (0–1023 or 1024–65535, REQ-3a) and,
//! for UDP, parity (REQ-4). Only when nothing is free may one port serve several inside
//! endpoints towards different destinations, as Linux always does: [`Ports::acquire_overloaded`].

use super::portset::{Parity, PortSet};
use super::prf::Prf;
use crate::base::hash::KeyedState;
use crate::base::mem::Table;
use crate::base::{Proto, Reason};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

/// An inside address and port (ICMP: identifier).
pub type Endpoint = (Ipv4Addr, u16);

/// Random ports that are looked at before the bitmap is searched, so that a half-empty range
/// gives every free port the same chance.
const PROBES: usize = 2;
/// Random ports that are tried for sharing before a connection is refused.
const SHARE_PROBES: usize = 128;

/// How many external ports are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InUse {
    /// TCP ports.
    pub tcp: u32,
    /// UDP ports.
    pub udp: u32,
    /// ICMP identifiers.
    pub icmp: u32,
}

/// The external ports of one protocol.
struct Space {
    taken: PortSet,
    /// Mappings that use each port: above 1 only when it is shared.
    users: Table<AtomicU32>,
    /// The inside endpoint that took the port for itself: a set bit, address, port. 0: none.
    owner: Table<AtomicU64>,
    count: AtomicU32,
}

fn pack((ip, port): Endpoint) -> u64 {
    1 << 48 | u64::from(ip.to_bits()) << 16 | u64::from(port)
}

impl Space {
    fn new() -> Space {
        Space {
            taken: PortSet::new(),
            users: Table::zeroed(1 << 16),
            owner: Table::zeroed(1 << 16),
            count: AtomicU32::new(0),
        }
    }

    /// Takes `port` if nobody has it.
    fn claim(&self, port: u16, inside: Endpoint) -> bool {
        if !self.taken.insert(port) {
            return false;
        }
        if let (Some(users), Some(owner)) = self.cells(port) {
            owner.store(pack(inside), SeqCst);
            users.store(1, SeqCst);
        }
        self.count.fetch_add(1, SeqCst);
        true
    }

    /// Joins the users of `port`. False if it has none (any more).
    fn share(&self, port: u16) -> bool {
        let more = |n: u32| if n > 0 { n.checked_add(1) } else { None };
        self.cells(port)
            .0
            .is_some_and(|u| u.fetch_update(SeqCst, SeqCst, more).is_ok())
    }

    /// Leaves `port`; the last user frees it.
    fn leave(&self, port: u16, inside: Endpoint) {
        let (Some(users), Some(owner)) = self.cells(port) else {
            return;
        };
        // If another endpoint has it, it stays.
        let _ = owner.compare_exchange(pack(inside), 0, SeqCst, SeqCst);
        if users.fetch_sub(1, SeqCst) == 1 {
            self.count.fetch_sub(1, SeqCst);
            self.taken.remove(port);
        }
    }

    fn cells(&self, port: u16) -> (Option<&AtomicU32>, Option<&AtomicU64>) {
        let i = usize::from(port);
        (self.users.get(i), self.owner.get(i))
    }
}

/// One external port of an inside endpoint, and how many connections hold it.
struct Hold {
    external: u16,
    connections: u32,
}

/// The external ports of an inside endpoint. The first is its mapping; further ones exist only
/// where a shared port clashed.
struct Mapping {
    first: Hold,
    further: Vec<Hold>,
}

impl Mapping {
    fn new(external: u16) -> Mapping {
        let connections = 1;
        Mapping {
            first: Hold {
                external,
                connections,
            },
            further: Vec::new(),
        }
    }

    fn holds(&mut self) -> impl Iterator<Item = &mut Hold> {
        std::iter::once(&mut self.first).chain(&mut self.further)
    }

    /// Lets one connection go. Whether its port lost its last one, and whether all are gone.
    fn release(&mut self, external: u16) -> (bool, bool) {
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

/// What an inside endpoint may be given.
struct Wish {
    range: (u16, u16),
    parity: Parity,
    /// Its own port, if it could be kept.
    keep: Option<u16>,
}

impl Wish {
    fn new(proto: Proto, port: u16) -> Wish {
        let range = match (proto, port) {
            (Proto::ICMP, _) => (0, u16::MAX),
            (_, 1..=1023) => (1, 1023),
            _ => (1024, u16::MAX),
        };
        Wish {
            range,
            parity: if proto == Proto::UDP {
                Parity::of(port)
            } else {
                Parity::Any
            },
            keep: (range.0..=range.1).contains(&port).then_some(port),
        }
    }

    /// A random port of the range and parity; `None` when setting the parity left the range.
    fn draw(&self, prf: &Prf) -> Option<u16> {
        let p = prf.draw_port(self.range.0, self.range.1);
        let p = match self.parity {
            Parity::Any => p,
            Parity::Even => p & !1,
            Parity::Odd => p | 1,
        };
        (self.range.0..=self.range.1).contains(&p).then_some(p)
    }
}

/// The external ports of all protocols. Shared by the workers.
pub struct Ports {
    tcp: Space,
    udp: Space,
    icmp: Space,
    mappings: DashMap<(Proto, Endpoint), Mapping, KeyedState>,
    prf: Prf,
}

impl Ports {
    /// No port taken. `seed` is the secret of the random choice.
    pub fn new(seed: [u64; 3]) -> Ports {
        Ports {
            tcp: Space::new(),
            udp: Space::new(),
            icmp: Space::new(),
            mappings: DashMap::with_hasher(KeyedState::random()),
            prf: Prf::new(seed),
        }
    }

    fn space(&self, proto: Proto) -> Result<&Space, Reason> {
        match proto {
            Proto::TCP => Ok(&self.tcp),
            Proto::UDP => Ok(&self.udp),
            Proto::ICMP => Ok(&self.icmp),
            _ => Err(Reason::ProtoUnsupported),
        }
    }

    /// The external port of `inside`, for one more connection: the one it has, else `own`, else
    /// its own number, else a random one. Give it back with [`Ports::release`].
    ///
    /// `published` are ports that belong to publications and are not given out. `own` is the
    /// exception: the port by which this very endpoint is published
    /// ([`super::Rules::by_target`]). For ICMP the port is the identifier.
    ///
    /// The port may be shared: whether the reply tuple is free is for the caller to see, and to
    /// answer with a release and [`Ports::acquire_overloaded`].
    ///
    /// # Errors
    /// [`Reason::PortsExhausted`] when no port of the range is free, [`Reason::ProtoUnsupported`]
    /// for other protocols than TCP, UDP and ICMP.
    pub fn acquire(
        &self,
        proto: Proto,
        inside: Endpoint,
        own: Option<u16>,
        published: &PortSet,
    ) -> Result<u16, Reason> {
        let space = self.space(proto)?;
        match self.mappings.entry((proto, inside)) {
            Entry::Occupied(mut e) => {
                let hold = &mut e.get_mut().first;
                hold.connections = hold.connections.saturating_add(1);
                Ok(hold.external)
            }
            Entry::Vacant(e) => {
                let external = own
                    .filter(|p| space.claim(*p, inside))
                    .or_else(|| self.free_port(proto, space, inside, published))
                    .ok_or(Reason::PortsExhausted)?;
                e.insert(Mapping::new(external));
                Ok(external)
            }
        }
    }

    /// An external port for a connection of `inside` whose reply tuple is not in use, when
    /// [`Ports::acquire`] found none free or gave one that clashes: a port that `inside` has
    /// already, else a free one, else one that others use towards other destinations.
    ///
    /// `clash` says whether a port would make a reply tuple that is taken; it is asked up to 128
    /// times and must not call back into `self`.
    ///
    /// # Errors
    /// As [`Ports::acquire`].
    pub fn acquire_overloaded(
        &self,
        proto: Proto,
        inside: Endpoint,
        published: &PortSet,
        clash: impl Fn(u16) -> bool,
    ) -> Result<u16, Reason> {
        let space = self.space(proto)?;
        match self.mappings.entry((proto, inside)) {
            Entry::Occupied(mut e) => {
                if let Some(hold) = e.get_mut().holds().find(|h| !clash(h.external)) {
                    hold.connections = hold.connections.saturating_add(1);
                    return Ok(hold.external);
                }
                let external = self.any_port(proto, space, inside, published, clash)?;
                e.get_mut().further.push(Hold {
                    external,
                    connections: 1,
                });
                Ok(external)
            }
            Entry::Vacant(e) => {
                let external = self.any_port(proto, space, inside, published, clash)?;
                e.insert(Mapping::new(external));
                Ok(external)
            }
        }
    }

    /// Gives one connection's hold on `external` back. With the last one the port is free. A
    /// port that `inside` does not hold changes nothing.
    pub fn release(&self, proto: Proto, inside: Endpoint, external: u16) {
        let Ok(space) = self.space(proto) else {
            return;
        };
        self.mappings.remove_if_mut(&(proto, inside), |_, m| {
            let (port_gone, mapping_gone) = m.release(external);
            if port_gone {
                // Still under the entry's lock: the same endpoint can get the same port at once.
                space.leave(external, inside);
            }
            mapping_gone
        });
    }

    /// The inside endpoint that has `external` for itself, or had it first if it is shared now.
    pub fn lookup(&self, proto: Proto, external: u16) -> Option<Endpoint> {
        let v = self.space(proto).ok()?.cells(external).1?.load(SeqCst);
        (v != 0).then(|| (Ipv4Addr::from_bits((v >> 16) as u32), v as u16))
    }

    /// Taken ports by protocol.
    pub fn in_use(&self) -> InUse {
        InUse {
            tcp: self.tcp.count.load(SeqCst),
            udp: self.udp.count.load(SeqCst),
            icmp: self.icmp.count.load(SeqCst),
        }
    }

    /// Bytes of the tables of ports and of the mappings.
    pub fn bytes(&self) -> u64 {
        // The map keeps one of eight slots free, and a byte of hash beside each.
        let slot = size_of::<((Proto, Endpoint), Mapping)>() + 1;
        let map = self.mappings.capacity() * 8 / 7 * slot;
        let spaces = [&self.tcp, &self.udp, &self.icmp];
        spaces
            .iter()
            .map(|s| s.users.bytes() + s.owner.bytes())
            .sum::<u64>()
            + map as u64
    }

    /// Inside endpoints that have a mapping.
    pub fn mappings(&self) -> usize {
        self.mappings.len()
    }

    /// Claims a free port for `inside`.
    fn free_port(
        &self,
        proto: Proto,
        space: &Space,
        inside: Endpoint,
        published: &PortSet,
    ) -> Option<u16> {
        let wish = Wish::new(proto, inside.1);
        let get = |p: &u16| !published.contains(*p) && space.claim(*p, inside);
        if let Some(p) = wish.keep.filter(get) {
            return Some(p);
        }
        if let Some(p) = (0..PROBES).filter_map(|_| wish.draw(&self.prf)).find(get) {
            return Some(p);
        }
        // The other parity is better than a shared port.
        [wish.parity, Parity::Any].into_iter().find_map(|parity| {
            // Another thread may claim what was found; then look again.
            loop {
                let start = self.prf.draw_port(wish.range.0, wish.range.1);
                let p = space
                    .taken
                    .find_free(published, wish.range, parity, start)?;
                if space.claim(p, inside) {
                    return Some(p);
                }
            }
        })
    }

    /// A free port that does not clash, else one to share.
    fn any_port(
        &self,
        proto: Proto,
        space: &Space,
        inside: Endpoint,
        published: &PortSet,
        clash: impl Fn(u16) -> bool,
    ) -> Result<u16, Reason> {
        if let Some(p) = self.free_port(proto, space, inside, published) {
            if !clash(p) {
                return Ok(p);
            }
            space.leave(p, inside);
        }
        let wish = Wish::new(proto, inside.1);
        (0..SHARE_PROBES)
            .filter_map(|_| wish.draw(&self.prf))
            .find(|p| {
                !published.contains(*p)
                    && !clash(*p)
                    && (space.share(*p) || space.claim(*p, inside))
            })
            .ok_or(Reason::PortsExhausted)
    }
}

#[cfg(test)]
#[path = "ports_tests.rs"]
mod tests;
