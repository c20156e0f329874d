//! The stage: a host, three containers, an outside, and the switch between them.

use crate::api::Client;
use crate::api::types::{Port, Rules, Stats, Status};
use crate::attach::loopback_up;
use crate::netlink::Real;
use crate::netns::{Netns, NetnsRef, create_named, sys::end_with_parent};
use crate::plan::Failure;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The gateway.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The container `web`.
pub const WEB: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// The container `api`.
pub const API: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
/// The container `db`.
pub const DB: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 4);
/// The switch's address outside.
pub const UPLINK: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The outside client's.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The published port and what it leads to.
pub const PUBLISHED: u16 = 8080;
/// The web server's port in its container.
pub const HTTP: u16 = 80;

/// Where the switch is asked; the demo's /run is its own.
pub const CONTROL: &str = "/run/switchd/switchd.sock";
/// What the switch logs.
pub const LOG: &str = "/run/switchd.log";
/// How long a program may take to start or end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A namespace with a part in the story.
pub struct Room {
    /// What it is called.
    pub name: &'static str,
    /// Its address.
    pub ip: Ipv4Addr,
    /// The interface that the switch made.
    pub interface: &'static str,
    /// The namespace.
    pub netns: Netns,
}

impl Room {
    fn new(name: &'static str, ip: Ipv4Addr) -> Result<Room, Failure> {
        create_named(name).map_err(Failure::refused)?;
        let netns = Netns::open(&NetnsRef::Name(name.to_owned())).map_err(Failure::refused)?;
        let room = Room {
            name,
            ip,
            interface: "eth0",
            netns,
        };
        room.prepare()?;
        Ok(room)
    }

    /// Its own end of the world, `lo`. IPv6 is off: its multicast would move the counters while
    /// the story is told. Where that can't be set the story holds all the same.
    fn prepare(&self) -> Result<(), Failure> {
        loopback_up(&mut self.netlink()?).map_err(Failure::refused)?;
        let _ = self.inside(|| {
            for conf in ["all", "default"] {
                let path = format!("/proc/sys/net/ipv6/conf/{conf}/disable_ipv6");
                std::fs::write(path, "1")?;
            }
            std::io::Result::Ok(())
        })?;
        Ok(())
    }

    /// Runs `f` in it.
    ///
    /// # Errors
    /// It can't be entered.
    pub fn inside<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, Failure> {
        self.netns.run(f).map_err(Failure::refused)
    }

    /// Talks to the kernel about it.
    ///
    /// # Errors
    /// It can't be entered.
    pub fn netlink(&self) -> Result<Real, Failure> {
        Real::inside(&self.netns).map_err(Failure::refused)
    }

    /// A TCP listener in it.
    ///
    /// # Errors
    /// What the system says.
    pub fn listen(&self, port: u16) -> Result<TcpListener, Failure> {
        let at = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        self.inside(|| TcpListener::bind(at))?
            .map_err(|e| Failure::Refused(format!("cannot listen on {at} in {}: {e}", self.name)))
    }

    /// Whether its kernel's ARP table has `ip` at `mac`.
    ///
    /// # Errors
    /// What the system says.
    pub fn knows(&self, ip: Ipv4Addr, mac: &str) -> Result<bool, Failure> {
        let table = self
            .inside(|| std::fs::read_to_string("/proc/thread-self/net/arp"))?
            .map_err(Failure::refused)?;
        // Each row is address, type, flags, MAC, mask, device (proc(5)).
        let ip = ip.to_string();
        Ok(table.lines().skip(1).any(|row| {
            let mut words = row.split_whitespace();
            words.next() == Some(&ip) && words.nth(2) == Some(mac)
        }))
    }
}

/// Everything that the story needs.
pub struct Stage {
    /// The host: the demo's own namespace.
    pub host: Room,
    /// `web`, `api`, `db`.
    pub containers: [Room; 3],
    /// The outside client.
    pub outside: Room,
    /// The switch.
    pub switch: Switch,
}

impl Stage {
    /// Makes the namespaces and starts the switch.
    ///
    /// # Errors
    /// What could not be made.
    pub fn set() -> Result<Stage, Failure> {
        let host = Room {
            name: "host",
            ip: GATEWAY,
            interface: "sw0",
            netns: Netns::current().map_err(Failure::refused)?,
        };
        host.prepare()?;
        Ok(Stage {
            host,
            containers: [
                Room::new("web", WEB)?,
                Room::new("api", API)?,
                Room::new("db", DB)?,
            ],
            outside: Room::new("outside", OUTSIDE)?,
            switch: Switch::start()?,
        })
    }

    /// All rooms, the host first.
    pub fn rooms(&self) -> impl Iterator<Item = &Room> {
        [&self.host]
            .into_iter()
            .chain(&self.containers)
            .chain([&self.outside])
    }
}

/// The daemon, a process of its own.
pub struct Switch {
    child: Child,
    /// Its API.
    pub client: Client,
}

impl Switch {
    /// What it is started with.
    pub fn words() -> Vec<String> {
        let mut words = vec![
            "--uplink".to_owned(),
            format!("tap:outside:eth0,ip={UPLINK}/24,peer={OUTSIDE}/24"),
        ];
        for (name, ip) in [("web", WEB), ("api", API), ("db", DB)] {
            words.extend(["--attach".to_owned(), format!("{name}:{ip}")]);
        }
        words.extend(["--ports".to_owned(), format!("{PUBLISHED}:{WEB}:{HTTP}")]);
        words
    }

    fn start() -> Result<Switch, Failure> {
        let cannot = |e: std::io::Error| Failure::Refused(format!("cannot start switchd: {e}"));
        let log = File::create(LOG).map_err(cannot)?;
        let mut cmd = Command::new("/proc/self/exe");
        cmd.args(Switch::words())
            .args(["--control", CONTROL])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = end_with_parent(&mut cmd).spawn().map_err(cannot)?;
        let mut switch = Switch {
            child,
            client: Client::new(CONTROL),
        };
        let end = Instant::now() + PATIENCE;
        loop {
            if switch.status().is_ok() {
                return Ok(switch);
            }
            let ended = switch.child.try_wait().map_err(cannot)?;
            if ended.is_some() || Instant::now() > end {
                let log = std::fs::read_to_string(LOG).unwrap_or_default();
                let last = log.lines().last().unwrap_or("it said nothing");
                return Err(Failure::Refused(format!(
                    "the switch does not start: {last}"
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it is.
    ///
    /// # Errors
    /// It does not answer; likewise for the further questions.
    pub fn status(&self) -> Result<Status, Failure> {
        Ok(self.client.get("/v1/status")?)
    }

    /// Its ports.
    ///
    /// # Errors
    /// It does not answer.
    pub fn ports(&self) -> Result<Vec<Port>, Failure> {
        Ok(self.client.get("/v1/ports")?)
    }

    /// Its rules.
    ///
    /// # Errors
    /// It does not answer.
    pub fn rules(&self) -> Result<Rules, Failure> {
        Ok(self.client.get("/v1/rules")?)
    }

    /// Its counters.
    ///
    /// # Errors
    /// It does not answer.
    pub fn stats(&self) -> Result<Stats, Failure> {
        Ok(self.client.get("/v1/stats")?)
    }

    /// Ends it as a person would.
    ///
    /// # Errors
    /// It does not end.
    pub fn end(&mut self) -> Result<ExitStatus, Failure> {
        let pid = i32::try_from(self.child.id()).unwrap_or(0);
        kill(Pid::from_raw(pid), Signal::SIGTERM).map_err(Failure::refused)?;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().map_err(Failure::refused)? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(Failure::refused("the switch does not end"))
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // The demo fails already, or ends; nobody is left to hear of an error here.
        if self.end().is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// `switchctl` beside this program, if it was built.
pub fn switchctl() -> Option<std::path::PathBuf> {
    let beside = std::env::current_exe().ok()?.parent()?.join("switchctl");
    Path::exists(&beside).then_some(beside)
}
