//! A switch for the life of one command: the first free `swN`, the first free /24 of 10.0.0.0/8.
//!
//! Several commands may start at the same moment. An abstract socket of the host namespace, held
//! from the look around until the switch has its interface and address, makes them take turns;
//! against everybody else who takes a name meanwhile a second look decides.

use crate::daemon::Daemon;
use crate::flags::Raw;
use crate::log;
use crate::netlink::{Address, Link, Netlink, Real, Route};
use crate::plan::validate::{Surroundings, plan};
use crate::plan::{Failure, Plan};
use ipnet::Ipv4Net;
use nix::unistd::AccessFlags;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often another one may take the name before we do.
const ATTEMPTS: usize = 16;
/// How long others may need to bring theirs up before we no longer take turns.
const TURN: Duration = Duration::from_secs(10);

/// Brings a private switch up.
///
/// # Errors
/// What the system refused, or no free network.
pub fn start(wishes: &Wishes) -> Result<Daemon, Failure> {
    let here = Surroundings::current();
    let _turn = take_turn();
    if let Some(dir) = control(&here).parent() {
        sweep(dir);
    }
    if wishes.subnet.is_some() {
        let plan = private_plan(&look()?, &here, wishes)?;
        log::install(plan.log);
        return Daemon::start(plan);
    }
    let mut choice = look()?;
    for _ in 1..ATTEMPTS {
        let plan = private_plan(&choice, &here, wishes)?;
        log::install(plan.log);
        let refused = match Daemon::start(plan) {
            Ok(daemon) => return Ok(daemon),
            Err(e) => e,
        };
        let next = look()?;
        if next == choice {
            // Nobody took anything: it is refused for another reason.
            return Err(refused);
        }
        choice = next;
    }
    Daemon::start(private_plan(&choice, &here, wishes)?)
}

/// What is asked of a private switch beyond its existence.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// As `--subnet`; the first free one without.
    pub subnet: Option<String>,
    /// As `--mtu`.
    pub mtu: Option<String>,
    /// As `--uplink`.
    pub uplink: Option<String>,
    /// As `--control`; a socket of its own without.
    pub control: Option<PathBuf>,
}

/// Names of the control sockets: the process id stands between.
const PREFIX: &str = "switchd-run-";
const SUFFIX: &str = ".sock";

type Choice = (String, Ipv4Net);

fn private_plan(
    (bridge, subnet): &Choice,
    here: &Surroundings,
    wishes: &Wishes,
) -> Result<Plan, Failure> {
    let subnet = wishes.subnet.clone().unwrap_or(subnet.to_string());
    let path = wishes.control.clone().unwrap_or_else(|| control(here));
    let raw = Raw {
        bridge: Some(bridge.clone()),
        subnet: Some(subnet),
        mtu: wishes.mtu.clone(),
        uplink: wishes.uplink.clone(),
        control: Some(path.display().to_string()),
        log: Some("text/warn".to_owned()),
        ..Raw::default()
    };
    plan(&raw, here)
}

/// A socket beside the daemon's, or in the directory for temporary files where that place is
/// closed to us: root of a user namespace may not write in `/run`.
fn control(here: &Surroundings) -> PathBuf {
    let name = format!("{PREFIX}{}{SUFFIX}", std::process::id());
    let beside = here
        .control()
        .ok()
        .map(|daemon| daemon.with_file_name(&name))
        .filter(|path| path.parent().is_some_and(may_write));
    beside.unwrap_or_else(|| std::env::temp_dir().join(name))
}

/// Whether we may make files in a directory, or make that directory.
fn may_write(dir: &Path) -> bool {
    let there = dir.ancestors().find(|d| d.symlink_metadata().is_ok());
    let flags = AccessFlags::W_OK | AccessFlags::X_OK;
    there.is_some_and(|d| d.is_dir() && nix::unistd::eaccess(d, flags).is_ok())
}

/// Removes the sockets of private switches that were killed. A socket that stands at its path is
/// listened on from its first moment, so one that refuses has lost its process.
fn sweep(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX)
            && name.ends_with(SUFFIX)
            && UnixStream::connect(entry.path())
                .is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
        {
            // Nobody needs it; if it can't be removed it does no harm.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn take_turn() -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name("switchd-run-turn").ok()?;
    let start = Instant::now();
    while start.elapsed() < TURN {
        if let Ok(held) = UnixListener::bind_addr(&name) {
            return Some(held);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

fn look() -> Result<Choice, Failure> {
    let mut netlink = Real::new()
        .map_err(|e| Failure::Refused(format!("cannot look at the host's interfaces: {e}")))?;
    let links = netlink.links().map_err(Failure::refused)?;
    let addresses = netlink.addresses().map_err(Failure::refused)?;
    let routes = netlink.routes().map_err(Failure::refused)?;
    let name = free_name(&links);
    let subnet = free_subnet(&addresses, &routes).ok_or_else(|| {
        Failure::refused("no /24 of 10.0.0.0/8 is free of routes and addresses of this host")
    })?;
    Ok((name, subnet))
}

fn free_name(links: &[Link]) -> String {
    let mut n = 0u32;
    loop {
        let name = format!("sw{n}");
        if !links.iter().any(|l| l.name == name) {
            return name;
        }
        n += 1;
    }
}

fn free_subnet(addresses: &[Address], routes: &[Route]) -> Option<Ipv4Net> {
    let taken = addresses.iter().map(|a| Route {
        dst: a.ip,
        prefix: a.prefix.max(1),
        gateway: None,
        index: None,
    });
    let taken: Vec<Route> = taken.chain(routes.iter().copied()).collect();
    (0..=u16::MAX)
        .map(|n| Ipv4Addr::from_bits((10 << 24) | (u32::from(n) << 8)))
        .find(|net| !taken.iter().any(|r| r.overlaps(*net, 24)))
        .and_then(|net| Ipv4Net::new(net, 24).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_goes_where_it_can() {
        let here = |dir: &Path| Surroundings {
            cores: 1,
            euid: 1000,
            runtime_dir: Some(dir.to_owned()),
        };
        let tmp = std::env::temp_dir();
        let open = control(&here(&tmp));
        assert_eq!(open.parent(), Some(tmp.join("switchd").as_path()));
        // No directory can be made under a file, not even by root.
        let closed = control(&here(Path::new("/proc/self/status")));
        assert_eq!(closed.parent(), Some(tmp.as_path()));
    }

    fn link(name: &str) -> Link {
        Link {
            name: name.into(),
            ..Link::default()
        }
    }

    fn route(dst: [u8; 4], prefix: u8) -> Route {
        Route {
            dst: dst.into(),
            prefix,
            gateway: None,
            index: Some(2),
        }
    }

    #[test]
    fn the_first_free_name() {
        assert_eq!(free_name(&[link("lo"), link("sw1")]), "sw0");
        assert_eq!(free_name(&[link("sw0"), link("sw1"), link("sw3")]), "sw2");
    }

    #[test]
    fn the_first_free_network() {
        let first = |addresses: &[Address], routes: &[Route]| {
            free_subnet(addresses, routes).map(|n| n.to_string())
        };
        let text = |s: &str| Some(s.to_owned());
        assert_eq!(first(&[], &[]), text("10.0.0.0/24"));
        let default = route([0, 0, 0, 0], 0);
        assert_eq!(first(&[], &[default]), text("10.0.0.0/24"));
        assert_eq!(first(&[], &[route([10, 0, 0, 0], 23)]), text("10.0.2.0/24"));
        assert_eq!(
            first(&[], &[route([10, 0, 0, 77], 32)]),
            text("10.0.1.0/24")
        );
        assert_eq!(first(&[], &[route([10, 0, 0, 0], 16)]), text("10.1.0.0/24"));
        assert_eq!(first(&[], &[route([10, 0, 0, 0], 8)]), None);
        let address = Address {
            index: 1,
            ip: [10, 0, 0, 9].into(),
            prefix: 32,
        };
        assert_eq!(first(&[address], &[]), text("10.0.1.0/24"));
    }

    #[test]
    fn sockets_of_the_dead_are_removed_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        drop(UnixListener::bind(path("switchd-run-1.sock")).unwrap());
        let _alive = UnixListener::bind(path("switchd-run-2.sock")).unwrap();
        drop(UnixListener::bind(path("other.sock")).unwrap());
        std::fs::write(path("switchd-run-3.txt"), "").unwrap();
        sweep(dir.path());
        let left = |name| path(name).exists();
        assert!(!left("switchd-run-1.sock"));
        assert!(left("switchd-run-2.sock") && left("other.sock") && left("switchd-run-3.txt"));
    }

    #[test]
    fn a_choice_becomes_a_plan() {
        let here = Surroundings {
            cores: 2,
            euid: 0,
            runtime_dir: None,
        };
        let choice = ("sw3".to_owned(), "10.0.7.0/24".parse().unwrap());
        let plan = private_plan(&choice, &here, &Wishes::default()).unwrap();
        assert_eq!(plan.network.bridge.as_str(), "sw3");
        assert_eq!(plan.network.gateway, Ipv4Addr::new(10, 0, 7, 1));
        assert!(
            plan.control
                .ends_with(format!("switchd-run-{}.sock", std::process::id()))
        );
        let nowhere = Surroundings {
            euid: 1_000,
            ..here
        };
        assert!(
            private_plan(&choice, &nowhere, &Wishes::default())
                .unwrap()
                .control
                .is_absolute()
        );
    }
}
