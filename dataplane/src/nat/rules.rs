//! Published ports: the DNAT rules of the chains PREROUTING and DOCKER.
//!
//! The workers read an immutable snapshot without a lock; a change builds the next one, sharing
//! what it does not touch. A look-up costs two steps by port, so it is flat from one rule to
//! 65,000 ports; publishing costs the pages that the range touches, however many rules there are.

use super::chains::Tally;
use super::portmap::PortMap;
use super::portset::PortSet;
use super::publication::{Publication, PublishError, RuleReport};
use crate::base::mem::prefetch;
use crate::base::{Proto, RuleId};
use arc_swap::{ArcSwap, Guard};
use dashmap::DashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

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

/// One cache line: of many rules each first packet brings its own near.
#[repr(align(64))]
struct Rule {
    id: RuleId,
    publication: Publication,
    dnat: Tally,
    masquerade: Tally,
}

impl Rule {
    /// Last container port.
    fn target_last(&self) -> u16 {
        let p = &self.publication;
        p.port.saturating_add(p.last - p.first)
    }
}

/// Port maps by address, sorted by it.
#[derive(Clone, Default)]
struct ByAddress(Vec<(Ipv4Addr, Arc<PortMap<Rule>>)>);

impl ByAddress {
    fn get(&self, ip: Ipv4Addr) -> Option<&PortMap<Rule>> {
        let i = self.0.binary_search_by_key(&ip, |e| e.0).ok()?;
        self.0.get(i).map(|e| &*e.1)
    }

    /// Changes the map of `ip`, made if it is missing, removed if it ends up empty.
    fn change(&mut self, ip: Ipv4Addr, f: impl FnOnce(&mut PortMap<Rule>)) {
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
struct Chain {
    /// Rules for any address, by external port.
    any: Arc<PortMap<Rule>>,
    /// Rules for one address, by it and external port.
    hosts: ByAddress,
    /// By container and container port; of several rules the oldest.
    targets: ByAddress,
}

impl Chain {
    fn new() -> Chain {
        Chain {
            any: Arc::new(PortMap::new()),
            hosts: ByAddress::default(),
            targets: ByAddress::default(),
        }
    }

    /// The rule for a packet to this address and port.
    fn external(&self, ip: Ipv4Addr, port: u16) -> Option<&Arc<Rule>> {
        match self.any.get(port) {
            Some(rule) => Some(rule),
            None => self.hosts.get(ip)?.get(port),
        }
    }

    /// A rule that takes a port of `p` on an overlapping address.
    fn in_the_way(&self, p: &Publication) -> Option<&Arc<Rule>> {
        self.any
            .first_in(p.first, p.last)
            .or_else(|| match p.host_ip {
                Some(ip) => self.hosts.get(ip)?.first_in(p.first, p.last),
                None => {
                    let maps = self.hosts.0.iter();
                    maps.filter_map(|(_, m)| m.first_in(p.first, p.last)).next()
                }
            })
    }

    fn set_external(&mut self, p: &Publication, rule: Option<&Arc<Rule>>) {
        let set = |m: &mut PortMap<Rule>| m.update(p.first, p.last, |_| rule.cloned());
        match p.host_ip {
            None => set(Arc::make_mut(&mut self.any)),
            Some(ip) => self.hosts.change(ip, set),
        }
    }

    fn add_target(&mut self, rule: &Arc<Rule>) {
        let p = &rule.publication;
        self.targets.change(p.ip, |m| {
            m.update(p.port, rule.target_last(), |present| match present {
                Some(old) if old.id < rule.id => Some(old.clone()),
                _ => Some(rule.clone()),
            });
        });
    }
}

/// The rules as they stood at one moment.
#[derive(Clone)]
pub struct View {
    tcp: Chain,
    udp: Chain,
}

impl View {
    fn chain(&self, proto: Proto) -> Option<&Chain> {
        match proto {
            Proto::TCP => Some(&self.tcp),
            Proto::UDP => Some(&self.udp),
            _ => None,
        }
    }

    fn chain_mut(&mut self, proto: Proto) -> Option<&mut Chain> {
        match proto {
            Proto::TCP => Some(&mut self.tcp),
            Proto::UDP => Some(&mut self.udp),
            _ => None,
        }
    }
}

impl View {
    fn rule(&self, (proto, ip, port): External) -> Option<&Rule> {
        Some(self.chain(proto)?.external(ip, port)?)
    }

    /// Where a packet to this address and port goes. The caller decides for which ingress and
    /// which local addresses the rules hold.
    pub fn lookup(&self, to: External) -> Option<Match> {
        let rule = self.rule(to)?;
        let p = &rule.publication;
        Some(Match {
            rule: rule.id,
            to: p.ip,
            to_port: p.port.saturating_add(to.2 - p.first),
        })
    }

    /// Brings near the place where [`View::prefetch`] will find the rule for this port.
    pub fn prefetch_slot(&self, (proto, port): (Proto, u16)) {
        if let Some(slot) = self.chain(proto).and_then(|c| c.any.slot(port)) {
            prefetch(slot);
        }
    }

    /// Brings the rule for this destination near, if there is one: for a batch of first packets
    /// before each is looked up.
    pub fn prefetch(&self, to: External) {
        if let Some(rule) = self.rule(to) {
            prefetch(rule);
        }
    }
}

/// All published ports. Shared by the workers, changed by the control side.
pub struct Rules {
    now: ArcSwap<View>,
    by_id: DashMap<RuleId, Arc<Rule>>,
    tcp_ports: PortSet,
    udp_ports: PortSet,
    /// Never contains a port.
    no_ports: PortSet,
    /// The last id given; held while a change is made.
    last_id: Mutex<u32>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules::new()
    }
}

impl Rules {
    /// No rules.
    pub fn new() -> Rules {
        Rules {
            now: ArcSwap::from_pointee(View {
                tcp: Chain::new(),
                udp: Chain::new(),
            }),
            by_id: DashMap::new(),
            tcp_ports: PortSet::new(),
            udp_ports: PortSet::new(),
            no_ports: PortSet::new(),
            last_id: Mutex::new(0),
        }
    }

    /// Adds a rule. Ids count from 1 and are never used again.
    ///
    /// # Errors
    /// See [`PublishError`]; nothing was changed then.
    pub fn publish(&self, p: Publication) -> Result<RuleId, PublishError> {
        let fits = p.last.checked_sub(p.first).map(|n| p.port.checked_add(n));
        if p.first == 0 || p.port == 0 || !matches!(fits, Some(Some(_))) {
            return Err(PublishError::Range(p));
        }
        let mut last_id = self.last_id.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = View::clone(&self.now.load());
        let Some(chain) = next.chain_mut(p.proto) else {
            return Err(PublishError::Protocol(p.proto.0));
        };
        if let Some(old) = chain.in_the_way(&p) {
            let old = old.publication;
            return Err(PublishError::Overlap { new: p, old });
        }
        *last_id = last_id.saturating_add(1);
        let id = RuleId(*last_id);
        let rule = Arc::new(Rule {
            id,
            publication: p,
            dnat: Tally::default(),
            masquerade: Tally::default(),
        });
        chain.set_external(&p, Some(&rule));
        chain.add_target(&rule);
        self.published_ports(p.proto).insert_range(p.first, p.last);
        self.by_id.insert(id, rule);
        self.now.store(Arc::new(next));
        Ok(id)
    }

    /// Removes a rule; `None` if there is none of this id. When it returns, no look-up begun
    /// afterwards finds the rule.
    pub fn unpublish(&self, id: RuleId) -> Option<Publication> {
        let _change = self.last_id.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, rule) = self.by_id.remove(&id)?;
        let p = rule.publication;
        let mut next = View::clone(&self.now.load());
        let chain = next.chain_mut(p.proto)?;
        chain.set_external(&p, None);
        let (port, last) = (p.port, rule.target_last());
        chain.targets.change(p.ip, |m| {
            m.update(port, last, |r| r.filter(|r| r.id != id).cloned());
        });
        // Younger rules for the same container ports come to light.
        let mut shadowed: Vec<_> = self
            .by_id
            .iter()
            .filter(|r| {
                let q = &r.publication;
                (q.proto, q.ip) == (p.proto, p.ip) && q.port <= last && r.target_last() >= port
            })
            .map(|r| r.value().clone())
            .collect();
        shadowed.sort_by_key(|r| r.id);
        for r in &shadowed {
            chain.add_target(r);
        }
        let ports = self.published_ports(p.proto);
        match p.host_ip {
            None => ports.remove_range(p.first, p.last),
            // The same ports may be published on another address.
            Some(_) => {
                let hosts = &chain.hosts.0;
                (p.first..=p.last)
                    .filter(|port| hosts.iter().all(|(_, m)| m.get(*port).is_none()))
                    .for_each(|port| ports.remove(port));
            }
        }
        self.now.store(Arc::new(next));
        Some(p)
    }

    /// The rules at this moment, for several look-ups.
    pub fn view(&self) -> Guard<Arc<View>> {
        self.now.load()
    }

    /// Where the rules of each moment stand, for whoever keeps a handle.
    pub const fn current(&self) -> &ArcSwap<View> {
        &self.now
    }

    /// [`View::lookup`] at this moment.
    pub fn lookup(&self, proto: Proto, dst_ip: Ipv4Addr, dport: u16) -> Option<Match> {
        self.view().lookup((proto, dst_ip, dport))
    }

    /// The rule (of several the oldest) that publishes port `port` of the container `ip`, and the
    /// external port. Masquerade gives a container that speaks from a published port that same
    /// external port.
    pub fn by_target(&self, proto: Proto, ip: Ipv4Addr, port: u16) -> Option<(RuleId, u16)> {
        let view = self.view();
        let rule = view.chain(proto)?.targets.get(ip)?.get(port)?;
        let p = &rule.publication;
        Some((rule.id, p.first.saturating_add(port - p.port)))
    }

    /// Whether a rule takes external port `port`, on whatever address.
    pub fn published(&self, proto: Proto, port: u16) -> bool {
        self.published_ports(proto).contains(port)
    }

    /// The external ports that rules take, on whatever address; empty for other protocols than
    /// TCP and UDP.
    pub fn published_ports(&self, proto: Proto) -> &PortSet {
        match proto {
            Proto::TCP => &self.tcp_ports,
            Proto::UDP => &self.udp_ports,
            _ => &self.no_ports,
        }
    }

    /// Counts the first packet of a connection that rule `id` made, as a hairpin too if it is one.
    ///
    /// False, and nothing counted, when the rule no longer answers for this destination. That is so
    /// from the moment at which [`Rules::unpublish`] returns: a connection made from an older look-up
    /// has to be counted, and so to ask once more, after it was installed.
    pub fn count(&self, to: External, id: RuleId, bytes: u64, hairpin: bool) -> bool {
        let view = self.view();
        let Some(rule) = view.rule(to).filter(|r| r.id == id) else {
            return false;
        };
        rule.dnat.add(bytes);
        if hairpin {
            rule.masquerade.add(bytes);
        }
        true
    }

    /// Every rule with its counters, oldest first.
    pub fn report(&self) -> Vec<RuleReport> {
        let mut all: Vec<_> = self
            .by_id
            .iter()
            .map(|r| RuleReport {
                id: r.id,
                publication: r.publication,
                dnat: r.dnat.get(),
                masquerade: r.masquerade.get(),
            })
            .collect();
        all.sort_by_key(|r| r.id);
        all
    }
}

const _: () = assert!(size_of::<Rule>() == 64);

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
