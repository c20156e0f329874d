//! One run: programs start, warm up, are counted for a while, end; then all counters have to fit.

use super::{Measure, Unit};
use crate::Result;
use crate::cpu::{Cores, CpuTimes};
use crate::nets::Net;
use crate::traffic::{Job, Latency, Outcome, Talk, iperf};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How all runs are made.
#[derive(Clone, Debug)]
pub struct Manner {
    /// A command that becomes an agent of the programs.
    pub agent: Vec<OsString>,
    /// How long it is counted.
    pub time: Duration,
    /// Time before: connections open, congestion windows grow, tables fill.
    pub warm_up: Duration,
    /// TCP congestion control of all sides; the machine's default if `None`.
    pub cc: Option<String>,
    /// Bulk by the real iperf3.
    pub iperf3: bool,
}

/// Where nothing arrives in time it is waited so much longer, since a machine may stand still.
const LONGER: Duration = Duration::from_secs(10);

/// What one run gave.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// In the measure's unit.
    pub value: f64,
    /// Cores kept busy.
    pub cpu: Cores,
    /// Times of exchanges, where they are taken.
    pub latency: Option<Latency>,
    /// 10^9 bits a second of the bulk stream beside it, where there is one.
    pub beside_gbit: Option<f64>,
    /// What was sent in all, warm-up included: bytes, requests, connections, datagrams.
    pub sent: u64,
    /// What of it arrived.
    pub arrived: u64,
    /// What grew of the counters of loss.
    pub lost: BTreeMap<String, u64>,
}

impl Measure {
    /// Runs it once.
    ///
    /// # Errors
    /// A program's failure, nothing arriving, or counters that contradict each other afterwards:
    /// then the figure would mean nothing.
    pub fn run(&self, net: &mut dyn Net, how: &Manner) -> Result<Sample> {
        net.check()?;
        let before = net.counters()?;
        let (outcome, cpu) = match self.job {
            Job::Silence => silence(net, how),
            job if how.iperf3 && iperf::can(job) => by_iperf3(self, net, how)?,
            _ => by_programs(self, net, how)?,
        };
        net.check()?;
        let lost = net.counters()?.since(&before)?;
        if self.job != Job::Silence {
            // iperf3 counts up to a moment when more is under way.
            let all_landed = !(how.iperf3 && iperf::can(self.job));
            explain(&outcome, &lost, all_landed)?;
        }
        let latency = outcome.latency;
        let timed = |what: fn(&Latency) -> f64| latency.as_ref().map(what);
        let value = match self.unit {
            Unit::Gbit => Some(outcome.rate * 8.0 / 1e9),
            Unit::PerSecond => Some(outcome.rate),
            Unit::MeanMicros => timed(|l| l.mean),
            Unit::P99Micros => timed(|l| l.p99),
            Unit::Cores => Some(cpu.switch),
        };
        Ok(Sample {
            value: value.ok_or("no exchange ended")?,
            cpu,
            latency,
            beside_gbit: outcome.beside.map(|rate| rate * 8.0 / 1e9),
            sent: outcome.sent,
            arrived: outcome.arrived,
            lost,
        })
    }
}

/// Whether what arrived fits what was sent, and the counters of loss what lies between. They may
/// count more: what others lost, and one thing in two places.
fn explain(o: &Outcome, lost: &BTreeMap<String, u64>, all_landed: bool) -> Result<()> {
    let (sent, arrived) = (o.sent, o.arrived);
    if arrived == 0 {
        return Err("nothing arrived".into());
    }
    let Some(missing) = sent.checked_sub(arrived) else {
        return Err(format!("{arrived} arrived of {sent} that were sent").into());
    };
    let counted: u64 = lost.values().sum();
    match all_landed && missing > counted {
        true => {
            let what = format!("{missing} of {sent} got lost, and only {counted} are counted");
            Err(what.into())
        }
        false => Ok(()),
    }
}

fn by_programs(m: &Measure, net: &dyn Net, how: &Manner) -> Result<(Outcome, Cores)> {
    let mut talk = Talk::start(&how.agent, m.job, net.ends(m.way), how.cc.as_deref())?;
    sleep(how.warm_up);
    let pids = talk.pids();
    let before = CpuTimes::now(net.pid(), &pids);
    talk.begin()?;
    let begun = Instant::now();
    sleep(how.time);
    while !talk.moved()? && begun.elapsed() < how.time + LONGER {
        sleep(Duration::from_millis(50));
    }
    talk.end()?;
    let cpu = CpuTimes::now(net.pid(), &pids).since(&before);
    Ok((talk.stop()?, cpu))
}

/// The CPU time is that of the whole, with iperf3's beginning and end.
fn by_iperf3(m: &Measure, net: &dyn Net, how: &Manner) -> Result<(Outcome, Cores)> {
    let before = CpuTimes::now(net.pid(), &[]);
    let outcome = iperf::run(m.job, net.ends(m.way), how.time, how.cc.as_deref())?;
    Ok((outcome, CpuTimes::now(net.pid(), &[]).since(&before)))
}

/// Nobody talks. What ran before may need a moment to fall silent.
fn silence(net: &dyn Net, how: &Manner) -> (Outcome, Cores) {
    sleep(how.warm_up * 3);
    let before = CpuTimes::now(net.pid(), &[]);
    sleep(how.time);
    let outcome = Outcome {
        rate: 0.0,
        sent: 0,
        arrived: 0,
        latency: None,
        beside: None,
    };
    (outcome, CpuTimes::now(net.pid(), &[]).since(&before))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(sent: u64, arrived: u64) -> Outcome {
        Outcome {
            rate: 1.0,
            sent,
            arrived,
            latency: None,
            beside: None,
        }
    }

    #[test]
    fn counts_that_contradict_each_other_are_refused() {
        let lost: BTreeMap<String, u64> = [
            ("c1 UDP InErrors".to_owned(), 3),
            ("c2 eth0 tx drop".to_owned(), 2),
        ]
        .into();
        let says = |sent, arrived, landed| {
            let e = explain(&outcome(sent, arrived), &lost, landed);
            e.map_err(|e| e.to_string())
        };
        assert_eq!(says(10, 10, true), Ok(()));
        assert_eq!(says(10, 5, true), Ok(()));
        assert_eq!(
            says(10, 4, true),
            Err("6 of 10 got lost, and only 5 are counted".to_owned())
        );
        assert_eq!(says(10, 4, false), Ok(()));
        assert_eq!(
            says(10, 11, false),
            Err("11 arrived of 10 that were sent".to_owned())
        );
        assert_eq!(says(10, 0, false), Err("nothing arrived".to_owned()));
    }
}
