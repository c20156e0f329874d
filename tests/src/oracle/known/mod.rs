//! The differences from Linux that we mean. Each has a name, a matcher as narrow as can be, and
//! the reason; `dataplane/CONFORMANCE.md` has the same names, and a test compares them.

mod packets;
mod ports;
mod segments;

use super::facts::own_error;
use super::run::Case;
use dataplane::base::Reason;

/// What becomes of the sequence behind a difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum After {
    /// Both sides are in the same state: it goes on.
    GoesOn,
    /// They may not be.
    Ends,
}

/// A difference that we mean.
pub struct Difference {
    /// Its name.
    pub name: &'static str,
    /// Why.
    pub why: &'static str,
    /// What becomes of the sequence.
    pub after: After,
    /// Whether this is it.
    pub is: fn(&Case<'_>) -> bool,
}

/// What a step came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Met {
    /// The same came out.
    Same,
    /// A difference that we mean.
    Known(&'static str, After),
    /// One that we don't.
    Unexplained,
}

/// A difference that shows later: see `dataplane/CONFORMANCE.md`.
pub const IN_PART: &str = "fragments-carried-at-once";

/// Another one: see there.
pub const TRACKED_FIRST: &str = "tracked-before-refused";

/// Whether a segment of a conversation came to nothing but an error that Linux makes behind its
/// tracking, or is source-routed, of which Linux says nothing there.
fn refused_on_its_way(case: &Case<'_>) -> bool {
    let late = |o| matches!(own_error(o), Some((11, 0) | (3, 4)));
    let bad_options = |o| own_error(o) == Some((12, 0));
    let refused = match case.switch {
        [o] => late(o),
        _ => case.kernel.is_empty() && case.dropped.contains(&Reason::SourceRoute),
    };
    case.place.is_some() && (refused || matches!(case.kernel, [o] if bad_options(o)))
}

/// All of them, but for [`IN_PART`] and [`TRACKED_FIRST`].
pub fn all() -> impl Iterator<Item = &'static Difference> {
    packets::KNOWN
        .iter()
        .chain(ports::KNOWN)
        .chain(segments::KNOWN)
}

/// Judges a step.
pub fn judge(case: &Case<'_>) -> Met {
    if case.switch == case.kernel {
        return match case.carried_in_part {
            true => Met::Known(IN_PART, After::Ends),
            false if refused_on_its_way(case) => Met::Known(TRACKED_FIRST, After::Ends),
            false => Met::Same,
        };
    }
    match all().find(|d| (d.is)(case)) {
        Some(d) if refused_on_its_way(case) => Met::Known(d.name, After::Ends),
        Some(d) => Met::Known(d.name, d.after),
        None => Met::Unexplained,
    }
}
