//! The first steps of the command's process: `switchd __inside`, which becomes the command.
//!
//! `switchd run` starts itself again in this part, so that the namespace can be made without code
//! between fork and exec. The two talk over an abstract socket (unix(7)), whose ends are closed
//! on exec.
//!
//! | who | says | when |
//! |---|---|---|
//! | inside | `ready` | in its namespaces, `lo` up |
//! | parent | `go`, a file for resolv.conf or nothing | attached and published |
//! | inside | `failed` stage errno | the command can't be run; it ends |
//!
//! Should switchd be killed, the command gets SIGTERM (`PR_SET_PDEATHSIG`): without its switch it
//! would be cut off. It may clean up, and its namespace ends with its last process.

use super::signals;
use crate::attach::loopback_up;
use crate::netlink::Real;
use crate::netns::{Netns, NetnsRef};
use crate::plan::Failure;
use crate::resolv;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// The arguments of the hidden part.
#[derive(clap::Args, Clone, Debug)]
pub struct InsideArgs {
    /// Abstract name of the parent's socket.
    #[arg(long)]
    rendezvous: String,
    /// The named namespace to be in; a new one without.
    #[arg(long)]
    netns: Option<String>,
    /// Be root of a new user namespace.
    #[arg(long)]
    ordinary: bool,
    /// The command.
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<OsString>,
}

/// The words for [`InsideArgs`].
pub(super) fn words(rendezvous: &str, netns: Option<&str>, ordinary: bool) -> Vec<String> {
    let mut all = vec![
        "__inside".to_owned(),
        "--rendezvous".to_owned(),
        rendezvous.to_owned(),
    ];
    all.extend(netns.map(|name| format!("--netns={name}")));
    all.extend(ordinary.then(|| "--ordinary".to_owned()));
    all.push("--".to_owned());
    all
}

/// Becomes the command; comes back only if that failed, and the parent was told then.
pub fn inside(args: &InsideArgs) -> ExitCode {
    let Ok(stream) = SocketAddr::from_abstract_name(&args.rendezvous)
        .and_then(|name| UnixStream::connect_addr(&name))
    else {
        return Failure::usage("this part is started by 'switchd run' only").report("switchd");
    };
    let Err((stage, e)) = become_command(args, &stream) else {
        return ExitCode::SUCCESS;
    };
    let errno = e.raw_os_error().unwrap_or(0);
    // The parent reports it; without one there is nobody to tell.
    let _ = writeln!(&stream, "failed {stage} {errno} {e}");
    ExitCode::FAILURE
}

type Failed = (&'static str, io::Error);

fn become_command(args: &InsideArgs, mut stream: &UnixStream) -> Result<(), Failed> {
    let at = |stage| move |e: nix::errno::Errno| (stage, io::Error::from(e));
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).map_err(at("signals"))?;
    if args.ordinary {
        own_user().map_err(|e| ("user", e))?;
    }
    match &args.netns {
        None => unshare(CloneFlags::CLONE_NEWNET).map_err(at("netns"))?,
        Some(name) => Netns::open(&NetnsRef::Name(name.clone()))
            .and_then(|ns| ns.enter())
            .map_err(|e| ("netns", io::Error::other(e)))?,
    }
    unshare(CloneFlags::CLONE_NEWNS).map_err(at("mounts"))?;
    // Mounts of the host still appear here, ours never there.
    let slave = MsFlags::MS_SLAVE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, slave, None::<&str>).map_err(at("mounts"))?;
    let lo = Real::new().and_then(|mut nl| loopback_up(&mut nl).map_err(io::Error::other));
    lo.map_err(|e| ("lo", e))?;
    writeln!(stream, "ready").map_err(|e| ("parent", e))?;

    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .map_err(|e| ("parent", e))?;
    let Some(file) = line.strip_prefix("go") else {
        // The parent gave up or is gone; it has said why.
        return Err(("parent", io::ErrorKind::UnexpectedEof.into()));
    };
    let file = file.trim();
    if !file.is_empty() {
        let bind = MsFlags::MS_BIND;
        mount(Some(file), resolv::FILE, None::<&str>, bind, None::<&str>)
            .map_err(at("resolv.conf"))?;
    }
    let Some((program, rest)) = args.command.split_first() else {
        return Err(("exec", io::ErrorKind::NotFound.into()));
    };
    // Until here Ctrl-C and Ctrl-Z only waited: so that neither finds things half-made.
    signals::unblock().map_err(at("signals"))?;
    Err(("exec", execute(program, rest)))
}

/// Becomes root of a new user namespace, in which the caller's own ids are all that there is.
fn own_user() -> io::Result<()> {
    let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
    unshare(CloneFlags::CLONE_NEWUSER)?;
    // user_namespaces(7): setgroups has to be given up before an ordinary user's gid_map.
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// Becomes the command; returns only why it can't. A directory of `PATH` that may not be looked
/// into makes `execvp` say EACCES where a shell says that there is no such command, and so do we.
pub(super) fn execute(program: &OsStr, rest: &[OsString]) -> io::Error {
    let e = Command::new(program).args(rest).exec();
    let by_path = !program.as_encoded_bytes().contains(&b'/');
    let path = std::env::var_os("PATH").unwrap_or_default();
    if by_path
        && e.raw_os_error() == Some(libc::EACCES)
        && !std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
    {
        return io::Error::from_raw_os_error(libc::ENOENT);
    }
    e
}
