//! From words to one [`Plan`]: everything that can be known without asking the machine.

use super::addresses::host_of;
use super::spec::scalar::{self, Offload};
use super::spec::sockets;
use super::spec::{
    AttachSpec, IfName, NetnsRef, SocketsSpec, UplinkNic, UplinkSpec, UplinkTap, publication,
};
use super::tables::{limits, timeouts};
use super::{Addresses, Attach, Failure, LogSpec, Network, Plan};
use crate::flags::Raw;
use dataplane::base::Mac;
use dataplane::nat::Publication;
use dataplane::worker::wait::SPIN;
use ipnet::Ipv4Net;
use std::path::PathBuf;

/// Smallest MTU of an IPv4 link (RFC 791) and largest of a TAP (65,535 less its headers).
pub const MTU: std::ops::RangeInclusive<u16> = 68..=65_521;

/// What the defaults depend on, read once by the program.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Cores that this process may use.
    pub cores: usize,
    /// Effective user id.
    pub euid: u32,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
}

impl Surroundings {
    /// This process's.
    pub fn current() -> Surroundings {
        Surroundings {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            euid: nix::unistd::geteuid().as_raw(),
            runtime_dir: std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from),
        }
    }

    /// Where the control socket is when nobody says: `/run/switchd/switchd.sock` for root, else
    /// under `$XDG_RUNTIME_DIR`.
    ///
    /// # Errors
    /// A user without a runtime directory.
    pub fn control(&self) -> Result<PathBuf, Failure> {
        if self.euid == 0 {
            return Ok(PathBuf::from("/run/switchd/switchd.sock"));
        }
        match &self.runtime_dir {
            Some(dir) if dir.is_absolute() => Ok(dir.join("switchd/switchd.sock")),
            _ => Err(Failure::usage(
                "no place for the control socket: not root, and $XDG_RUNTIME_DIR is not set; \
                 give --control PATH",
            )),
        }
    }
}

pub(super) fn usage<E: ToString>(flag: &'static str) -> impl Fn(E) -> Failure {
    move |e| Failure::Usage(format!("--{flag}: {}", e.to_string()))
}

/// Makes the plan.
///
/// # Errors
/// The first contradiction, as one sentence that names the flag.
pub fn plan(raw: &Raw, here: &Surroundings) -> Result<Plan, Failure> {
    let network = network(raw)?;
    let offload = match &raw.offload {
        None => Offload::Auto,
        Some(t) => scalar::offload(t).map_err(usage("offload"))?,
    };
    let workers = match &raw.workers {
        None => (here.cores / 2).clamp(1, 64),
        Some(t) => {
            let n = scalar::number(t, "a number of workers", 1, 64).map_err(usage("workers"))?;
            usize::try_from(n).unwrap_or(1)
        }
    };
    let bulk_worker = match &raw.bulk_worker {
        None => true,
        Some(t) => scalar::auto_off(t, "a choice").map_err(usage("bulk-worker"))?,
    };
    let spin = match &raw.spin {
        None => SPIN,
        Some(t) => scalar::spin(t).map_err(usage("spin"))?,
    };
    let low_latency = match raw.latency.as_deref() {
        None => false,
        Some(t) => scalar::latency(t).map_err(usage("latency"))?,
    };
    let control = match &raw.control {
        None => here.control()?,
        Some(t) => control_path(t)?,
    };
    let host_netns: Option<NetnsRef> = match &raw.host_netns {
        None => None,
        Some(t) => Some(t.parse().map_err(usage("host-netns"))?),
    };
    let uplink = match &raw.uplink {
        // Without the right to it the daemon does without.
        None if here.euid == 0 => UplinkSpec::Nic(UplinkNic::DEFAULT),
        None => UplinkSpec::Sockets(sockets_fit(raw, &network, SocketsSpec::default())?),
        Some(t) => match t.parse().map_err(usage("uplink"))? {
            UplinkSpec::Tap(u) => {
                UplinkSpec::Tap(check_uplink(u, &network).map_err(usage("uplink"))?)
            }
            UplinkSpec::Nic(nic) if nic.ifname.as_ref() == Some(&network.bridge) => {
                return Err(Failure::Usage(format!(
                    "--uplink: {} is the switch's own interface: name one that leads out",
                    network.bridge
                )));
            }
            UplinkSpec::Sockets(s) => UplinkSpec::Sockets(sockets_fit(raw, &network, s)?),
            other => other,
        },
    };
    let attach = attachments(raw, &network, uplink.tap(), host_netns.as_ref())?;
    let ports = publications(raw, &network)?;
    let on_off = |text: &Option<String>, flag: &'static str, default: bool| match text {
        None => Ok(default),
        Some(t) => scalar::on_off(t, "a choice").map_err(usage(flag)),
    };
    let localhost = on_off(&raw.localhost, "localhost", true)?;
    Ok(Plan {
        tcp_pickup: on_off(&raw.tcp_pickup, "tcp-pickup", false)?,
        igmp_snooping: on_off(&raw.igmp_snooping, "igmp-snooping", true)?,
        timeouts: timeouts(raw)?,
        limits: limits(raw)?,
        log: match &raw.log {
            None => LogSpec::default(),
            Some(t) => LogSpec::parse(t).map_err(usage("log"))?,
        },
        network,
        workers,
        // On one core it could only take turns, and the engine of sockets is the worker's own.
        bulk_worker: bulk_worker && workers == 1 && here.cores > 1 && uplink.sockets().is_none(),
        spin,
        low_latency,
        offload,
        control,
        host_netns,
        uplink,
        localhost,
        attach,
        ports,
    })
}

fn network(raw: &Raw) -> Result<Network, Failure> {
    let subnet =
        scalar::subnet(raw.subnet.as_deref().unwrap_or("10.0.0.0/24")).map_err(usage("subnet"))?;
    let gateway = match &raw.gateway {
        None => subnet
            .hosts()
            .next()
            .ok_or_else(|| Failure::Usage(format!("--subnet: {subnet} has no host address")))?,
        Some(t) => {
            let ip = scalar::gateway(t).map_err(usage("gateway"))?;
            host_of(subnet, ip).map_err(usage("gateway"))?;
            ip
        }
    };
    let bridge: IfName = raw
        .bridge
        .as_deref()
        .unwrap_or("sw0")
        .parse()
        .map_err(usage("bridge"))?;
    if bridge.as_str() == "lo" {
        return Err(Failure::usage(
            "--bridge: 'lo' is every namespace's loopback: choose another name",
        ));
    }
    let mtu = match &raw.mtu {
        None => 1500,
        Some(t) => {
            let n = scalar::number(t, "an MTU", (*MTU.start()).into(), (*MTU.end()).into())
                .map_err(usage("mtu"))?;
            u16::try_from(n).unwrap_or(*MTU.end())
        }
    };
    Ok(Network {
        subnet,
        gateway,
        bridge,
        mtu,
    })
}

/// A path that fits a Unix socket's address (108 bytes with the closing zero), made absolute.
fn control_path(text: &str) -> Result<PathBuf, Failure> {
    let path = std::path::absolute(text)
        .ok()
        .filter(|p| p.file_name().is_some() && !text.ends_with('/'))
        .ok_or_else(|| {
            Failure::Usage(format!(
                "--control: '{text}' is not the path of a file: write one, as /tmp/s.sock"
            ))
        })?;
    if path.as_os_str().len() > 107 {
        return Err(Failure::Usage(format!(
            "--control: '{text}' is too long for a Unix socket: at most 107 bytes"
        )));
    }
    Ok(path)
}

/// Both addresses in one network, different, and nothing shared with the subnet.
fn check_uplink(u: UplinkTap, network: &Network) -> Result<UplinkTap, String> {
    let net = u.ip.trunc();
    if u.ip.prefix_len() != u.peer.prefix_len() || !net.contains(&u.peer.addr()) {
        return Err(format!(
            "ip={} and peer={} are not in one network: give both the same network and length",
            u.ip, u.peer
        ));
    }
    for (key, ip) in [("ip", u.ip.addr()), ("peer", u.peer.addr())] {
        host_of(net, ip).map_err(|e| format!("{key}: {e}"))?;
    }
    if u.ip.addr() == u.peer.addr() {
        return Err(format!(
            "ip and peer are both {}: the switch and the outside need an address each",
            u.ip.addr()
        ));
    }
    if overlap(net, network.subnet) {
        return Err(format!(
            "the outside network {net} overlaps the subnet {}: choose another --subnet",
            network.subnet
        ));
    }
    Ok(u)
}

/// With `--uplink sockets` the engine is the host behind the gateway, in this process's namespace.
fn sockets_fit(raw: &Raw, network: &Network, s: SocketsSpec) -> Result<SocketsSpec, Failure> {
    let own = Ipv4Net::new_assert(sockets::EXTERNAL, sockets::PREFIX).trunc();
    if overlap(own, network.subnet) {
        return Err(Failure::Usage(format!(
            "--uplink sockets needs {own} for itself, which the subnet {} overlaps: choose another \
             --subnet",
            network.subnet
        )));
    }
    if raw.localhost.as_deref() == Some("off") {
        return Err(Failure::usage(
            "--localhost off does not go with --uplink sockets, where published ports are the \
             host's own listeners: leave it out, and publish what is to be reached",
        ));
    }
    if raw.host_netns.is_some() {
        return Err(Failure::usage(
            "--host-netns does not go with --uplink sockets, whose sockets are those of the \
             namespace that switchd is started in: start it there",
        ));
    }
    Ok(s)
}

fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// Every attachment with its address: those that name one first, the others the next free.
fn attachments(
    raw: &Raw,
    network: &Network,
    uplink: Option<&UplinkTap>,
    host: Option<&NetnsRef>,
) -> Result<Vec<Attach>, Failure> {
    let specs = raw
        .attach
        .iter()
        .map(|t| t.parse::<AttachSpec>().map(|s| (t, s)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(usage("attach"))?;
    let mut places: Vec<(&NetnsRef, &IfName)> = Vec::new();
    if let Some(u) = uplink {
        places.push((&u.netns, &u.ifname));
    }
    if let Some(h) = host {
        places.push((h, &network.bridge));
    }
    for (text, s) in &specs {
        if Some(&s.netns) == host {
            return Err(Failure::Usage(format!(
                "--attach '{text}': {} is the host's namespace, which {} connects already",
                s.netns, network.bridge
            )));
        }
        if places.contains(&(&s.netns, &s.name)) {
            return Err(Failure::Usage(format!(
                "--attach '{text}': {} in {} is made twice: give another name=",
                s.name, s.netns
            )));
        }
        places.push((&s.netns, &s.name));
    }
    let mut taken = Addresses::new(network);
    let mut done: Vec<Option<Attach>> = specs.iter().map(|_| None).collect();
    for with_ip in [true, false] {
        for (slot, (text, s)) in done.iter_mut().zip(&specs) {
            if s.ip.is_some() == with_ip {
                let attach = complete(s, &mut taken)
                    .map_err(|e| Failure::Usage(format!("--attach '{text}': {e}")))?;
                *slot = Some(attach);
            }
        }
    }
    Ok(done.into_iter().flatten().collect())
}

/// Gives an attachment its address and MAC, and takes both.
///
/// # Errors
/// An address or MAC that can't be had; nothing was taken then.
pub fn complete(
    spec: &AttachSpec,
    taken: &mut Addresses,
) -> Result<Attach, super::addresses::AddressError> {
    let ip = match spec.ip {
        Some(ip) => ip,
        None => taken.next_free()?,
    };
    let mac = spec.mac.unwrap_or(Mac::from_ip(ip));
    taken.take(ip, mac, &format!("{}@{}", spec.name, spec.netns))?;
    Ok(Attach {
        netns: spec.netns.clone(),
        name: spec.name.clone(),
        ip,
        mac,
    })
}

fn publications(raw: &Raw, network: &Network) -> Result<Vec<Publication>, Failure> {
    let mut out: Vec<Publication> = Vec::new();
    for text in &raw.ports {
        let p = publication::parse(text).map_err(usage("ports"))?;
        publication_fits(&p, network)
            .map_err(|e| Failure::Usage(format!("--ports '{text}': {e}")))?;
        if let Some(old) = out.iter().find(|old| publication::overlap(old, &p)) {
            return Err(Failure::Usage(format!(
                "--ports '{text}' overlaps '{old}': a host port can be published once"
            )));
        }
        out.push(p);
    }
    Ok(out)
}

/// Whether the container's address is one that a container of this network can have.
///
/// # Errors
/// What speaks against it.
pub fn publication_fits(
    p: &Publication,
    network: &Network,
) -> Result<(), super::addresses::AddressError> {
    Addresses::new(network).container(p.ip)
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
