//! Differences about TCP segments. None of them is met in a conversation as two stacks have it:
//! each needs a segment before, or to be one, that is out of its place.

use super::{After, Difference};
use crate::oracle::facts::{is_reset, own_error, tcp_flags_in};
use crate::oracle::run::Case;
use crate::oracle::sequence::Step;
use crate::oracle::watch::Placed;
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

/// What went in is a segment of a conversation that lies so in it.
fn lies(c: &Case<'_>, so: impl Fn(&Placed) -> bool) -> bool {
    c.place.as_ref().is_some_and(so)
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
        is: |c| only_kernel_passes(c, Reason::TcpOutOfWindow, goes_on) && lies(c, Placed::outside),
    },
    Difference {
        name: "tcp-syn-ack-refused",
        why: "A SYN or SYN-ACK that does not fit the connection's state is refused. Linux lets it \
              pass untracked.",
        after: After::Ends,
        is: |c| {
            only_kernel_passes(c, Reason::TcpInvalidState, opens) && !lies(c, Placed::opens_well)
        },
    },
    Difference {
        name: "tcp-syn-in-fragments",
        why: "The switch carries fragments as they come, and counts what the first one holds. No stack \
              sends a SYN in fragments, or others before the SYN is acknowledged; a first \
              acknowledgement of data in the others is refused, and so is a RST behind it.",
        after: After::Ends,
        is: |c| {
            let refused = only_kernel_passes(c, Reason::TcpInvalidState, opens)
                || only_kernel_passes(c, Reason::TcpRstInexact, reset)
                || only_kernel_passes(c, Reason::TcpOutOfWindow, goes_on);
            refused && lies(c, Placed::counts_a_cut_segment)
        },
    },
    Difference {
        name: "tcp-one-sided-refused",
        why: "After a RST an ACK on a connection that only one side has opened is refused. Linux lets \
              it pass where the other side was heard before.",
        after: After::Ends,
        is: |c| {
            let refused = only_kernel_passes(c, Reason::TcpInvalidState, goes_on);
            refused && lies(c, Placed::of_one_side)
        },
    },
    Difference {
        name: "tcp-reopened-after-reset",
        why: "A SYN after a RST begins a new connection, and an ACK that answers it passes, to be \
              answered by a RST (RFC 9293 section 3.5.1). Linux waits for a SYN-ACK.",
        after: After::Ends,
        is: |c| only_switch_passes(c, goes_on) && lies(c, Placed::answers_a_reopening),
    },
    Difference {
        name: "tcp-reset-refused",
        why: "A RST that is not at the exact place is refused, in every state (RFC 5961 section 3). \
              Linux lets some pass untracked.",
        after: After::Ends,
        is: |c| {
            only_kernel_passes(c, Reason::TcpRstInexact, reset) && !lies(c, Placed::resets_exactly)
        },
    },
    Difference {
        name: "tcp-grace",
        why: "Two workers may see segments in another order than the wire, so the switch allows one \
              window where Linux allows none.",
        after: After::Ends,
        is: |c| only_switch_passes(c, goes_on) && lies(c, |p| p.within_grace() && !p.inside()),
    },
    Difference {
        name: "ttl-before-tracking",
        why: "The switch finds that a segment's time is over before it looks at where it lies, and \
              tells its sender. Linux has dropped by then what does not fit.",
        after: After::GoesOn,
        is: |c| {
            let over = matches!(c.switch, [o] if own_error(o) == Some((11, 0)));
            let fits = |p: &Placed| match p.flags() & (SYN | RST) {
                0 => p.inside(),
                flags => reset(flags) && p.resets_exactly(),
            };
            over && c.kernel.is_empty() && c.odd && lies(c, |p| !fits(p))
        },
    },
    Difference {
        name: "tcp-late-syn",
        why: "A SYN whose number lies before the end of a closed connection passes for its receiver \
              to judge, and begins none (RFC 6191 section 2). Linux begins a new one, and takes what \
              follows for a part of that.",
        after: After::Ends,
        is: |c| {
            let differs = only_switch_passes(c, |_| true)
                || only_kernel_passes(c, Reason::TcpInvalidState, goes_on);
            differs && lies(c, |p| p.late)
        },
    },
    Difference {
        name: "tcp-new-attempt",
        why: "A SYN of another number before any answer is a new attempt, and its numbers count from \
              then on. Linux keeps those of the first, or of the highest, and may refuse a later one.",
        after: After::Ends,
        is: |c| {
            let syn = only_switch_passes(c, |f| f == SYN) && lies(c, Placed::is_another_attempt);
            syn || only_switch_passes(c, goes_on) && lies(c, Placed::follows_a_new_attempt)
        },
    },
    Difference {
        name: "tcp-ack-after-both-syns",
        why: "After a SYN of each side an ACK opens the connection (RFC 9293 section 3.10.7.4, \
              SYN-RECEIVED). Linux waits for a SYN-ACK.",
        after: After::Ends,
        is: |c| only_switch_passes(c, goes_on) && lies(c, Placed::agrees_to_open_at_once),
    },
    Difference {
        name: "tcp-attempt-not-reset",
        why: "A RST of the only side that was heard, from elsewhere than behind its SYN, passes and \
              changes nothing: it is about an older connection (RFC 9293 section 3.5.1). Linux forgets \
              the attempt.",
        after: After::Ends,
        is: |c| only_switch_passes(c, |_| true) && lies(c, Placed::of_a_left_attempt),
    },
    Difference {
        name: "tcp-reset-unheeded",
        why: "A RST at the exact place, or that refuses a SYN, ends the connection whatever its \
              other numbers (RFC 5961 section 3.2, RFC 9293 section 3.10.7.3), and so does one \
              behind the SYN of the only side that was heard. Linux takes no account of one \
              whose other numbers are outside its windows.",
        after: After::Ends,
        is: |c| {
            let differ = c.odd && c.switch.is_empty() != c.kernel.is_empty();
            differ && lies(c, Placed::follows_an_unheeded_reset)
        },
    },
    Difference {
        name: "tcp-reset-passes",
        why: "A RST of the initiator, one that refuses a SYN, or one at the exact place or \
              inside the window whatever it acknowledges, passes for its receiver to judge (RFC \
              5961 section 3, RFC 9293 sections 3.5.3 and 3.10.7.3).",
        after: After::Ends,
        is: |c| {
            let placed = |p: &Placed| p.resets_exactly() || p.resets_inside();
            let judged = |p: &Placed| p.alone() || p.ended || placed(p);
            only_switch_passes(c, reset) && lies(c, judged)
        },
    },
    Difference {
        name: "tcp-syn-passes",
        why: "A SYN on a connection that is open, or closed with higher numbers, passes for its receiver \
              to challenge (RFC 5961 section 4). Linux drops it, or takes the connection for ended.",
        after: After::Ends,
        is: |c| {
            let syn = tcp_flags_in(c).is_some_and(opens);
            let refused = matches!(c.kernel, [o] if is_reset(o));
            let passes =
                only_switch_passes(c, opens) || c.odd && syn && refused && c.switch.len() == 1;
            passes && lies(c, |p| !p.alone())
        },
    },
    Difference {
        name: "tcp-refused-lingers",
        why: "Linux forgets a connection whose first answer is a RST, and one in TIME-WAIT when a SYN \
              comes that opens nothing. The switch keeps every closed one for the transitory time \
              (RFC 7857 section 2.2): what belongs to it still arrives, and errors about it.",
        after: After::Ends,
        is: |c| {
            let error = matches!(c.step, Step::Error(..) | Step::Again(_));
            let late = c.forgotten && error && c.kernel.is_empty() && c.switch.len() == 1;
            late || only_switch_passes(c, |_| true) && lies(c, |p| p.given_up)
        },
    },
];
