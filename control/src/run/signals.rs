//! Signals and the terminal while a command runs.
//!
//! All signals that matter are blocked and read from a signalfd, one after the other, on the main
//! thread; threads that are started later inherit the block.
//!
//! What the terminal sends (Ctrl-C, Ctrl-\, Ctrl-Z) goes to the whole foreground group, so the
//! command has it already: the kernel marks those (`SI_KERNEL`), and they are not sent on. When
//! the command stops, so does switchd, and the shell sees a stopped job; when the shell continues
//! switchd, it gives the terminal back to the command's group and continues that.

use crate::signals::{bit, ignored};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill, killpg, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgid, getpgrp, tcgetpgrp, tcsetpgrp};
use std::fs::File;

/// Passed on to the command.
const FORWARDED: [Signal; 6] = [
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];
/// Job control. SIGTTOU is only blocked: so a background group may set the terminal's group.
const JOBS: [Signal; 4] = [
    Signal::SIGCHLD,
    Signal::SIGCONT,
    Signal::SIGTSTP,
    Signal::SIGTTOU,
];

/// The signals that are taken over from now on.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    terminal: Option<Terminal>,
}

/// The controlling terminal, if we were in its foreground.
#[derive(Debug)]
struct Terminal {
    tty: File,
    ours: Pid,
}

fn all() -> impl Iterator<Item = Signal> {
    FORWARDED.into_iter().chain(JOBS)
}

/// Lets the signals through again: for the command, which starts with the parent's block.
pub(super) fn unblock() -> Result<(), Errno> {
    all().collect::<SigSet>().thread_unblock()
}

impl Signals {
    /// Takes the signals over. To be called on the main thread, before any other is started.
    ///
    /// # Errors
    /// No descriptor for them.
    pub fn take() -> Result<Signals, Errno> {
        let skip = ignored();
        if skip & bit(Signal::SIGCHLD) != 0 {
            // Ignored, the kernel would take the child's end away before it could be read.
            let seen = std::sync::Arc::default();
            signal_hook::flag::register(libc::SIGCHLD, seen)
                .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EINVAL)))?;
        }
        let mask: SigSet = all()
            .filter(|s| skip & bit(*s) == 0 || JOBS.contains(s))
            .collect();
        mask.thread_block()?;
        let fd = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC)?;
        Ok(Signals {
            fd,
            terminal: Terminal::in_front(),
        })
    }

    /// Stays with the command until it ends; the exit code as shells give it.
    pub fn accompany(&self, child: Pid) -> u8 {
        let code = self.watch(child);
        if let Some(t) = &self.terminal {
            t.take_back();
        }
        code
    }

    fn watch(&self, child: Pid) -> u8 {
        loop {
            // A child that ended before its signal was read is seen here.
            while let Some(change) = changed(child) {
                match change {
                    Change::Ended(code) => return code,
                    Change::Stopped(signal) => self.stop_as_well(child, signal),
                }
            }
            let info = match self.fd.read_signal() {
                Ok(Some(info)) => info,
                Ok(None) | Err(Errno::EINTR | Errno::EAGAIN) => continue,
                Err(_) => return wait(child),
            };
            let Ok(signal) = i32::try_from(info.ssi_signo)
                .map_err(|_| Errno::EINVAL)
                .and_then(Signal::try_from)
            else {
                continue;
            };
            // Positive codes are the kernel's: from the terminal, which told the command too.
            let by_a_process = info.ssi_code <= 0;
            if signal == Signal::SIGCONT || sent_on(signal) && (by_a_process || !keys(signal)) {
                let _ = kill(child, signal);
            }
        }
    }

    /// The command stopped: the shell that started us is to see a stopped job.
    fn stop_as_well(&self, child: Pid, signal: Signal) {
        let Some(terminal) = &self.terminal else {
            return;
        };
        let group = getpgid(Some(child)).unwrap_or(terminal.ours);
        if stop(signal).is_err() {
            return;
        }
        // Continued. In the foreground or in the background, the shell has decided.
        if group != terminal.ours {
            if terminal.front() == Some(terminal.ours) {
                let _ = tcsetpgrp(&terminal.tty, group);
            }
            let _ = killpg(group, Signal::SIGCONT);
        }
        let _ = kill(child, Signal::SIGCONT);
    }
}

impl Terminal {
    fn in_front() -> Option<Terminal> {
        let tty = File::options()
            .read(true)
            .write(true)
            .open("/dev/tty")
            .ok()?;
        Some(Terminal {
            tty,
            ours: getpgrp(),
        })
    }

    fn front(&self) -> Option<Pid> {
        tcgetpgrp(&self.tty).ok()
    }

    /// A command that was killed may have left the terminal to a group that is gone.
    fn take_back(&self) {
        if self
            .front()
            .is_some_and(|g| g != self.ours && killpg(g, None) == Err(Errno::ESRCH))
        {
            let _ = tcsetpgrp(&self.tty, self.ours);
        }
    }
}

/// Whether it is passed on when another process sends it.
fn sent_on(signal: Signal) -> bool {
    signal == Signal::SIGTSTP || FORWARDED.contains(&signal)
}

/// Whether it is one that keys send to the whole foreground group. SIGHUP goes to the session's
/// leader only, so it is sent on wherever it comes from.
const fn keys(signal: Signal) -> bool {
    matches!(signal, Signal::SIGINT | Signal::SIGQUIT | Signal::SIGTSTP)
}

/// Stops this process by `signal`, so that the shell sees which; comes back when continued. The
/// kernel does not stop a process that no shell could continue, except by SIGSTOP.
fn stop(signal: Signal) -> Result<(), Errno> {
    raise(signal)?;
    if JOBS.contains(&signal) {
        let only = SigSet::from(signal);
        only.thread_unblock()?;
        only.thread_block()?;
    }
    Ok(())
}

enum Change {
    Ended(u8),
    Stopped(Signal),
}

fn changed(child: Pid) -> Option<Change> {
    let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
    match waitpid(child, Some(flags)) {
        Ok(WaitStatus::Stopped(_, signal)) => Some(Change::Stopped(signal)),
        Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => None,
        Ok(status) => code(status).map(Change::Ended),
        Err(_) => Some(Change::Ended(1)),
    }
}

fn wait(child: Pid) -> u8 {
    waitpid(child, None).ok().and_then(code).unwrap_or(1)
}

fn code(status: WaitStatus) -> Option<u8> {
    match status {
        WaitStatus::Exited(_, code) => Some(u8::try_from(code & 0xff).unwrap_or(1)),
        WaitStatus::Signaled(_, signal, _) => Some(killed(signal as i32)),
        _ => None,
    }
}

/// The shells' code for a command that a signal ended.
pub(super) fn killed(signal: i32) -> u8 {
    u8::try_from(128 + (signal & 0x7f)).unwrap_or(255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_shells() {
        let pid = Pid::from_raw(1);
        assert_eq!(code(WaitStatus::Exited(pid, 0)), Some(0));
        assert_eq!(code(WaitStatus::Exited(pid, 255)), Some(255));
        assert_eq!(
            code(WaitStatus::Signaled(pid, Signal::SIGTERM, false)),
            Some(143)
        );
        assert_eq!(
            code(WaitStatus::Signaled(pid, Signal::SIGKILL, true)),
            Some(137)
        );
        assert_eq!(code(WaitStatus::Continued(pid)), None);
    }
}
