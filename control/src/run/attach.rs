//! `switchd attach --pid N`: a switch beside a network namespace that somebody else made, as
//! RootlessKit and Podman start slirp4netns or pasta.
//!
//! It stays until the process ends, `--exit-fd` hangs up, or a signal comes, and takes everything
//! away then.

use super::private::{self, Wishes};
use super::switch::Switch;
use super::{Made, published, with_ip};
use crate::netns::sys::take_fd;
use crate::plan::spec::scalar;
use crate::plan::{Failure, IfName};
use crate::signals::that_end;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

/// What `switchd attach` takes.
// The help shows these words as they are.
#[allow(rustdoc::broken_intra_doc_links)]
#[derive(clap::Args, Clone, Debug)]
pub struct AttachArgs {
    /// The process whose network namespace is attached.
    #[arg(long, value_name = "N", value_parser = scalar::process)]
    pub pid: u32,
    /// Publish a port: [HOST_IP:]PORT[-END]:CONTAINER_PORT[-END][/tcp|udp]; repeated.
    #[arg(short = 'p', long = "publish", value_name = "SPEC")]
    pub publish: Vec<String>,
    /// Name of the interface in there [eth0].
    #[arg(
        long,
        value_name = "NAME",
        default_value = "eth0",
        hide_default_value = true
    )]
    pub ifname: IfName,
    /// Its address [the first free one].
    #[arg(long, value_name = "ADDRESS", value_parser = scalar::address)]
    pub ip: Option<Ipv4Addr>,
    /// Its subnet [the first free /24 of 10.0.0.0/8].
    #[arg(long, value_name = "ADDRESS/LEN")]
    pub subnet: Option<String>,
    /// Its MTU, in IP bytes [1500].
    #[arg(long, value_name = "BYTES")]
    pub mtu: Option<String>,
    /// The outside, as the daemon's --uplink [sockets].
    #[arg(
        long,
        value_name = "SPEC",
        default_value = "sockets",
        hide_default_value = true
    )]
    pub uplink: String,
    /// Write "1" to this descriptor, and close it, when everything is there.
    #[arg(long, value_name = "FD", value_parser = scalar::descriptor)]
    pub ready_fd: Option<i32>,
    /// End when the other end of this descriptor is closed.
    #[arg(long, value_name = "FD", value_parser = scalar::descriptor)]
    pub exit_fd: Option<i32>,
    /// Control socket, for switchctl [one of its own in the runtime directory].
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
}

/// Attaches and stays.
///
/// # Errors
/// The first refusal; nothing is left behind then.
pub fn attach(args: &AttachArgs) -> Result<ExitCode, Failure> {
    let ports = published(&args.publish)?;
    let ready = descriptor("--ready-fd", args.ready_fd)?;
    let exit = descriptor("--exit-fd", args.exit_fd)?;
    let no_process = || {
        Failure::Refused(format!(
            "--pid: there is no process {}: give the number of one that is in the namespace",
            args.pid
        ))
    };
    let pid = i32::try_from(args.pid).ok().and_then(Pid::from_raw);
    let process =
        pidfd_open(pid.ok_or_else(no_process)?, PidfdFlags::empty()).map_err(|_| no_process())?;
    let (signals, told) = UnixStream::pair().map_err(Failure::refused)?;
    for signal in that_end() {
        let told = told.try_clone().map_err(Failure::refused)?;
        signal_hook::low_level::pipe::register(signal, told).map_err(Failure::refused)?;
    }
    let daemon = private::start(&Wishes {
        subnet: args.subnet.clone(),
        mtu: args.mtu.clone(),
        uplink: Some(args.uplink.clone()),
        control: args.control.clone(),
    })?;
    let backend = daemon.backend();
    let switch: &dyn Switch = &backend;
    let mut spec = with_ip(format!("pid:{}", args.pid), args.ip)?;
    spec.push_str(&format!(",name={}", args.ifname));
    let made = Made::attach(switch, &spec, &ports)?;
    if let Some(fd) = ready {
        // A reader that is gone is no reason to end.
        let _ = rustix::io::write(&fd, b"1");
    }
    wait(&process, exit.as_ref(), &signals).map_err(Failure::refused)?;
    drop(made);
    daemon.stop();
    Ok(ExitCode::SUCCESS)
}

fn descriptor(flag: &str, number: Option<i32>) -> Result<Option<OwnedFd>, Failure> {
    let Some(n) = number else {
        return Ok(None);
    };
    take_fd(n).map(Some).map_err(|_| {
        Failure::Usage(format!(
            "{flag}: {n} is not an open descriptor above 2: pass one on, as {flag} 3 3>FILE"
        ))
    })
}

/// Until the process ends, the other end of `exit` is closed, or a signal came.
fn wait(process: &OwnedFd, exit: Option<&OwnedFd>, signals: &UnixStream) -> io::Result<()> {
    loop {
        let mut fds = vec![
            PollFd::new(process.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        // A hang-up is always reported; what is written there is not ours to read.
        fds.extend(exit.map(|fd| PollFd::new(fd.as_fd(), PollFlags::empty())));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) if fds.iter().any(|f| f.any() == Some(true)) => return Ok(()),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}
