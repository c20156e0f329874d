//! The switch as all workers share it: configuration, tables, rules, ports.

use super::budget::Budget;
use super::lent::Waiting;
use super::orphans::Orphans;
use super::ports::{AddPortError, PortReport, PortTable};
use crate::base::counters::PortCounts;
use crate::base::hash::Keyed;
use crate::base::{
    Config, Counters, HostNet, PortId, PortInfo, PortSpec, Reason, Role, RuleId, Tick, UplinkConfig,
};
use crate::conntrack::Conntrack;
use crate::flow::{Generation, RecordId, Zone};
use crate::l2::{Fdb, FdbKey, Groups};
use crate::nat::frag::FragTable;
use crate::nat::ports::Ports;
use crate::nat::{ChainCounters, Publication, PublishError, Rules};
use crate::neigh::Neighbours;
use arc_swap::ArcSwap;
use crossbeam_utils::CachePadded;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// What all workers share.
pub struct Switch {
    pub(super) cfg: ArcSwap<Config>,
    /// Connections.
    pub conntrack: Conntrack,
    /// Published ports.
    pub rules: Rules,
    /// Counters of the nat chains.
    pub chains: CachePadded<ChainCounters>,
    /// External ports taken by masquerade.
    pub external: Ports,
    /// MAC to port.
    pub fdb: Fdb,
    /// Multicast group to ports.
    pub groups: Groups,
    /// Address to MAC.
    pub neigh: Neighbours,
    /// Fragmented packets under way.
    pub frags: FragTable,
    /// What is left of connections whose address is gone.
    pub orphans: Orphans,
    /// First packets for which there is no external port yet.
    pub waiting: Waiting,
    /// Voids cached decisions.
    pub generation: Arc<Generation>,
    /// Rate of ICMP errors and resets towards each port.
    pub icmp_budget: Budget,
    /// One block of counters a worker, and one for work done outside them.
    pub counters: Vec<Counters>,
    pub(super) ports: ArcSwap<PortTable>,
    change: Mutex<()>,
    /// What the counters of a port's index showed when the port was added.
    base: Mutex<Vec<PortCounts>>,
    /// Masqueraded TCP connections that closed, oldest first, with their incarnation.
    pub(super) closing: Mutex<VecDeque<(RecordId, u32)>>,
}

/// Bytes of the tables that grow with the number of connections, timers not included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// Connection records.
    pub records: u64,
    /// Index of flows.
    pub index: u64,
    /// External ports and mappings.
    pub mappings: u64,
    /// Lists of free and of closing connections.
    pub lists: u64,
}

impl Switch {
    /// An empty switch for `workers` workers.
    pub fn new(cfg: Config, workers: usize) -> Switch {
        let keyed = |salt: u64| {
            let [a, b, c] = cfg.hash_key;
            Keyed::with_key([a ^ salt, b.rotate_left(salt as u32), c.wrapping_add(salt)])
        };
        let generation = Arc::new(Generation::default());
        let fdb_age = crate::base::time::millis_u32(cfg.timeouts.fdb);
        Switch {
            conntrack: Conntrack::new(cfg.limits, &cfg.timeouts, keyed(1), workers),
            rules: Rules::new(),
            chains: CachePadded::default(),
            external: Ports::new(cfg.hash_key)
                .resting(crate::base::time::millis_u32(cfg.timeouts.port_rest))
                .limited(cfg.limits.ports_per_host),
            fdb: Fdb::new(cfg.limits.fdb as usize, keyed(3), fdb_age)
                .sharing(Arc::clone(&generation)),
            groups: Groups::new(cfg.limits.memberships),
            neigh: Neighbours::new(
                cfg.limits.neighbours as usize,
                crate::base::time::millis_u32(cfg.timeouts.neigh),
            )
            .sharing(Arc::clone(&generation)),
            frags: FragTable::new(cfg.limits.fragments, cfg.timeouts.fragment, cfg.hash_key),
            waiting: Waiting::default(),
            orphans: Orphans::default(),
            generation,
            icmp_budget: Budget::new(1_000, 250),
            counters: (0..=workers).map(|_| Counters::default()).collect(),
            ports: ArcSwap::default(),
            change: Mutex::new(()),
            base: Mutex::default(),
            closing: Mutex::default(),
            cfg: ArcSwap::from_pointee(cfg),
        }
    }

    /// The configuration as of now; only the uplink and the host ever change.
    #[inline]
    pub fn cfg(&self) -> arc_swap::Guard<Arc<Config>> {
        self.cfg.load()
    }

    /// Changes the outside and what is known of the host. What was decided before is void; what
    /// a worker decides in the batch that it has in hand may still rest on the old state, so bump
    /// the generation again when each has passed a batch boundary.
    pub fn set_uplink(&self, uplink: Option<UplinkConfig>, host: Option<Arc<HostNet>>) {
        let _one = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Config::clone(&self.cfg.load());
        let mac = |u: Option<UplinkConfig>| u.map(|u| u.mac);
        let other = mac(now.uplink) != mac(uplink);
        self.cfg.store(Arc::new(Config {
            uplink,
            host,
            ..now
        }));
        if other {
            // Another interface has other neighbours.
            self.lose(self.neigh.forget_zone(Zone::Uplink));
        }
        self.generation.bump_settings();
    }

    /// What the connections' tables take.
    pub fn memory(&self) -> Memory {
        let (records, free) = self.conntrack.slab.bytes();
        let closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        Memory {
            records,
            index: self.conntrack.index.bytes(),
            mappings: self.external.bytes(),
            lists: free + (closing.capacity() * size_of::<(RecordId, u32)>()) as u64,
        }
    }

    /// Number of workers that it was made for.
    pub fn workers(&self) -> usize {
        self.counters.len() - 1
    }

    /// The ports with what all workers counted for them since they were added.
    pub fn port_reports(&self) -> Vec<PortReport> {
        let base = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        self.port_info()
            .into_iter()
            .map(|info| {
                let at = base.get(info.id.index()).copied().unwrap_or_default();
                let c = self.port_sum(info.id).less(at);
                PortReport {
                    info,
                    rx_frames: c.rx_frames,
                    rx_bytes: c.rx_bytes,
                    tx_frames: c.tx_frames,
                    tx_bytes: c.tx_bytes,
                    drops: c.drops,
                }
            })
            .collect()
    }

    fn port_sum(&self, id: PortId) -> PortCounts {
        let blocks = self.counters.iter().filter_map(|c| c.port(id));
        blocks.fold(PortCounts::default(), |sum, c| sum.plus(c))
    }

    /// The ports, as of now.
    pub fn ports(&self) -> arc_swap::Guard<Arc<PortTable>> {
        self.ports.load()
    }

    /// A port as people see it.
    pub fn port_info(&self) -> Vec<PortInfo> {
        self.ports
            .load()
            .iter()
            .map(|(id, s)| PortInfo {
                id,
                spec: s.clone(),
            })
            .collect()
    }

    /// Adds a port to the table: the lowest free index.
    ///
    /// # Errors
    /// See [`AddPortError`]; nothing was changed.
    pub fn add_port(&self, spec: PortSpec, now: Tick) -> Result<PortId, AddPortError> {
        let _one = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut t = PortTable::clone(&self.ports.load());
        let id = t.admit(&spec)?;
        match spec.role {
            Role::Host => {
                self.fdb.insert_static(FdbKey::new(0, spec.mac), id);
            }
            Role::Uplink => {}
            Role::Access => {
                if let Some(ip) = spec.ip {
                    self.fdb.learn(FdbKey::new(0, spec.mac), id, now);
                    // Frames that wait for the address already are released by its answer.
                    if !self.neigh.is_pending(Zone::Inside, ip) {
                        let seeded = self.neigh.seed(Zone::Inside, ip, spec.mac, now);
                        self.lose(seeded.map(|c| c.held).unwrap_or_default());
                    }
                }
            }
        }
        t.insert(id, spec);
        let mut base = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        let len = base.len().max(id.index() + 1);
        base.resize(len, PortCounts::default());
        if let Some(at) = base.get_mut(id.index()) {
            *at = self.port_sum(id);
        }
        self.ports.store(Arc::new(t));
        self.generation.bump_settings();
        Ok(id)
    }

    /// Takes a port out of the table: what was learned behind it is forgotten.
    pub fn remove_port(&self, id: PortId) -> Option<PortSpec> {
        let _one = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut t = PortTable::clone(&self.ports.load());
        let spec = t.remove(id)?;
        self.ports.store(Arc::new(t));
        self.fdb.forget_port(id);
        self.groups.forget_port(id);
        if let Some(ip) = spec.ip {
            self.lose(self.neigh.forget(Zone::Inside, ip));
        }
        self.generation.bump_settings();
        Some(PortSpec::clone(&spec))
    }

    /// Counts frames as lost that waited for a neighbour which is no more. The caller holds the
    /// lock of changes: the block of counters has one writer.
    fn lose(&self, held: Vec<crate::neigh::Held>) {
        if let Some(c) = self.counters.last() {
            for h in held {
                c.hold(-1);
                c.drop(h.ingress, Reason::HostUnreachable);
            }
        }
    }

    /// Publishes a port, or a range as one rule. Rules are for connections to come, as in netfilter's
    /// nat table, so those that there are keep their decisions.
    ///
    /// # Errors
    /// See [`PublishError`]; nothing was changed.
    pub fn publish(&self, p: Publication) -> Result<RuleId, PublishError> {
        self.rules.publish(p)
    }

    /// Withdraws a rule; the connections that it made are gone when this returns, and all others
    /// keep their decisions.
    pub fn unpublish(&self, id: RuleId) -> Option<Publication> {
        let gone = self.rules.unpublish(id)?;
        self.forget_where(|r| r.rule() == id);
        Some(gone)
    }

    /// The number under which decisions are stamped now: it changes with every change of ports, FDB,
    /// neighbours or the outside that could alter one. Take it before reading what a decision rests
    /// on. Never 0.
    #[inline]
    pub fn generation(&self) -> u32 {
        self.generation.get()
    }

    /// The counters of one worker.
    pub fn counters(&self, worker: usize) -> Option<&Counters> {
        self.counters.get(worker)
    }

    /// Frames dropped under `reason` by all workers.
    pub fn drops(&self, reason: Reason) -> u64 {
        self.counters.iter().map(|c| c.drops(reason)).sum()
    }
}
