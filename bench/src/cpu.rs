//! What a run cost: the switch's own time, the time of the programs that talk, and the machine's.

use std::fs;
use std::time::{Duration, Instant};

/// CPU times at one moment.
#[derive(Clone, Copy, Debug)]
pub struct CpuTimes {
    at: Instant,
    switch: Duration,
    programs: Duration,
    machine: Duration,
}

/// Cores kept busy between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Cores {
    /// By the switch's process. 0 for the twin, whose work is done on others' time.
    pub switch: f64,
    /// By the programs that talk (with the kernel's work on their behalf).
    pub programs: f64,
    /// By everything on the machine: neighbours and interrupts too.
    pub machine: f64,
}

impl CpuTimes {
    /// The times now; `pid` is the switch's process.
    pub fn now(pid: Option<u32>) -> CpuTimes {
        CpuTimes {
            at: Instant::now(),
            switch: pid.map_or(Duration::ZERO, of_process),
            programs: of_this_process(),
            machine: of_machine(),
        }
    }

    /// Cores kept busy since `earlier`.
    pub fn since(&self, earlier: &CpuTimes) -> Cores {
        let wall = self.at.duration_since(earlier.at).as_secs_f64().max(1e-9);
        let share = |now: Duration, then: Duration| now.saturating_sub(then).as_secs_f64() / wall;
        Cores {
            switch: share(self.switch, earlier.switch),
            programs: share(self.programs, earlier.programs),
            machine: share(self.machine, earlier.machine),
        }
    }
}

/// Run time of all threads of a process, in nanoseconds exact (`schedstat`, proc(5)). Threads that
/// have ended don't count.
fn of_process(pid: u32) -> Duration {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Duration::ZERO;
    };
    tasks
        .flatten()
        .filter_map(|t| fs::read_to_string(t.path().join("schedstat")).ok())
        .filter_map(|s| s.split_whitespace().next()?.parse().ok())
        .map(Duration::from_nanos)
        .sum()
}

fn of_this_process() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(t.tv_sec).unwrap_or(0),
        u32::try_from(t.tv_nsec).unwrap_or(0),
    )
}

/// The first line of /proc/stat without idle and iowait. Ticks of 10 ms (`USER_HZ`, proc(5)).
fn of_machine() -> Duration {
    let Ok(stat) = fs::read_to_string("/proc/stat") else {
        return Duration::ZERO;
    };
    let Some(line) = stat.lines().next() else {
        return Duration::ZERO;
    };
    let ticks: u64 = line
        .split_whitespace()
        .skip(1)
        .take(8)
        .enumerate()
        .filter(|(i, _)| *i != 3 && *i != 4)
        .filter_map(|(_, v)| v.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}
