//! switchd itself, as a process of its own with its default flags.

use super::{C1, C2, Hosts, LAST_PORT, Net, OUTSIDE, PORT, UPLINK, Way};
use crate::Result;
use control::api::Client;
use control::api::types::Stats;
use control::cli::{Parsed, Switchd, parse};
use control::netns::Netns;
use control::plan::Failure;
use control::plan::validate::{Surroundings, plan};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// The network of a running switchd.
#[derive(Debug)]
pub struct SwitchNet {
    hosts: Hosts,
    daemon: Child,
    control: PathBuf,
}

/// Is switchd: what `bin/switchd.rs` does, so that `versus` measures the code that it was built
/// with and needs no other program.
pub fn serve(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let run = |args: Switchd| -> std::result::Result<ExitCode, Failure> {
        let plan = plan(&args.raw, &Surroundings::current())?;
        plan.log.install();
        control::daemon::run(plan)
    };
    match parse::<Switchd>("switchd", args) {
        Parsed::Exit(code) => code,
        Parsed::Run(args) => run(args).unwrap_or_else(|e| e.report("switchd")),
    }
}

impl SwitchNet {
    /// Makes the hosts and starts `program`, a command that becomes switchd when flags follow;
    /// `flags` are further ones.
    ///
    /// # Errors
    /// When the daemon does not come up.
    pub fn build(program: &[OsString], flags: &[String]) -> Result<SwitchNet> {
        let hosts = Hosts::create()?;
        let control =
            std::env::temp_dir().join(format!("switchd-versus-{}.sock", std::process::id()));
        let (first, rest) = program.split_first().ok_or("no program for switchd")?;
        let path = |ns: &Netns| ns.proc_path().display().to_string();
        let mut command = Command::new(first);
        command
            .args(rest)
            .arg("--control")
            .arg(&control)
            .args(["--host-netns", &path(&hosts.host)])
            .args([
                "--uplink",
                &format!(
                    "tap:{}:eth0,ip={UPLINK}/24,peer={OUTSIDE}/24",
                    path(&hosts.outside)
                ),
            ])
            .args(["--attach", &format!("{}:{C1}", path(&hosts.c1))])
            .args(["--attach", &format!("{}:{C2}", path(&hosts.c2))])
            .args(["--log", "text/warn"])
            .args(flags)
            .stdin(Stdio::null());
        for proto in ["tcp", "udp"] {
            let spec = format!("{PORT}-{LAST_PORT}:{C1}:{PORT}-{LAST_PORT}/{proto}");
            command.args(["--ports", &spec]);
        }
        let mut net = SwitchNet {
            hosts,
            daemon: command.spawn()?,
            control,
        };
        net.wait_until_up()?;
        Ok(net)
    }

    /// The control socket.
    pub fn control(&self) -> &Path {
        &self.control
    }

    fn wait_until_up(&mut self) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.daemon.try_wait()? {
                return Err(format!("switchd ended: {status}").into());
            }
            if self.stats().is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("switchd did not come up within 20 s".into())
    }

    /// The daemon's counters.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn stats(&self) -> Result<Stats> {
        Ok(Client::new(&self.control).get("/v1/stats")?)
    }
}

impl Net for SwitchNet {
    fn name(&self) -> &'static str {
        "switchd"
    }

    fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    fn carries(&self, _: Way) -> bool {
        true
    }

    fn pid(&self) -> Option<u32> {
        Some(self.daemon.id())
    }

    fn check(&mut self) -> Result<()> {
        let mut balance = self.stats()?.balance;
        // The last frames of a run may still be under way.
        for _ in 0..20 {
            if balance.holds {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
            balance = self.stats()?.balance;
        }
        Err(format!("switchd lost count of frames: {balance:?}").into())
    }
}

impl Drop for SwitchNet {
    fn drop(&mut self) {
        // It ends cleanly on SIGTERM; the namespaces go with this process in any case.
        if let Ok(pid) = i32::try_from(self.daemon.id()) {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGTERM,
            );
        }
        let _ = self.daemon.wait();
    }
}
