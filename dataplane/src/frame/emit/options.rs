//! IPv4 options (RFC 791 section 3.1).

use crate::base::Reason;
use crate::frame::Parsed;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;
/// The upper bit of an option's type: each fragment carries it.
const COPIED: u8 = 0x80;

/// The options of a header, each with its type and length bytes. `Err` ends a malformed list.
pub(super) struct Options<'a>(pub &'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = Result<&'a [u8], Reason>;

    fn next(&mut self) -> Option<Self::Item> {
        let len = match *self.0 {
            [] | [END, ..] => return None,
            [NO_OPERATION, ..] => 1,
            [_, len, ..] => usize::from(len).max(1),
            [_] => 1,
        };
        let known = matches!(*self.0, [NO_OPERATION, ..]) || len >= 2;
        match self.0.split_at_checked(len) {
            Some((option, rest)) if known => {
                self.0 = rest;
                Some(Ok(option))
            }
            _ => {
                self.0 = &[];
                Some(Err(Reason::BadOptions))
            }
        }
    }
}

/// Whether a packet with these options is forwarded.
///
/// # Errors
/// [`Reason::SourceRoute`] for either source route (RFC 7126 sections 4.3 and 4.4),
/// [`Reason::BadOptions`] for a list that breaks its own lengths. Other options pass unchanged.
pub fn check_options(bytes: &[u8], p: &Parsed) -> Result<(), Reason> {
    let from = usize::from(p.l3_off) + 20;
    let list = bytes.get(from..usize::from(p.l4_off)).unwrap_or(&[]);
    for option in Options(list) {
        if let [LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE, ..] = option? {
            return Err(Reason::SourceRoute);
        }
    }
    Ok(())
}

/// The options that a later fragment carries, padded to 32-bit words. A malformed list ends where
/// it breaks.
pub(super) fn copied(list: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Options(list)
        .map_while(Result::ok)
        .filter(|o| o.first().is_some_and(|t| t & COPIED != 0))
        .flatten()
        .copied()
        .collect();
    out.resize(out.len().next_multiple_of(4), END);
    out
}
