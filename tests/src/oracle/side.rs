//! One of the three that get the frames: what its hosts have seen, and so what they send next.

use super::build::{self, View};
use super::canon::{Names, Speaks, canon};
use super::facts;
use super::sequence::{Flow, Sequence, Step};
use super::{Out, Wire};
use crate::memory::UP;
use dataplane::frame::parse::{self, bits};
use dataplane::frame::{L3, L4, VnetHdr};

/// One of the three that get the frames.
pub struct Side {
    /// By flow.
    pub views: Vec<View>,
    /// What it sent last.
    pub last: Vec<Wire>,
}

/// What goes in in a step.
pub fn wires(
    step: &Step,
    flow: Option<(&Flow, &View)>,
    resolved: Option<build::Resolved>,
    side: &Side,
    id: u16,
) -> Vec<Wire> {
    match (step, flow, resolved) {
        (Step::Say(_, by_client, said, form), Some((f, v)), Some(r)) => {
            build::say(f, v, *by_client, said, form, &r, id)
        }
        (Step::Error(_, e), Some((f, v)), _) => build::error(f, v, e),
        (Step::Stray(_, other, port), Some((f, v)), _) => build::stray(f, v, *other, *port),
        (Step::Again(how), ..) => build::again(&side.last, *how),
        (Step::Frames(all), ..) => all.clone(),
        _ => Vec::new(),
    }
}

/// Remembers what the ends of the flow got, and gives what is compared.
pub fn learn(
    side: &mut Side,
    step: &Step,
    n: usize,
    s: &Sequence,
    wires: &[Wire],
    out: Vec<Out>,
) -> Vec<Out> {
    if !wires.is_empty() {
        side.last = wires.to_vec();
    }
    if let (Step::Say(_, by_client, ..), true) = (step, n < s.flows.len()) {
        let f = &s.flows[n];
        for o in &out {
            let Ok(p) = parse::parse(&o.bytes, &VnetHdr::PLAIN) else {
                continue;
            };
            let carries = p.l3 == L3::Ipv4 && p.tuple.proto == f.kind.proto();
            let foreign = p.l4 == L4::IcmpError || p.has(bits::LATER_FRAGMENT);
            let end = if *by_client {
                f.server()
            } else {
                Some(f.client)
            };
            if !carries || foreign || end != Some(o.port) {
                continue;
            }
            if *by_client {
                side.views[n].at_server = Some(p.tuple);
            }
            side.views[n].last[usize::from(*by_client)] = Some(o.clone());
        }
    }
    // What was refused at first may come out when it comes again.
    let by_client = s.flows.get(n).is_some_and(|f| {
        // A container that speaks with itself is told from its server by its port.
        let own_port = |w: &Wire| {
            f.server() != Some(f.client)
                || parse::parse(&w.bytes, &w.hdr).is_ok_and(|p| p.tuple.sport == f.sport)
        };
        let client = f.client_ip().octets();
        let from_it = |w: &Wire| w.bytes.get(26..30) == Some(&client[..]) && own_port(w);
        wires.iter().any(from_it)
    });
    if let (Step::Again(_), Some(v), true) = (step, side.views.get_mut(n), by_client) {
        // A reset may be the router's own, that refuses: it comes from the same address.
        let parsed = out
            .iter()
            .filter(|o| !facts::is_reset(o))
            .filter_map(|o| parse::parse(&o.bytes, &VnetHdr::PLAIN).ok());
        let mut translated = parsed.filter(|p| p.l3 == L3::Ipv4 && p.tuple.src == UP);
        let found = translated.find(|p| p.tuple.sport != 0).map(|p| p.tuple);
        v.at_server = found.or(v.at_server);
    }
    let names = s.flows.get(n).map_or(Names::default(), |f| Names {
        external: side.views[n].external(f),
        own: f.tuple().sport,
    });
    let passed_on = wires.iter().any(|w| facts::is_icmp_error(&w.bytes));
    let speaks = match passed_on {
        true => Speaks::End,
        false => Speaks::Router,
    };
    canon(&out, names, speaks)
}
