//! What the switch and the kernel have forgotten after a silence: with timeouts of a second on both
//! sides, and of three for what is open. The silences are far from those times, and a case that a
//! busy machine held up in the wrong moment is run again.

use std::sync::Mutex;
use switchd_tests::oracle::run::Runner;
use switchd_tests::oracle::sequence::Kind::*;
use switchd_tests::oracle::sequence::Segment::*;
use switchd_tests::oracle::sequence::Speaker::End;
use switchd_tests::oracle::sequence::Step::{self, *};
use switchd_tests::oracle::sequence::{Fault, Flow, Form, Kind, Said, Segment, Sequence, Way};
use switchd_tests::scenario;

/// Well below a second, and well above.
const PART: Step = Wait(600);
const LONG: Step = Wait(1_600);

const fn client(segment: Segment) -> Step {
    Say(0, true, Said::plain(segment, 0), Form::PLAIN)
}

const fn server(segment: Segment) -> Step {
    Say(0, false, Said::plain(segment, 0), Form::PLAIN)
}

/// A datagram or a query, and what is said back.
const ASK: Step = client(Ack);
const ANSWER: Step = server(Ack);

const REFUSE: Step = Error(
    0,
    Fault {
        at_server: true,
        what: (3, 3),
        mtu: 0,
        quote: 8,
        speaker: End,
        damage: 0,
    },
);

fn opened(then: &[Step]) -> Vec<Step> {
    let open = [client(Syn), server(SynAck), client(Ack)];
    [&open[..], then].concat()
}

/// What happens, and whether the last of it arrives.
fn cases() -> Vec<(Kind, &'static str, Vec<Step>, bool)> {
    let mut all = Vec::new();
    for kind in [Udp, Echo, Other(99)] {
        all.extend([
            (kind, "answered in time", vec![ASK, PART, ANSWER], true),
            (kind, "answered too late", vec![ASK, LONG, ANSWER], false),
            (
                kind,
                "asked again, answered",
                vec![ASK, PART, ASK, PART, ANSWER],
                true,
            ),
            (
                kind,
                "answers go on",
                vec![ASK, ANSWER, PART, ANSWER, PART, ANSWER],
                true,
            ),
            (
                kind,
                "answers end",
                vec![ASK, ANSWER, PART, ANSWER, LONG, ANSWER],
                false,
            ),
            (
                kind,
                "asked anew",
                vec![ASK, ANSWER, LONG, ASK, ANSWER],
                true,
            ),
        ]);
    }
    let errors = vec![ASK, PART, REFUSE, PART, ANSWER];
    all.push((Udp, "an error refreshes nothing", errors, false));
    let (syn, syn_ack) = (client(Syn), server(SynAck));
    let closed = [server(Fin), client(Fin), server(Ack)];
    let with = |more: &[Step]| opened(&[&closed[..], more].concat());
    all.extend([
        (
            Tcp,
            "SYN, answered in time",
            vec![syn.clone(), PART, syn_ack.clone()],
            true,
        ),
        (
            Tcp,
            "SYN, answered too late",
            vec![syn.clone(), LONG, syn_ack.clone()],
            false,
        ),
        (
            Tcp,
            "SYN-ACK, too late",
            vec![syn, syn_ack, LONG, client(Ack)],
            false,
        ),
        (
            Tcp,
            "open",
            opened(&[LONG, server(Ack), LONG, client(Ack)]),
            true,
        ),
        (
            Tcp,
            "open for too long",
            opened(&[Wait(3_600), server(Ack)]),
            false,
        ),
        (
            Tcp,
            "half-closed",
            opened(&[server(Fin), LONG, client(Ack)]),
            true,
        ),
        (Tcp, "closed, in time", with(&[PART, client(Ack)]), true),
        (Tcp, "closed, too late", with(&[LONG, client(Ack)]), false),
        (
            Tcp,
            "reset, in time",
            opened(&[client(Rst), PART, server(Ack)]),
            true,
        ),
        (
            Tcp,
            "reset, too late",
            opened(&[client(Rst), LONG, server(Ack)]),
            false,
        ),
    ]);
    all
}

scenario!(both_forget_at_the_same_time, || {
    let left = Mutex::new(cases());
    let next = || left.lock().expect("no panic").pop();
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                let mut runner = Runner::impatient().expect("a namespace with the kernel's NAT");
                while let Some((kind, name, steps, arrives)) = next() {
                    let sequence = Sequence {
                        published: vec![],
                        flows: vec![Flow {
                            kind,
                            client: 0,
                            far: false,
                            way: Way::Out(false),
                            sport: 40_000,
                            dport: 9_000,
                        }],
                        steps,
                    };
                    let good = (1..=5).any(|last| {
                        let o = runner.run(&sequence, 1).expect("a kernel that goes on");
                        let good = o.unexplained.is_none()
                            && o.known.is_empty()
                            && (o.last == 1) == arrives;
                        assert!(good || last < 5, "{kind:?}, {name}: {o:#?}");
                        good
                    });
                    assert!(good);
                }
            });
        }
    });
});
