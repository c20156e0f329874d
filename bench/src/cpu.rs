//! What a run cost: the switch's own time, the time of the programs that talk, and the machine's.

use std::fs;
use std::time::{Duration, Instant};

/// CPU times at one moment.
#[derive(Clone, Copy, Debug)]
pub struct CpuTimes {
    at: Instant,
    switch: Duration,
    programs: Duration,
    machine: Machine,
}

/// Cores kept busy between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Cores {
    /// By the switch's process. 0 for the twin, whose work is done on others' time.
    pub switch: f64,
    /// By the programs that talk (with the kernel's work on their behalf).
    pub programs: f64,
    /// By everything on the machine: neighbours and interrupts too, stolen time not.
    pub machine: f64,
    /// Ready to run while the hypervisor ran something else, or was still waking a halted core:
    /// so on a virtual machine waiting shows here.
    pub stolen: f64,
}

impl CpuTimes {
    /// The times now of the switch's process and of the programs that talk.
    pub fn now(switch: Option<u32>, programs: &[u32]) -> CpuTimes {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        CpuTimes {
            at: Instant::now(),
            switch: switch.map_or(Duration::ZERO, of_process),
            programs: programs.iter().map(|pid| of_process(*pid)).sum(),
            machine: of_machine(&stat),
        }
    }

    /// Cores kept busy since `earlier`.
    pub fn since(&self, earlier: &CpuTimes) -> Cores {
        let wall = self.at.duration_since(earlier.at).as_secs_f64().max(1e-9);
        let share = |now: Duration, then: Duration| now.saturating_sub(then).as_secs_f64() / wall;
        Cores {
            switch: share(self.switch, earlier.switch),
            programs: share(self.programs, earlier.programs),
            machine: share(self.machine.busy, earlier.machine.busy),
            stolen: share(self.machine.stolen, earlier.machine.stolen),
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
        .filter_map(|s| run_time(&s))
        .sum()
}

/// The first number of a `schedstat`.
fn run_time(schedstat: &str) -> Option<Duration> {
    let ns = schedstat.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(ns))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Machine {
    busy: Duration,
    stolen: Duration,
}

/// The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal, then guests,
/// who are in user and nice already. Ticks of 10 ms (`USER_HZ`, proc_stat(5)).
fn of_machine(stat: &str) -> Machine {
    let ticks: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or("")
        .split_whitespace()
        .skip(1)
        .map_while(|v| v.parse().ok())
        .collect();
    let sum = |columns: &[usize]| {
        let ticks = columns.iter().filter_map(|c| ticks.get(*c));
        Duration::from_millis(ticks.sum::<u64>() * 10)
    };
    Machine {
        busy: sum(&[0, 1, 2, 5, 6]),
        stolen: sum(&[7]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_apart_and_waiting_is_not_busy() {
        let stat = "cpu  75175 11197 82459 159613 752 3 21451 3856 9 9\ncpu0 1 1 1 1\n";
        let expected = Machine {
            busy: Duration::from_millis((75_175 + 11_197 + 82_459 + 3 + 21_451) * 10),
            stolen: Duration::from_millis(38_560),
        };
        assert_eq!(of_machine(stat), expected);
        assert_eq!(of_machine(""), Machine::default());
    }

    #[test]
    fn run_time_is_the_first_number() {
        assert_eq!(
            run_time("123456789 5 6\n"),
            Some(Duration::from_nanos(123_456_789))
        );
        assert_eq!(run_time(""), None);
    }

    #[test]
    fn a_busy_thread_is_seen() {
        let me = std::process::id();
        let before = CpuTimes::now(Some(me), &[]);
        let mut x = 0u64;
        while of_process(me) <= before.switch {
            x = std::hint::black_box(x.wrapping_mul(3) + 1);
        }
        let cores = CpuTimes::now(Some(me), &[me]).since(&before);
        assert!(
            cores.switch > 0.0 && cores.programs > cores.switch,
            "{cores:?}"
        );
    }
}
