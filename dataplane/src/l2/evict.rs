//! What leaves the FDB: the expired, and the oldest when room is wanted.

use super::fdb::Fdb;
use super::order::Order;
use crate::base::{PortId, Tick};
use std::sync::atomic::Ordering::Relaxed;

impl Fdb {
    /// The entry of `port` that was silent for longest, and since when; stamps that a refresh
    /// made too old are put right on the way, each taking one from `left`.
    fn oldest(&self, order: &mut Order, port: PortId, left: &mut usize) -> Option<(u64, Tick)> {
        loop {
            let (stamp, key) = order.first(port)?;
            let mut e = self.truth.get_mut(&key)?;
            let seen = self.index.seen(e.at);
            let real = order.clock.past(seen);
            if real <= stamp {
                return Some((key, seen));
            }
            order.remove(port, stamp, key);
            order.insert(port, real, key);
            e.stamp = real;
            *left = left.checked_sub(1)?;
        }
    }

    /// Removes a port's expired entries while `left` lasts.
    pub(super) fn expire_port(
        &self,
        order: &mut Order,
        port: PortId,
        now: Tick,
        left: &mut usize,
    ) -> usize {
        let mut removed = 0;
        while *left > 0 {
            *left -= 1;
            match self.oldest(order, port, left) {
                Some((key, seen)) if now.since(seen) >= self.age_ms => self.remove(order, key),
                _ => break,
            }
            self.counts.aged.fetch_add(1, Relaxed);
            removed += 1;
        }
        removed
    }

    /// Frees an entry of a full table: one that has expired, else the oldest of the port that has
    /// most, so that a flood of addresses from one port pushes out its own. On a tie the port
    /// that wants the room pays.
    pub(super) fn make_room(&self, order: &mut Order, wants: PortId, now: Tick) -> bool {
        let ports: Vec<(usize, bool, PortId)> = order
            .ports
            .iter()
            .map(|(&p, set)| (set.len(), p == wants, p))
            .collect();
        let mut unlimited = usize::MAX;
        for &(_, _, port) in &ports {
            match self.oldest(order, port, &mut unlimited) {
                Some((key, seen)) if now.since(seen) >= self.age_ms => {
                    self.remove(order, key);
                    self.counts.aged.fetch_add(1, Relaxed);
                    return true;
                }
                _ => {}
            }
        }
        let most = ports.iter().max();
        let Some((key, _)) = most.and_then(|m| self.oldest(order, m.2, &mut unlimited)) else {
            return false;
        };
        self.remove(order, key);
        self.counts.evicted.fetch_add(1, Relaxed);
        true
    }

    /// Frees a slot of a full bucket: its oldest learned entry goes.
    pub(super) fn make_way(&self, order: &mut Order, key: u64) {
        let victim = self
            .index
            .bucket_of(key)
            .filter(|(_, hit)| !hit.is_static)
            .min_by_key(|(key, hit)| (order.clock.past(hit.seen), *key));
        if let Some((key, _)) = victim {
            self.remove(order, key);
            self.counts.evicted.fetch_add(1, Relaxed);
        }
    }
}
