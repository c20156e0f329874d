//! switchd itself, as a process of its own with its default flags.

use super::{C1, C2, Hosts, LAST_PORT, Net, OUTSIDE, PORT, UPLINK, Way, namespace};
use crate::Result;
use crate::loss::Counters;
use control::api::Client;
use control::api::types::{Stats, Status};
use control::cli::{Parsed, Switchd, parse};
use control::netlink::{Netlink, Real, Route};
use control::netns::Netns;
use control::plan::Failure;
use control::plan::validate::{Surroundings, plan};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Names the namespace that a switchd of ours is to be started in.
const NETNS: &str = "VERSUS_NETNS";
/// How long the daemon may take to answer; and how much more for each port.
const COMING_UP: Duration = Duration::from_secs(120);
const COMING_UP_PORT: Duration = Duration::from_millis(200);

/// How the switch reaches the outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Uplink {
    /// By a TAP of its own in the outside's namespace.
    Tap,
    /// By the interface and the address of the host.
    Nic,
    /// By the host's sockets; there is one container then.
    Sockets,
}

/// The network of a running switchd.
#[derive(Debug)]
pub struct SwitchNet {
    hosts: Hosts,
    /// Further containers that only are there.
    _crowd: Vec<Netns>,
    /// How the outside is reached.
    uplink: Uplink,
    daemon: Child,
    control: PathBuf,
    /// Since it was ready, when it was last asked, ms.
    uptime: u64,
}

/// Is switchd: what `bin/switchd.rs` does, so that `versus` measures the code that it was built
/// with and needs no other program.
pub fn serve(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Whoever measures may be killed.
    let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM);
    let run = |args: Switchd| -> std::result::Result<ExitCode, Failure> {
        if let Some(path) = std::env::var_os(NETNS) {
            let netns = Netns::open_path(Path::new(&path)).map_err(Failure::refused)?;
            netns.enter().map_err(Failure::refused)?;
        }
        let plan = plan(&args.raw, &Surroundings::current())?;
        control::log::install(plan.log);
        control::daemon::run(plan)
    };
    match parse::<Switchd>("switchd", args) {
        Parsed::Exit(code) => code,
        Parsed::Run(args) => run(args).unwrap_or_else(|e| e.report("switchd")),
    }
}

/// Whether switchd takes these flags, asked before anything is built. If not, its own line has said
/// what is wrong, and the exit code is its.
pub fn takes(flags: &[String]) -> std::result::Result<(), ExitCode> {
    let words = std::iter::once("switchd").chain(flags.iter().map(String::as_str));
    match parse::<Switchd>("switchd", words.map(OsString::from)) {
        Parsed::Exit(code) => Err(code),
        Parsed::Run(args) => match plan(&args.raw, &Surroundings::current()) {
            Err(e @ Failure::Usage(_)) => Err(e.report("switchd")),
            // What the system refuses is seen in the namespaces, which differ.
            _ => Ok(()),
        },
    }
}

impl SwitchNet {
    /// Makes the hosts and starts `program`, a command that becomes switchd when flags follow;
    /// `flags` are further ones. `ports` containers are attached, at least two. What the daemon
    /// calls wrong words (exit code 2) is an inner `Err`.
    ///
    /// # Errors
    /// When the daemon does not come up.
    pub fn build(
        program: &[OsString],
        flags: &[String],
        ports: usize,
    ) -> Result<std::result::Result<SwitchNet, String>> {
        let hosts = Hosts::create()?;
        let crowd = (2..ports)
            .map(|_| namespace())
            .collect::<Result<Vec<_>>>()?;
        let command = command(program, &hosts, &crowd)?;
        SwitchNet::start(command, hosts, crowd, flags, Uplink::Tap)
    }

    /// The same with `--uplink nic`: the host has a veth pair to the outside, as the twin's has, and
    /// its address is shared.
    ///
    /// # Errors
    /// As [`SwitchNet::build`].
    pub fn by_nic(
        program: &[OsString],
        flags: &[String],
    ) -> Result<std::result::Result<SwitchNet, String>> {
        let hosts = Hosts::create()?;
        super::veth::wire(&hosts.host, &hosts.outside, 1_500)?;
        let mut host = Real::inside(&hosts.host)?;
        let nic = super::links::index(&mut host, "up0")?;
        host.add_route(&Route::default_via(OUTSIDE, nic))?;
        let mut command = on_the_host(program, &hosts, "nic")?;
        containers(&mut command, &hosts, &[]);
        SwitchNet::start(command, hosts, Vec::new(), flags, Uplink::Nic)
    }

    /// The same with `--uplink sockets`: the host has a veth pair to the outside, and the first
    /// container is the only one.
    ///
    /// # Errors
    /// As [`SwitchNet::build`].
    pub fn by_sockets(
        program: &[OsString],
        flags: &[String],
        mtu: u32,
    ) -> Result<std::result::Result<SwitchNet, String>> {
        let hosts = Hosts::create()?;
        super::veth::wire(&hosts.host, &hosts.outside, mtu)?;
        // The host's own sockets send what the container's do; of a paced congestion control the
        // timers would be measured.
        let control = "/proc/sys/net/ipv4/tcp_congestion_control";
        hosts.host.run(|| std::fs::write(control, "reno"))??;
        let mut command = on_the_host(program, &hosts, "sockets")?;
        command
            .arg("--mtu")
            .arg(mtu.to_string())
            .arg("--attach")
            .arg(format!("{}:{C1}", hosts.c1.proc_path().display()))
            .arg("--ports")
            .arg(format!("{PORT}-{LAST_PORT}:{C1}:{PORT}-{LAST_PORT}"));
        SwitchNet::start(command, hosts, Vec::new(), flags, Uplink::Sockets)
    }

    fn start(
        mut command: Command,
        hosts: Hosts,
        crowd: Vec<Netns>,
        flags: &[String],
        uplink: Uplink,
    ) -> Result<std::result::Result<SwitchNet, String>> {
        let (ports, control) = (crowd.len() + 2, socket_path());
        command
            .arg("--control")
            .arg(&control)
            .args(flags)
            .stdin(Stdio::null());
        let mut net = SwitchNet {
            hosts,
            _crowd: crowd,
            uplink,
            daemon: command.spawn()?,
            control,
            uptime: 0,
        };
        let patience = COMING_UP + COMING_UP_PORT * u32::try_from(ports)?;
        match net.wait_until_up(patience)? {
            None => Ok(Ok(net)),
            Some(s) if s.code() == Some(2) => Ok(Err(format!(
                "switchd does not know these flags: {}",
                flags.join(" ")
            ))),
            Some(s) => Err(format!("switchd ended: {s}").into()),
        }
    }

    /// The status with which it ended, if it did not come up.
    fn wait_until_up(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        let begun = Instant::now();
        while begun.elapsed() < patience {
            if let Some(status) = self.daemon.try_wait()? {
                return Ok(Some(status));
            }
            if self.stats().is_ok() {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("switchd did not come up within {patience:?}").into())
    }

    /// The daemon's counters.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn stats(&self) -> Result<Stats> {
        Ok(self.client().get("/v1/stats")?)
    }

    /// A client of the daemon's API.
    pub fn client(&self) -> Client {
        Client::new(&self.control)
    }

    /// Whether it is the process that was started, and has not begun anew.
    fn check_same(&mut self) -> Result<()> {
        if let Some(status) = self.daemon.try_wait()? {
            return Err(format!("switchd ended: {status}").into());
        }
        let now: Status = self.client().get("/v1/status")?;
        if now.pid != self.daemon.id() || now.uptime_ms < self.uptime {
            return Err("switchd was restarted".into());
        }
        self.uptime = now.uptime_ms;
        Ok(())
    }
}

/// Where a daemon of this process listens; each on its own.
fn socket_path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (pid, n) = (std::process::id(), NEXT.fetch_add(1, Relaxed));
    std::env::temp_dir().join(format!("switchd-versus-{pid}-{n}.sock"))
}

/// A switchd that runs in the host's own namespace, with the uplink that it has there.
fn on_the_host(program: &[OsString], hosts: &Hosts, uplink: &str) -> Result<Command> {
    let (first, rest) = program.split_first().ok_or("no program for switchd")?;
    let mut command = Command::new(first);
    command
        .args(rest)
        .args(["--uplink", uplink, "--log", "text/warn"])
        .env(NETNS, hosts.host.proc_path());
    Ok(command)
}

/// The command line without control socket and further flags. The two containers that talk are
/// the middle and the last of the crowd.
fn command(program: &[OsString], hosts: &Hosts, crowd: &[Netns]) -> Result<Command> {
    let (first, rest) = program.split_first().ok_or("no program for switchd")?;
    let mut command = Command::new(first);
    let outside = path(&hosts.outside);
    let uplink = format!("tap:{outside}:eth0,ip={UPLINK}/24,peer={OUTSIDE}/24");
    command
        .args(rest)
        .args(["--host-netns", &path(&hosts.host), "--uplink", &uplink])
        .args(["--log", "text/warn"]);
    if !crowd.is_empty() {
        // Room for 4,094 hosts; the addresses in use are the same.
        command.args(["--subnet", "10.0.0.0/20"]);
    }
    containers(&mut command, hosts, crowd);
    Ok(command)
}

fn path(ns: &Netns) -> String {
    ns.proc_path().display().to_string()
}

/// Attaches the containers, and publishes the ports of the first one that talks.
fn containers(command: &mut Command, hosts: &Hosts, crowd: &[Netns]) {
    let (before, after) = crowd.split_at(crowd.len() / 2);
    let mut attach = |spec: String| {
        command.args(["--attach", &spec]);
    };
    before.iter().for_each(|ns| attach(path(ns)));
    attach(format!("{}:{C1}", path(&hosts.c1)));
    after.iter().for_each(|ns| attach(path(ns)));
    attach(format!("{}:{C2}", path(&hosts.c2)));
    for proto in ["tcp", "udp"] {
        let spec = format!("{PORT}-{LAST_PORT}:{C1}:{PORT}-{LAST_PORT}/{proto}");
        command.args(["--ports", &spec]);
    }
}

impl Net for SwitchNet {
    fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    fn lacks(&self, way: Way) -> Option<&'static str> {
        (self.uplink == Uplink::Sockets && way == Way::L2).then_some("there is one container only")
    }

    fn pid(&self) -> Option<u32> {
        Some(self.daemon.id())
    }

    fn check(&mut self) -> Result<()> {
        self.check_same()?;
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

    /// The kernel's, and the switch's drops by reason.
    fn counters(&self) -> Result<Counters> {
        let mut all = Counters::default();
        let h = &self.hosts;
        for (name, ns) in [("c1", &h.c1), ("c2", &h.c2), ("outside", &h.outside)] {
            all.add_namespace(name, ns)?;
        }
        if self.uplink == Uplink::Nic {
            // Its UDP errors are what the held sockets don't hear, and no loss.
            all.add_interfaces("host", &h.host)?;
        }
        all.add_machine();
        for d in self.stats()?.drops {
            all.put(format!("switchd {}", d.reason), d.frames);
        }
        Ok(all)
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
        // One that was killed leaves it behind.
        let _ = std::fs::remove_file(&self.control);
    }
}
