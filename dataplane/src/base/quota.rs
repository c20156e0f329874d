//! How much of something each inside host has, and the most that one may have (RFC 6888 REQ-4
//! and REQ-5).

use super::Reason;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

const SHARDS: usize = 16;

/// Counts by address. Holds only hosts that have something, so it is no larger than the table of
/// what is counted. Without a limit nothing is counted, and nothing is paid.
pub struct Quota {
    limit: u32,
    reason: Reason,
    used: [Mutex<HashMap<Ipv4Addr, u32>>; SHARDS],
}

impl Quota {
    /// No more than `limit` for each host, beyond that `reason`; `u32::MAX` is no limit.
    pub fn new(limit: u32, reason: Reason) -> Quota {
        Quota {
            limit,
            reason,
            used: Default::default(),
        }
    }

    fn with<R>(&self, host: Ipv4Addr, f: impl FnOnce(&mut HashMap<Ipv4Addr, u32>) -> R) -> R {
        let shard = host.to_bits() as usize % SHARDS;
        let [first, ..] = &self.used;
        let m = self.used.get(shard).unwrap_or(first);
        f(&mut m.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One more for `host`.
    ///
    /// # Errors
    /// The quota's reason when it has as many as it may; nothing was counted.
    pub fn take(&self, host: Ipv4Addr) -> Result<(), Reason> {
        if self.limit == u32::MAX {
            return Ok(());
        }
        self.with(host, |used| {
            let n = used.get(&host).copied().unwrap_or(0);
            if n >= self.limit {
                return Err(self.reason);
            }
            used.insert(host, n + 1);
            Ok(())
        })
    }

    /// One less for `host`.
    pub fn give_back(&self, host: Ipv4Addr) {
        if self.limit == u32::MAX {
            return;
        }
        self.with(host, |used| match used.get(&host).copied() {
            Some(n) if n > 1 => {
                used.insert(host, n - 1);
            }
            _ => {
                used.remove(&host);
            }
        });
    }

    /// What `host` has, as far as it is counted.
    pub fn used(&self, host: Ipv4Addr) -> u32 {
        self.with(host, |used| used.get(&host).copied().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_to_the_limit_and_forgets_who_has_nothing() {
        let q = Quota::new(2, Reason::HostPorts);
        let (a, b) = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 18));
        assert_eq!([q.take(a), q.take(a)], [Ok(()), Ok(())]);
        assert_eq!(q.take(a), Err(Reason::HostPorts));
        assert_eq!((q.take(b), q.used(a), q.used(b)), (Ok(()), 2, 1));
        q.give_back(a);
        assert_eq!((q.take(a), q.take(a)), (Ok(()), Err(Reason::HostPorts)));
        for _ in 0..3 {
            q.give_back(a);
        }
        q.give_back(b);
        assert!(q.used.iter().all(|m| m.lock().unwrap().is_empty()));
    }

    #[test]
    fn no_limit_counts_nothing() {
        let q = Quota::new(u32::MAX, Reason::HostPorts);
        let a = Ipv4Addr::new(10, 0, 0, 2);
        assert_eq!((q.take(a), q.used(a)), (Ok(()), 0));
        q.give_back(a);
    }
}
