//! Two well-behaved hosts with a bad network between them: the tracker, in the middle, must lose
//! nothing of theirs.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

/// SplitMix64: every choice of a run comes from one seed.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }

    fn percent(&mut self, p: u64) -> bool {
        self.below(100) < p
    }
}

/// A frame under way, with the sender's view in numbers that don't wrap: its SYN is number 0,
/// then come its bytes, then its FIN.
#[derive(Clone)]
struct Packet {
    t: Tcp,
    header: Vec<u8>,
    from: u64,
    to: u64,
    ack: u64,
    /// What the sender knew to be acknowledged when it sent this.
    una: u64,
}

struct Host {
    isn: u32,
    peer_isn: u32,
    scale: Option<u8>,
    peer_scale: Option<u8>,
    buffer: u64,
    unread: u64,
    bytes: u64,
    una: u64,
    nxt: u64,
    /// The peer's limit, the highest that was announced.
    edge: u64,
    rcv: u64,
    /// Received out of order.
    held: Vec<(u64, u64)>,
}

impl Host {
    fn new(rng: &mut Rng, bytes: u64) -> Host {
        let scale = rng.percent(70).then(|| rng.below(15) as u8);
        let largest = 65_535 << scale.unwrap_or(0).min(6);
        let near_wrap = rng.percent(50);
        Host {
            isn: if near_wrap {
                0_u32.wrapping_sub(rng.below(100_000) as u32)
            } else {
                rng.below(1 << 32) as u32
            },
            peer_isn: 0,
            scale,
            peer_scale: None,
            buffer: 1 + rng.below(largest),
            unread: 0,
            bytes,
            una: 0,
            nxt: 0,
            edge: 1,
            rcv: 0,
            held: Vec::new(),
        }
    }

    /// Behind the FIN.
    fn last(&self) -> u64 {
        self.bytes + 2
    }

    fn open(&self) -> bool {
        self.una > 0 && self.rcv > 0
    }

    fn scaled(&self) -> bool {
        self.scale.is_some() && self.peer_scale.is_some()
    }

    /// A segment that covers these numbers of ours, or `from..from` for none.
    fn packet(&self, from: u64, to: u64) -> Packet {
        let syn = from == 0 && to > 0;
        let fin = to == self.last();
        let mut flags = if syn { SYN } else { PSH };
        if fin && to > from {
            flags |= FIN;
        }
        if self.rcv > 0 {
            flags |= ACK;
        }
        let room = self.buffer - self.unread;
        let shift = if self.scaled() && !syn {
            self.scale.unwrap_or(0)
        } else {
            0
        };
        let offers = if self.rcv == 0 || self.peer_scale.is_some() {
            self.scale
        } else {
            None
        };
        Packet {
            t: Tcp {
                seq: self.isn.wrapping_add(from as u32),
                ack: if self.rcv > 0 {
                    self.peer_isn.wrapping_add(self.rcv as u32)
                } else {
                    0
                },
                window: (room >> shift).min(65_535) as u16,
                flags,
                header_len: 20,
                payload: (to - from) as u32 - u32::from(syn) - u32::from(flags & FIN != 0),
            },
            header: scale_option(if syn { offers } else { None }),
            from,
            to,
            ack: self.rcv,
            una: self.una,
        }
    }

    fn act(&mut self, rng: &mut Rng) -> Option<Packet> {
        if !self.open() {
            self.nxt = self.nxt.max(1);
            return Some(self.packet(0, 1));
        }
        match rng.below(10) {
            0 => Some(self.packet(self.nxt, self.nxt)),
            // keep-alive, without and with a byte
            1 => Some(self.packet(self.una - 1, self.una - 1)),
            2 if self.una > 1 && self.una <= self.bytes + 1 => {
                Some(self.packet(self.una - 1, self.una))
            }
            3 => {
                self.unread -= rng.below(self.unread + 1);
                None
            }
            4 | 5 if self.nxt > self.una => {
                let to = self.una + 1 + rng.below((self.nxt - self.una).min(65_000));
                Some(self.packet(self.una, to))
            }
            // zero-window probe
            6 if self.edge == self.nxt && self.nxt <= self.bytes => {
                self.nxt += 1;
                Some(self.packet(self.nxt - 1, self.nxt))
            }
            7.. if self.nxt < self.last() && self.nxt < self.edge => {
                let most = (self.edge - self.nxt)
                    .min(self.last() - self.nxt)
                    .min(65_000);
                let from = self.nxt;
                self.nxt += 1 + rng.below(most);
                Some(self.packet(from, self.nxt))
            }
            _ => None,
        }
    }

    fn receive(&mut self, p: &Packet) {
        let syn = p.t.flags & SYN != 0;
        if self.rcv == 0 {
            if !syn {
                return;
            }
            self.peer_isn = p.t.seq;
            self.peer_scale = syn_options(&p.header).window_scale;
        }
        if p.t.flags & ACK != 0 && p.ack <= self.nxt {
            self.una = self.una.max(p.ack);
            let shift = if self.scaled() && !syn {
                self.peer_scale.unwrap_or(0)
            } else {
                0
            };
            self.edge = self.edge.max(p.ack + (u64::from(p.t.window) << shift));
        }
        // A FIN needs no room.
        let control = u64::from(syn) + u64::from(p.t.flags & FIN != 0);
        let to = p.to.min(self.rcv + self.buffer - self.unread + control);
        if p.from < to {
            self.held.push((p.from, to));
        }
        while let Some(i) = self.held.iter().position(|h| h.0 <= self.rcv) {
            let (_, to) = self.held.swap_remove(i);
            if to > self.rcv {
                self.unread = (self.unread + to - self.rcv).min(self.buffer);
                self.rcv = to;
            }
        }
    }
}

/// A queue that loses, doubles and reorders; nothing is overtaken by more than eight.
#[derive(Default)]
struct Wire {
    queue: VecDeque<(Packet, u32)>,
}

impl Wire {
    fn put(&mut self, p: Packet, rng: &mut Rng, bad: u64) {
        if rng.percent(bad) {
            return;
        }
        if rng.percent(bad) {
            self.queue.push_back((p.clone(), 0));
        }
        self.queue.push_back((p, 0));
    }

    fn take(&mut self, rng: &mut Rng, bad: u64) -> Option<Packet> {
        let overdue = self.queue.front().is_some_and(|f| f.1 >= 8);
        let reorder = !overdue && rng.percent(bad);
        let depth = self.queue.len().min(4) as u64;
        let i = if reorder {
            rng.below(depth) as usize
        } else {
            0
        };
        for f in self.queue.iter_mut().take(i) {
            f.1 += 1;
        }
        self.queue.remove(i).map(|f| f.0)
    }
}

struct World {
    rng: Rng,
    hosts: [Host; 2],
    before: [Wire; 2],
    behind: [Wire; 2],
    conn: Conn,
    /// Which host's frames go in the original direction.
    opener: Option<usize>,
    passed: u32,
}

impl World {
    /// The tracker meets the next frame of host `h`.
    fn track(&mut self, h: usize, bad: u64) -> Result<(), TestCaseError> {
        let Some(p) = self.before[h].take(&mut self.rng, bad) else {
            return Ok(());
        };
        let Some(opener) = self.opener else {
            let options = Some(syn_options(&p.header));
            prop_assert_eq!(open(&self.conn.0, &p.t, options, false), Ok(State::SynSent));
            self.opener = Some(h);
            self.behind[h].put(p, &mut self.rng, bad);
            return Ok(());
        };
        let dir = if h == opener { ORIG } else { REPLY };
        match segment(&self.conn.0, dir, &p.t, &p.header) {
            Verdict::Pass | Verdict::PassChanged(_) => {
                self.passed += 1;
                self.behind[h].put(p, &mut self.rng, bad);
            }
            verdict => {
                // Overtaken so far that even its sender has no use for it any more.
                let s = &self.hosts[h];
                let span = u64::from(window::MARGIN);
                let old_data = s.una > p.una && p.to + span < s.nxt && p.to <= s.una;
                let old_ack = p.ack + span < s.rcv;
                prop_assert!(
                    verdict == Verdict::Drop(Reason::TcpOutOfWindow) && (old_data || old_ack),
                    "{verdict:?} for {:?} of {}..{} ack {}, {:?}",
                    p.t,
                    p.from,
                    p.to,
                    p.ack,
                    self.conn.state()
                );
            }
        }
        Ok(())
    }

    fn step(&mut self, both_open: bool, bad: u64) -> Result<(), TestCaseError> {
        let h = self.rng.below(2) as usize;
        match self.rng.below(3) {
            0 => {
                let silent = h == 1 && !both_open && self.hosts[1].rcv == 0;
                if !silent && let Some(p) = self.hosts[h].act(&mut self.rng) {
                    self.before[h].put(p, &mut self.rng, bad);
                }
            }
            1 => self.track(h, bad)?,
            _ => {
                if let Some(p) = self.behind[h].take(&mut self.rng, bad) {
                    self.hosts[1 - h].receive(&p);
                }
            }
        }
        Ok(())
    }

    fn done(&self) -> bool {
        self.hosts.iter().all(|h| h.una == h.last())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_of_well_behaved_hosts_is_lost(
        seed in any::<u64>(),
        bytes in (0..400_000_u64, 0..400_000_u64),
        bad in 0..30_u64,
        both_open in prop::bool::weighted(0.2),
    ) {
        let mut rng = Rng(seed);
        let hosts = [Host::new(&mut rng, bytes.0), Host::new(&mut rng, bytes.1)];
        let mut w = World {
            rng,
            hosts,
            before: Default::default(),
            behind: Default::default(),
            conn: Conn::blank(),
            opener: None,
            passed: 0,
        };
        for _ in 0..3_000 {
            w.step(both_open, bad)?;
        }
        // The network heals and both finish.
        for _ in 0..2_000_000 {
            if w.done() {
                break;
            }
            for h in &mut w.hosts {
                h.buffer = h.buffer.max(40_000);
                h.unread = 0;
            }
            w.step(both_open, 0)?;
        }
        prop_assert!(w.done(), "the connection hangs in {:?}", w.conn.state());
        prop_assert_eq!(w.conn.state(), State::TimeWait);
        prop_assert!(w.passed > 4);
    }
}
