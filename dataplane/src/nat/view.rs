//! The rules as they stood at one moment: what the workers read, without a lock.

use super::portmap::PortMap;
use super::publication::Publication;
use super::tallies::{Place, Tallies};
use crate::base::mem::prefetch;
use crate::base::{Proto, RuleId};
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::sync::Arc;

/// The destination that a rule gives a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Match {
    /// The rule.
    pub rule: RuleId,
    /// The container.
    pub to: Ipv4Addr,
    /// Its port.
    pub to_port: u16,
}

/// Protocol, address and port of a first packet, before translation.
pub type External = (Proto, Ipv4Addr, u16);

/// What stands at an external port: of many rules all that a first packet needs of its own, but for
/// the counters. Four share a cache line.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// A [`RuleId`], which is never 0: so an empty slot is no longer than a full one.
    rule: NonZeroU32,
    to: Ipv4Addr,
    pub(super) tally: Place,
    /// Container port less external port, modulo 2^16: the same throughout a range.
    shift: u16,
}

const _: () = assert!(size_of::<Option<Entry>>() == 16);

impl Entry {
    pub(super) const fn rule(&self) -> RuleId {
        RuleId(self.rule.get())
    }
}

/// What stands at a container's port.
#[derive(Clone, Copy)]
struct Target {
    rule: RuleId,
    /// As in [`Entry`].
    shift: u16,
}

/// Port maps by address, sorted by it.
#[derive(Clone)]
struct ByAddress<T: Copy>(Vec<(Ipv4Addr, Arc<PortMap<T>>)>);

impl<T: Copy> ByAddress<T> {
    fn get(&self, ip: Ipv4Addr) -> Option<&PortMap<T>> {
        let i = self.0.binary_search_by_key(&ip, |e| e.0).ok()?;
        self.0.get(i).map(|e| &*e.1)
    }

    /// Changes the map of `ip`, made if it is missing, removed if it ends up empty.
    fn change(&mut self, ip: Ipv4Addr, f: impl FnOnce(&mut PortMap<T>)) {
        let i = match self.0.binary_search_by_key(&ip, |e| e.0) {
            Ok(i) => i,
            Err(i) => {
                self.0.insert(i, (ip, Arc::new(PortMap::new())));
                i
            }
        };
        if let Some((_, map)) = self.0.get_mut(i) {
            let map = Arc::make_mut(map);
            f(map);
            if map.is_empty() {
                self.0.remove(i);
            }
        }
    }
}

/// The rules of one protocol.
#[derive(Clone)]
pub(super) struct Chain {
    /// Rules for any address, by external port.
    any: Arc<PortMap<Entry>>,
    /// Rules for one address, by it and external port.
    hosts: ByAddress<Entry>,
    /// By container and container port; of several rules the oldest.
    targets: ByAddress<Target>,
}

impl Chain {
    fn new() -> Chain {
        Chain {
            any: Arc::new(PortMap::new()),
            hosts: ByAddress(Vec::new()),
            targets: ByAddress(Vec::new()),
        }
    }

    fn external(&self, ip: Ipv4Addr, port: u16) -> Option<Entry> {
        match self.any.get(port) {
            Some(entry) => Some(entry),
            None => self.hosts.get(ip)?.get(port),
        }
    }

    /// A rule that takes a port of `p` on an overlapping address.
    pub(super) fn in_the_way(&self, p: &Publication) -> Option<RuleId> {
        let found = self.any.first_in(p.first, p.last).or_else(|| {
            let mut maps = self
                .hosts
                .0
                .iter()
                .filter(|(ip, _)| p.host_ip.is_none_or(|h| h == *ip));
            maps.find_map(|(_, m)| m.first_in(p.first, p.last))
        });
        found.map(|e| e.rule())
    }

    /// Whether a rule for some one address takes this external port.
    pub(super) fn on_some_host(&self, port: u16) -> bool {
        self.hosts.0.iter().any(|(_, m)| m.get(port).is_some())
    }

    fn set_external(&mut self, p: &Publication, entry: Option<Entry>) {
        let set = |m: &mut PortMap<Entry>| m.update(p.first, p.last, |_| entry);
        match p.host_ip {
            None => set(Arc::make_mut(&mut self.any)),
            Some(ip) => self.hosts.change(ip, set),
        }
    }

    /// Adds a rule whose ports nothing takes.
    pub(super) fn insert(&mut self, rule: RuleId, p: &Publication, tally: Place) {
        let entry = NonZeroU32::new(rule.0).map(|rule| Entry {
            rule,
            to: p.ip,
            tally,
            shift: p.port.wrapping_sub(p.first),
        });
        self.set_external(p, entry);
        self.add_target(rule, p);
    }

    /// Takes a rule out, and lets the other rules for the same container ports, oldest first, come
    /// to light.
    pub(super) fn remove(
        &mut self,
        rule: RuleId,
        p: &Publication,
        others: &[(RuleId, Publication)],
    ) {
        self.set_external(p, None);
        self.targets.change(p.ip, |m| {
            m.update(p.port, p.port_last(), |t| t.filter(|t| t.rule != rule));
        });
        for (rule, p) in others {
            self.add_target(*rule, p);
        }
    }

    /// Rules are added oldest first, so who is there already stays.
    fn add_target(&mut self, rule: RuleId, p: &Publication) {
        let shift = p.port.wrapping_sub(p.first);
        self.targets.change(p.ip, |m| {
            m.update(p.port, p.port_last(), |present| {
                present.or(Some(Target { rule, shift }))
            });
        });
    }

    /// See [`super::Rules::by_target`].
    pub(super) fn by_target(&self, ip: Ipv4Addr, port: u16) -> Option<(RuleId, u16)> {
        let t = self.targets.get(ip)?.get(port)?;
        Some((t.rule, port.wrapping_sub(t.shift)))
    }
}

/// The rules as they stood at one moment.
#[derive(Clone)]
pub struct View {
    tcp: Chain,
    udp: Chain,
    pub(super) tallies: Tallies,
}

impl View {
    /// No rules.
    pub(super) fn new() -> View {
        View {
            tcp: Chain::new(),
            udp: Chain::new(),
            tallies: Tallies::default(),
        }
    }

    pub(super) fn chain(&self, proto: Proto) -> Option<&Chain> {
        match proto {
            Proto::TCP => Some(&self.tcp),
            Proto::UDP => Some(&self.udp),
            _ => None,
        }
    }

    pub(super) fn chain_mut(&mut self, proto: Proto) -> Option<&mut Chain> {
        match proto {
            Proto::TCP => Some(&mut self.tcp),
            Proto::UDP => Some(&mut self.udp),
            _ => None,
        }
    }

    pub(super) fn entry(&self, (proto, ip, port): External) -> Option<Entry> {
        self.chain(proto)?.external(ip, port)
    }

    /// Where a packet to this address and port goes. The caller decides for which ingress and
    /// which local addresses the rules hold.
    pub fn lookup(&self, to: External) -> Option<Match> {
        let entry = self.entry(to)?;
        Some(Match {
            rule: entry.rule(),
            to: entry.to,
            to_port: to.2.wrapping_add(entry.shift),
        })
    }

    /// Brings near the place where [`View::prefetch`] will find the rule for this port.
    pub fn prefetch_slot(&self, (proto, port): (Proto, u16)) {
        if let Some(slot) = self.chain(proto).and_then(|c| c.any.slot(port)) {
            prefetch(slot);
        }
    }

    /// Brings the counters of the rule for this destination near, if there is one: for a batch of
    /// first packets before each is looked up.
    pub fn prefetch(&self, to: External) {
        if let Some(tally) = self.entry(to).and_then(|e| self.tallies.dnat(e.tally)) {
            prefetch(tally);
        }
    }
}
