//! The two options of a SYN that matter to a tracker (RFC 7323 section 2, RFC 2018 section 2).

/// What a SYN offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SynOptions {
    /// Window scale, at most 14; `None`: not offered.
    pub window_scale: Option<u8>,
    /// Selective acknowledgements are permitted.
    pub sack_permitted: bool,
}

/// RFC 7323 section 2.3: a larger shift is to be taken as this one.
pub(super) const MAX_SCALE: u8 = 14;

/// Reads the options of a SYN. `tcp_header` begins at the TCP header and may reach beyond it.
///
/// The list is read up to the first thing that can't be: a length of 0 or 1, or one that reaches
/// past the header. What was read before that counts, as it does for the receiver.
pub fn syn_options(tcp_header: &[u8]) -> SynOptions {
    let mut found = SynOptions::default();
    let header_len = tcp_header.get(12).map_or(0, |b| usize::from(b >> 4) * 4);
    let header = tcp_header.get(..header_len).unwrap_or(tcp_header);
    let mut rest = header.get(20..).unwrap_or(&[]);
    loop {
        rest = match rest {
            // end of list, or nothing left
            [] | [0, ..] => return found,
            // padding
            [1, after @ ..] => after,
            [kind, len, ..] => {
                let (Some(option), Some(after)) =
                    (rest.get(..usize::from(*len)), rest.get(usize::from(*len)..))
                else {
                    return found;
                };
                match (kind, option) {
                    (_, [] | [_]) => return found,
                    (3, [_, _, shift]) => found.window_scale = Some((*shift).min(MAX_SCALE)),
                    (4, [_, _]) => found.sack_permitted = true,
                    _ => {}
                }
                after
            }
            [_] => return found,
        }
    }
}
