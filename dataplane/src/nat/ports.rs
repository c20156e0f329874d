//! External ports for masquerade. Read RFC 4787 sections 4.1 to 4.2.2 and RFC 6056 first.
//!
//! A mapping belongs to an inside endpoint (protocol, address, port), not to a destination
//! (endpoint-independent, REQ-1), and lives as long as a connection holds it. A port is kept
//! where it is free, else drawn at random from its own range (0–1023 or 1024–65535, REQ-3a) and,
//! for UDP, parity (REQ-4). Only when nothing is free may one port serve several inside
//! endpoints towards different destinations, as Linux always does: [`Ports::acquire_overloaded`].

use super::mapping::{Hold, Mapping};
use super::portset::{Parity, PortSet};
use super::prf::Prf;
use super::space::Space;
use crate::base::hash::KeyedState;
use crate::base::quota::Quota;
use crate::base::{Proto, Reason, Tick};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use std::net::Ipv4Addr;

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

/// What an inside endpoint may be given.
struct Wish {
    range: (u16, u16),
    parity: Parity,
    /// Its own port, if it could be kept.
    keep: Option<u16>,
}

impl Wish {
    fn new(proto: Proto, port: u16, lent: Option<(u16, u16)>) -> Wish {
        let range = match (proto, port) {
            _ if lent.is_some() => lent.unwrap_or_default(),
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
    hosts: Quota,
    prf: Prf,
}

impl Ports {
    /// No port taken. `seed` is the secret of the random choice.
    pub fn new(seed: [u64; 3]) -> Ports {
        Ports {
            tcp: Space::new(0),
            udp: Space::new(0),
            icmp: Space::new(0),
            mappings: DashMap::with_hasher(KeyedState::random()),
            hosts: Quota::new(u32::MAX, Reason::HostPorts),
            prf: Prf::new(seed),
        }
    }

    /// A UDP port or echo identifier that was given back rests for `rest_ms` before another
    /// endpoint gets it, as long as there are others (RFC 6888 REQ-8). TCP ports don't: their
    /// connections are tracked to the end and linger as they are (its exception A).
    #[must_use]
    pub fn resting(mut self, rest_ms: u32) -> Ports {
        (self.udp, self.icmp) = (Space::new(rest_ms), Space::new(rest_ms));
        self
    }

    /// No inside address holds more than `per_host` ports, all protocols together (RFC 6888
    /// REQ-4); `u32::MAX` is no limit.
    #[must_use]
    pub fn limited(mut self, per_host: u32) -> Ports {
        self.hosts = Quota::new(per_host, Reason::HostPorts);
        self
    }

    /// The address is a host's: no port is ours but those that it lends.
    pub fn share_with_host(&self) {
        let spaces = [&self.tcp, &self.udp, &self.icmp];
        spaces.into_iter().for_each(Space::share_with_host);
    }

    /// Lends ports for masquerade, besides those lent before: `ports` in all now, from the first
    /// to the last of `span`. Random choice is made between these numbers.
    pub fn lend(&self, proto: Proto, ports: &[u16], in_all: u32, span: (u16, u16)) {
        if let Ok(space) = self.space(proto) {
            ports.iter().for_each(|p| space.lend(*p, true));
            space.lent(in_all, span);
        }
    }

    /// Gives ports of masquerade back to the host: what uses them keeps them until it ends.
    pub fn give_back(&self, proto: Proto, ports: &[u16]) {
        if let Ok(space) = self.space(proto) {
            ports.iter().for_each(|p| space.lend(*p, false));
        }
    }

    /// A protocol of which a shared address is about to run out of lent ports. Said once a second
    /// until more are lent.
    #[inline]
    pub fn short(&self, now: Tick) -> Option<Proto> {
        let spaces = [(Proto::TCP, &self.tcp), (Proto::UDP, &self.udp)];
        let short = spaces.into_iter().find(|(_, space)| space.is_short(now));
        short.map(|(proto, _)| proto)
    }

    /// Whether more ports of a protocol are lent when they are short.
    pub fn expects_more(&self, proto: Proto) -> bool {
        self.space(proto).is_ok_and(Space::expects_more)
    }

    /// Says whether more are lent when they are short. At first none are expected.
    pub fn expect_more(&self, proto: Proto, more: bool) {
        if let Ok(space) = self.space(proto) {
            space.expect_more(more);
        }
    }

    /// The host of a shared address was seen to use this identifier of echo requests itself: no
    /// container gets it until it has not been seen for a minute. One that has it already keeps it
    /// until it is silent.
    pub fn host_pings(&self, identifier: u16, now: Tick) {
        self.icmp.host_uses(identifier, now);
    }

    /// Tells the time: ports that have rested for long enough are free from now on.
    pub fn advance(&self, now: Tick) {
        self.udp.advance(now);
        self.icmp.advance(now);
        self.icmp.take_back(now);
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
    /// [`Reason::PortsExhausted`] when no port of the range is free, [`Reason::HostPorts`] when the
    /// host has as many as it may, [`Reason::ProtoUnsupported`] for other protocols than TCP, UDP
    /// and ICMP.
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
                let external = self.charged(inside.0, || {
                    own.filter(|p| space.claim_own(*p, inside))
                        .or_else(|| self.free_port(proto, space, inside, published))
                        .ok_or(Reason::PortsExhausted)
                })?;
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
                let external = self.charged(inside.0, || {
                    self.any_port(proto, space, inside, published, clash)
                })?;
                e.get_mut().further.push(Hold {
                    external,
                    connections: 1,
                });
                Ok(external)
            }
            Entry::Vacant(e) => {
                let external = self.charged(inside.0, || {
                    self.any_port(proto, space, inside, published, clash)
                })?;
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
                self.hosts.give_back(inside.0);
            }
            mapping_gone
        });
    }

    /// The inside endpoint that has `external` for itself, or had it first if it is shared now.
    pub fn lookup(&self, proto: Proto, external: u16) -> Option<Endpoint> {
        self.space(proto).ok()?.owner(external)
    }

    /// Taken ports by protocol.
    pub fn in_use(&self) -> InUse {
        InUse {
            tcp: self.tcp.in_use(),
            udp: self.udp.in_use(),
            icmp: self.icmp.in_use(),
        }
    }

    /// Bytes of the tables of ports and of the mappings.
    pub fn bytes(&self) -> u64 {
        // The map keeps one of eight slots free, and a byte of hash beside each.
        let slot = size_of::<((Proto, Endpoint), Mapping)>() + 1;
        let map = self.mappings.capacity() * 8 / 7 * slot;
        let spaces = [&self.tcp, &self.udp, &self.icmp];
        spaces.iter().map(|s| s.bytes()).sum::<u64>() + map as u64
    }

    /// Inside endpoints that have a mapping.
    pub fn mappings(&self) -> usize {
        self.mappings.len()
    }

    /// Ports that `host` holds, as far as a limit has them counted.
    pub fn held_by(&self, host: Ipv4Addr) -> u32 {
        self.hosts.used(host)
    }

    /// A port that `get` finds, counted for `host`.
    fn charged(
        &self,
        host: Ipv4Addr,
        get: impl FnOnce() -> Result<u16, Reason>,
    ) -> Result<u16, Reason> {
        self.hosts.take(host)?;
        get().inspect_err(|_| self.hosts.give_back(host))
    }

    /// Claims a free port for `inside`.
    fn free_port(
        &self,
        proto: Proto,
        space: &Space,
        inside: Endpoint,
        published: &PortSet,
    ) -> Option<u16> {
        let wish = Wish::new(proto, inside.1, space.span());
        let get = |p: &u16| !published.contains(*p) && space.claim(*p, inside);
        if let Some(p) = wish.keep.filter(get) {
            return Some(p);
        }
        if let Some(p) = (0..PROBES).filter_map(|_| wish.draw(&self.prf)).find(get) {
            return Some(p);
        }
        // The other parity is better than a shared port.
        let free = [wish.parity, Parity::Any].into_iter().find_map(|parity| {
            // Another thread may claim what was found; then look again.
            loop {
                let start = self.prf.draw_port(wish.range.0, wish.range.1);
                let p = space.find_free(published, wish.range, parity, start)?;
                if space.claim(p, inside) {
                    return Some(p);
                }
            }
        });
        // A port that still rests is better than none.
        free.or_else(|| space.claim_resting(wish.range, wish.parity, published, inside))
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
        let wish = Wish::new(proto, inside.1, space.span());
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
