//! A test function that goes on in a process of its own, in namespaces of its own.
//!
//! The process is the test's own program started again for this one test. Root makes the
//! namespaces on a thread and starts the process from there; an ordinary user starts it in a user
//! namespace. [`as_ordinary_user`] lets root walk the second way too: it starts the program as
//! another user who finds `/dev/net/tun` open to all.

use super::bins::{self, BINS_ENV};
use control::netns::user::in_user_namespace;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Pid, geteuid, getpgrp};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Set to the test's name in the process that runs its body.
const INSIDE: &str = "SWITCHD_LAB_INSIDE";
/// Set in a process that root started as another user.
const USER: &str = "SWITCHD_LAB_USER";
/// What such a process prints when the body ran to its end.
const PASSED: &str = "LAB: the scenario passed";
/// What it prints when it could not be run here, with the reason after it.
const SKIPPED: &str = "LAB: skipped: ";
/// How many seconds streams last, where a test asks; a few by default.
const SECONDS: &str = "SWITCHD_LAB_SECONDS";
/// A scenario that takes longer is killed and has failed. They take a few seconds each; the rest
/// is for a machine that is busy with other things.
const USUAL_LIMIT: Duration = Duration::from_secs(240);
/// `nobody`: a user who owns nothing.
const NOBODY: u32 = 65_534;

const NONE: Option<&str> = None;

/// Declares a test whose body, a closure or a function, runs as [`run`] says.
#[macro_export]
macro_rules! scenario {
    ($(#[$meta:meta])* $name:ident, $body:expr) => {
        $(#[$meta])*
        #[test]
        fn $name() {
            $crate::lab::isolate::run(concat!(module_path!(), "::", stringify!($name)), $body);
        }
    };
}

/// Declares a test whose body runs as an ordinary user, also when root runs the tests.
#[macro_export]
macro_rules! scenario_as_ordinary_user {
    ($(#[$meta:meta])* $name:ident, $body:expr) => {
        $(#[$meta])*
        #[test]
        fn $name() {
            let path = concat!(module_path!(), "::", stringify!($name));
            $crate::lab::isolate::as_ordinary_user(path, $body);
        }
    };
}

/// Runs `body` in namespaces of its own. `test` is the test's path, crate name first.
pub fn run(test: &str, body: impl FnOnce()) {
    let name = test.split_once("::").map_or(test, |(_, name)| name);
    if std::env::var(INSIDE).is_ok_and(|n| n == name) {
        return inside(body);
    }
    let mut cmd = again(name);
    cmd.env(INSIDE, name).env(BINS_ENV, bins::directory());
    let started = match geteuid().is_root() {
        true => start_in_namespaces(&mut cmd),
        false => start(in_user_namespace(&mut cmd)),
    };
    conclude(name, started);
}

/// As [`run`]; when root runs the tests, as another user in a mount namespace where
/// `/dev/net/tun` is open to all.
pub fn as_ordinary_user(test: &str, body: impl FnOnce()) {
    let name = test.split_once("::").map_or(test, |(_, name)| name);
    if !geteuid().is_root() || std::env::var_os(INSIDE).is_some() {
        return run(test, body);
    }
    // That user may not be able to read what is where the programs were built.
    let dir = tempfile::tempdir().expect("a temporary directory");
    let open = |p: &Path| fs::set_permissions(p, fs::Permissions::from_mode(0o755)).expect("chmod");
    open(dir.path());
    let copy = |from: &Path| {
        let to = dir.path().join(from.file_name().expect("a program's name"));
        fs::copy(from, &to).expect("copying a program");
        open(&to);
        to
    };
    let test_program = copy(&std::env::current_exe().expect("the test's program"));
    for bin in bins::NAMES {
        copy(&bins::directory().join(bin));
    }
    let mut cmd = again_as(&test_program, name);
    cmd.env(USER, "1").env(BINS_ENV, dir.path());
    cmd.uid(NOBODY).gid(NOBODY).current_dir("/");
    let device = dir.path().join("tun");
    let started = on_thread(|| {
        unshare(CloneFlags::CLONE_NEWNS)?;
        private_mounts()?;
        open_tun(&device)?;
        start(&mut cmd)
    });
    conclude(name, started);
}

/// How long streams are to last, if the person who runs the tests has a wish: this many seconds.
pub fn stream_seconds() -> Option<u64> {
    std::env::var(SECONDS).ok()?.parse().ok()
}

fn limit() -> Duration {
    USUAL_LIMIT + Duration::from_secs(2 * stream_seconds().unwrap_or(0))
}

/// The body, in the process that was made for it.
fn inside(body: impl FnOnce()) {
    let prepare = || -> std::io::Result<()> {
        private_mounts()?;
        mount(Some("none"), "/run", Some("tmpfs"), MsFlags::empty(), NONE)?;
        let netns = control::netns::Netns::current().map_err(std::io::Error::other)?;
        let mut netlink = control::netlink::Real::inside(&netns).map_err(std::io::Error::other)?;
        control::attach::loopback_up(&mut netlink).map_err(std::io::Error::other)
    };
    // Also when the process that waits for this one is gone.
    std::thread::spawn(|| {
        std::thread::sleep(limit());
        eprintln!(
            "LAB: the scenario took longer than {:?}\n{}",
            limit(),
            where_all_hang()
        );
        let _ = killpg(getpgrp(), Signal::SIGKILL);
    });
    defaults().expect("handlers of signals");
    prepare().expect("an empty /run and a loopback interface");
    if let Err(e) = File::options().read(true).write(true).open("/dev/net/tun") {
        println!("{SKIPPED}/dev/net/tun: {e}");
        return;
    }
    body();
    println!("{PASSED}");
}

/// Gives what this process starts the usual signals, whoever ignores them above: nohup, or a shell
/// that put the tests in the background. A handler becomes the default again in the program that is
/// executed.
fn defaults() -> std::io::Result<()> {
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        let always = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_default(signal as i32, always)?;
    }
    Ok(())
}

/// What each thread of each process of this group waits for in the kernel.
fn where_all_hang() -> String {
    let mut out = String::new();
    let read = |p: &Path| fs::read_to_string(p).unwrap_or_default();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let stat = read(&process.path().join("stat"));
        // pid (comm) state ppid pgrp: proc_pid_stat(5).
        let group = stat
            .rsplit(')')
            .next()
            .and_then(|r| r.split_whitespace().nth(2));
        if group != Some(&getpgrp().to_string()) {
            continue;
        }
        for thread in fs::read_dir(process.path().join("task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let (comm, wchan) = (thread.path().join("comm"), thread.path().join("wchan"));
            out += &format!(
                "{} {} {}\n",
                thread.path().display(),
                read(&comm).trim(),
                read(&wchan)
            );
        }
    }
    out
}

/// This program again, for one test.
fn again(name: &str) -> Command {
    again_as(&std::env::current_exe().expect("the test's program"), name)
}

fn again_as(program: &Path, name: &str) -> Command {
    let mut cmd = Command::new(program);
    cmd.args([name, "--exact", "--nocapture", "--test-threads=1"]);
    cmd
}

/// Root's way: a thread moves into new namespaces, and what it starts is in them.
fn start_in_namespaces(cmd: &mut Command) -> std::io::Result<Running> {
    on_thread(|| {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
        start(cmd)
    })
}

/// Keeps what is mounted from now on away from all others.
fn private_mounts() -> std::io::Result<()> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    Ok(mount(NONE, "/", NONE, flags, NONE)?)
}

/// Lays a device node with mode 0666 over /dev/net/tun.
pub fn open_tun(node: &Path) -> std::io::Result<()> {
    // TUN's numbers, Documentation/networking/tuntap.rst.
    mknod(node, SFlag::S_IFCHR, Mode::empty(), makedev(10, 200))?;
    fs::set_permissions(node, fs::Permissions::from_mode(0o666))?;
    mount(Some(node), "/dev/net/tun", NONE, MsFlags::MS_BIND, NONE)?;
    Ok(())
}

fn on_thread<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|s| s.spawn(f).join()).expect("a thread that does not panic")
}

/// A process in a process group of its own, with all that it prints in a file.
struct Running {
    child: Child,
    output: File,
}

fn start(cmd: &mut Command) -> std::io::Result<Running> {
    let output = tempfile::tempfile()?;
    cmd.stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .process_group(0);
    Ok(Running {
        child: cmd.spawn()?,
        output,
    })
}

impl Running {
    /// Waits for the end, at most [`limit`], and kills what the process left running.
    fn finish(mut self) -> (Option<ExitStatus>, bool, String) {
        let group = Pid::from_raw(self.child.id() as i32);
        let end = Instant::now() + limit() + Duration::from_secs(5);
        let status = loop {
            match self.child.try_wait().expect("waiting for a child") {
                Some(status) => break Some(status),
                None if Instant::now() > end => break None,
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let left = killpg(group, Signal::SIGKILL).is_ok();
        if status.is_none() {
            // Killed just now, so this ends.
            let _ = self.child.wait();
        }
        let mut text = Vec::new();
        self.output
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.output.read_to_end(&mut text))
            .expect("reading what a scenario printed");
        (status, left, String::from_utf8_lossy(&text).into_owned())
    }
}

/// Turns the end of the process into the end of the test.
fn conclude(name: &str, started: std::io::Result<Running>) {
    let running = match started {
        Ok(r) => r,
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            return skip(name, &format!("no namespaces for this user: {e}"));
        }
        Err(e) => panic!("{name}: the scenario could not be started: {e}"),
    };
    let (status, left, text) = running.finish();
    if std::env::var_os(USER).is_some() {
        // The process above reads this to the same end.
        print!("{text}");
    }
    let why = text.split_once(SKIPPED).and_then(|(_, w)| w.lines().next());
    if let Some(why) = why {
        return skip(name, why);
    }
    let Some(status) = status else {
        panic!(
            "{name} took longer than {:?} and was killed. It printed:\n{text}",
            limit()
        );
    };
    let end = match (status.code(), status.signal()) {
        (Some(0), _) if !text.contains(PASSED) => "ran nothing".to_owned(),
        (Some(0), _) if left => "left processes running".to_owned(),
        (Some(0), _) => return,
        (_, Some(s)) => format!("was ended by signal {s}"),
        (code, _) => format!("failed with code {}", code.unwrap_or(-1)),
    };
    panic!("{name} {end}. It printed:\n{text}");
}

/// Says loudly that a test did not run; with `CI` set that is a failure.
fn skip(name: &str, why: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "CI must run {name}, but: {why}"
    );
    if std::env::var_os(USER).is_some() {
        println!("{SKIPPED}{why}");
    }
    // Written by hand, because what `eprintln!` prints in a test that passes is not shown.
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {why}");
}
