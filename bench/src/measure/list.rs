//! The table of measures, with what each has to reach.

use super::{Bar, Kind, Measure, Unit};
use crate::nets::{Side, Way};

const fn twin(bar: f64, goal: f64) -> Bar {
    Bar {
        to: Side::Twin,
        bar: Some(bar),
        goal: Some(goal),
    }
}

/// All measures, in the order of the report.
pub const MEASURES: &[Measure] = &[
    Measure {
        name: "tcp-1-l2",
        title: "TCP, 1 stream, L2",
        way: Way::L2,
        unit: Unit::Gbit,
        kind: Kind::Bulk(1),
        bars: &[twin(0.8, 1.0)],
    },
    Measure {
        name: "tcp-1-dnat",
        title: "TCP, 1 stream, DNAT",
        way: Way::Dnat,
        unit: Unit::Gbit,
        kind: Kind::Bulk(1),
        bars: &[twin(0.8, 1.0)],
    },
    Measure {
        name: "tcp-1-masq",
        title: "TCP, 1 stream, masquerade",
        way: Way::Masquerade,
        unit: Unit::Gbit,
        kind: Kind::Bulk(1),
        bars: &[twin(0.8, 1.0)],
    },
    Measure {
        name: "tcp-4-l2",
        title: "TCP, 4 streams, L2",
        way: Way::L2,
        unit: Unit::Gbit,
        kind: Kind::Bulk(4),
        bars: &[twin(0.6, 0.8)],
    },
    Measure {
        name: "rr-1",
        title: "TCP request/response 64 B, 1 connection",
        way: Way::L2,
        unit: Unit::PerSecond,
        kind: Kind::Exchange(1),
        bars: &[twin(1.6, 2.5)],
    },
    Measure {
        name: "rr-32",
        title: "TCP request/response 64 B, 32 connections",
        way: Way::L2,
        unit: Unit::PerSecond,
        kind: Kind::Exchange(32),
        bars: &[twin(1.0, 1.5)],
    },
    Measure {
        name: "rr-bulk",
        title: "request/response beside a bulk stream",
        way: Way::L2,
        unit: Unit::P99Micros,
        kind: Kind::ExchangeBesideBulk,
        bars: &[twin(1.0, 0.5)],
    },
    Measure {
        name: "conn-1",
        title: "connections by DNAT, 1 client",
        way: Way::Dnat,
        unit: Unit::PerSecond,
        kind: Kind::Connections(1),
        bars: &[twin(1.2, 1.6)],
    },
    Measure {
        name: "conn-8",
        title: "connections by DNAT, 8 clients",
        way: Way::Dnat,
        unit: Unit::PerSecond,
        kind: Kind::Connections(8),
        bars: &[twin(1.2, 1.6)],
    },
    Measure {
        name: "udp-64-l2",
        title: "UDP 64 B delivered, L2",
        way: Way::L2,
        unit: Unit::PerSecond,
        kind: Kind::Flood(64),
        bars: &[twin(2.5, 4.0)],
    },
    Measure {
        name: "udp-64-dnat",
        title: "UDP 64 B delivered, DNAT",
        way: Way::Dnat,
        unit: Unit::PerSecond,
        kind: Kind::Flood(64),
        bars: &[twin(2.5, 4.0)],
    },
    Measure {
        name: "udp-1400-l2",
        title: "UDP 1,400 B delivered, L2",
        way: Way::L2,
        unit: Unit::PerSecond,
        kind: Kind::Flood(1400),
        bars: &[twin(2.0, 3.0)],
    },
    Measure {
        name: "udp-1400-dnat",
        title: "UDP 1,400 B delivered, DNAT",
        way: Way::Dnat,
        unit: Unit::PerSecond,
        kind: Kind::Flood(1400),
        bars: &[twin(2.0, 3.0)],
    },
    Measure {
        name: "ping",
        title: "ping RTT, back to back, L2",
        way: Way::L2,
        unit: Unit::MeanMicros,
        kind: Kind::Ping,
        bars: &[
            twin(2.0, 1.2),
            Bar {
                to: Side::Patch,
                bar: Some(1.25),
                goal: None,
            },
        ],
    },
];
