//! User namespaces: how an ordinary user gets namespaces to be root in.

use nix::unistd::{getgid, getuid};
use std::process::Command;

/// Makes `cmd` start as root of a new user namespace, with a new network and mount namespace that
/// belong to it. Spawning fails with EPERM where the system forbids user namespaces.
///
/// A program with threads can't do this to itself (`unshare(2)`, CLONE_NEWUSER), so tests and the
/// demo start themselves again this way.
pub fn in_user_namespace(cmd: &mut Command) -> &mut Command {
    super::sys::start_in_user_namespace(cmd, getuid().as_raw(), getgid().as_raw());
    cmd
}
