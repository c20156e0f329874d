//! How much the engine holds at most: descriptors, half-open connections, bytes.

use crate::forward::limits;

/// What is kept back for the rest of the program.
const RESERVE: usize = 128;
/// Bytes that all connections together keep for slow sockets, and likewise for containers that
/// acknowledge slowly.
pub const BYTES: usize = 64 << 20;

/// Limits drawn from the limit on open files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// TCP connections.
    pub tcp: usize,
    /// Of them: those whose connect is under way.
    pub half_open: usize,
    /// UDP and echo sockets.
    pub datagrams: usize,
    /// Sockets that listen.
    pub listeners: usize,
}

impl Limits {
    /// Raises this process's limit on open files as far as it may, and shares it out.
    pub fn here() -> Limits {
        Limits::of(limits::raise())
    }

    const fn of(files: usize) -> Limits {
        let files = files.saturating_sub(RESERVE);
        let files = if files > 1 << 20 { 1 << 20 } else { files };
        Limits {
            tcp: files / 8 * 5,
            half_open: files / 4,
            datagrams: files / 5,
            listeners: files / 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_fit_under_the_limit() {
        for files in [1_024, 20_000, 1 << 24] {
            let l = Limits::of(files);
            assert!(l.tcp > 0 && l.half_open > 0 && l.datagrams > 0);
            assert!(l.tcp + l.datagrams + l.listeners + RESERVE <= files && l.half_open < l.tcp);
        }
    }
}
