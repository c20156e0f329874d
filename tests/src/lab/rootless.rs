//! A host with an outside, and an ordinary user on it who runs switchd without any privilege.
//!
//! The scenario's own namespace is the host; `out` is behind a veth pair. The user owns nothing,
//! finds `/dev/net/tun` open to all as on usual distributions, and has no runtime directory.
//!
//! Root becomes `nobody`. A person without privilege, who is root of the scenario's user namespace
//! only, becomes `nobody` of one below that: the same person, without a right in the host's.

use super::isolate::open_tun;
use super::{Ns, bins, wait_for};
use control::api::Client;
use control::api::types::{Publication, Stats, Status};
use control::attach::loopback_up;
use control::netlink::{Address, LinkChange, Netlink};
use control::netns::Netns;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// `nobody`.
const USER: u32 = 65_534;
/// The host's address towards the outside.
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The outside's.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// An address outside that nobody has.
pub const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);

/// Host, outside and user.
pub struct Rootless {
    /// The host.
    pub host: Ns,
    /// The outside.
    pub out: Ns,
    /// Holds the user's namespace, unless root of the machine runs the tests.
    user: Option<Child>,
    dir: tempfile::TempDir,
}

impl Rootless {
    /// Makes all three.
    #[expect(clippy::new_without_default, reason = "it makes namespaces")]
    pub fn new() -> Rootless {
        // user_namespaces(7): the map of the first one names all ids.
        let root =
            std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|m| m.contains("4294967295"));
        let dir = tempfile::tempdir().expect("a temporary directory");
        let allow = |p: &Path, mode| {
            fs::set_permissions(p, fs::Permissions::from_mode(mode)).expect("chmod");
        };
        allow(dir.path(), 0o777);
        if root {
            open_tun(&dir.path().join("tun")).expect("a device node");
        }
        for bin in bins::NAMES {
            let to = dir.path().join(bin);
            fs::copy(bins::path(bin), &to).expect("copying a program");
            allow(&to, 0o755);
        }
        let (host, out) = (Ns::own(), Ns::named("out"));
        let mut nl = host.netlink();
        loopback_up(&mut nl).expect("lo");
        nl.create_veth("v0", "v1").expect("a veth pair");
        let peer = host.link("v1").expect("v1").index;
        let there = Netns::open_path(&out.path()).expect("out");
        let change = LinkChange {
            netns: Some(std::os::fd::AsFd::as_fd(&there)),
            ..LinkChange::default()
        };
        nl.change_link(peer, &change).expect("moving v1");
        for (ns, name, ip) in [(&host, "v0", HOST), (&out, "v1", OUTSIDE)] {
            let index = ns.link(name).expect("an interface").index;
            let mut nl = ns.netlink();
            let prefix = 24;
            nl.add_address(&Address { index, ip, prefix })
                .expect("an address");
            let up = LinkChange {
                up: Some(true),
                ..LinkChange::default()
            };
            nl.change_link(index, &up).expect("up");
        }
        Rootless {
            host,
            out,
            user: (!root).then(user_below),
            dir,
        }
    }

    /// A program of ours, as the user starts it.
    pub fn command(&self, program: &str) -> Command {
        let own = self.dir.path().join(program);
        let program = match own.exists() {
            true => own,
            false => PathBuf::from(program),
        };
        let mut cmd;
        if let Some(user) = &self.user {
            cmd = Command::new("nsenter");
            cmd.args(["--user", "--preserve-credentials", "--target"])
                .arg(user.id().to_string())
                .arg("--")
                .arg(program);
        } else {
            cmd = Command::new(program);
            cmd.uid(USER).gid(USER);
        }
        cmd.current_dir("/")
            .env("TMPDIR", self.dir.path())
            .env_remove("XDG_RUNTIME_DIR")
            .stdin(Stdio::null());
        cmd
    }

    /// A range of groups with the user's in it, as the host counts them.
    pub const fn groups(&self) -> &'static str {
        match self.user {
            None => "0 2147483647",
            Some(_) => "0 0",
        }
    }

    /// The program's place, for a shell.
    pub fn path(&self, program: &str) -> PathBuf {
        self.dir.path().join(program)
    }

    /// `switchd run` of a command that does nothing, with these flags before it.
    pub fn run(&self, flags: &[&str]) -> Running {
        let child = self
            .command("switchd")
            .arg("run")
            .args(flags)
            .args(["--", "sleep", "1000"])
            .spawn()
            .expect("starting switchd");
        let name = format!("switchd-run-{}.sock", child.id());
        let client = Client::new(self.dir.path().join(name));
        let mut running = Running {
            child,
            client,
            inside: None,
        };
        let inside = wait_for("the command runs", || {
            if let Some(status) = running.child.try_wait().expect("waiting") {
                panic!("switchd ended: {status}");
            }
            running.client.get::<Status>("/v1/status").ok()?;
            sleeper(running.child.id())
        });
        running.inside = Some(inside);
        running
    }
}

/// A process that is [`USER`] of a user namespace below the scenario's.
fn user_below() -> Child {
    let child = Command::new("unshare")
        .arg("--user")
        .arg(format!("--map-user={USER}"))
        .arg(format!("--map-group={USER}"))
        .args(["--", "sleep", "1000"])
        .spawn()
        .expect("unshare");
    let path = format!("/proc/{}/comm", child.id());
    wait_for("the user is there", || {
        let comm = fs::read_to_string(&path).ok()?;
        (comm.trim() == "sleep").then_some(())
    });
    child
}

impl Drop for Rootless {
    fn drop(&mut self) {
        if let Some(user) = &mut self.user {
            let _ = user.kill();
            let _ = user.wait();
        }
    }
}

/// The process of `sleep` below `parent`.
fn sleeper(parent: u32) -> Option<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(path).ok()?;
    let mut children = children.split_whitespace().filter_map(|p| p.parse().ok());
    children.find(|p: &u32| {
        fs::read_to_string(format!("/proc/{p}/comm")).is_ok_and(|c| c.trim() == "sleep")
    })
}

/// A command that runs. Dropped, it is killed.
pub struct Running {
    child: Child,
    client: Client,
    inside: Option<u32>,
}

impl Running {
    /// The command's process.
    pub fn pid(&self) -> u32 {
        self.inside.expect("a running command")
    }

    /// Its namespace.
    pub fn inside(&self) -> Ns {
        Ns::of_process(self.pid())
    }

    /// The switch's counters.
    pub fn stats(&self) -> Stats {
        self.client.get("/v1/stats").expect("the counters")
    }

    /// What is published, in the words of `--ports`.
    pub fn published(&self) -> Vec<String> {
        let all: Vec<Publication> = self.client.get("/v1/publications").expect("an answer");
        all.into_iter().map(|p| p.spec).collect()
    }

    /// The engine's.
    pub fn sockets(&self) -> control::uplink::sockets::SocketsReport {
        self.stats().sockets.expect("an engine")
    }

    /// SIGTERM: the command ends by it, and every frame is accounted for before.
    pub fn finish(mut self) {
        wait_for("every frame is accounted for", || {
            self.stats().balance.holds.then_some(())
        });
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).expect("a signal");
        let status = wait_for("switchd ends", || self.child.try_wait().expect("waiting"));
        assert_eq!(status.code(), Some(143));
        assert!(!self.client.path().exists(), "its control socket stays");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(stats) = self.client.get::<Stats>("/v1/stats")
        {
            let lost: Vec<_> = stats.drops.iter().filter(|d| d.frames > 0).collect();
            eprintln!("{:?}\n{:?}\nlost: {lost:?}", stats.sockets, stats.total);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
