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

pub use ops::{ArpKind, Change, Form, Kind, Op, Said, Way};

use super::check::{is_fragment, verify};
use super::packet::*;
use super::{APP, DB, FAR, GW, Host, Lab, PEER, UP, WEB, mac};
use afterwards::Event;
use conversation::Conversation;
use dataplane::base::counters::Totals;
use dataplane::base::{Mac, Proto, Reason, RuleId, Tuple};
use dataplane::frame::parse;
use dataplane::frame::{Frame, L3, L4, VnetHdr};
use dataplane::nat::Publication;
use dataplane::port::{Caps, fault::Rng};
use ports::{answer, replug, take};
use std::net::Ipv4Addr;
use std::time::Duration;

/// A frame that a port got.
type Got = Vec<(usize, Vec<u8>, [u8; 10])>;

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
    /// Switches whose cached decisions are void at every frame.
    uncached: Vec<bool>,
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
    /// A world of these switches. `uncached` says which have their decisions voided before every
    /// frame; one with several workers gives each frame to a random one.
    pub fn new(labs: Vec<Lab>, uncached: &[bool], seed: u64) -> World {
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
            uncached: uncached.to_vec(),
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

    fn open(&mut self, way: Way, n: u8) {
        let inside = 1 + usize::from(n) % 3;
        let ip = [GW, WEB, DB, APP, PEER][inside];
        let other = [GW, DB, APP, WEB][inside];
        // Few ports, so that they clash.
        let sport = 1_000 + u16::from(n / 3 % 4);
        let published = 5_000 + u16::from(n % 4);
        let outside = if n & 64 == 0 { PEER } else { FAR };
        let (kind, client, from, to, port, by_gateway) = match way {
            Way::Masquerade(k) => (k, inside, ip, outside, 80 + u16::from(n & 1), true),
            Way::Published(k) => (k, 4, outside, UP, published, true),
            Way::Hairpin(k) => (k, inside, ip, UP, published, true),
            Way::ByGateway(k) => (k, inside, ip, other, 80, true),
            Way::Bridged(k) => (k, inside, ip, other, 80, false),
            Way::ToSwitch(k) => (k, inside, ip, [GW, UP][usize::from(n & 1)], 80, true),
        };
        let dport = if kind == Kind::Echo { 0 } else { port };
        self.conversations.push(Conversation {
            kind,
            tuple: tuple(kind.proto(), (from, sport), (to, dport)),
            client,
            there: None,
            by_gateway,
            seq: [1_000 * u32::from(n), 7_000_000],
            open: [false; 2],
            last: [None, None],
        });
        let c = (self.conversations.len() - 1) as u8;
        let said = Said {
            what: 0,
            len: 10,
            form: Form::Plain,
        };
        self.say(c, true, said);
    }

    fn say(&mut self, c: u8, by_client: bool, said: Said) {
        let Some(i) = self.pick(c) else { return };
        let conversation = &mut self.conversations[i];
        let (t, port) = match (by_client, conversation.there) {
            (true, _) => (conversation.tuple, conversation.client),
            (false, Some((t, port))) => (t.reversed(), port),
            (false, None) => return,
        };
        let me = usize::from(!by_client);
        let len = match said.form {
            Form::Super(_) => said.len.max(2_000),
            _ => said.len % 1_200,
        };
        let data: Vec<u8> = (0..len).map(|n| (n ^ u16::from(c)) as u8).collect();
        let l4 = match conversation.kind {
            Kind::Tcp => conversation.segment(&t, me, said, &data),
            Kind::Udp => udp(&t, &data),
            Kind::Echo if by_client => ping(t.sport, u16::from(said.what), &data),
            Kind::Echo => pong(t.dport, u16::from(said.what), &data),
        };
        let dst = match (port, conversation.by_gateway) {
            (4, _) => mac(UP),
            (_, true) => mac(GW),
            (_, false) => mac(t.dst),
        };
        self.put(port, dst, &t, &l4, said.form);
        self.listen(i);
    }

    fn talk(&mut self, c: u8, rounds: u8, form: Form) {
        let Some(i) = self.pick(c) else { return };
        let said = |what, form| Said {
            what,
            len: 100,
            form,
        };
        if self.conversations[i].kind == Kind::Tcp && self.conversations[i].open != [true; 2] {
            if !self.conversations[i].open[0] {
                self.say(c, true, said(7, Form::Plain));
            }
            self.say(c, false, said(7, Form::Plain));
            self.say(c, true, said(3, Form::Plain));
        }
        for n in 0..rounds % 4 {
            self.say(c, n & 1 == 0, said(0, form));
            self.say(c, n & 1 == 1, said(3, Form::Plain));
        }
    }

    /// Sends L4 bytes in the form that is asked for.
    fn put(&mut self, port: usize, dst: Mac, t: &Tuple, l4: &[u8], form: Form) {
        self.ip_id = self.ip_id.wrapping_add(1);
        let mut ip = Ip {
            id: self.ip_id,
            ..Ip::default()
        };
        match form {
            Form::Ttl(ttl) => ip.ttl = ttl,
            Form::Options => ip.options = vec![148, 4, 0, 0],
            Form::MayFragment | Form::Fragments(..) => ip.df = false,
            _ => {}
        }
        let src = if port == 4 {
            mac(PEER)
        } else {
            self.hosts()[port].mac()
        };
        let f = eth(dst, src, 0x0800, &ipv4(&ip, t, l4));
        let has_sum = matches!(t.proto, Proto::TCP | Proto::UDP);
        match form {
            Form::Partial if has_sum => {
                let (f, hdr) = partial(&f, t);
                self.frame(port, &f, hdr);
            }
            Form::Super(size) if has_sum => {
                let (f, hdr) = superframe(&f, t, size);
                self.frame(port, &f, hdr);
            }
            Form::Tagged(vid) => self.frame(port, &tagged(&f, vid), VnetHdr::PLAIN),
            Form::Fragments(size, turn) => {
                let mut parts = fragments(&f, 8 * (1 + usize::from(size)));
                parts.truncate(70);
                let n = parts.len();
                parts.rotate_left(usize::from(turn) % n);
                match turn % 8 {
                    6 if n > 1 => {
                        parts.pop();
                    }
                    7 => parts.push(parts[0].clone()),
                    _ => {}
                }
                for p in parts {
                    self.frame(port, &p, VnetHdr::PLAIN);
                }
            }
            _ => self.frame(port, &f, VnetHdr::PLAIN),
        }
    }

    /// Notes where the last frame of a conversation's ends arrived, from the first switch.
    fn listen(&mut self, i: usize) {
        let got = std::mem::take(&mut self.labs[0].seen);
        let c = &mut self.conversations[i];
        for (port, bytes, hdr) in got {
            let Ok(hdr) = VnetHdr::decode(&hdr) else {
                continue;
            };
            let Ok(p) = parse::parse(&bytes, &hdr) else {
                continue;
            };
            let spoken = matches!(p.l4, L4::Tcp | L4::Udp | L4::EchoRequest | L4::EchoReply);
            if p.l3 != L3::Ipv4 || !spoken || is_fragment(&p) || p.tuple.proto != c.tuple.proto {
                continue;
            }
            let packet = bytes[usize::from(p.l3_off)..].to_vec();
            if p.tuple == c.tuple.reversed() && port == c.client {
                c.last[0] = Some(packet);
            } else {
                if c.there.is_none() {
                    c.there = Some((p.tuple, port));
                }
                c.last[1] = Some(packet);
            }
        }
    }

    fn error(&mut self, c: u8, at_client: bool, kind: u8) {
        let Some(i) = self.pick(c) else { return };
        let c = &self.conversations[i];
        let port = match (at_client, c.there) {
            (true, _) => c.client,
            (false, Some((_, port))) => port,
            (false, None) => return,
        };
        let Some(packet) = c.last[usize::from(!at_client)].clone() else {
            return;
        };
        let ip = |at: usize| Ipv4Addr::from(*packet[at..].first_chunk::<4>().expect("an address"));
        let speaker = if kind & 8 != 0 && port == 4 {
            PEER
        } else {
            ip(16)
        };
        let to = ip(12);
        let t = tuple(Proto::ICMP, (speaker, 0), (to, 0));
        let (kind, code) = [(3, 1), (3, 3), (3, 4), (11, 0), (12, 0)][usize::from(kind % 5)];
        let len = packet.len().min(28 + usize::from(kind) * 20);
        let l4 = icmp(kind, code, [0, 0, 2, 0], &packet[..len]);
        let dst = if port == 4 { mac(UP) } else { mac(GW) };
        self.put(port, dst, &t, &l4, Form::Plain);
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
            if self.uncached[n] {
                lab.sw.switch().generation.bump();
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
