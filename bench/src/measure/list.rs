//! The table of measures, with what each has to reach.

use super::{Bar, Measure, Unit};
use crate::nets::{Side, Way};
use crate::traffic::Job;

const fn beside(to: Side, bar: f64, goal: f64) -> Bar {
    Bar {
        to: Some(to),
        bar: Some(bar),
        goal: Some(goal),
    }
}

/// Shown, not judged.
const fn shown(to: Side, goal: f64) -> Bar {
    Bar {
        to: Some(to),
        bar: None,
        goal: Some(goal),
    }
}

const fn twin(bar: f64, goal: f64) -> Bar {
    beside(Side::Twin, bar, goal)
}

const fn no_goal(to: Side, bar: f64) -> Bar {
    Bar {
        to: Some(to),
        bar: Some(bar),
        goal: None,
    }
}

/// switchd on a way, compared with the twin.
const fn m(
    name: &'static str,
    title: &'static str,
    way: Way,
    unit: Unit,
    job: Job,
    bars: &'static [Bar],
) -> Measure {
    Measure {
        name,
        title,
        way,
        unit,
        job,
        of: Side::Switchd,
        bars,
    }
}

const BULK_1: &[Bar] = &[twin(0.8, 1.0)];
const CONNECTIONS: &[Bar] = &[twin(1.2, 1.6)];
const UDP_64: &[Bar] = &[twin(2.5, 4.0)];
const UDP_1400: &[Bar] = &[twin(2.0, 3.0)];
const PING: &[Bar] = &[twin(2.0, 1.2), no_goal(Side::Patch, 1.25)];
const IDLE: &[Bar] = &[Bar {
    to: None,
    bar: Some(0.01),
    goal: Some(0.0),
}];
const LOW_RR: &[Bar] = &[no_goal(Side::Twin, 3.0), shown(Side::TwinAwake, 0.8)];
const LOW_CONN: &[Bar] = &[no_goal(Side::Twin, 1.6), shown(Side::TwinAwake, 1.1)];
const CROWD: &[Bar] = &[no_goal(Side::Switchd, 0.95)];

const SOCKETS: &[Bar] = &[beside(Side::Veth, 0.3, 0.6), shown(Side::Slirp, 1.0)];
const SOCKETS_IN: &[Bar] = &[beside(Side::Veth, 0.3, 0.6)];
const JUMBO: &[Bar] = &[
    beside(Side::VethJumbo, 0.3, 0.6),
    shown(Side::SlirpJumbo, 1.0),
];
const JUMBO_IN: &[Bar] = &[beside(Side::VethJumbo, 0.3, 0.6)];

const RR_1: &str = "TCP request/response 64 B, 1 connection";

/// All measures, in the order of the report. Those that need networks of their own come last: the
/// end of 500 namespaces keeps the kernel busy for a while.
#[rustfmt::skip]
pub const MEASURES: &[Measure] = &[
    m("tcp-1-l2", "TCP, 1 stream, L2", Way::L2, Unit::Gbit, Job::Bulk(1), BULK_1),
    m("tcp-1-dnat", "TCP, 1 stream, DNAT", Way::Dnat, Unit::Gbit, Job::Bulk(1), BULK_1),
    m("tcp-1-masq", "TCP, 1 stream, masquerade", Way::Masquerade, Unit::Gbit, Job::Bulk(1), BULK_1),
    m("tcp-4-l2", "TCP, 4 streams, L2", Way::L2, Unit::Gbit, Job::Bulk(4), &[twin(0.6, 0.8)]),
    m("rr-1", RR_1, Way::L2, Unit::PerSecond, Job::Exchange(1), &[twin(1.6, 2.5)]),
    m("rr-32", "TCP request/response 64 B, 32 connections", Way::L2, Unit::PerSecond, Job::Exchange(32), &[twin(1.0, 1.5)]),
    m("rr-bulk", "TCP request/response 64 B beside a bulk stream", Way::L2, Unit::P99Micros, Job::ExchangeBesideBulk, &[twin(1.0, 0.5)]),
    m("conn-1", "connections by DNAT, 1 client", Way::Dnat, Unit::PerSecond, Job::Connections(1), CONNECTIONS),
    m("conn-8", "connections by DNAT, 8 clients", Way::Dnat, Unit::PerSecond, Job::Connections(8), CONNECTIONS),
    m("udp-64-l2", "UDP 64 B delivered, L2", Way::L2, Unit::PerSecond, Job::Flood(64), UDP_64),
    m("udp-64-dnat", "UDP 64 B delivered, DNAT", Way::Dnat, Unit::PerSecond, Job::Flood(64), UDP_64),
    m("udp-1400-l2", "UDP 1,400 B delivered, L2", Way::L2, Unit::PerSecond, Job::Flood(1400), UDP_1400),
    m("udp-1400-dnat", "UDP 1,400 B delivered, DNAT", Way::Dnat, Unit::PerSecond, Job::Flood(1400), UDP_1400),
    m("ping", "ping RTT, back to back, L2", Way::L2, Unit::MeanMicros, Job::Ping, PING),
    m("idle", "CPU of an idle switch", Way::L2, Unit::Cores, Job::Silence, IDLE),
    Measure { of: Side::LowLatency, ..m("low-rr", RR_1, Way::L2, Unit::PerSecond, Job::Exchange(1), LOW_RR) },
    Measure { of: Side::LowLatency, ..m("low-conn", "connections by DNAT, 1 client", Way::Dnat, Unit::PerSecond, Job::Connections(1), LOW_CONN) },
    Measure { of: Side::Nic, ..m("nic-out", "TCP, 1 stream, out by the host's interface", Way::Masquerade, Unit::Gbit, Job::Bulk(1), BULK_1) },
    Measure { of: Side::Nic, ..m("nic-in", "TCP, 1 stream, in by the host's interface", Way::Dnat, Unit::Gbit, Job::Bulk(1), BULK_1) },
    Measure { of: Side::Nic, ..m("nic-rr", "TCP request/response 64 B, 1 connection, in by the host's interface", Way::Dnat, Unit::PerSecond, Job::Exchange(1), &[twin(1.0, 1.6)]) },
    Measure { of: Side::Nic, ..m("nic-conn", "connections in by the host's interface, 1 client", Way::Dnat, Unit::PerSecond, Job::Connections(1), &[twin(1.0, 1.2)]) },
    Measure { of: Side::Nic, ..m("nic-conn-out", "connections out by the host's interface, 1 client", Way::Masquerade, Unit::PerSecond, Job::Connections(1), &[twin(1.0, 1.2)]) },
    Measure { of: Side::Nic, ..m("nic-udp-in", "UDP 64 B delivered, in by the host's interface", Way::Dnat, Unit::PerSecond, Job::Flood(64), &[twin(1.0, 2.5)]) },
    Measure { of: Side::Nic, ..m("nic-udp-out", "UDP 64 B delivered, out by the host's interface", Way::Masquerade, Unit::PerSecond, Job::Flood(64), &[twin(1.0, 2.5)]) },
    Measure { of: Side::Sockets, ..m("sockets-out", "TCP, 1 stream, out by sockets, MTU 1500", Way::Masquerade, Unit::Gbit, Job::Bulk(1), SOCKETS) },
    Measure { of: Side::Sockets, ..m("sockets-in", "TCP, 1 stream, in by sockets, MTU 1500", Way::Dnat, Unit::Gbit, Job::Bulk(1), SOCKETS_IN) },
    Measure { of: Side::SocketsJumbo, ..m("sockets-out-64k", "TCP, 1 stream, out by sockets, MTU 65520", Way::Masquerade, Unit::Gbit, Job::Bulk(1), JUMBO) },
    Measure { of: Side::SocketsJumbo, ..m("sockets-in-64k", "TCP, 1 stream, in by sockets, MTU 65520", Way::Dnat, Unit::Gbit, Job::Bulk(1), JUMBO_IN) },
    Measure { of: Side::Crowd, ..m("ports-rr", RR_1, Way::L2, Unit::PerSecond, Job::Exchange(1), CROWD) },
    Measure { of: Side::Crowd, ..m("ports-udp", "UDP 64 B delivered, L2", Way::L2, Unit::PerSecond, Job::Flood(64), CROWD) },
    Measure { of: Side::Crowd, ..m("ports-tcp", "TCP, 1 stream, L2", Way::L2, Unit::Gbit, Job::Bulk(1), CROWD) },
];
