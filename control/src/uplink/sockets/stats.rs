//! What the engine counts. Frames that it takes have left the switch, so what is lost here has a
//! name here.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The live counters.
        #[derive(Debug, Default)]
        pub struct Stats { $($(#[$doc])* pub $name: AtomicU64,)* }

        /// The counters at one moment.
        #[derive(
            serde::Serialize, serde::Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default,
        )]
        pub struct SocketsReport { $($(#[$doc])* pub $name: u64,)* }

        impl Stats {
            /// A copy for a reader.
            pub fn report(&self) -> SocketsReport {
                SocketsReport { $($name: self.$name.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// TCP connections now.
    tcp_now,
    /// TCP connections that containers asked for.
    tcp_out,
    /// TCP connections that published ports accepted.
    tcp_in,
    /// TCP connections that the other side refused, or that were unreachable or timed out.
    tcp_refused,
    /// TCP connections reset by either side after they were up.
    tcp_reset,
    /// TCP connections refused by us: the limit, or no descriptor, port or memory left.
    tcp_limit,
    /// Half-open TCP connections that made room for newer ones.
    half_open_evicted,
    /// TCP segments that belong to no connection: answered with a RST.
    tcp_unknown,
    /// TCP bytes that containers sent.
    bytes_out,
    /// TCP bytes for containers.
    bytes_in,
    /// TCP payload sent again to containers.
    resent,
    /// Bytes that wait for slow host sockets, and for acknowledgements of containers, now.
    bytes_held,
    /// UDP sockets now.
    udp_now,
    /// Datagrams that containers sent.
    datagrams_out,
    /// Datagrams for containers.
    datagrams_in,
    /// Datagrams lost: a full socket, or an address that can't be sent to.
    datagrams_dropped,
    /// Datagrams refused: no descriptor or port left.
    udp_limit,
    /// Echo requests passed on.
    echoes,
    /// Echo requests refused: the host does not let us send them (ping_group_range).
    echoes_refused,
    /// ICMP errors of the outside handed to containers.
    errors_in,
    /// Frames to addresses that are not reached by this uplink (loopback, groups).
    no_destination,
    /// Frames that are nothing the engine knows, or malformed.
    unknown,
    /// Frames for the switch that found its queue full.
    queue_full,
    /// Fragments that waited in vain, or had no room.
    fragments_lost,
    /// Clients of published ports whose address could not be kept: they come as the gateway.
    clients_masked,
}

/// Adds to a counter.
pub fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

/// Sets a gauge.
pub fn set(counter: &AtomicU64, n: usize) {
    counter.store(n as u64, Relaxed);
}
