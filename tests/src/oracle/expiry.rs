//! Timeouts that a test can wait for, the same on both sides. The kernel has one for each state; the
//! switch one for what opens, one for what is open, one for what closes.

use dataplane::base::Timeouts;
use std::time::Duration;

/// For what opens, closes, or is no TCP.
const SHORT: &str = "1";
/// For what is open, half-closed too.
const LONG: &str = "3";

/// What is set in the namespace.
pub const SETTINGS: [(&str, &str); 15] = [
    ("net/netfilter/nf_conntrack_udp_timeout", SHORT),
    ("net/netfilter/nf_conntrack_udp_timeout_stream", SHORT),
    ("net/netfilter/nf_conntrack_icmp_timeout", SHORT),
    ("net/netfilter/nf_conntrack_generic_timeout", SHORT),
    ("net/netfilter/nf_conntrack_tcp_timeout_syn_sent", SHORT),
    ("net/netfilter/nf_conntrack_tcp_timeout_syn_recv", SHORT),
    ("net/netfilter/nf_conntrack_tcp_timeout_last_ack", SHORT),
    ("net/netfilter/nf_conntrack_tcp_timeout_time_wait", SHORT),
    ("net/netfilter/nf_conntrack_tcp_timeout_close", SHORT),
    ("net/netfilter/nf_conntrack_tcp_timeout_established", LONG),
    ("net/netfilter/nf_conntrack_tcp_timeout_fin_wait", LONG),
    ("net/netfilter/nf_conntrack_tcp_timeout_close_wait", LONG),
    // Neither a repeated segment nor an unanswered one has another time.
    ("net/netfilter/nf_conntrack_tcp_timeout_max_retrans", LONG),
    (
        "net/netfilter/nf_conntrack_tcp_timeout_unacknowledged",
        LONG,
    ),
    ("net/netfilter/nf_conntrack_tcp_max_retrans", "255"),
];

/// The switch's.
pub fn timeouts() -> Timeouts {
    let short = Duration::from_secs(1);
    Timeouts {
        tcp_established: Duration::from_secs(3),
        tcp_transitory: short,
        tcp_closing: short,
        udp: short,
        icmp: short,
        ..Timeouts::default()
    }
}
