//! The parent's side of the hand-over in [`super::inside`].

use super::inside;
use crate::plan::Failure;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long the process may take to reach its namespace.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why the command did not start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotStarted {
    /// The shells' code for it, 126 or 127, and the sentence.
    Exec(u8, String),
    /// One of switchd's own steps was refused.
    Failed(Failure),
    /// A signal ended it before.
    Killed(i32),
}

/// The process that waits in its namespace to become the command. Dropped before
/// [`Child::start`] it ends without having run anything.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    stream: Option<UnixStream>,
    program: String,
}

impl Child {
    /// Starts the process and waits until it is in its namespace.
    ///
    /// # Errors
    /// No privilege, no process, no namespace.
    pub fn spawn(
        command: &[OsString],
        netns: Option<&str>,
        ordinary: bool,
    ) -> Result<Child, NotStarted> {
        let refused = |what: &str, e: io::Error| {
            NotStarted::Failed(Failure::Refused(format!("cannot {what}: {e}")))
        };
        // Abstract names are the network namespace's: process ids of other PID namespaces may be
        // equal, so another name is tried then.
        let (name, listener) = (0..64)
            .map(|i| format!("switchd-run-{}-{i}", std::process::id()))
            .find_map(|name| {
                let address = SocketAddr::from_abstract_name(&name).ok()?;
                Some((name, UnixListener::bind_addr(&address).ok()?))
            })
            .ok_or_else(|| refused("start the command", io::ErrorKind::AddrInUse.into()))?;
        listener
            .set_nonblocking(true)
            .map_err(|e| refused("start the command", e))?;
        let child = Command::new("/proc/self/exe")
            .args(inside::words(&name, netns, ordinary))
            .args(command)
            .stdin(Stdio::inherit())
            .spawn()
            .map_err(|e| refused("start a process of its own", e))?;
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0));
        let program = command
            .first()
            .map_or_else(String::new, |c| c.display().to_string());
        let mut child = Child {
            pid,
            stream: None,
            program,
        };
        child.stream = Some(child.accept(&listener)?);
        match child.hear()?.as_str() {
            "ready" => Ok(child),
            said => Err(child.failure(said)),
        }
    }

    /// Its process.
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// Lets it become the command, with `resolv` in the place of its resolv.conf. Whether it
    /// could is known when it ends, see [`Child::ended`]: a process that cannot run its command
    /// ends at once.
    pub fn start(&mut self, resolv: Option<&str>) {
        if let Some(stream) = &mut self.stream {
            // An error: it was killed, and whoever waits for it will see that.
            let _ = writeln!(stream, "go {}", resolv.unwrap_or_default());
        }
    }

    /// To be called when it has ended and was waited for.
    ///
    /// # Errors
    /// It ended because the command can't be run.
    pub fn ended(mut self) -> Result<(), NotStarted> {
        self.pid = Pid::from_raw(0);
        match self.hear()?.as_str() {
            "" => Ok(()),
            said => Err(explain(said, &self.program)),
        }
    }

    /// The connection of our own child, and of no other process that found the name.
    fn accept(&mut self, listener: &UnixListener) -> Result<UnixStream, NotStarted> {
        let start = Instant::now();
        let failed = |e: io::Error| NotStarted::Failed(Failure::refused(e));
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    let peer = getsockopt(&stream, PeerCredentials);
                    if peer.is_ok_and(|p| p.pid() == self.pid.as_raw()) {
                        stream.set_nonblocking(false).map_err(failed)?;
                        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
                        return Ok(stream);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let silent = io::Error::other("the new process is silent");
                    match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
                        Ok(WaitStatus::StillAlive) if start.elapsed() < PATIENCE => {}
                        Ok(WaitStatus::StillAlive) => return Err(failed(silent)),
                        ended => {
                            self.pid = Pid::from_raw(0);
                            return Err(match ended {
                                Ok(WaitStatus::Signaled(_, s, _)) => NotStarted::Killed(s as i32),
                                _ => failed(silent),
                            });
                        }
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(e) => return Err(failed(e)),
            }
        }
    }

    /// One line of it; empty at the end.
    fn hear(&self) -> Result<String, NotStarted> {
        let Some(stream) = &self.stream else {
            return Ok(String::new());
        };
        let mut line = String::new();
        match BufReader::new(stream).read_line(&mut line) {
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(NotStarted::Failed(
                Failure::refused("the command's process does not answer"),
            )),
            // It was killed while it wrote.
            Err(_) => Ok(String::new()),
        }
    }

    /// What its last words mean.
    fn failure(&mut self, said: &str) -> NotStarted {
        self.stream = None;
        let pid = std::mem::replace(&mut self.pid, Pid::from_raw(0));
        if said.is_empty()
            && let Ok(WaitStatus::Signaled(_, signal, _)) = waitpid(pid, None)
        {
            return NotStarted::Killed(signal as i32);
        }
        let _ = waitpid(pid, None);
        explain(said, &self.program)
    }
}

fn explain(said: &str, program: &str) -> NotStarted {
    let mut words = said.splitn(4, ' ').skip(1);
    let stage = words.next().unwrap_or("start");
    let errno: i32 = words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let why = words.next().unwrap_or("it ended without a word");
    let refused = |text: String| NotStarted::Failed(Failure::Refused(text));
    match (stage, errno) {
        ("exec", libc::ENOENT) => NotStarted::Exec(127, format!("{program}: command not found")),
        ("exec", e) => {
            let why = if e == 0 {
                why.to_owned()
            } else {
                errno_text(e)
            };
            NotStarted::Exec(126, format!("{program}: {why}"))
        }
        ("user", _) => refused(format!(
            "this user may make no user namespace ({why}): see user.max_user_namespaces and, on \
             Debian and Ubuntu, kernel.unprivileged_userns_clone and \
             kernel.apparmor_restrict_unprivileged_userns"
        )),
        ("netns" | "mounts", libc::EPERM) => refused(
            "a namespace for the command needs CAP_SYS_ADMIN: run as root, or inside a user \
             namespace of your own (unshare --user --map-root-user --net)"
                .to_owned(),
        ),
        (stage, _) => refused(format!(
            "cannot set the command's namespace up ({stage}): {why}"
        )),
    }
}

fn errno_text(errno: i32) -> String {
    nix::errno::Errno::from_raw(errno).desc().to_owned()
}

impl Drop for Child {
    fn drop(&mut self) {
        // It never got its word, so nothing of the user's has run yet.
        if self.pid.as_raw() > 0 {
            self.stream = None;
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_become_codes_as_shells_give_them() {
        let code = |said| match explain(said, "prog") {
            NotStarted::Exec(code, text) => (code, text),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            code("failed exec 2 No such file or directory (os error 2)"),
            (127, "prog: command not found".into())
        );
        assert_eq!(
            code("failed exec 13 Permission denied (os error 13)"),
            (126, "prog: Permission denied".into())
        );
        assert_eq!(code("failed exec 8 Exec format error (os error 8)").0, 126);
    }

    #[test]
    fn a_missing_capability_is_told() {
        let NotStarted::Failed(f) = explain("failed netns 1 Operation not permitted", "prog")
        else {
            panic!("not a refusal");
        };
        assert!(f.to_string().contains("CAP_SYS_ADMIN"), "{f}");
        assert_eq!(f.code(), 1);
    }
}
