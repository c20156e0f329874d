//! Counters of the relay.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The live counters; written by the relay's thread only.
        #[derive(Debug, Default)]
        pub(super) struct Stats { $(pub $name: AtomicU64,)* }

        /// The relay's counters at one moment.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct RelayReport { $($(#[$doc])* pub $name: u64,)* }

        impl Stats {
            /// A copy for a reader.
            pub fn report(&self) -> RelayReport {
                RelayReport { $($name: self.$name.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Sockets that listen now, TCP and UDP.
    listeners,
    /// TCP connections that are relayed now.
    connections,
    /// TCP connections accepted since the start.
    accepted,
    /// Of them: reset because nothing answered behind the published port.
    refused,
    /// Of them: ended by a reset of either side after they were up.
    reset,
    /// TCP bytes moved to containers.
    bytes_in,
    /// TCP bytes moved to clients.
    bytes_out,
    /// Times that accepting paused because descriptors or connections ran out.
    pauses,
    /// Pipes that hold waiting bytes now.
    pipes_busy,
    /// Reads that were copied because no pipe could be had.
    copies,
    /// UDP sessions that live now.
    sessions,
    /// UDP datagrams handed to containers.
    datagrams_in,
    /// UDP datagrams handed to clients.
    datagrams_out,
    /// UDP datagrams lost here: a full socket, no descriptor, or an unusable sender.
    datagrams_dropped,
    /// UDP sessions ended by "port unreachable" from the container.
    sessions_refused,
    /// UDP sessions that had to make room for a newer one.
    sessions_evicted,
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

/// Sets a gauge.
pub(super) fn set(counter: &AtomicU64, n: usize) {
    counter.store(n as u64, Relaxed);
}
