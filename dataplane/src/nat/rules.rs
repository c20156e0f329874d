//! Published ports: the DNAT rules of the chains PREROUTING and DOCKER.
//!
//! The workers read an immutable snapshot without a lock; a change builds the next one, sharing
//! what it does not touch. A look-up costs two steps by port, so it is flat from one rule to
//! 65,000 ports; publishing costs the pages that the range touches, however many rules there are.

use super::portset::PortSet;
use super::publication::{Publication, PublishError, RuleReport};
use super::tallies::{Place, Places};
use super::view::{External, Match, View};
use crate::base::{Proto, RuleId};
use arc_swap::{ArcSwap, Guard};
use dashmap::DashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A rule as the control side knows it.
#[derive(Clone, Copy)]
struct Rule {
    publication: Publication,
    tally: Place,
}

/// What is held while a change is made.
#[derive(Default)]
struct Changes {
    last_id: RuleId,
    places: Places,
}

/// All published ports. Shared by the workers, changed by the control side.
pub struct Rules {
    now: ArcSwap<View>,
    by_id: DashMap<RuleId, Rule>,
    tcp_ports: PortSet,
    udp_ports: PortSet,
    /// Never contains a port.
    no_ports: PortSet,
    changes: Mutex<Changes>,
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
            now: ArcSwap::from_pointee(View::new()),
            by_id: DashMap::new(),
            tcp_ports: PortSet::new(),
            udp_ports: PortSet::new(),
            no_ports: PortSet::new(),
            changes: Mutex::default(),
        }
    }

    fn change(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut changes = self.change();
        let mut next = View::clone(&self.now.load());
        let Some(chain) = next.chain(p.proto) else {
            return Err(PublishError::Protocol(p.proto.0));
        };
        if let Some(old) = chain.in_the_way(&p).and_then(|id| self.by_id.get(&id)) {
            let old = old.publication;
            return Err(PublishError::Overlap { new: p, old });
        }
        let id = RuleId(changes.last_id.0.saturating_add(1));
        changes.last_id = id;
        let tally = changes.places.take(&mut next.tallies);
        if let Some(chain) = next.chain_mut(p.proto) {
            chain.insert(id, &p, tally);
        }
        self.published_ports(p.proto).insert_range(p.first, p.last);
        let publication = p;
        self.by_id.insert(id, Rule { publication, tally });
        self.now.store(Arc::new(next));
        Ok(id)
    }

    /// Removes a rule; `None` if there is none of this id. When it returns, no look-up begun
    /// afterwards finds the rule.
    pub fn unpublish(&self, id: RuleId) -> Option<Publication> {
        let mut changes = self.change();
        let (_, Rule { publication, tally }) = self.by_id.remove(&id)?;
        let p = &publication;
        let mut next = View::clone(&self.now.load());
        let chain = next.chain_mut(p.proto)?;
        let mut same: Vec<_> = self
            .by_id
            .iter()
            .map(|r| (*r.key(), r.publication))
            .filter(|(_, q)| {
                (q.proto, q.ip) == (p.proto, p.ip)
                    && q.port <= p.port_last()
                    && q.port_last() >= p.port
            })
            .collect();
        same.sort_by_key(|(id, _)| *id);
        chain.remove(id, p, &same);
        let ports = self.published_ports(p.proto);
        match p.host_ip {
            None => ports.remove_range(p.first, p.last),
            // The same ports may be published on another address.
            Some(_) => (p.first..=p.last)
                .filter(|port| !chain.on_some_host(*port))
                .for_each(|port| ports.remove(port)),
        }
        self.now.store(Arc::new(next));
        changes.places.give(tally);
        Some(publication)
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
        self.view().chain(proto)?.by_target(ip, port)
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
        let Some(entry) = view.entry(to).filter(|e| e.rule() == id) else {
            return false;
        };
        view.tallies.count(entry.tally, bytes, hairpin);
        true
    }

    /// Every rule with its counters, oldest first.
    pub fn report(&self) -> Vec<RuleReport> {
        let _no_change = self.change();
        let view = self.view();
        let mut all: Vec<_> = self
            .by_id
            .iter()
            .map(|r| {
                let (dnat, masquerade) = view.tallies.get(r.tally);
                RuleReport {
                    id: *r.key(),
                    publication: r.publication,
                    dnat,
                    masquerade,
                }
            })
            .collect();
        all.sort_by_key(|r| r.id);
        all
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
