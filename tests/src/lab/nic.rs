//! A host with an interface towards an outside: `--uplink nic` shares it with the host.

use super::ruleset::{Ruleset, load_some};
use super::{Daemon, Ns};
use control::netlink::{Address, LinkChange, Netlink, Real, Route};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;

/// The host's address, which the switch shares.
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The outside's, and the host's router.
pub const LAN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The host's interface.
pub const NIC: &str = "nic0";

/// All of it. The scenario's own namespace is the host.
pub struct NicWorld {
    /// The host.
    pub host: Ns,
    /// The outside, at the other end of the host's interface.
    pub lan: Ns,
    /// The containers, `web` and `db`.
    pub c: Vec<Ns>,
    /// The switch.
    pub daemon: Daemon,
    before: Settings,
}

/// What of a host a switch leaves as it is: sysctls, and the ruleset where there is one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    sysctls: BTreeMap<String, String>,
    ruleset: Option<Ruleset>,
}

impl Settings {
    /// Those of now.
    pub fn of(host: &Ns) -> Settings {
        Settings {
            sysctls: sysctls(host),
            ruleset: Ruleset::of(host.netns()),
        }
    }

    /// Fails, naming the first difference, if they are not these any more.
    pub fn still_hold(&self, host: &Ns, when: &str) {
        let now = Settings::of(host);
        for (name, value) in &self.sysctls {
            assert_eq!(now.sysctls.get(name), Some(value), "{name} {when}");
        }
        let more = |name: &&String| !self.sysctls.contains_key(*name);
        let more: Vec<_> = now.sysctls.keys().filter(more).collect();
        assert!(more.is_empty(), "new {when}: {more:?}");
        assert_eq!(now.ruleset, self.ruleset, "the ruleset {when}");
    }
}

/// The host and its outside, without a switch; the outside is named `lan`.
pub fn host_and_lan() -> (Ns, Ns) {
    let (host, lan) = (Ns::own(), Ns::named("lan"));
    control::attach::loopback_up(&mut host.netlink()).expect("lo");
    wire(&host, NIC, &lan, "eth0");
    give_address(&host, NIC, HOST, 24);
    give_address(&lan, "eth0", LAN, 24);
    default_route(&host, NIC, LAN);
    (host, lan)
}

/// A pair of interfaces between two namespaces, up.
pub fn wire(a: &Ns, a_name: &str, b: &Ns, b_name: &str) {
    let mut nl = a.netlink();
    nl.create_veth(a_name, "peer-of-a").expect("a veth pair");
    let peer = nl.link("peer-of-a").expect("asking").expect("the peer");
    let there = std::fs::File::open(b.path()).expect("the namespace");
    let change = LinkChange {
        netns: Some(there.as_fd()),
        name: Some(b_name),
        ..LinkChange::default()
    };
    nl.change_link(peer.index, &change).expect("moving it");
    set_up(a, a_name, true);
    set_up(b, b_name, true);
}

/// Sets an interface up or down.
pub fn set_up(ns: &Ns, name: &str, up: bool) {
    let change = LinkChange {
        up: Some(up),
        ..LinkChange::default()
    };
    let index = ns.link(name).expect("that interface").index;
    ns.netlink()
        .change_link(index, &change)
        .expect("up or down");
}

fn address(ns: &Ns, name: &str, ip: Ipv4Addr, prefix: u8) -> (Real, Address) {
    let index = ns.link(name).expect("that interface").index;
    (ns.netlink(), Address { index, ip, prefix })
}

/// Gives an interface an address.
pub fn give_address(ns: &Ns, name: &str, ip: Ipv4Addr, prefix: u8) {
    let (mut nl, address) = address(ns, name, ip, prefix);
    nl.add_address(&address).expect("giving an address");
}

/// Takes it away.
pub fn take_address(ns: &Ns, name: &str, ip: Ipv4Addr, prefix: u8) {
    let (mut nl, address) = address(ns, name, ip, prefix);
    nl.delete_address(&address).expect("taking an address");
}

/// Gives a namespace a default route.
pub fn default_route(ns: &Ns, name: &str, via: Ipv4Addr) {
    let index = ns.link(name).expect("that interface").index;
    let route = Route::default_via(via, index);
    ns.netlink().add_route(&route).expect("a default route");
}

impl NicWorld {
    /// Makes it, and a switch with these arguments and `web` and `db` as containers.
    pub fn new(args: &[&str]) -> NicWorld {
        let (host, lan) = host_and_lan();
        let c = vec![Ns::named("web"), Ns::named("db")];
        // Something to compare. Where the kernel has no nf_tables the comparison says so.
        let _ = load_some(host.netns());
        let before = Settings::of(&host);
        let own = ["--attach=web:10.0.0.2", "--attach=db:10.0.0.3"];
        let daemon = Daemon::start(&[&own, args].concat());
        NicWorld {
            host,
            lan,
            c,
            daemon,
            before,
        }
    }

    /// SIGTERM to the switch: exit code 0, balanced books, no interface of its own left, and no
    /// other setting of the host changed, nor a rule, while it ran or after.
    pub fn finish(self) {
        self.before.still_hold(&self.host, "while the switch ran");
        self.daemon.terminate();
        assert_eq!(self.host.links(), ["lo", NIC]);
        self.before.still_hold(&self.host, "after it ran");
        for ns in &self.c {
            assert_eq!(ns.links(), ["lo"], "interfaces left in {ns:?}");
        }
        for name in ["web", "db", "lan"] {
            control::netns::delete_named(name).expect("deleting a namespace");
        }
    }
}

/// The host's network settings, but those of the switch's own interface, and those that count.
fn sysctls(host: &Ns) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    host.run(|| gather(Path::new("/proc/sys/net"), &mut all));
    all.retain(|name, _| !name.contains("/sw0/") && !name.contains("conntrack_count"));
    all
}

fn gather(dir: &Path, all: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            gather(&path, all);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            all.insert(path.display().to_string(), text);
        }
    }
}
