//! Random sequences: the same for the same seed.

use super::OUTSIDE;
use super::sequence::{
    Again, Fault, Flow, Form, Kind, Said, Segment, Sequence, Speaker, Step, Way,
};
use dataplane::port::fault::Rng;

/// Draws.
pub struct Draw(Rng);

impl Draw {
    /// Of this seed.
    pub const fn new(seed: u64) -> Draw {
        Draw(Rng::new(seed))
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0.below(n)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.0.below(n) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.0.below(all.len() as u64) as usize]
    }
}

/// The sequence of a seed.
pub fn sequence(seed: u64) -> Sequence {
    let mut d = Draw::new(seed);
    let mut s = Sequence::default();
    for slot in 0..4 {
        if !d.one_in(4) {
            s.published.push(slot);
        }
    }
    for _ in 0..=d.below(3) {
        s.flows.push(flow(&mut d));
    }
    let length = 3 + d.below(14);
    while (s.steps.len() as u64) < length {
        let n = d.below(s.flows.len() as u64) as u8;
        match d.below(100) {
            0..=34 => talk(&mut d, &mut s, n),
            35..=79 => {
                let step = any(&mut d, n, &s.flows[usize::from(n)]);
                s.steps.push(step);
            }
            80..=87 => s.steps.push(Step::Error(n, fault(&mut d))),
            88..=93 => {
                let how = again(&mut d);
                s.steps.push(Step::Again(how));
            }
            94..=95 => {
                let port = d.of(&[9_000, 9_001, 53]);
                let other = d.one_in(2);
                s.steps.push(Step::Stray(n, other, port));
            }
            96..=97 => s.steps.push(Step::Publish(d.below(4) as u8)),
            _ => s.steps.push(Step::Unpublish(d.below(4) as u8)),
        }
    }
    s
}

fn flow(d: &mut Draw) -> Flow {
    let kind = match d.below(20) {
        0..=8 => Kind::Tcp,
        9..=14 => Kind::Udp,
        15..=18 => Kind::Echo,
        _ => Kind::Other(d.of(&[47, 50, 99, 4])),
    };
    let client = d.below(4) as usize;
    let way = if client == OUTSIDE {
        Way::Slot(d.below(4) as u8)
    } else {
        match d.below(20) {
            0..=8 => Way::Out(d.one_in(2)),
            9..=15 => Way::Slot(d.below(4) as u8),
            16..=17 => Way::ByGateway(other(d, client)),
            18 => Way::Bridged(other(d, client)),
            _ => Way::ToGateway,
        }
    };
    // All else to the gateway is the host's own, and never the switch's to answer.
    let kind = if way == Way::ToGateway {
        Kind::Echo
    } else {
        kind
    };
    Flow {
        kind,
        client,
        far: d.one_in(3),
        way,
        sport: d.of(&[40_000, 40_000, 40_001, 41_234, 1_023, 500]),
        dport: d.of(&[9_000, 53]),
    }
}

fn other(d: &mut Draw, client: usize) -> u8 {
    (client as u8 + 1 + d.below(2) as u8) % 3
}

/// A conversation as it should be, for some steps.
fn talk(d: &mut Draw, s: &mut Sequence, n: u8) {
    let say =
        |by_client, segment, len| Step::Say(n, by_client, Said::plain(segment, len), Form::PLAIN);
    match s.flows[usize::from(n)].kind {
        Kind::Tcp => {
            let mut syn = Said::plain(Segment::Syn, 0);
            syn.scale = d.of(&[0, 0, 1, 8]);
            let syn_ack = Said {
                segment: Segment::SynAck,
                scale: d.of(&[0, 1, 8]),
                ..syn
            };
            s.steps.push(Step::Say(n, true, syn, Form::PLAIN));
            s.steps.push(Step::Say(n, false, syn_ack, Form::PLAIN));
            s.steps.push(say(true, Segment::Ack, 0));
            for _ in 0..d.below(3) {
                let by = d.one_in(2);
                let len = d.of(&[1, 100, 1_400]);
                s.steps.push(say(by, Segment::Ack, len));
                s.steps.push(say(!by, Segment::Ack, 0));
            }
            if d.one_in(2) {
                let by = d.one_in(2);
                s.steps.push(say(by, Segment::Fin, 0));
                s.steps.push(say(!by, Segment::Ack, 0));
                if d.one_in(2) {
                    s.steps.push(say(!by, Segment::Fin, 0));
                    s.steps.push(say(by, Segment::Ack, 0));
                }
            }
        }
        _ => {
            s.steps.push(say(true, Segment::Ack, 20));
            s.steps.push(say(false, Segment::Ack, 30));
        }
    }
}

fn any(d: &mut Draw, n: u8, flow: &Flow) -> Step {
    let mut form = form(d);
    if flow.way == Way::ToGateway {
        // Fragments to the gateway are for the host to put together.
        form.fragments = None;
    }
    let said = match flow.kind {
        Kind::Tcp => segment(d),
        _ => Said::plain(Segment::Ack, d.of(&[0, 1, 8, 100, 1_300, 1_600, 3_000])),
    };
    Step::Say(n, d.one_in(2), said, form)
}

fn segment(d: &mut Draw) -> Said {
    let segment = match d.below(20) {
        0..=1 => Segment::Syn,
        2..=3 => Segment::SynAck,
        4..=12 => Segment::Ack,
        13..=14 => Segment::Fin,
        15..=16 => Segment::Rst,
        17..=18 => Segment::RstAck,
        _ => Segment::Flags(d.below(64) as u8),
    };
    let off = |d: &mut Draw| match d.below(10) {
        0..=6 => 0,
        7 => d.of(&[1, -1, 10, -10, 100, -100]),
        8 => d.of(&[1_400, -1_400, 30_000, -30_000]),
        _ => d.of(&[
            70_000,
            -70_000,
            200_000,
            -200_000,
            1_000_000_000,
            -1_000_000_000,
        ]),
    };
    Said {
        segment,
        seq: off(d),
        ack: off(d),
        len: d.of(&[0, 0, 1, 100, 1_400, 3_000]),
        window: d.of(&[60_000, 60_000, 0, 1, 500, 65_535]),
        scale: d.of(&[0, 0, 1, 3, 8, 15, 20]),
    }
}

fn form(d: &mut Draw) -> Form {
    let mut f = Form::PLAIN;
    match d.below(16) {
        0 => f.ttl = d.of(&[0, 1, 2]),
        1 => f.df = false,
        2 => f.tos = d.of(&[0x10, 0xb8, 3]),
        3 => f.options = 1 + d.below(5) as u8,
        4 | 5 => {
            f.fragments = Some((d.of(&[1, 3, 10, 64, 180]), d.below(7) as u8));
            f.df = d.one_in(4);
        }
        6 => f.partial = true,
        7 => f.gso = d.of(&[500, 1_000, 1_448]),
        8 => f.checksum = 1 + d.below(2) as u8,
        _ => {}
    }
    if d.one_in(8) {
        f.df = false;
    }
    f
}

fn fault(d: &mut Draw) -> Fault {
    Fault {
        at_server: !d.one_in(3),
        what: d.of(&[
            (3, 0),
            (3, 1),
            (3, 3),
            (3, 4),
            (3, 13),
            (11, 0),
            (12, 0),
            (4, 0),
            (5, 1),
        ]),
        mtu: d.of(&[0, 576, 1_280, 1_400]),
        quote: d.of(&[8, 8, 28, 64, 520, 4, 0]),
        speaker: d.of(&[Speaker::End, Speaker::Router]),
        damage: if d.one_in(8) { 1 + d.below(2) as u8 } else { 0 },
    }
}

fn again(d: &mut Draw) -> Again {
    match d.below(3) {
        0 => Again::Same,
        1 => Again::Damaged(
            d.below(60) as u16,
            d.of(&[1, 0x80, 0xff, 0x10]),
            d.below(3) as u8,
        ),
        _ => Again::Cut(d.below(80) as u16),
    }
}
