//! Differences about ports outside: which one a connection has, and for how long.

use super::packets::refused_for;
use super::{After, Difference};
use crate::memory::UP;
use crate::oracle::Out;
use crate::oracle::facts::*;
use crate::oracle::run::Case;
use crate::oracle::sequence::{Flow, Step, Way};
use dataplane::base::Reason;
use dataplane::frame::Gso;

const NOBODY: [Reason; 3] = [
    Reason::IcmpNoMatch,
    Reason::NotPublished,
    Reason::TcpNoConnection,
];

/// What a server said to a client that it has not heard came to another one of the same port, or to
/// another flow of the same one.
fn to_another(c: &Case<'_>, out: &[Out]) -> bool {
    let at = |f: &Flow, o: &Out| o.bytes.get(30..34) == Some(&f.client_ip().octets()[..]);
    matches!(out, [o] if for_another(c).any(|f| at(f, o)))
}

/// Of what a server said to a client that it has not heard, the flows that it may as well be of.
fn for_another<'c>(c: &'c Case<'_>) -> impl Iterator<Item = &'c Flow> {
    let by_server = c.unheard && matches!(c.step, Step::Say(_, false, ..));
    let said = c.flow.filter(|_| by_server);
    let same = |f: &Flow, of: &Flow| f.expected() == of.expected() && !std::ptr::eq(f, of);
    c.flows
        .iter()
        .filter(move |f| said.is_some_and(|of| same(f, of)))
}

/// Blanks the source port, and the options that only Linux fills in.
fn without_port_and_options(c: &Case<'_>, o: &mut Out) {
    without_source_port(o);
    if options_in(c) {
        without_options(o);
    }
}

/// The list.
pub const KNOWN: &[Difference] = &[
    Difference {
        name: "published-port-as-source",
        why: "What a container sends from a published port leaves by that same port outside, one \
              mapping for both directions (RFC 4787 REQ-1). Linux masquerades it on its own.",
        after: After::Ends,
        is: |c| {
            let flow = c.flow.filter(|f| matches!(f.way, Way::Slot(_)));
            let by_server = matches!(c.step, Step::Say(_, false, ..));
            let port = flow.map(|f| f.tuple().dport);
            let ours = c.switch.iter().all(|o| source_port(o) == port);
            by_server
                && !c.switch.is_empty()
                && ours
                && same_but(c, |o| without_port_and_options(c, o))
        },
    },
    Difference {
        name: "nat-clash-refused",
        why: "A new connection by a published port whose answers would look like those of another \
              connection is refused, and so is a second host's of a protocol without ports. Linux gives the \
              client another port, which the container sees, or drops.",
        after: After::Ends,
        is: |c| {
            let clash = c.dropped == [Reason::NatClash];
            let said = |o| own_error(o) == Some((3, 13));
            let one = c.kernel.len() <= 1 || c.wires.iter().any(|w| w.hdr.gso != Gso::None);
            clash && c.switch.iter().all(said) && one
        },
    },
    Difference {
        name: "another-port-chosen",
        why: "Both may choose any free external port. Where the answers can't follow the choice (in \
              captures, when the server of a published port speaks of its own accord, and when one \
              speaks to whom it has not heard) the sequence ends there; others go on.",
        after: After::Ends,
        is: |c| {
            let external = |o: &Out| o.bytes.get(26..30) == Some(&UP.octets());
            let alone = match c.step {
                Step::Frames(_) | Step::Again(_) => true,
                Step::Say(_, false, ..) => c.flow.is_some_and(|f| matches!(f.way, Way::Slot(_))),
                _ => false,
            };
            // An error quotes the ports of what it does not know for TCP or UDP too.
            let same = same_but(c, |o| without_port_and_options(c, o))
                || same_but(c, without_quoted_ports);
            let out = c.flow.is_some_and(|f| matches!(f.way, Way::Out(_)));
            let told = c.switch.iter().all(|o| own_error(o) == Some((3, 3)));
            let nobody = told && c.dropped.iter().any(|r| NOBODY.contains(r));
            let unheard = to_another(c, c.kernel) && nobody
                || out && to_another(c, c.switch) && c.kernel.is_empty();
            unheard || alone && c.kernel.iter().all(external) && same
        },
    },
    Difference {
        name: "refused-keeps-no-port",
        why: "What is refused leaves nothing behind. Linux remembers a datagram that its host refused \
              as a connection, and a hairpin client whose answers would look like it then gets \
              another port, or no answers.",
        after: After::Ends,
        is: |c| {
            let flow = c.flow.filter(|f| matches!(f.way, Way::Slot(_)));
            // It may be too large for the way there, or too old.
            let late = |o| matches!(own_error(o), Some((3, 4) | (11, 0)));
            let on_the_way = matches!(c.switch, [o] if late(o)) && for_another(c).next().is_some();
            let carried = on_the_way || to_another(c, c.switch);
            flow.is_some() && kernel_only_says(c, (3, 3)) && carried
        },
    },
    Difference {
        name: "external-port-not-shared",
        why: "No two hosts inside have one external port (RFC 4787 REQ-3), so what comes to the one \
              of the second is not the first's. Linux shares a port where destinations differ.",
        after: After::GoesOn,
        is: |c| {
            let stray = matches!(c.step, Step::Stray(..));
            let same = |a: &Flow, b: &Flow| a.kind == b.kind && a.sport == b.sport;
            let shared = c
                .flow
                .is_some_and(|f| c.flows.iter().any(|o| same(o, f) && o.client != f.client));
            stray && shared && refused_for(c, &NOBODY) && c.kernel.len() == 1
        },
    },
];
