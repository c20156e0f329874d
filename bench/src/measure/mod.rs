//! The measures, and one run of one of them on one network.

use crate::Result;
use crate::cpu::{Cores, CpuTimes};
use crate::nets::{Net, Side, Way};
use crate::traffic::{self, Programs};
use serde::Serialize;
use std::time::{Duration, Instant};

mod list;

pub use list::MEASURES;

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

    /// Whether a ratio reaches a bar.
    pub fn reaches(self, ratio: f64, bar: f64) -> bool {
        match self.more_is_better() {
            true => ratio >= bar,
            false => ratio <= bar,
        }
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

/// What the figure of switchd is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// The network whose figure is the divisor.
    pub to: Side,
    /// What the ratio has to reach, or to stay below where less is better.
    pub bar: Option<f64>,
    /// What it should reach.
    pub goal: Option<f64>,
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
    /// What switchd is compared with.
    pub bars: &'static [Bar],
    kind: Kind,
}

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
    pub fn run(&self, net: &mut dyn Net, time: Duration) -> Result<Sample> {
        let at = net.name();
        let named = |e: &dyn std::fmt::Display| format!("{} on {at}: {e}", self.name);
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
