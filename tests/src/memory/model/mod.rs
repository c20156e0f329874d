//! Random traffic and control changes for several switches at once: each is given the same
//! frames, and what they put out is compared.
//!
//! The conversations are kept by a small model of both ends: it speaks as the ends would, from
//! what the first switch delivered, and adds what they would not (wrong numbers, fragments out
//! of order, damaged frames, errors about live flows).

mod afterwards;
mod conversation;
mod ops;
mod ports;
mod speak;

pub use ops::{ArpKind, Change, Form, Kind, Op, Said, Way};

use super::check::verify;
use super::packet::*;
use super::{APP, DB, GW, Host, Lab, PEER, UP, WEB, mac};
use afterwards::Event;
use conversation::Conversation;
use dataplane::base::counters::Totals;
use dataplane::base::{Mac, Proto, Reason, RuleId};
use dataplane::frame::{Frame, VnetHdr};
use dataplane::nat::Publication;
use dataplane::port::{Caps, fault::Rng};
use ports::{answer, replug, take};
use std::net::Ipv4Addr;
use std::time::Duration;

/// A frame that a port got.
type Got = Vec<(usize, Vec<u8>, [u8; 10])>;

/// What is void of a switch's cached decisions at every frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Void {
    /// What traffic and changes void.
    Nothing,
    /// The next hops: they are asked anew, and the rest stands.
    NextHops,
    /// All: every frame takes the slow path.
    All,
}

/// Switches that live through the same.
pub struct World {
    /// The switches; the model listens to the first.
    pub labs: Vec<Lab>,
    conversations: Vec<Conversation>,
    rules: Vec<RuleId>,
    absent: [bool; 3],
    /// Whether hosts leave ARP requests unanswered.
    silent: bool,
    /// Whether each frame goes to a worker chosen at random, by switch.
    random_worker: Vec<Option<Rng>>,
    /// What is void at every frame, by switch.
    void: Vec<Void>,
    last: Option<(usize, Vec<u8>, VnetHdr)>,
    /// Whether a frame that came in with a wrong checksum may still be inside.
    tainted: bool,
    /// What happened so far, and what came of it.
    trace: Vec<Event>,
    output: Got,
    ip_id: u16,
    step: usize,
}

impl World {
    /// A world of these switches. `void` says what of their decisions is voided before every frame;
    /// a switch with several workers gives each frame to a random one.
    pub fn new(labs: Vec<Lab>, void: &[Void], seed: u64) -> World {
        let random_worker = labs
            .iter()
            .map(|l| (l.sw.workers() > 1).then(|| Rng::new(seed)))
            .collect();
        let mut w = World {
            labs,
            conversations: Vec::new(),
            rules: Vec::new(),
            absent: [false; 3],
            silent: false,
            random_worker,
            void: void.to_vec(),
            last: None,
            tainted: false,
            trace: Vec::new(),
            output: Vec::new(),
            ip_id: 0,
            step: 0,
        };
        w.change(Change::Publish(8, 0));
        w.arp(4, 4, ArpKind::Reply);
        w.trace.clear();
        w.output.clear();
        w
    }

    fn hosts(&self) -> [Host; 5] {
        self.labs[0].hosts().map(Host::clone)
    }

    /// Lets one thing happen everywhere, and compares.
    pub fn apply(&mut self, op: &Op) {
        self.step += 1;
        match op {
            Op::Open(way, n) => self.open(*way, *n),
            Op::Say(c, by_client, said) => self.say(*c, *by_client, *said),
            Op::Talk(c, rounds, form) => self.talk(*c, *rounds, *form),
            Op::Error(c, at_client, kind) => self.error(*c, *at_client, *kind),
            Op::Arp(who, whom, kind) => self.arp(*who, *whom, *kind),
            Op::Damaged(port, at, value) => {
                if let Some((_, mut f, hdr)) = self.last.clone()
                    && !f.is_empty()
                {
                    let at = usize::from(*at) % f.len();
                    f[at] ^= value;
                    self.frame(usize::from(*port) % 5, &f, hdr);
                }
            }
            Op::Truncated(len) => {
                if let Some((port, mut f, hdr)) = self.last.clone() {
                    f.truncate(usize::from(*len) % (f.len() + 1));
                    self.frame(port, &f, hdr);
                }
            }
            Op::Junk(port, bytes, hdr) => {
                if let Ok(hdr) = VnetHdr::decode(hdr) {
                    self.frame(usize::from(*port) % 5, bytes, hdr);
                }
            }
            Op::Wait(ms) => self.wait(Duration::from_millis(u64::from(*ms))),
            Op::Control(change) => self.change(*change),
        }
    }

    fn wait(&mut self, d: Duration) {
        self.trace.push(Event::Wait(d));
        for lab in &mut self.labs {
            lab.wait(d);
        }
        self.compare();
    }

    fn pick(&self, c: u8) -> Option<usize> {
        (!self.conversations.is_empty()).then(|| usize::from(c) % self.conversations.len())
    }

    fn arp(&mut self, who: u8, whom: u8, kind: ArpKind) {
        let port = usize::from(who) % 5;
        let me = self.hosts()[port].clone();
        let target = [GW, WEB, DB, APP, UP, PEER][usize::from(whom) % 6];
        let own = (me.mac(), me.ip);
        let f = match kind {
            ArpKind::Request => arp(Mac::BROADCAST, 1, own, (Mac::ZERO, target)),
            ArpKind::Reply => arp(mac(target), 2, own, (mac(target), target)),
            ArpKind::Probe => {
                let nobody = (me.mac(), Ipv4Addr::UNSPECIFIED);
                arp(Mac::BROADCAST, 1, nobody, (Mac::ZERO, target))
            }
            ArpKind::Gratuitous => arp(Mac::BROADCAST, 1, own, (Mac::ZERO, me.ip)),
            ArpKind::Claim => {
                let router = if port == 4 { UP } else { GW };
                arp(mac(router), 2, (me.mac(), target), (mac(router), router))
            }
        };
        self.frame(port, &f, VnetHdr::PLAIN);
    }

    fn change(&mut self, change: Change) {
        self.trace.push(Event::Control(change));
        match change {
            Change::Publish(n, to) => {
                for proto in [Proto::TCP, Proto::UDP] {
                    let first = 5_000 + u16::from(n % 4);
                    let p = Publication {
                        proto,
                        host_ip: None,
                        first,
                        last: first + u16::from(n / 4 % 3),
                        ip: [WEB, DB, APP][usize::from(to) % 3],
                        port: 80,
                    };
                    let made: Vec<_> = self
                        .labs
                        .iter()
                        .map(|l| l.sw.switch().publish(p).ok())
                        .collect();
                    assert!(made.iter().all(|m| *m == made[0]));
                    self.rules.extend(made[0]);
                }
            }
            Change::Unpublish(n) => {
                if !self.rules.is_empty() {
                    let id = self.rules.remove(usize::from(n) % self.rules.len());
                    for l in &self.labs {
                        assert!(l.sw.switch().unpublish(id).is_some());
                    }
                }
            }
            Change::Replug(n) => {
                let n = usize::from(n) % 3;
                self.absent[n] = !self.absent[n];
                for lab in &mut self.labs {
                    replug(lab, n, self.absent[n]);
                }
            }
            Change::Move(who, to) => {
                let (who, to) = (1 + usize::from(who) % 3, 1 + usize::from(to) % 3);
                let f = eth(Mac::BROADCAST, self.hosts()[who].mac(), 0x88b5, &[0; 46]);
                self.frame(to, &f, VnetHdr::PLAIN);
            }
            Change::Caps(port, which) => {
                let caps = Caps {
                    csum: which & 1 != 0,
                    tso4: which & 2 != 0,
                    tso6: which & 4 != 0,
                    uso: which & 8 != 0,
                    big: false,
                };
                for lab in &self.labs {
                    lab.hosts()[usize::from(port) % 5].port.set_caps(caps);
                }
            }
            Change::Silence => self.silent = !self.silent,
        }
        self.compare();
    }

    /// Sends one frame by a port of every switch, and compares what comes of it.
    fn frame(&mut self, port: usize, bytes: &[u8], hdr: VnetHdr) {
        self.last = Some((port, bytes.to_vec(), hdr));
        self.trace.push(Event::Frame(port, bytes.to_vec(), hdr));
        self.tainted |= verify(&Frame::with_hdr(bytes, hdr)).is_err();
        for (n, lab) in self.labs.iter_mut().enumerate() {
            let host = lab.hosts()[port].clone();
            match self.void[n] {
                Void::Nothing => {}
                Void::NextHops => lab.sw.switch().generation.bump(),
                Void::All => lab.sw.switch().generation.bump_settings(),
            }
            match &mut self.random_worker[n] {
                None => {
                    host.port.push(0, bytes, hdr);
                    lab.sw.serve(0, host.id, lab.now).expect("a queue");
                }
                Some(rng) => {
                    let w = rng.below(lab.sw.workers() as u64) as usize;
                    host.port.push(w, bytes, hdr);
                    lab.sw.serve(w, host.id, lab.now).expect("a queue");
                }
            }
            lab.balance();
        }
        self.compare();
    }

    /// Whether all switches put out the same, drop the same and know the same.
    fn compare(&mut self) {
        let taken: Vec<Got> = self.labs.iter().map(|l| take(l, self.tainted)).collect();
        let totals: Vec<Totals> = self.labs.iter().map(|l| l.sw.totals()).collect();
        self.tainted &= totals[0].held > 0;
        for (n, got) in taken.iter().enumerate().skip(1) {
            assert_eq!(got, &taken[0], "switch {n} at step {}", self.step);
            let (a, b) = (&totals[0], &totals[n]);
            if a.drops != b.drops {
                for r in Reason::ALL {
                    let (a, b) = (a.drops(*r), b.drops(*r));
                    assert_eq!(a, b, "{r} of switch {n} at step {}", self.step);
                }
            }
            let sums = |t: &Totals| [t.rx, t.tx, t.consumed, t.originated, t.copies, t.flooded];
            assert_eq!((sums(a), a.held), (sums(b), b.held));
            assert_eq!(a.hits + a.slow, b.hits + b.slow);
        }
        let seen = taken.into_iter().next().unwrap_or_default();
        let answers: Vec<_> = seen.iter().filter_map(answer).collect();
        self.output.extend(seen.iter().cloned());
        self.labs[0].seen.extend(seen);
        if !self.silent {
            for (port, f) in answers {
                self.frame(port, &f, VnetHdr::PLAIN);
            }
        }
    }

    /// Ends it: everything is forgotten after the longest timeout.
    pub fn end(mut self) {
        for lab in &mut self.labs {
            lab.wait(Duration::from_secs(7_500));
            lab.assert_empty();
        }
    }
}
