//! Differences about TCP segments. None of them is met in a conversation as two stacks have it:
//! each needs a segment before, or to be one, that is out of its place.

use super::{After, Difference};
use crate::oracle::facts::{is_reset, tcp_flags_in};
use crate::oracle::run::Case;
use crate::oracle::sequence::Step;
use dataplane::base::Reason;
use dataplane::frame::parse::tcp_flags::{ACK, FIN, RST, SYN};

const MASK: u8 = SYN | FIN | RST | ACK;

/// The kernel passed an odd segment of these flags, which the switch dropped for this reason.
fn only_kernel_passes(c: &Case<'_>, reason: Reason, flags: impl Fn(u8) -> bool) -> bool {
    let fits = tcp_flags_in(c).is_some_and(|f| flags(f & MASK));
    c.odd && fits && c.switch.is_empty() && !c.kernel.is_empty() && c.dropped.contains(&reason)
}

/// The switch passed one, and the kernel said nothing.
fn only_switch_passes(c: &Case<'_>, flags: impl Fn(u8) -> bool) -> bool {
    let fits = tcp_flags_in(c).is_some_and(|f| flags(f & MASK));
    c.odd && fits && c.kernel.is_empty() && !c.switch.is_empty()
}

const fn reset(flags: u8) -> bool {
    flags & RST != 0
}

const fn opens(flags: u8) -> bool {
    flags & SYN != 0
}

const fn goes_on(flags: u8) -> bool {
    flags & (SYN | RST) == 0
}

/// The list.
pub const KNOWN: &[Difference] = &[
    Difference {
        name: "tcp-window-refused",
        why: "Linux lets a segment that is old, or up to one window ahead, pass without tracking it. \
              The switch refuses what lies outside the window by more than its margin: nobody can \
              use it but who guesses numbers (RFC 5961 section 5).",
        after: After::Ends,
        is: |c| only_kernel_passes(c, Reason::TcpOutOfWindow, goes_on),
    },
    Difference {
        name: "tcp-syn-ack-refused",
        why: "A SYN or SYN-ACK that does not fit the connection's state is refused. Linux lets it \
              pass untracked.",
        after: After::Ends,
        is: |c| only_kernel_passes(c, Reason::TcpInvalidState, opens),
    },
    Difference {
        name: "tcp-reset-refused",
        why: "A RST that is not at the exact place is refused, in every state (RFC 5961 section 3). \
              Linux lets some pass untracked.",
        after: After::Ends,
        is: |c| only_kernel_passes(c, Reason::TcpRstInexact, reset),
    },
    Difference {
        name: "tcp-grace",
        why: "Two workers may see segments in another order than the wire, so the switch allows one \
              window where Linux allows none.",
        after: After::Ends,
        is: |c| only_switch_passes(c, goes_on),
    },
    Difference {
        name: "tcp-reset-passes",
        why: "A RST of the initiator, or inside the window, passes for its receiver to judge (RFC \
              5961 section 3).",
        after: After::Ends,
        is: |c| only_switch_passes(c, reset),
    },
    Difference {
        name: "tcp-syn-passes",
        why: "A SYN on a connection that is open, or closed with higher numbers, passes for its receiver \
              to challenge (RFC 5961 section 4). Linux drops it, or takes the connection for ended.",
        after: After::Ends,
        is: |c| {
            let syn = tcp_flags_in(c).is_some_and(opens);
            let refused = matches!(c.kernel, [o] if is_reset(o));
            only_switch_passes(c, opens) || c.odd && syn && refused && c.switch.len() == 1
        },
    },
    Difference {
        name: "tcp-refused-lingers",
        why: "Linux forgets a connection whose first answer is a RST. The switch keeps every closed \
              one for the transitory time (RFC 7857 section 2.2), so an error about it still arrives.",
        after: After::Ends,
        is: |c| {
            let error = matches!(c.step, Step::Error(..) | Step::Again(_));
            c.reset && error && c.kernel.is_empty() && c.switch.len() == 1
        },
    },
    Difference {
        name: "tcp-reopened-by-server",
        why: "A SYN of either side on a closed connection ends what is left of it. Linux keeps the \
              old one when the side may not open a new one.",
        after: After::Ends,
        is: |c| only_kernel_passes(c, Reason::TcpNoConnection, |_| true),
    },
];
