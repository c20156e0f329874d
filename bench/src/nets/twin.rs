//! docker0's twin: veth pairs on a kernel bridge, nftables DNAT and masquerade, conntrack, in the
//! shape that Docker gives them.

use super::links::{address, index, up};
use super::{C1, C2, GATEWAY, Hosts, LAST_PORT, Net, OUTSIDE, PORT, UPLINK, Way};
use crate::Result;
use control::netlink::{LinkChange, Netlink, Real, Route};
use control::netns::Netns;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

/// The kernel's network.
#[derive(Debug)]
pub struct TwinNet {
    hosts: Hosts,
    nat: bool,
}

impl TwinNet {
    /// Builds it. Without the `nft` program it has no rules and carries L2 only, which is said
    /// aloud: L2 measures then compare with a bare bridge, which docker0 is not.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn build() -> Result<TwinNet> {
        let hosts = Hosts::create()?;
        let mut host = Real::inside(&hosts.host)?;
        host.create_bridge("docker0")?;
        let bridge = index(&mut host, "docker0")?;
        address(&mut host, bridge, GATEWAY)?;
        up(&mut host, bridge)?;
        for (name, ns, ip) in [("veth1", &hosts.c1, C1), ("veth2", &hosts.c2, C2)] {
            let port = wire(&mut host, name, ns, ip, Some(GATEWAY))?;
            let change = LinkChange {
                master: Some(bridge),
                up: Some(true),
                ..LinkChange::default()
            };
            host.change_link(port, &change)?;
        }
        let uplink = wire(&mut host, "uplink", &hosts.outside, OUTSIDE, None)?;
        address(&mut host, uplink, UPLINK)?;
        up(&mut host, uplink)?;
        hosts
            .host
            .run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))??;
        let nat = hosts.host.run(load_rules)??;
        if !nat {
            eprintln!(
                "versus: WARNING: the program `nft` is not installed (apt-get install nftables), so \
                 the twin has NO NAT rules and no conntrack: only L2 measures run, and they compare \
                 with a bare bridge, which docker0 is not"
            );
        }
        Ok(TwinNet { hosts, nat })
    }
}

impl Net for TwinNet {
    fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    fn lacks(&self, way: Way) -> Option<&'static str> {
        (!self.nat && way != Way::L2).then_some(
            "the program `nft` is not installed (apt-get install nftables), so the twin has no NAT",
        )
    }

    fn pid(&self) -> Option<u32> {
        None
    }

    /// The kernel has no account of frames that would have to add up: see [`crate::loss`].
    fn check(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A veth pair: `name` stays, `eth0` with the address is in `ns`. Gives the index of `name`.
fn wire(
    host: &mut Real,
    name: &str,
    ns: &Netns,
    ip: Ipv4Addr,
    gateway: Option<Ipv4Addr>,
) -> Result<u32> {
    host.create_veth(name, "peer")?;
    let peer = index(host, "peer")?;
    let change = LinkChange {
        netns: Some(ns.as_fd()),
        name: Some("eth0"),
        ..LinkChange::default()
    };
    host.change_link(peer, &change)?;
    let mut there = Real::inside(ns)?;
    let eth0 = index(&mut there, "eth0")?;
    address(&mut there, eth0, ip)?;
    up(&mut there, eth0)?;
    if let Some(gateway) = gateway {
        there.add_route(&Route::default_via(gateway, eth0))?;
    }
    index(host, name)
}

/// The rules of a Docker host with one published range, as `iptables-nft` makes them: a NAT table
/// whose DOCKER chain is behind `fib daddr type local`, and a forward chain that lets answers and
/// what was published through.
fn rules() -> String {
    format!(
        "table ip nat {{
  chain DOCKER {{
    iifname \"docker0\" counter return
    tcp dport {PORT}-{LAST_PORT} counter dnat to {C1}
    udp dport {PORT}-{LAST_PORT} counter dnat to {C1}
  }}
  chain PREROUTING {{
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local counter jump DOCKER
  }}
  chain OUTPUT {{
    type nat hook output priority -100; policy accept;
    ip daddr != 127.0.0.0/8 fib daddr type local counter jump DOCKER
  }}
  chain POSTROUTING {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname != \"docker0\" ip saddr 10.0.0.0/24 counter masquerade
  }}
}}
table ip filter {{
  chain DOCKER {{
    iifname != \"docker0\" oifname \"docker0\" ip daddr {C1} counter accept
  }}
  chain FORWARD {{
    type filter hook forward priority filter; policy drop;
    oifname \"docker0\" ct state related,established counter accept
    oifname \"docker0\" counter jump DOCKER
    iifname \"docker0\" oifname != \"docker0\" counter accept
    iifname \"docker0\" oifname \"docker0\" counter accept
  }}
}}
"
    )
}

/// Loads the rules into the calling thread's namespace. False when there is no `nft`.
fn load_rules() -> Result<bool> {
    let mut child = match Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
    {
        Ok(child) => child,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e.into()),
    };
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(rules().as_bytes())?;
    }
    match child.wait()?.success() {
        true => Ok(true),
        false => Err("nft refused the twin's rules".into()),
    }
}
