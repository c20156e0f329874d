//! Connections that come and go: first packets, and whole lives of six frames from the SYN to the
//! last ACK (RFC 9693's measures: set-up rate, tear-down rate, capacity).

use super::flows::{HANDSHAKE, Segment, segment};
use super::{ACK, Flow, Lab, PUBLISHED, PortIds, WEB, Worker, mac, pass::timed};
use crate::Result;
use crate::frames::{Template, tuple, udp};
use dataplane::base::{Instant, Mac, PortId, Proto, Tuple};
use dataplane::flow::{Dir, FlowKey, Zone};
use dataplane::frame::Batch;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

const FIN: u8 = 1;
/// FIN, FIN, ACK: the second side has nothing more to say.
const GOODBYE: [Segment; 3] = [
    segment(Dir::Orig, 101, 901, FIN | ACK),
    segment(Dir::Reply, 901, 102, FIN | ACK),
    segment(Dir::Orig, 102, 902, ACK),
];
/// How long a closed connection lingers, in milliseconds (RFC 5382 REQ-5).
const LINGER_MS: u64 = 240_000;

/// Makes first packets (SYNs) from outside to the published port.
pub struct Openings {
    by: PortId,
    template: Template,
    batch: Batch,
}

impl Openings {
    /// Sends the first packets of these connections by `worker`, in batches of 64; gives the time
    /// that the pipeline took.
    pub fn open(&mut self, worker: &mut Worker, which: Range<u32>, now: Instant) -> Duration {
        self.open_to(worker, which, now, Flow::Dnat.tuple(Dir::Orig))
    }

    /// The first packets of 64 connections from this number on, and the port by which they come in.
    pub fn batch(&mut self, from: u32) -> (&mut Batch, PortId) {
        self.batch.clear();
        let tuple = Flow::Dnat.tuple(Dir::Orig);
        (from..from + 64).for_each(|n| self.template.push(&tuple(n), &mut self.batch));
        (&mut self.batch, self.by)
    }

    fn open_to(
        &mut self,
        worker: &mut Worker,
        which: Range<u32>,
        now: Instant,
        tuple: impl Fn(u32) -> Tuple,
    ) -> Duration {
        let mut spent = Duration::ZERO;
        for n in which.clone() {
            self.template.push(&tuple(n), &mut self.batch);
            if self.batch.is_full() || n + 1 == which.end {
                spent += timed(|| worker.process(&mut self.batch, self.by, now));
                self.batch.clear();
            }
        }
        spent
    }
}

/// What the parts of many connections' lives took.
#[derive(Clone, Copy, Default, Debug)]
pub struct Spent {
    /// Three frames each that open.
    pub set_up: Duration,
    /// Three frames each that close, and the expiry of as many that closed earlier.
    pub tear_down: Duration,
}

/// One of the six frames.
struct Step {
    by: PortId,
    template: Template,
    tuple: fn(u32) -> Tuple,
}

/// A stream of lives at a constant number of connections in the table.
pub struct Lives {
    frames: Vec<Step>,
    batch: Batch,
    next: u32,
    /// Milliseconds of the lab's time between two batches of 64 lives.
    step_ms: f64,
    owed_ms: f64,
}

impl Lab {
    /// For first packets of connections.
    pub fn openings(&self) -> Openings {
        let [syn, ..] = HANDSHAKE;
        let (by, template) = self.template(Flow::Dnat, syn);
        Openings {
            by,
            template,
            batch: Batch::default(),
        }
    }

    /// Sends the first packets of these connections; gives the time that the pipeline took.
    pub fn first_packets(&mut self, openings: &mut Openings, which: Range<u32>) -> Duration {
        openings.open(&mut self.first, which, self.now)
    }

    /// The same to external ports that `port` gives, which have to be published.
    pub fn first_packets_to(
        &mut self,
        openings: &mut Openings,
        which: Range<u32>,
        port: impl Fn(u32) -> u16,
    ) -> Duration {
        openings.open_to(&mut self.first, which, self.now, |n| Tuple {
            dport: port(n),
            ..Flow::Dnat.tuple(Dir::Orig)(n)
        })
    }

    /// Closes `n` connections that [`Lab::open`] made.
    ///
    /// # Errors
    /// When a frame was lost.
    pub fn close(&mut self, flow: Flow, n: u32) -> Result<()> {
        let frames = GOODBYE.map(|s| (flow.tuple(s.dir), self.template(flow, s)));
        let mut batch = Batch::default();
        for from in (0..n).step_by(64) {
            for (of, (ingress, template)) in &frames {
                batch.clear();
                (from..n.min(from + 64)).for_each(|i| template.push(&of(i), &mut batch));
                self.process(&mut batch, *ingress);
            }
        }
        self.nothing_lost()
    }

    /// Bytes of the timers.
    pub fn timer_bytes(&self) -> u64 {
        self.first.engine().timer_bytes()
    }

    /// Forgets these connections, which [`Lab::first_packets`] opened: the number that were there.
    pub fn forget(&self, which: Range<u32>) -> u32 {
        self.forget_tuples(which.map(Flow::Dnat.tuple(Dir::Orig)))
    }

    /// Forgets the connections of these tuples from outside: the number that were there.
    pub fn forget_tuples(&self, which: impl Iterator<Item = Tuple>) -> u32 {
        let ct = &self.sw.conntrack;
        which
            .filter(|t| {
                let key = FlowKey::new(Zone::Uplink, t);
                ct.find(&key, self.now.tick())
                    .is_some_and(|(id, _)| self.sw.forget(id))
            })
            .fold(0, |n, _| n + 1)
    }

    /// Lives at such a rate that `live` connections are in the table, nearly all of them closed
    /// and lingering.
    pub fn lives(&self, live: u32) -> Lives {
        Lives {
            frames: HANDSHAKE
                .into_iter()
                .chain(GOODBYE)
                .map(|s| {
                    let (by, template) = self.template(Flow::Dnat, s);
                    Step {
                        by,
                        template,
                        tuple: Flow::Dnat.tuple(s.dir),
                    }
                })
                .collect(),
            batch: Batch::default(),
            next: 0,
            step_ms: LINGER_MS as f64 * 64.0 / f64::from(live.max(1)),
            owed_ms: 0.0,
        }
    }

    /// Publishes 1 rule for one port, or so many rules for `each` ports each from port 1 up.
    ///
    /// # Errors
    /// When a publication is refused.
    pub fn publish_many(&self, rules: u16, each: u16) -> Result<()> {
        for i in 0..rules {
            let first = 1 + i * each;
            self.publish(first, first + (each - 1), WEB)?;
        }
        Ok(())
    }

    /// A broadcast from `db` that looks as if `web` had moved there, and one that moves it back:
    /// two changes of the FDB that void all cached decisions.
    pub fn moves(&self) -> [(PortId, Vec<u8>); 2] {
        let all = Ipv4Addr::new(10, 0, 0, 255);
        let t = tuple(Proto::UDP, WEB, 68, all, 67);
        let f = udp(Mac::BROADCAST, mac(WEB), &t, 22);
        let PortIds { web, db, .. } = self.ports;
        [(db, f.clone()), (web, f)]
    }

    /// Publishes one more port, and takes it back.
    ///
    /// # Errors
    /// When it is refused.
    pub fn publish_and_withdraw(&self) -> Result<()> {
        let id = self.publish(PUBLISHED + 1, PUBLISHED + 1, WEB)?;
        self.sw.unpublish(id);
        Ok(())
    }

    /// The n-th inside endpoint: 64,512 of each address.
    pub fn inside_endpoint(n: u32) -> (Ipv4Addr, u16) {
        (
            Ipv4Addr::from_bits(WEB.to_bits() + 8 + n / 64_512),
            1024 + (n % 64_512) as u16,
        )
    }
}

impl Lives {
    /// Takes 64 times `batches` connections through their six frames, the clock and the timers
    /// with them.
    pub fn run(&mut self, lab: &mut Lab, batches: u32) -> Spent {
        let mut spent = Spent::default();
        for _ in 0..batches {
            let which = self.next..self.next.wrapping_add(64);
            self.next = which.end;
            for (i, step) in self.frames.iter().enumerate() {
                self.batch.clear();
                which
                    .clone()
                    .for_each(|n| step.template.push(&(step.tuple)(n), &mut self.batch));
                let t = timed(|| lab.process(&mut self.batch, step.by));
                if i < HANDSHAKE.len() {
                    spent.set_up += t;
                } else {
                    spent.tear_down += t;
                }
            }
            self.owed_ms += self.step_ms;
            let whole = self.owed_ms.floor();
            self.owed_ms -= whole;
            lab.advance(Duration::from_millis(whole as u64));
            spent.tear_down += timed(|| lab.tick(&mut self.batch));
        }
        spent
    }

    /// Runs until the table holds what it will hold.
    ///
    /// # Errors
    /// When frames were lost on the way.
    pub fn settle(&mut self, lab: &mut Lab, live: u32) -> Result<()> {
        self.run(lab, live / 64 + 256);
        lab.nothing_lost()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Room;

    #[test]
    fn lives_keep_their_number() {
        let mut lab = Lab::new(Room::for_connections(4096)).unwrap();
        let mut lives = lab.lives(1000);
        lives.settle(&mut lab, 1000).unwrap();
        let before = lab.sw.conntrack.len();
        assert!((900..1200).contains(&before), "{before}");
        lives.run(&mut lab, 100);
        lab.nothing_lost().unwrap();
        let after = lab.sw.conntrack.len();
        assert!(before.abs_diff(after) <= 128, "{before}, then {after}");
    }

    #[test]
    fn first_packets_open_and_are_forgotten() {
        let mut lab = Lab::unpublished(Room::for_connections(512)).unwrap();
        lab.publish_many(100, 3).unwrap();
        let mut openings = lab.openings();
        lab.first_packets_to(&mut openings, 0..300, |n| 1 + n as u16);
        lab.nothing_lost().unwrap();
        let which = (0..300).map(|n| Tuple {
            dport: 1 + n as u16,
            ..Flow::Dnat.tuple(Dir::Orig)(n)
        });
        assert_eq!(lab.forget_tuples(which), 300);
        assert!(lab.sw.conntrack.is_empty());
    }
}
