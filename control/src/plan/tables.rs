//! What the flags say of the tables: how long their entries are kept, and how many.

use super::Failure;
use super::spec::scalar;
use super::validate::usage;
use crate::flags::Raw;
use dataplane::slow::{Limits, Timeouts};
use std::time::Duration;

/// How long each kind of entry is kept.
pub(super) fn timeouts(raw: &Raw) -> Result<Timeouts, Failure> {
    let d = Timeouts::default();
    let get = |text: &Option<String>, flag: &'static str, default: Duration| match text {
        None => Ok(default),
        Some(t) => scalar::duration(t, "a time").map_err(usage(flag)),
    };
    let tcp_transitory = get(
        &raw.tcp_transitory_timeout,
        "tcp-transitory-timeout",
        d.tcp_transitory,
    )?;
    Ok(Timeouts {
        tcp_transitory,
        tcp_closing: get(
            &raw.tcp_closing_timeout,
            "tcp-closing-timeout",
            tcp_transitory,
        )?,
        tcp_established: get(
            &raw.tcp_established_timeout,
            "tcp-established-timeout",
            d.tcp_established,
        )?,
        udp: get(&raw.udp_timeout, "udp-timeout", d.udp)?,
        icmp: get(&raw.icmp_timeout, "icmp-timeout", d.icmp)?,
        fdb: get(&raw.fdb_age, "fdb-age", d.fdb)?,
        fragment: get(&raw.fragment_timeout, "fragment-timeout", d.fragment)?,
        neigh: get(&raw.neigh_age, "neigh-age", d.neigh)?,
        port_rest: get(&raw.port_rest, "port-rest", d.port_rest)?,
    })
}

/// How many entries there may be.
pub(super) fn limits(raw: &Raw) -> Result<Limits, Failure> {
    let d = Limits::default();
    let get = |text: &Option<String>, what, flag: &'static str, default: u32| match text {
        None => Ok::<u32, Failure>(default),
        Some(t) => {
            let n = scalar::number(t, what, 1, 8_388_608).map_err(usage(flag))?;
            Ok(u32::try_from(n).unwrap_or(default))
        }
    };
    let what = "a number of connections";
    let n = get(&raw.conntrack_max, what, "conntrack-max", d.connections)?;
    Ok(Limits {
        connections: n,
        connections_per_port: n,
        half_open_per_port: d.half_open_per_port.min(n),
        connections_per_host: get(
            &raw.host_connections,
            what,
            "host-connections",
            d.connections_per_host,
        )?,
        ports_per_host: get(
            &raw.host_ports,
            "a number of ports",
            "host-ports",
            d.ports_per_host,
        )?,
        ..d
    })
}
