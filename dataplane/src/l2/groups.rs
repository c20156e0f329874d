//! Who is a member of which multicast group (IGMP snooping, RFC 4541), per VLAN and port.
//!
//! Only what is known restricts: a frame to a group that no report named is flooded, and so is
//! one to a group of which a member could not be written down. So a full table costs copies and
//! never delivery.
//!
//! Memberships age and have to be asked for again. When no router does that, the bridge does
//! ([`Groups::due`]), as long as there are any.

use crate::base::{PortId, Tick, Vid};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// RFC 3376 section 8.4: robustness (2) times query interval, and one response time.
const MEMBER_MS: u32 = 260_000;
/// RFC 3376 section 8.5: how long a silent querier is still counted on.
const QUERIER_MS: u32 = 255_000;
/// RFC 3376 section 8.2.
const QUERY_MS: u32 = 125_000;
/// RFC 3376 section 8.8: how long after a leave the remaining members have to answer.
const LAST_MEMBER_MS: u32 = 2_000;

/// Addresses whose groups are never snooped (RFC 4541 section 2.1.2 rule 2): 224.0.0.0/24.
pub const fn always_flooded(group: Ipv4Addr) -> bool {
    let [a, b, c, _] = group.octets();
    a == 224 && b == 0 && c == 0
}

#[derive(Clone, Copy)]
struct Member {
    port: PortId,
    until: Tick,
    /// An IGMPv1 host was heard: until then, somebody's leaving says nothing (RFC 2236 section 4).
    v1_until: Option<Tick>,
}

#[derive(Default)]
struct Group {
    members: Vec<Member>,
    /// Somebody is a member who could not be written down.
    flood_until: Option<Tick>,
}

#[derive(Clone, Copy)]
struct Router {
    vid: Vid,
    /// `None`: a bridge that asks as this one does, behind which no router is.
    port: Option<PortId>,
    until: Tick,
}

#[derive(Default)]
struct Table {
    groups: HashMap<(Vid, Ipv4Addr), Group>,
    memberships: usize,
    per_port: HashMap<PortId, usize>,
    routers: Vec<Router>,
    next_query: Tick,
}

/// The memberships. Shared by the workers.
pub struct Groups {
    table: RwLock<Table>,
    any: AtomicBool,
    limit: usize,
}

impl Groups {
    /// Room for `limit` memberships, a quarter of it for one port.
    pub fn new(limit: u32) -> Groups {
        Groups {
            table: RwLock::default(),
            any: AtomicBool::new(false),
            limit: limit as usize,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody behind `port` is a member of `group`; `v1`: and will not say when it leaves.
    pub fn join(&self, vid: Vid, group: Ipv4Addr, port: PortId, v1: bool, now: Tick) {
        if always_flooded(group) {
            return;
        }
        let mut t = self.write();
        let t = &mut *t;
        let quota = (self.limit / 4).max(1);
        let full =
            t.memberships >= self.limit || t.per_port.get(&port).copied().unwrap_or(0) >= quota;
        let known = t.groups.get_mut(&(vid, group));
        let until = now.plus(MEMBER_MS);
        let v1_until = v1.then_some(until);
        if let Some(g) = known {
            if let Some(m) = g.members.iter_mut().find(|m| m.port == port) {
                m.until = until;
                m.v1_until = v1_until.or(m.v1_until);
                return;
            }
            if full {
                g.flood_until = Some(until);
                return;
            }
        } else if full {
            return;
        }
        if t.memberships == 0 {
            t.next_query = now;
        }
        let g = t.groups.entry((vid, group)).or_default();
        g.members.push(Member {
            port,
            until,
            v1_until,
        });
        t.memberships += 1;
        *t.per_port.entry(port).or_default() += 1;
        self.any.store(true, Relaxed);
    }

    /// One behind `port` leaves `group`. Whether the bridge has to ask who else is there.
    pub fn leave(&self, vid: Vid, group: Ipv4Addr, port: PortId, now: Tick) -> bool {
        let mut t = self.write();
        let soon = now.plus(LAST_MEMBER_MS);
        let members = t.groups.get_mut(&(vid, group)).map(|g| &mut g.members);
        let member = members.and_then(|all| all.iter_mut().find(|m| m.port == port));
        let Some(m) = member.filter(|m| m.v1_until.is_none_or(|t| now.reached(t))) else {
            return false;
        };
        if !soon.reached(m.until) {
            m.until = soon;
        }
        !t.asked_by_others(vid, now)
    }

    /// A query came in by `port`; `router` says that its sender has an address.
    pub fn query_heard(&self, vid: Vid, port: PortId, router: bool, now: Tick) {
        let mut t = self.write();
        t.routers.retain(|r| !now.reached(r.until));
        let port = router.then_some(port);
        let until = now.plus(QUERIER_MS);
        let known = t
            .routers
            .iter()
            .position(|r| r.vid == vid && r.port == port);
        if let Some(r) = known.and_then(|i| t.routers.get_mut(i)) {
            r.until = until;
        } else if t.routers.len() < PortId::MAX_PORTS {
            // As many as ports, in some VLANs; more would be somebody's game.
            t.routers.push(Router { vid, port, until });
        }
    }

    /// The ports behind which routers ask.
    pub fn routers(&self, vid: Vid, now: Tick) -> Vec<PortId> {
        self.read().routers(vid, now).collect()
    }

    /// The ports that a frame to `group` goes to, in their order; `None`: to all.
    pub fn ports(&self, vid: Vid, group: Ipv4Addr, now: Tick) -> Option<Vec<PortId>> {
        if !self.any.load(Relaxed) || always_flooded(group) {
            return None;
        }
        let t = self.read();
        let g = t.groups.get(&(vid, group))?;
        if g.flood_until.is_some_and(|u| !now.reached(u)) {
            return None;
        }
        let members = g.members.iter().filter(|m| !now.reached(m.until));
        let mut ports: Vec<PortId> = members.map(|m| m.port).collect();
        if ports.is_empty() {
            return None;
        }
        ports.extend(t.routers(vid, now));
        ports.sort_unstable();
        ports.dedup();
        Some(ports)
    }

    /// Forgets what expired, and gives the VLANs in which it is time to ask for members: where
    /// there are some and nobody else asks.
    pub fn due(&self, now: Tick) -> Vec<Vid> {
        if !self.any.load(Relaxed) || !now.reached(self.read().next_query) {
            return Vec::new();
        }
        let mut t = self.write();
        t.retain(|m| !now.reached(m.until));
        t.next_query = now.plus(QUERY_MS);
        self.any.store(!t.groups.is_empty(), Relaxed);
        let mut vids: Vec<Vid> = t.groups.keys().map(|(vid, _)| *vid).collect();
        vids.sort_unstable();
        vids.dedup();
        vids.retain(|vid| !t.asked_by_others(*vid, now));
        vids
    }

    /// When [`Groups::due`] next has something to do.
    pub fn next_deadline(&self) -> Option<Tick> {
        (self.any.load(Relaxed)).then(|| self.read().next_query)
    }

    /// Forgets what is behind a port.
    pub fn forget_port(&self, port: PortId) {
        let mut t = self.write();
        t.retain(|m| m.port != port);
        t.routers.retain(|r| r.port != Some(port));
        self.any.store(!t.groups.is_empty(), Relaxed);
    }

    /// Memberships in the table.
    pub fn len(&self) -> usize {
        self.read().memberships
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Table {
    fn routers(&self, vid: Vid, now: Tick) -> impl Iterator<Item = PortId> + '_ {
        self.routers
            .iter()
            .filter(move |r| r.vid == vid && !now.reached(r.until))
            .filter_map(|r| r.port)
    }

    fn asked_by_others(&self, vid: Vid, now: Tick) -> bool {
        let alive = |r: &Router| r.vid == vid && !now.reached(r.until);
        self.routers.iter().any(alive)
    }

    fn retain(&mut self, stays: impl Fn(&Member) -> bool) {
        let (memberships, per_port) = (&mut self.memberships, &mut self.per_port);
        self.groups.retain(|_, g| {
            g.members.retain(|m| {
                let stays = stays(m);
                if !stays {
                    *memberships = memberships.saturating_sub(1);
                    if let Some(n) = per_port.get_mut(&m.port) {
                        *n = n.saturating_sub(1);
                    }
                }
                stays
            });
            !g.members.is_empty()
        });
        per_port.retain(|_, n| *n > 0);
    }
}

#[cfg(test)]
#[path = "groups_tests.rs"]
mod tests;
