//! Programs that talk, as a person's would: each end is a process of its own inside its host's
//! namespace, with ordinary blocking sockets and a thread per connection.
//!
//! - [`Job`]: what is asked of a network, and the [`Role`]s of both ends;
//! - [`agent`]: the process of one end;
//! - [`program`]: what the roles do;
//! - [`Talk`]: both ends of a job, from who measures;
//! - [`iperf`]: the same by the real iperf3.
//!
//! Both ends count. What arrived can so be held against what was sent: see [`Outcome`].

pub mod agent;
pub mod iperf;
pub mod program;
mod talk;

pub use talk::Talk;

use serde::{Deserialize, Serialize};
use std::net::SocketAddrV4;

/// What is asked of a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Job {
    /// TCP streams, as much as they can.
    Bulk(usize),
    /// TCP connections with one exchange of 64 bytes under way on each.
    Exchange(usize),
    /// The same with one connection, beside a bulk stream.
    ExchangeBesideBulk,
    /// Clients that open one TCP connection after the other.
    Connections(usize),
    /// UDP datagrams of this size, as many as the sender can.
    Flood(usize),
    /// ICMP echo, back to back; the answering end is the kernel.
    Ping,
    /// Nothing at all.
    Silence,
}

impl Job {
    /// What the server's and the client's end do. The first roles are those that are measured.
    pub fn roles(self) -> (Vec<Role>, Vec<Role>) {
        use Role::{Answer, Ask, Dial, Drain, Echo, Flood, Ping, Sink, Source};
        match self {
            Job::Bulk(n) => (vec![Sink(n)], vec![Source(n)]),
            Job::Exchange(n) => (vec![Echo(n)], vec![Ask(n)]),
            Job::ExchangeBesideBulk => (vec![Echo(1), Sink(1)], vec![Ask(1), Source(1)]),
            Job::Connections(n) => (vec![Answer(n)], vec![Dial(n)]),
            Job::Flood(size) => (vec![Drain], vec![Flood(size)]),
            Job::Ping => (vec![], vec![Ping]),
            Job::Silence => (vec![], vec![]),
        }
    }

    /// Whether the server's count is the figure: where the client can't know what arrived.
    pub const fn counts_at_server(self) -> bool {
        matches!(self, Job::Bulk(_) | Job::Flood(_))
    }
}

/// What one end does on one port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Accepts so many TCP streams and reads them. Counts bytes.
    Sink(usize),
    /// Opens so many TCP streams and fills them. Counts bytes.
    Source(usize),
    /// Accepts so many TCP connections and sends each 64 bytes back. Counts requests.
    Echo(usize),
    /// Opens so many TCP connections and asks again when it has its answer. Counts requests, answers.
    Ask(usize),
    /// Accepts TCP connections on so many threads, answers once and closes. Counts connections.
    Answer(usize),
    /// Connects, asks, reads to the end, again and again, on so many threads. Counts connections.
    Dial(usize),
    /// Receives datagrams. Counts them.
    Drain,
    /// Sends datagrams of this size. Counts them.
    Flood(usize),
    /// Sends an echo request when the last one is answered. Counts requests, answers.
    Ping,
}

/// What an agent is told when it starts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The server's address as the client calls it. The n-th role uses the n-th port from it.
    pub at: SocketAddrV4,
    /// TCP congestion control; the machine's default if `None`.
    pub cc: Option<String>,
    /// What to do.
    pub roles: Vec<Role>,
}

/// What one role counted since it began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Count {
    /// What it sent: the system took it.
    pub sent: u64,
    /// What it got.
    pub got: u64,
}

/// Counts at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// `CLOCK_MONOTONIC`, ns.
    pub at_ns: u64,
    /// One per role.
    pub counts: Vec<Count>,
}

/// Times of exchanges, µs.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// How many.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// The middle one.
    pub p50: f64,
    /// What 99 % stay below.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Latency {
    /// Of times in ns; `None` of none.
    pub fn of(mut ns: Vec<u32>) -> Option<Latency> {
        ns.sort_unstable();
        let at = |percent: usize| {
            let place = (ns.len() * percent / 100).min(ns.len().saturating_sub(1));
            ns.get(place).map(|ns| f64::from(*ns) / 1e3)
        };
        let sum: f64 = ns.iter().map(|ns| f64::from(*ns)).sum();
        Some(Latency {
            count: ns.len(),
            mean: sum / 1e3 / ns.len().max(1) as f64,
            p50: at(50)?,
            p99: at(99)?,
            max: at(100)?,
        })
    }
}

/// What an agent says at its end.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Farewell {
    /// One per role, all that it did, with what still arrived after the end of the measure.
    pub counts: Vec<Count>,
    /// Of the exchanges that were measured.
    pub latency: Option<Latency>,
}

/// What a job came to.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Outcome {
    /// Bytes, exchanges, connections or datagrams a second that arrived while it was measured.
    pub rate: f64,
    /// What the client sent in all, warm-up included, in the same unit.
    pub sent: u64,
    /// What of it arrived at the server; what was answered, where the kernel is the server.
    pub arrived: u64,
    /// Times of the exchanges.
    pub latency: Option<Latency>,
    /// Bytes a second of the stream beside it.
    pub beside: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let l = Latency::of((1..=200).rev().map(|us| us * 1000).collect()).unwrap();
        assert_eq!((l.count, l.p50, l.p99, l.max), (200, 101.0, 199.0, 200.0));
        assert!((l.mean - 100.5).abs() < 1e-9);
        let one = Latency::of(vec![7_000]).unwrap();
        assert_eq!((one.p50, one.p99, one.max), (7.0, 7.0, 7.0));
        assert_eq!(Latency::of(vec![]), None);
    }

    #[test]
    fn both_ends_of_a_job_fit() {
        for job in [
            Job::Bulk(4),
            Job::Exchange(32),
            Job::ExchangeBesideBulk,
            Job::Connections(8),
            Job::Flood(64),
        ] {
            let (server, client) = job.roles();
            assert_eq!(server.len(), client.len(), "{job:?}");
        }
        assert!(Job::Ping.roles().0.is_empty());
    }

    #[test]
    fn an_order_survives_the_way_to_the_agent() {
        let order = Order {
            at: "10.0.0.2:5000".parse().unwrap(),
            cc: Some("reno".into()),
            roles: vec![Role::Ask(1), Role::Drain],
        };
        let text = serde_json::to_string(&order).unwrap();
        assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), order);
    }
}
