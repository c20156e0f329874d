//! Both ends of a job, from who measures.

use super::agent::Agent;
use super::{Count, Farewell, Job, Order, Outcome, Reading};
use crate::Result;
use control::netns::Netns;
use std::ffi::OsString;
use std::net::SocketAddrV4;

/// A job under way.
#[derive(Debug)]
pub struct Talk {
    job: Job,
    server: Option<Agent>,
    client: Agent,
    /// Server's and client's counts when the measure began and when it ended.
    window: [Option<(Reading, Reading)>; 2],
}

impl Talk {
    /// Starts the server's end, then the client's. `program` becomes an agent.
    ///
    /// # Errors
    /// Why an end does not come up.
    pub fn start(
        program: &[OsString],
        job: Job,
        (client, server, at): (&Netns, &Netns, SocketAddrV4),
        cc: Option<&str>,
    ) -> Result<Talk> {
        let (theirs, ours) = job.roles();
        let order = |roles| Order {
            at,
            cc: cc.map(str::to_owned),
            roles,
        };
        let server = match theirs.is_empty() {
            true => None,
            false => Some(Agent::start(program, server, &order(theirs))?),
        };
        Ok(Talk {
            job,
            server,
            client: Agent::start(program, client, &order(ours))?,
            window: [None, None],
        })
    }

    /// The processes of both ends.
    pub fn pids(&self) -> Vec<u32> {
        let ends = self.server.iter().chain([&self.client]);
        ends.map(Agent::pid).collect()
    }

    /// Begins the measure.
    ///
    /// # Errors
    /// When an end is gone; likewise for the further calls.
    pub fn begin(&mut self) -> Result<()> {
        let now = self.both("begin")?;
        self.window = now.map(|r| r.map(|r| (r.clone(), r)));
        Ok(())
    }

    /// Whether anything was counted since [`Talk::begin`].
    pub fn moved(&mut self) -> Result<bool> {
        self.read("read")?;
        Ok(self.got(0).is_some_and(|(n, _)| n > 0))
    }

    /// Ends the measure.
    pub fn end(&mut self) -> Result<()> {
        self.read("end")
    }

    /// Ends the programs, the sending ones first, so that what is under way arrives.
    pub fn stop(mut self) -> Result<Outcome> {
        let client: Farewell = self.client.ask("stop")?;
        let server = match &mut self.server {
            Some(s) => Some(s.ask::<Farewell>("stop")?),
            None => None,
        };
        let first = |f: &Farewell| f.counts.first().copied().unwrap_or_default();
        let rate = |role| self.got(role).map(|(n, seconds)| n as f64 / seconds);
        Ok(Outcome {
            rate: rate(0).unwrap_or(0.0),
            sent: first(&client).sent,
            arrived: server.as_ref().map_or(first(&client), first).got,
            latency: client.latency,
            beside: match self.job {
                Job::ExchangeBesideBulk => self.rate_at(0, 1),
                _ => None,
            },
        })
    }

    fn both(&mut self, line: &str) -> Result<[Option<Reading>; 2]> {
        let server = match &mut self.server {
            Some(s) => Some(s.ask(line)?),
            None => None,
        };
        Ok([server, Some(self.client.ask(line)?)])
    }

    fn read(&mut self, line: &str) -> Result<()> {
        let now = self.both(line)?;
        for (window, now) in self.window.iter_mut().zip(now) {
            if let (Some((_, last)), Some(now)) = (window, now) {
                *last = now;
            }
        }
        Ok(())
    }

    /// What a role got between begin and end where the job counts, and the seconds between.
    fn got(&self, role: usize) -> Option<(u64, f64)> {
        let end = usize::from(!self.job.counts_at_server());
        self.got_at(end, role)
    }

    fn got_at(&self, end: usize, role: usize) -> Option<(u64, f64)> {
        let (first, last) = self.window.get(end)?.as_ref()?;
        let at = |r: &Reading| r.counts.get(role).map_or(0, |c: &Count| c.got);
        let seconds = last.at_ns.saturating_sub(first.at_ns) as f64 / 1e9;
        Some((at(last) - at(first), seconds.max(1e-9)))
    }

    fn rate_at(&self, end: usize, role: usize) -> Option<f64> {
        self.got_at(end, role)
            .map(|(n, seconds)| n as f64 / seconds)
    }
}
