//! A sequence through the kernel and two switches.

use super::build::{Numbers, View};
use super::expiry;
use super::kernel::Kernel;
use super::known::{self, After, Met};
use super::regular::Conversation;
use super::sequence::{Again, Flow, Sequence, Step, slot};
use super::side::{Side, learn, wires};
use super::switch::Switch;
use super::watch::{Placed, Watch};
use super::{Out, Wire};
use control::replay::words;
use dataplane::base::{Proto, Reason, Timeouts, Tuple};
use dataplane::frame::VnetHdr;
use std::time::{Duration, Instant};

/// What the comparison of a step has before it.
pub struct Case<'a> {
    /// The step.
    pub step: &'a Step,
    /// Its flow, if it has one.
    pub flow: Option<&'a Flow>,
    /// All flows.
    pub flows: &'a [Flow],
    /// What went in, as the switch got it.
    pub wires: &'a [Wire],
    /// What came out of the switch, canonical.
    pub switch: &'a [Out],
    /// What came out of the kernel, canonical.
    pub kernel: &'a [Out],
    /// Why the switch dropped frames.
    pub dropped: &'a [Reason],
    /// The switch carried fragments of a datagram that stayed unfinished, and may have a
    /// connection that the kernel has not.
    pub carried_in_part: bool,
    /// The TCP conversation is not, or was not, one that two stacks would have.
    pub odd: bool,
    /// Linux has forgotten its TCP conversation.
    pub forgotten: bool,
    /// The flow's server has not heard its client, and does not know its port.
    pub unheard: bool,
    /// Where the segment lies in its TCP conversation.
    pub place: Option<Placed>,
}

/// What a sequence came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Frames that went in.
    pub frames: u64,
    /// Frames that came out of the kernel.
    pub out: u64,
    /// Known differences, by name.
    pub known: Vec<&'static str>,
    /// The step at which a known difference ended the sequence: connections are not in the same
    /// state any more.
    pub ended: Option<usize>,
    /// The first difference that nobody explains, in words.
    pub unexplained: Option<String>,
    /// Frames that came out of the kernel in the last step.
    pub last: usize,
    /// What kind of difference that is: who let something through, and why the switch did not.
    pub kind: String,
}

/// The kernel, and how many sequences ran. Identifications never come again soon, since the
/// kernel keeps unfinished datagrams for seconds.
pub struct Runner {
    kernel: Kernel,
    id: u16,
    /// Timeouts that are short enough to wait for; then the switch's time goes as the kernel's.
    short: Option<Timeouts>,
    /// Print every step.
    pub verbose: bool,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

impl Runner {
    /// A namespace of its own.
    ///
    /// # Errors
    /// See [`Kernel::new`].
    pub fn new() -> Result<Runner> {
        Ok(Runner {
            kernel: Kernel::new()?,
            id: 1,
            short: None,
            verbose: false,
        })
    }

    /// The same with timeouts of a second on both sides, and three where connections are open.
    ///
    /// # Errors
    /// See [`Kernel::new`].
    pub fn impatient() -> Result<Runner> {
        let runner = Runner::new()?;
        runner.kernel.set(&expiry::SETTINGS)?;
        Ok(Runner {
            short: Some(expiry::timeouts()),
            ..runner
        })
    }

    /// Runs a sequence. `seed` decides which worker gets which frame.
    ///
    /// # Errors
    /// When the kernel's side breaks.
    pub fn run(&mut self, s: &Sequence, seed: u64) -> Result<Outcome> {
        self.kernel.reset()?;
        let timeouts = self.short.unwrap_or_default();
        let mut switches = [1, 2].map(|workers| Switch::new(workers, seed, timeouts));
        let begin = self.short.map(|_| Instant::now());
        let first: Vec<_> = s.published.iter().flat_map(|n| both(*n)).collect();
        let mut published = unique(first);
        if !published.is_empty() {
            self.kernel.publish(&published)?;
        }
        switches.iter_mut().for_each(|w| w.publish(&published));
        let mut numbers: Vec<Numbers> = (0..s.flows.len()).map(Numbers::new).collect();
        let mut talks = vec![Conversation::default(); s.flows.len()];
        let mut last_flow = 0;
        let tuples: Vec<Tuple> = s.flows.iter().map(Flow::tuple).collect();
        // Flows of one tuple are one conversation: that of the first of them.
        let talk_of = |flow: usize| {
            let tuple = tuples.get(flow)?;
            tuples.iter().position(|t| t == tuple)
        };
        let mut damaged = false;
        let mut sides = [(); 3].map(|()| Side {
            views: vec![View::default(); s.flows.len()],
            last: Vec::new(),
        });
        let mut outcome = Outcome::default();
        let mut watch = Watch::default();
        for (at, step) in s.steps.iter().enumerate() {
            match step {
                Step::Publish(n) | Step::Unpublish(n) => {
                    // A damaged frame may have opened a connection of any ports.
                    let by = (!damaged).then_some(tuples.as_slice());
                    self.change(step, *n, by, &mut switches, &mut published)?;
                    continue;
                }
                Step::Wait(ms) => {
                    std::thread::sleep(Duration::from_millis(*ms));
                    continue;
                }
                _ => {}
            }
            if let Some(begin) = begin {
                switches.iter_mut().for_each(|w| w.at(begin.elapsed()));
            }
            damaged |= matches!(step, Step::Again(Again::Damaged(..)) | Step::Frames(_));
            let flow = flow_of(step).filter(|_| !s.flows.is_empty());
            let flow = flow.map(|n| usize::from(n) % s.flows.len());
            let resolved = match (step, flow) {
                (Step::Say(_, by_client, said, _), Some(n)) => {
                    Some(numbers[n].resolve(*by_client, said))
                }
                _ => None,
            };
            self.id = self.id.wrapping_add(1).max(1);
            let mut outs: Vec<Vec<Out>> = Vec::new();
            let mut inputs: Vec<Vec<Wire>> = Vec::new();
            let mut raw = [0; 3];
            let mut place = None;
            for (i, side) in sides.iter_mut().enumerate() {
                let flow = flow.map(|n| (&s.flows[n], &side.views[n]));
                let wires = wires(step, flow, resolved, side, self.id);
                let out = match i {
                    0 => self.kernel.exchange(&wires)?,
                    _ => switches[i - 1].exchange(&wires),
                };
                if i == 0 {
                    place = watch.place(&wires);
                    watch.hear(&wires, &out);
                }
                raw[i] = out.len();
                let known =
                    flow_of(step).map_or(last_flow, |_| flow_index(flow_of(step), s).unwrap_or(0));
                outs.push(learn(side, step, known, s, &wires, out));
                inputs.push(wires);
            }
            outcome.frames += inputs[0].len() as u64;
            outcome.out += outs[0].len() as u64;
            outcome.last = outs[0].len();
            if self.verbose {
                println!("{at}: {step:?}\n{}", told(&inputs[0], &outs, &switches));
            }
            if let Some(talk) = talk_of(flow.unwrap_or(last_flow)).map(|n| &mut talks[n]) {
                match step {
                    Step::Say(_, by, said, form) => {
                        talk.say(flow.unwrap_or(0), *by, said, form, !outs[0].is_empty());
                    }
                    Step::Stray(..) | Step::Again(_) => talk.disturb(),
                    _ => {}
                }
            }
            if let Some(n) = flow.filter(|_| !inputs[0].is_empty()) {
                last_flow = n;
            }
            let odd = talk_of(flow.unwrap_or(last_flow)).is_none_or(|n| talks[n].odd);
            let dropped = switches[0].dropped().to_vec();
            let case = Case {
                step,
                flow: flow.map(|n| &s.flows[n]),
                flows: &s.flows,
                wires: &inputs[1],
                switch: &outs[1],
                kernel: &outs[0],
                dropped: &dropped,
                carried_in_part: outs[1].is_empty() && raw[1] > 0,
                odd,
                forgotten: tuples
                    .get(flow.unwrap_or(last_flow))
                    .is_some_and(|t| watch.is_forgotten(t)),
                unheard: flow.is_some_and(|n| {
                    let unheard = |side: &Side| side.views[n].at_server.is_none();
                    sides[..2].iter().any(unheard)
                }),
                place,
            };
            if outs[1] != outs[2] {
                outcome.unexplained = Some(format!(
                    "step {at} with two workers: {step:?}\n{}",
                    told(&inputs[0], &outs, &switches)
                ));
                outcome.kind = "two workers".into();
                return Ok(outcome);
            }
            match known::judge(&case) {
                Met::Same => {}
                Met::Known(name, after) => {
                    outcome.known.push(name);
                    if after == After::Ends {
                        outcome.ended = Some(at);
                        return Ok(outcome);
                    }
                }
                Met::Unexplained => {
                    let ports = |out: &[Out]| out.iter().map(|o| o.port).collect::<Vec<_>>();
                    let (k, w) = (ports(case.kernel), ports(case.switch));
                    let step = step_kind(step);
                    outcome.kind =
                        format!("{step} odd {odd} kernel {k:?} switch {w:?} {dropped:?}");
                    outcome.unexplained = Some(format!(
                        "step {at}: {} {step:?}\n{}",
                        outcome.kind,
                        told(&inputs[0], &outs, &switches)
                    ));
                    return Ok(outcome);
                }
            }
        }
        Ok(outcome)
    }

    fn change(
        &mut self,
        step: &Step,
        n: u8,
        by: Option<&[Tuple]>,
        switches: &mut [Switch; 2],
        published: &mut Vec<super::Published>,
    ) -> Result<()> {
        for p in both(n) {
            let there = published.contains(&p);
            match step {
                Step::Publish(_) if !there => {
                    published.push(p);
                    self.kernel.publish_late(&p, by)?;
                    switches.iter_mut().for_each(|w| w.publish(&[p]));
                }
                Step::Unpublish(_) if there => {
                    published.retain(|q| *q != p);
                    self.kernel.unpublish(&p, by)?;
                    switches.iter_mut().for_each(|w| w.unpublish(&p));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn step_kind(step: &Step) -> String {
    match step {
        Step::Say(_, _, said, form) => format!("{:?} {:?}", said.segment, form),
        Step::Error(_, e) => format!("error {:?} damage {}", e.what, e.damage),
        Step::Again(how) => format!("{how:?}"),
        Step::Stray(..) => "stray".into(),
        _ => "frame".into(),
    }
}

fn both(n: u8) -> [super::Published; 2] {
    [slot(n, Proto::TCP), slot(n, Proto::UDP)]
}

fn unique(all: Vec<super::Published>) -> Vec<super::Published> {
    let mut seen = Vec::new();
    for p in all {
        if !seen.contains(&p) {
            seen.push(p);
        }
    }
    seen
}

const fn flow_of(step: &Step) -> Option<u8> {
    match step {
        Step::Say(n, ..) | Step::Error(n, _) | Step::Stray(n, ..) => Some(*n),
        _ => None,
    }
}

fn flow_index(n: Option<u8>, s: &Sequence) -> Option<usize> {
    n.filter(|_| !s.flows.is_empty())
        .map(|n| usize::from(n) % s.flows.len())
}

/// What went in and came out, for people.
fn told(input: &[Wire], outs: &[Vec<Out>], switches: &[Switch; 2]) -> String {
    let port = |n: usize| ["web", "db", "app", "up"][n];
    let frame = |bytes: &[u8], hdr: &VnetHdr| {
        let hex: String = bytes.iter().take(110).map(|b| format!("{b:02x}")).collect();
        format!(
            "{}\n        {} bytes {hex}",
            words::frame(bytes, hdr),
            bytes.len()
        )
    };
    let mut text = String::new();
    for w in input {
        text += &format!("  in  {}: {}\n", port(w.port), frame(&w.bytes, &w.hdr));
    }
    for (who, out) in ["kernel", "switch", "two workers"].iter().zip(outs) {
        text += &format!("  {who}:{}\n", if out.is_empty() { " nothing" } else { "" });
        for o in out {
            text += &format!(
                "    {}: {}\n",
                port(o.port),
                frame(&o.bytes, &VnetHdr::PLAIN)
            );
        }
    }
    let why: Vec<_> = switches[0].dropped().iter().map(|r| r.symbol()).collect();
    text + &format!("  the switch dropped: {}\n", why.join(", "))
}
