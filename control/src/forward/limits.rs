//! The descriptor limit: raised once, asked before ranges are bound.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept back for what isn't the relay: netlink, control clients, queues.
pub(crate) const RESERVE: usize = 64;

/// Raises the soft limit on open files to the hard one; the limit that is then in force.
pub fn raise() -> usize {
    let was = getrlimit(Resource::Nofile);
    if was.current != was.maximum {
        let wish = Rlimit {
            current: was.maximum,
            maximum: was.maximum,
        };
        if let Err(e) = setrlimit(Resource::Nofile, wish) {
            tracing::warn!("cannot raise the limit on open files: {e}");
        }
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(now).unwrap_or(usize::MAX)
}

/// Descriptors that this process has open.
pub fn open_now() -> usize {
    // Since Linux 6.2 the directory's size is their number; it costs nothing to ask for it.
    let told = std::fs::metadata("/proc/self/fd").map_or(0, |m| m.len());
    if told > 0 {
        return usize::try_from(told).unwrap_or(usize::MAX);
    }
    // One of them is the directory's own.
    std::fs::read_dir("/proc/self/fd").map_or(0, |dir| dir.count().saturating_sub(1))
}

/// How many of each the limit allows: connections (two descriptors each), UDP sessions, pipes
/// (two each). What is left over is for listeners and for the rest of the program.
pub(super) const fn shares(limit: usize) -> (usize, usize, usize) {
    (limit / 8 * 5 / 2, limit / 8, limit / 16 / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_leave_room() {
        for limit in [256, 1_024, 20_000, 1_048_576] {
            let (connections, sessions, pipes) = shares(limit);
            assert!(connections > 0 && sessions > 0 && pipes > 0);
            assert!(connections * 2 + sessions + pipes * 2 <= limit - limit / 8);
        }
    }

    #[test]
    fn opening_a_file_shows() {
        // Other tests open and close files at the same time: look for a large difference.
        let before = open_now();
        let held: Vec<_> = (0..200)
            .map(|_| std::fs::File::open("/dev/null").unwrap())
            .collect();
        assert!(open_now() > before + 50, "{} files opened", held.len());
    }
}
