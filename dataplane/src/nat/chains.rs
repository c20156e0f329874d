//! Counters of rules and chains, and the report that `switchctl rules` shows.

use super::publication::RuleReport;
use super::rules::Rules;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Packets and bytes, counted by any thread.
#[derive(Default, Debug)]
pub struct Tally {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    /// Counts one packet.
    pub fn add(&self, bytes: u64) {
        self.packets.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Back to 0.
    pub(super) fn reset(&self) {
        self.packets.store(0, Relaxed);
        self.bytes.store(0, Relaxed);
    }

    /// Packets, bytes.
    pub fn get(&self) -> (u64, u64) {
        (self.packets.load(Relaxed), self.bytes.load(Relaxed))
    }
}

/// Counters of the built-in chains. As in netfilter's nat table, they count the first packet of
/// each connection that traverses them.
#[derive(Default, Debug)]
pub struct ChainCounters {
    /// PREROUTING: connections that came in.
    pub prerouting: Tally,
    /// INPUT: connections to the host or the switch itself.
    pub input: Tally,
    /// OUTPUT: connections that the host opened.
    pub output: Tally,
    /// POSTROUTING: connections that left.
    pub postrouting: Tally,
    /// The MASQUERADE rule of the subnet in POSTROUTING.
    pub masquerade: Tally,
}

impl ChainCounters {
    /// Both kinds of counters in one report.
    pub fn report(&self, rules: &Rules) -> NatReport {
        NatReport {
            rules: rules.report(),
            prerouting: self.prerouting.get(),
            input: self.input.get(),
            output: self.output.get(),
            postrouting: self.postrouting.get(),
            masquerade: self.masquerade.get(),
        }
    }
}

/// What `switchctl rules` shows: packets and bytes of each chain, and every rule.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NatReport {
    /// The published ports, oldest first.
    pub rules: Vec<RuleReport>,
    /// See [`ChainCounters::prerouting`].
    pub prerouting: (u64, u64),
    /// See [`ChainCounters::input`].
    pub input: (u64, u64),
    /// See [`ChainCounters::output`].
    pub output: (u64, u64),
    /// See [`ChainCounters::postrouting`].
    pub postrouting: (u64, u64),
    /// See [`ChainCounters::masquerade`].
    pub masquerade: (u64, u64),
}
