//! Differences about packets of any kind.

use super::{After, Difference};
use crate::oracle::facts::*;
use crate::oracle::run::Case;
use crate::oracle::sequence::Step;
use dataplane::base::Reason;

fn refused_for(case: &Case<'_>, reasons: &[Reason]) -> bool {
    case.switch.is_empty() && case.dropped.iter().any(|r| reasons.contains(r))
}

/// The list.
pub const KNOWN: &[Difference] = &[
    Difference {
        name: "checksum-not-judged",
        why: "The checksum above IP is the receiver's to judge. The switch changes it by what it \
              changed (RFC 1624), so a wrong one arrives as wrong as it was sent; Linux drops it.",
        after: After::Ends,
        is: |c| c.kernel.is_empty() && !c.switch.is_empty() && wrong_checksum_in(c),
    },
    Difference {
        name: "options-not-filled",
        why: "Linux writes its address and time into record-route and timestamp options, and \
              repeats options in its answers. The switch carries options as they are (RFC 7126 \
              sections 4.5 and 4.7 advise against both) and answers without, or with the request's.",
        after: After::GoesOn,
        is: |c| options_in(c) && same_but(c, without_options),
    },
    Difference {
        name: "bad-options-silent",
        why: "Linux answers malformed options by ICMP 12/0. The switch drops them silently: RFC \
              7126 section 3.",
        after: After::GoesOn,
        is: |c| refused_for(c, &[Reason::BadOptions]) && kernel_only_says(c, (12, 0)),
    },
    Difference {
        name: "rules-before-mtu",
        why: "Linux compares with the MTU before its rules refuse a packet, and tells the sender. \
              The switch says nothing about a packet that would not be carried at any size.",
        after: After::GoesOn,
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
            refused_for(c, &refused) && kernel_only_says(c, (3, 4))
        },
    },
    Difference {
        name: "errors-without-ecn",
        why: "Linux copies an ECN bit of the packet into the error about it. It says nothing there \
              (RFC 3168 section 5).",
        after: After::GoesOn,
        is: |c| same_but(c, without_ecn),
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
        why: "RFC 5508 REQ-3: an error whose quoted header has a wrong checksum is dropped. Linux \
              carries it.",
        after: After::GoesOn,
        is: |c| {
            let error = matches!(c.step, Step::Error(_, e) if e.damage == 2);
            error && refused_for(c, &[Reason::IcmpInnerMalformed]) && c.kernel.len() == 1
        },
    },
    Difference {
        name: "tiny-first-fragment",
        why: "A first fragment without the whole L4 header is refused (RFC 1858 section 3, RFC \
              3128). Linux puts fragments together before it looks.",
        after: After::Ends,
        is: |c| in_fragments(c) && refused_for(c, &[Reason::L4Truncated]),
    },
];
