//! What happens to a neighbour with time: it is asked again, given up, forgotten.

use super::cache::{FAILED_KEEP_MS, Neighbours, RETRY_MS, TRIES};
use super::entry::{NeighAction, NeighState, Neighbour, unkey};
use super::queue::Order;
use crate::base::Tick;

impl Neighbours {
    /// Does what is due at `now`. The caller acts on what comes back.
    pub fn tick(&self, now: Tick) -> Vec<NeighAction> {
        let mut actions = Vec::new();
        if !self.next_deadline().is_some_and(|due| now.reached(due)) {
            return actions;
        }
        let mut order = self.lock(now);
        let until = order.clock.past(now);
        while let Some(&(due, key)) = order.due.first() {
            if due > until {
                break;
            }
            order.due.remove(&(due, key));
            if let Some(mut n) = self.table.get_mut(&key) {
                n.due = None;
                actions.extend(self.fire(&mut order, key, &mut n, now));
                if n.state != NeighState::Failed || n.due.is_some() {
                    continue;
                }
            }
            self.remove(&mut order, key); // failed long ago
        }
        self.publish(&order);
        actions
    }

    /// The entry's timer. A failed entry that comes back without a timer is to be removed.
    fn fire(
        &self,
        order: &mut Order,
        key: u64,
        n: &mut Neighbour,
        now: Tick,
    ) -> Option<NeighAction> {
        let (zone, ip) = unkey(key);
        match n.state {
            NeighState::Incomplete | NeighState::Stale if n.tries < TRIES => {
                let first = n.tries == 0 && n.state == NeighState::Stale;
                n.tries += 1;
                self.schedule(order, key, n, Some(now.plus(RETRY_MS)));
                Some(NeighAction::SendArp {
                    zone,
                    ip,
                    unicast_to: first.then_some(n.mac),
                })
            }
            NeighState::Incomplete | NeighState::Stale => {
                let outdated = n.usable();
                n.state = NeighState::Failed;
                n.since = now;
                self.schedule(order, key, n, Some(now.plus(FAILED_KEEP_MS)));
                if outdated {
                    self.generation.bump();
                }
                Some(NeighAction::GiveUp {
                    zone,
                    ip,
                    held: n.queue.take(&mut order.held),
                })
            }
            NeighState::Reachable | NeighState::Permanent | NeighState::Failed => None,
        }
    }
}
