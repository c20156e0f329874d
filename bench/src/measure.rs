//! The measures, and one run of one of them on one network.

use crate::Result;
use crate::cpu::{Cores, CpuTimes};
use crate::nets::{Net, Way};
use crate::traffic::{self, Programs};
use serde::Serialize;
use std::time::{Duration, Instant};

/// What the programs do.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// TCP streams.
    Bulk(usize),
    /// TCP connections with one exchange of 64 bytes under way on each.
    Exchange(usize),
    /// The same with one connection, beside a bulk stream.
    ExchangeBesideBulk,
    /// Clients that open one TCP connection after the other.
    Connections(usize),
    /// Datagrams of this size.
    Flood(usize),
    /// ICMP echo.
    Ping,
}

/// What the figure of a measure is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Unit {
    /// 10^9 bits of payload a second.
    #[serde(rename = "Gbit/s")]
    Gbit,
    /// Exchanges, connections or datagrams a second.
    #[serde(rename = "1/s")]
    PerSecond,
    /// Mean time, µs.
    #[serde(rename = "µs")]
    MeanMicros,
    /// 99th percentile of times, µs.
    #[serde(rename = "µs p99")]
    P99Micros,
}

impl Unit {
    /// Whether more is better.
    pub const fn more_is_better(self) -> bool {
        matches!(self, Unit::Gbit | Unit::PerSecond)
    }

    /// For tables.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::Gbit => "Gbit/s",
            Unit::PerSecond => "1/s",
            Unit::MeanMicros => "µs",
            Unit::P99Micros => "µs p99",
        }
    }
}

/// One measure.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// For `--filter` and the JSON.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// Its way through the network.
    pub way: Way,
    /// What the figure is.
    pub unit: Unit,
    /// What the ratio switchd/twin has to reach (or stay below, where less is better).
    pub bar: f64,
    kind: Kind,
}

const fn m(
    name: &'static str,
    title: &'static str,
    way: Way,
    unit: Unit,
    bar: f64,
    kind: Kind,
) -> Measure {
    Measure {
        name,
        title,
        way,
        unit,
        bar,
        kind,
    }
}

/// All measures, in the order of the table.
pub const MEASURES: &[Measure] = &[
    m(
        "tcp-1-l2",
        "TCP, 1 stream, L2",
        Way::L2,
        Unit::Gbit,
        0.8,
        Kind::Bulk(1),
    ),
    m(
        "tcp-1-dnat",
        "TCP, 1 stream, DNAT",
        Way::Dnat,
        Unit::Gbit,
        0.8,
        Kind::Bulk(1),
    ),
    m(
        "tcp-1-masq",
        "TCP, 1 stream, masquerade",
        Way::Masquerade,
        Unit::Gbit,
        0.8,
        Kind::Bulk(1),
    ),
    m(
        "tcp-4-l2",
        "TCP, 4 streams, L2",
        Way::L2,
        Unit::Gbit,
        0.6,
        Kind::Bulk(4),
    ),
    m(
        "rr-1",
        "TCP request/response 64 B, 1 connection",
        Way::L2,
        Unit::PerSecond,
        1.6,
        Kind::Exchange(1),
    ),
    m(
        "rr-32",
        "TCP request/response 64 B, 32 connections",
        Way::L2,
        Unit::PerSecond,
        1.0,
        Kind::Exchange(32),
    ),
    m(
        "rr-bulk",
        "request/response beside a bulk stream",
        Way::L2,
        Unit::P99Micros,
        1.0,
        Kind::ExchangeBesideBulk,
    ),
    m(
        "conn-1",
        "connections by DNAT, 1 client",
        Way::Dnat,
        Unit::PerSecond,
        1.2,
        Kind::Connections(1),
    ),
    m(
        "conn-8",
        "connections by DNAT, 8 clients",
        Way::Dnat,
        Unit::PerSecond,
        1.2,
        Kind::Connections(8),
    ),
    m(
        "udp-64-l2",
        "UDP 64 B delivered, L2",
        Way::L2,
        Unit::PerSecond,
        2.5,
        Kind::Flood(64),
    ),
    m(
        "udp-64-dnat",
        "UDP 64 B delivered, DNAT",
        Way::Dnat,
        Unit::PerSecond,
        2.5,
        Kind::Flood(64),
    ),
    m(
        "udp-1400-l2",
        "UDP 1,400 B delivered, L2",
        Way::L2,
        Unit::PerSecond,
        2.0,
        Kind::Flood(1400),
    ),
    m(
        "udp-1400-dnat",
        "UDP 1,400 B delivered, DNAT",
        Way::Dnat,
        Unit::PerSecond,
        2.0,
        Kind::Flood(1400),
    ),
    m(
        "ping",
        "ping RTT, back to back, L2",
        Way::L2,
        Unit::MeanMicros,
        2.0,
        Kind::Ping,
    ),
];

/// What one run gave.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// In the measure's unit.
    pub value: f64,
    /// Cores kept busy.
    pub cpu: Cores,
    /// 99th percentile of the times of exchanges in µs, where they are taken.
    pub p99_us: Option<f64>,
}

/// Time before the clock runs: connections open, congestion windows grow, tables fill.
const WARM_UP: Duration = Duration::from_millis(400);

impl Measure {
    fn start(&self, net: &dyn Net) -> Result<Programs> {
        let ends = net.ends(self.way);
        match self.kind {
            Kind::Bulk(n) => traffic::bulk(ends, n),
            Kind::Exchange(n) => traffic::request_response(ends, n, false),
            Kind::ExchangeBesideBulk => traffic::request_response(ends, 1, true),
            Kind::Connections(n) => traffic::connections(ends, n),
            Kind::Flood(size) => traffic::flood(ends, size),
            Kind::Ping => traffic::ping(ends),
        }
    }

    /// Runs it for `time` behind a short warm-up.
    ///
    /// # Errors
    /// A program's failure, nothing arriving, or counters that don't add up afterwards.
    pub fn run(&self, net: &dyn Net, time: Duration) -> Result<Sample> {
        let named = |e: &dyn std::fmt::Display| format!("{} on {}: {e}", self.name, net.name());
        let programs = self.start(net).map_err(|e| named(&e))?;
        std::thread::sleep(WARM_UP);
        programs.take_latencies();
        let (begun, before, cpu) = (Instant::now(), programs.done(), CpuTimes::now(net.pid()));
        std::thread::sleep(time);
        let done = programs.done() - before;
        let seconds = begun.elapsed().as_secs_f64();
        let cpu = CpuTimes::now(net.pid()).since(&cpu);
        let mut latencies = programs.take_latencies();
        programs.stop().map_err(|e| named(&e))?;
        if done == 0 {
            return Err(named(&"nothing arrived").into());
        }
        net.check().map_err(|e| named(&e))?;
        latencies.sort_unstable();
        let p99_us = latencies
            .get(latencies.len() * 99 / 100)
            .map(|ns| f64::from(*ns) / 1e3);
        let rate = done as f64 / seconds;
        let value = match self.unit {
            Unit::Gbit => rate * 8.0 / 1e9,
            Unit::PerSecond => rate,
            Unit::MeanMicros => {
                let sum: f64 = latencies.iter().map(|ns| f64::from(*ns)).sum();
                sum / latencies.len().max(1) as f64 / 1e3
            }
            Unit::P99Micros => p99_us.ok_or_else(|| named(&"no exchange ended"))?,
        };
        Ok(Sample { value, cpu, p99_us })
    }
}
