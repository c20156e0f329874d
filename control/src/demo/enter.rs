//! Into namespaces of the demo's own, where it may do as it likes and nothing outside changes.

use crate::netns::user::in_user_namespace;
use crate::plan::Failure;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Set in the program that was started again in a user namespace.
const INSIDE: &str = "SWITCHD_DEMO_INSIDE";
const TUN: &str = "/dev/net/tun";
const NONE: Option<&str> = None;

/// Moves this process, which has one thread, into new network and mount namespaces with an empty
/// /run. A user who is not root gets them in a user namespace: the program is started again
/// there, in the place of this one.
///
/// # Errors
/// One line that says what is missing.
pub fn enter() -> Result<(), Failure> {
    File::options()
        .read(true)
        .write(true)
        .open(TUN)
        .map_err(|e| missing_tun(&e))?;
    if std::env::var_os(INSIDE).is_none() {
        match unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET) {
            Ok(()) => {}
            Err(nix::errno::Errno::EPERM) => return Err(again()),
            Err(e) => return Err(Failure::Refused(format!("cannot make namespaces: {e}"))),
        }
    }
    empty_run().map_err(|e| Failure::Refused(format!("cannot give the demo a /run: {e}")))
}

fn missing_tun(e: &io::Error) -> Failure {
    Failure::Refused(match e.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "the demo needs {TUN}, which this user may not open: run it as root, or let root give \
             it mode 0666"
        ),
        io::ErrorKind::NotFound => {
            format!("the demo needs {TUN}, which does not exist: load the kernel's module tun")
        }
        _ => format!("the demo needs {TUN}, which cannot be opened: {e}"),
    })
}

/// Becomes the same program in a user namespace. Returns only if that fails.
fn again() -> Failure {
    let mut cmd = Command::new("/proc/self/exe");
    cmd.args(std::env::args_os().skip(1)).env(INSIDE, "1");
    let e = in_user_namespace(&mut cmd).exec();
    Failure::Refused(match e.raw_os_error() {
        Some(libc::EPERM | libc::EACCES | libc::ENOSPC) => {
            "the demo needs namespaces of its own, and this system gives an ordinary user none: \
             run it as root, or allow user namespaces (sysctl user.max_user_namespaces, \
             kernel.apparmor_restrict_unprivileged_userns)"
                .to_owned()
        }
        _ => format!("the demo needs namespaces of its own: {e}"),
    })
}

/// Lays an empty file system over /run, seen by nobody else.
fn empty_run() -> nix::Result<()> {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(NONE, "/", NONE, private, NONE)?;
    mount(Some("none"), "/run", Some("tmpfs"), MsFlags::empty(), NONE)
}
