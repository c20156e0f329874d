//! Which signals end a switch.

use nix::sys::signal::Signal;

/// SIGTERM, SIGINT, and SIGHUP unless whoever started this process has it ignored: under nohup(1) a
/// switch outlives the terminal.
#[must_use]
pub fn that_end() -> Vec<i32> {
    let skip = ignored() & bit(Signal::SIGHUP);
    let hup = (skip == 0).then_some(Signal::SIGHUP as i32);
    let always = [Signal::SIGTERM as i32, Signal::SIGINT as i32];
    always.into_iter().chain(hup).collect()
}

/// The signals that this process was told to ignore by who started it, as [`bit`]s. To be asked
/// before any handler is installed.
pub(crate) fn ignored() -> u64 {
    read(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
}

/// A signal's place in such a mask: 1 is bit 0.
pub(crate) const fn bit(signal: Signal) -> u64 {
    1 << (signal as u32 - 1)
}

/// `SigIgn` of proc_pid_status(5).
fn read(status: &str) -> u64 {
    let mask = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    mask.and_then(|m| u64::from_str_radix(m.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read() {
        let mask = read("Name:\tx\nSigBlk:\tffff\nSigIgn:\t0000000000001001\n");
        assert_eq!(mask, bit(Signal::SIGHUP) | bit(Signal::SIGPIPE));
        assert_eq!(read(""), 0);
    }
}
