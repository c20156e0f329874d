//! A host, containers and an outside, with a switch between them.

use super::{Daemon, Ns};
use std::net::{Ipv4Addr, SocketAddr};

/// The gateway: the host's address on `sw0`.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The switch's address on the outside network.
pub const UPLINK: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The outside client's.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The first container's, the others follow.
pub const C1: Ipv4Addr = container(0);
/// The second container's.
pub const C2: Ipv4Addr = container(1);

/// The address of the `n`th container, from 0.
pub const fn container(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 2 + n)
}

/// What to make.
#[derive(Clone, Debug)]
pub struct WorldSpec {
    /// `--workers`.
    pub workers: usize,
    /// `--offload`.
    pub offload: &'static str,
    /// How many containers, named `c1`, `c2`, … from 10.0.0.2 on.
    pub containers: u8,
    /// Further arguments of switchd.
    pub args: Vec<String>,
}

impl Default for WorldSpec {
    fn default() -> WorldSpec {
        WorldSpec {
            workers: 1,
            offload: "auto",
            containers: 2,
            args: Vec::new(),
        }
    }
}

impl WorldSpec {
    /// With these further arguments.
    #[must_use]
    pub fn with(mut self, args: &[&str]) -> WorldSpec {
        self.args.extend(args.iter().map(|a| (*a).to_owned()));
        self
    }

    /// One per combination of one and two workers, with and without offloads.
    pub fn each() -> [WorldSpec; 4] {
        [(1, "auto"), (2, "auto"), (1, "off"), (2, "off")].map(|(workers, offload)| WorldSpec {
            workers,
            offload,
            ..WorldSpec::default()
        })
    }
}

/// All of it, running. The scenario's own namespace is the host.
pub struct World {
    /// The host.
    pub host: Ns,
    /// The containers.
    pub c: Vec<Ns>,
    /// The outside.
    pub out: Ns,
    /// The switch.
    pub daemon: Daemon,
}

impl World {
    /// Makes it, and a switch with an uplink.
    pub fn new(spec: &WorldSpec) -> World {
        let host = Ns::own();
        let out = Ns::named("out");
        let names: Vec<String> = (1..=spec.containers).map(|n| format!("c{n}")).collect();
        let c: Vec<Ns> = names.iter().map(|n| Ns::named(n)).collect();
        let mut args = vec![
            format!("--workers={}", spec.workers),
            format!("--offload={}", spec.offload),
            format!("--uplink=tap:out:eth0,ip={UPLINK}/24,peer={OUTSIDE}/24"),
        ];
        for (n, name) in (0..).zip(&names) {
            args.push(format!("--attach={name}:{}", container(n)));
        }
        args.extend(spec.args.iter().cloned());
        let daemon = Daemon::start(&args);
        World {
            host,
            c,
            out,
            daemon,
        }
    }

    /// SIGTERM to the switch: exit code 0, balanced books, and no interface left anywhere.
    pub fn finish(self) {
        self.daemon.terminate();
        for ns in self.c.iter().chain([&self.host, &self.out]) {
            assert_eq!(ns.links(), ["lo"], "interfaces left in {ns:?}");
        }
        for n in 1..=self.c.len() {
            control::netns::delete_named(&format!("c{n}")).expect("deleting a namespace");
        }
        control::netns::delete_named("out").expect("deleting a namespace");
    }
}

/// Address and port.
pub fn at(ip: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::from((ip, port))
}
