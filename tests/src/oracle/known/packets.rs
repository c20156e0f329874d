//! Differences about packets of any kind.

use super::{After, Difference};
use crate::oracle::facts::*;
use crate::oracle::run::Case;
use crate::oracle::sequence::{Speaker, Step, Way};
use crate::oracle::{OUTSIDE, Out, Wire};
use dataplane::base::{Proto, Reason};
use dataplane::frame::Gso;

/// The switch refused it for one of these reasons.
pub fn refused_for(case: &Case<'_>, reasons: &[Reason]) -> bool {
    case.switch.is_empty() && case.dropped.iter().any(|r| reasons.contains(r))
}

/// Whether what came in is an error from a container that is no end of the connection.
fn of_another_container(c: &Case<'_>) -> bool {
    let router = match c.step {
        Step::Error(_, e) => e.speaker == Speaker::Router,
        step => matches!(step, Step::Again(_)),
    };
    let inside = |w: &Wire| is_icmp_error(&w.bytes) && w.port != OUTSIDE;
    router && c.wires.iter().all(inside)
}

const GRE: Proto = Proto(47);

/// The list.
pub const KNOWN: &[Difference] = &[
    Difference {
        name: "checksum-not-judged",
        why: "The checksum above IP (of SCTP too) is the receiver's to judge. The switch changes it by \
              what it changed (RFC 1624), so a wrong one arrives as wrong as it was sent; Linux drops it.",
        after: After::Ends,
        is: |c| {
            // Another fragment may have completed a datagram of an earlier step.
            let completed = in_fragments(c) && matches!(c.step, Step::Again(_));
            // It is carried, or what a router says does not depend on it.
            let fair = |o: &Out| match own_error(o) {
                None => wrong_checksum(&o.bytes),
                error => matches!(error, Some((11, 0) | (3, 4))),
            };
            let as_wrong = matches!(c.switch, [o] if fair(o));
            c.kernel.is_empty() && as_wrong && (wrong_checksum_in(c) || completed)
        },
    },
    Difference {
        name: "superframe-length-not-judged",
        why: "What the length field of a UDP superframe says is not looked at: the datagrams that are \
              cut from it have each its own. Linux drops it.",
        after: After::Ends,
        is: |c| {
            let udp = |w: &Wire| w.hdr.gso == Gso::UdpL4 && no_stack_sends(&w.bytes);
            c.wires.iter().any(udp) && c.kernel.is_empty() && !c.switch.is_empty()
        },
    },
    Difference {
        name: "unfinished-checksum-computed",
        why: "A checksum that was left to others is computed as a whole when a superframe is cut. Linux \
              goes on from what the field holds, right or wrong.",
        after: After::Ends,
        is: |c| {
            let unfinished = c
                .wires
                .iter()
                .any(|w| w.hdr.gso != Gso::None && w.hdr.needs_csum);
            let right = c.switch.iter().all(|o| !wrong_checksum(&o.bytes));
            let again = matches!(c.step, Step::Again(_));
            again && unfinished && right && same_but(c, without_checksum)
        },
    },
    Difference {
        name: "not-translatable",
        why: "What sums or signs its addresses where a translation does not reach (AH, DCCP, UDP-Lite) \
              is refused, and told. Linux changes the addresses.",
        after: After::Ends,
        is: |c| {
            let signs = |w: &Wire| matches!(w.bytes.get(23), Some(33 | 51 | 136));
            let told = matches!(c.switch, [o] if own_error(o) == Some((3, 13)));
            c.wires.iter().all(signs) && c.dropped == [Reason::ProtoUnsupported] && told
        },
    },
    Difference {
        name: "gre-version-not-judged",
        why: "What a GRE header says is not looked at: addresses are all that counts. Linux tracks \
              version 1 (RFC 2637) by its call, and drops it when what it carries is not PPP.",
        after: After::Ends,
        is: |c| {
            let version_1 = |w: &Wire| matches!(message(&w.bytes), Some((GRE, [_, 1, ..])));
            c.wires.iter().all(version_1) && c.kernel.is_empty() && c.switch.len() == 1
        },
    },
    Difference {
        name: "echo-code-not-judged",
        why: "Echo has no codes but 0 (RFC 792), and what another one means is the receiver's to say. \
              For Linux it is a part of what is asked, which an answer has to have as well.",
        after: After::Ends,
        is: |c| {
            let other = |w: &Wire| matches!(message(&w.bytes), Some((Proto::ICMP, [0 | 8, code, ..])) if *code > 0);
            c.wires.iter().any(other) && c.kernel.is_empty() && c.switch.len() == 1
        },
    },
    Difference {
        name: "options-not-filled",
        why: "Linux writes its address and time into record-route and timestamp options, and \
              repeats options in its answers. The switch carries options as they are (RFC 7126 \
              sections 4.5 and 4.7 advise against both) and answers without, or with the request's.",
        after: After::GoesOn,
        is: |c| {
            let quoted = c.wires.iter().any(|w| quotes_options(&w.bytes));
            let as_they_are = c.switch.iter().all(|o| options_came_in(c, o));
            // Linux can't answer where there is room for a part of an address.
            let speaks = |o| is_echo_reply(o) || own_error(o).is_some();
            let answered = c.kernel.is_empty() && matches!(c.switch, [o] if speaks(o));
            let same = same_but(c, without_options) || options_in(c) && answered;
            (options_in(c) || quoted) && as_they_are && same
        },
    },
    Difference {
        name: "bad-options-silent",
        why: "Linux answers malformed options by ICMP 12/0. The switch drops them silently, \
              as it does all that no stack sends.",
        after: After::GoesOn,
        is: |c| {
            let refused = [
                Reason::BadOptions,
                Reason::SourceRoute,
                Reason::TcpMalformed,
                Reason::L4Truncated,
            ];
            options_in(c) && refused_for(c, &refused) && kernel_only_says(c, (12, 0))
        },
    },
    Difference {
        name: "rules-before-ttl-and-mtu",
        why: "Linux looks at the time to live and the MTU before its rules refuse a packet, and tells \
              the sender. The switch says nothing about a packet that would not be carried anyway.",
        after: After::Ends,
        is: |c| {
            let refused = [
                Reason::IcmpNoMatch,
                Reason::TcpNoConnection,
                Reason::TcpInvalidState,
                Reason::TcpOutOfWindow,
                Reason::TcpRstInexact,
                Reason::TcpMalformed,
                Reason::PolicyDenied,
            ];
            let said = kernel_only_says(c, (3, 4)) || kernel_only_says(c, (11, 0));
            refused_for(c, &refused) && said
        },
    },
    Difference {
        name: "errors-without-ecn",
        why: "Linux copies an ECN bit of the packet into the error about it. The bit is about the \
              packet's way and not the error's, so the switch leaves it out.",
        after: After::GoesOn,
        is: |c| {
            let as_they_are = c.switch.iter().all(|o| options_came_in(c, o));
            let blank = |o: &mut Out| {
                without_ecn(o);
                // It may have options as well.
                if options_in(c) && as_they_are {
                    without_options(o);
                }
            };
            same_but(c, blank)
        },
    },
    Difference {
        name: "errors-about-router-messages",
        why: "Router discovery and extended echo are queries (RFC 1256, RFC 8335), about which an error \
              may be sent. Linux takes these types for errors.",
        after: After::GoesOn,
        is: |c| {
            let query = |w: &Wire| {
                matches!(
                    message(&w.bytes),
                    Some((Proto::ICMP, [9 | 10 | 42 | 43, ..]))
                )
            };
            let told = matches!(c.switch, [o] if own_error(o).is_some());
            c.wires.iter().any(query) && c.kernel.is_empty() && told
        },
    },
    Difference {
        name: "errors-quote-a-fragment",
        why: "Linux puts fragments together before it refuses them and quotes the whole; the switch \
              quotes the first fragment as it came.",
        after: After::GoesOn,
        is: |c| in_fragments(c) && same_but(c, without_quoted_length),
    },
    Difference {
        name: "error-inside-judged",
        why: "RFC 5508 REQ-3: an error whose quoted header has a wrong checksum is dropped, and so \
              is one with less than RFC 792's eight bytes behind it. Linux carries them.",
        after: After::GoesOn,
        is: |c| {
            let bad = c.wires.iter().any(|w| quotes_badly(&w.bytes));
            bad && refused_for(c, &[Reason::IcmpInnerMalformed]) && c.kernel.len() == 1
        },
    },
    Difference {
        name: "tiny-first-fragment",
        why: "A first fragment without the whole L4 header is refused (RFC 1858 section 3, RFC \
              3128). Linux puts fragments together before it looks.",
        after: After::Ends,
        is: |c| {
            let tiny = c.wires.iter().any(|w| is_tiny_first(&w.bytes));
            tiny && refused_for(c, &[Reason::L4Truncated])
        },
    },
    Difference {
        name: "fragments-limited",
        why: "A datagram of more fragments than 64 is refused: each costs memory, and no stack \
              sends so many.",
        after: After::Ends,
        is: |c| {
            let many = c.wires.len() > 64 && in_fragments(c);
            many && refused_for(c, &[Reason::FragTooMany]) && !c.kernel.is_empty()
        },
    },
    Difference {
        name: "fragments-of-contrary-marks",
        why: "Fragments of one datagram of which some say that their sender can hear of congestion \
              and some that it can't are dropped by who puts them together (RFC 3168 section \
              5.3). That is Linux here, and the receiver behind the switch.",
        after: After::Ends,
        is: |c| {
            let marked = |w: &Wire| w.bytes.get(15).is_some_and(|tos| tos & 3 != 0);
            let again = in_fragments(c) && matches!(c.step, Step::Again(_));
            again && c.wires.iter().any(marked) && c.kernel.is_empty() && c.switch.len() == 1
        },
    },
    Difference {
        name: "land",
        why: "No host sends itself a packet by a wire: the switch drops what has one address as \
              source and destination. Linux drops it only when the address is its own.",
        after: After::GoesOn,
        is: |c| {
            let same = |w: &Wire| w.bytes.get(26..30) == w.bytes.get(30..34);
            c.wires.iter().all(same) && refused_for(c, &[Reason::Land]) && c.kernel.len() == 1
        },
    },
    Difference {
        name: "error-of-another-container",
        why: "An error from a container that is no end of the connection speaks in the switch's \
              name: its gateway address inside. Linux puts the address that the client connected to.",
        after: After::GoesOn,
        is: |c| {
            let quotes = |of: fn(&[u8]) -> bool| c.wires.iter().any(|w| of(&w.bytes));
            // What it quotes may differ on purpose too.
            let blank = |o: &mut Out| {
                without_source(o);
                if quotes(quotes_fragment) {
                    without_quoted_fragment(o);
                }
                if quotes(quotes_options) {
                    without_options(o);
                }
            };
            of_another_container(c) && same_but(c, blank)
        },
    },
    Difference {
        name: "errors-quote-unfinished-checksums",
        why: "A packet whose checksum was left to others is quoted by the switch as it came. Linux \
              changes the quoted one as if it were finished.",
        after: After::GoesOn,
        is: |c| {
            let unfinished = c.wires.iter().any(|w| w.hdr.needs_csum);
            unfinished && same_but(c, without_quoted_checksum)
        },
    },
    Difference {
        name: "refused-by-the-first-fragment",
        why: "What is sent to a port of the switch's own where nobody listens is refused when its \
              first fragment comes; Linux waits for all of them, and then answers TCP by a reset.",
        after: After::GoesOn,
        is: |c| {
            let refused = |o| matches!(own_error(o), Some((3, 2 | 3)));
            let waits = datagrams(c.wires).is_empty() && c.kernel.is_empty();
            let resets = matches!(c.kernel, [o] if is_reset(o));
            let first = matches!(c.switch, [o] if refused(o));
            let said = || kernel_only_says(c, (3, 3)) || kernel_only_says(c, (3, 2)) || resets;
            // Of one identification: the switch said so already.
            let again = refused_for(c, &[Reason::NotPublished]) && said();
            in_fragments(c) && (first && (waits || resets) || again)
        },
    },
    Difference {
        name: "malformed-not-bridged",
        why: "A frame whose IPv4 header, length or checksum is wrong is not bridged either. A Linux \
              bridge looks at MAC addresses only.",
        after: After::GoesOn,
        is: |c| {
            let malformed = [
                Reason::Ipv4Truncated,
                Reason::Ipv4Version,
                Reason::Ipv4HeaderLength,
                Reason::Ipv4TotalLength,
                Reason::Ipv4Checksum,
            ];
            let same = |o: &Out, w: &Wire| o.bytes.get(..26) == w.bytes.get(..26);
            let cut = |w: &Wire| w.hdr.gso != Gso::None && c.kernel.len() > 1;
            let by_mac = |o: &Out, w: &Wire| o.bytes.get(..14) == w.bytes.get(..14);
            let as_it_came = match (c.kernel, c.wires) {
                ([o], [w]) => same(o, w),
                (all, [w]) => cut(w) && all.iter().all(|o| by_mac(o, w)),
                _ => false,
            };
            let wrong = c.wires.iter().all(|w| header_is_wrong(&w.bytes));
            wrong && refused_for(c, &malformed) && as_it_came
        },
    },
    Difference {
        name: "malformed-between-neighbours",
        why: "A TCP or UDP header that no stack sends is refused on every routed way. Linux does not \
              look at it where it does not track.",
        after: After::Ends,
        is: |c| {
            let flow = c.flow.is_none_or(|f| matches!(f.way, Way::ByGateway(_)));
            let malformed = [Reason::TcpMalformed, Reason::UdpLength, Reason::L4Truncated];
            let wrong = c.wires.iter().any(|w| no_stack_sends(&w.bytes));
            flow && wrong && refused_for(c, &malformed) && !c.kernel.is_empty()
        },
    },
    Difference {
        name: "quotes-of-fragments",
        why: "An error about a fragment comes back with the identification and offset that the \
              fragment left with: RFC 6864 section 5.3 has a NAT change them. Linux put the packet \
              together, and never changes identifications.",
        after: After::GoesOn,
        is: |c| {
            let error = matches!(c.step, Step::Error(..) | Step::Again(_));
            let fragment = c.wires.iter().any(|w| quotes_fragment(&w.bytes));
            // It may quote options as well.
            let options = c.wires.iter().any(|w| quotes_options(&w.bytes));
            let as_they_are = c.switch.iter().all(|o| options_came_in(c, o));
            let blank = |o: &mut Out| {
                without_quoted_fragment(o);
                if options && as_they_are {
                    without_options(o);
                }
            };
            error && fragment && same_but(c, blank)
        },
    },
];
