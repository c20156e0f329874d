//! Two hosts and nothing between them: a plain veth pair, which no switch can beat. And the same
//! with `slirp4netns` between them, which is what users without privilege have now.

use super::links::{address, index, up};
use super::{Hosts, Net, OUTSIDE, UPLINK, Way};
use crate::Result;
use control::netlink::{LinkChange, Netlink, Real};
use control::netns::Netns;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long slirp4netns may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Wires two namespaces: `a` has [`UPLINK`], `b` has [`OUTSIDE`].
pub(super) fn wire(a: &Netns, b: &Netns, mtu: u32) -> Result<()> {
    let mut here = Real::inside(a)?;
    here.create_veth("up0", "peer")?;
    let peer = index(&mut here, "peer")?;
    let change = LinkChange {
        netns: Some(b.as_fd()),
        name: Some("eth0"),
        ..LinkChange::default()
    };
    here.change_link(peer, &change)?;
    for (ns, name, ip) in [(a, "up0", UPLINK), (b, "eth0", OUTSIDE)] {
        let mut nl = Real::inside(ns)?;
        let i = index(&mut nl, name)?;
        let change = LinkChange {
            mtu: Some(mtu),
            ..LinkChange::default()
        };
        nl.change_link(i, &change)?;
        address(&mut nl, i, ip)?;
        up(&mut nl, i)?;
    }
    Ok(())
}

/// A veth pair from the first container to the outside.
#[derive(Debug)]
pub struct VethNet {
    hosts: Hosts,
}

impl VethNet {
    /// Builds it.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn build(mtu: u32) -> Result<VethNet> {
        let hosts = Hosts::create()?;
        wire(&hosts.c1, &hosts.outside, mtu)?;
        Ok(VethNet { hosts })
    }
}

impl Net for VethNet {
    fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    fn lacks(&self, way: Way) -> Option<&'static str> {
        (way == Way::L2).then_some("there is one container only")
    }

    fn pid(&self) -> Option<u32> {
        None
    }

    fn check(&mut self) -> Result<()> {
        Ok(())
    }
}

/// slirp4netns in the host's namespace, which has a veth pair to the outside.
#[derive(Debug)]
pub struct SlirpNet {
    hosts: Hosts,
    process: Child,
}

impl SlirpNet {
    /// Builds it; an inner `Err` says why it can't be had here.
    ///
    /// # Errors
    /// What the kernel refused, or a slirp4netns that does not come up.
    pub fn build(mtu: u32) -> Result<std::result::Result<SlirpNet, String>> {
        let hosts = Hosts::create()?;
        wire(&hosts.host, &hosts.outside, mtu)?;
        let started = hosts.host.run(|| {
            Command::new("slirp4netns")
                .args([
                    "--configure",
                    "--disable-host-loopback",
                    "--netns-type=path",
                ])
                .arg(format!("--mtu={mtu}"))
                .arg(hosts.c1.proc_path())
                .arg("tap0")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
        })?;
        let mut process = match started {
            Ok(child) => child,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let how = "slirp4netns is not installed (apt-get install slirp4netns)";
                return Ok(Err(how.to_owned()));
            }
            Err(e) => return Err(e.into()),
        };
        let begun = Instant::now();
        let there = Ipv4Addr::new(10, 0, 2, 100);
        loop {
            let addresses = Real::inside(&hosts.c1)?.addresses()?;
            if addresses.iter().any(|a| a.ip == there) {
                return Ok(Ok(SlirpNet { hosts, process }));
            }
            if let Some(status) = process.try_wait()? {
                return Ok(Err(format!("slirp4netns ended: {status}")));
            }
            if begun.elapsed() > PATIENCE {
                let _ = process.kill();
                return Err("slirp4netns did not come up".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Net for SlirpNet {
    fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    fn lacks(&self, way: Way) -> Option<&'static str> {
        (way != Way::Masquerade).then_some("slirp4netns publishes ports by its own API only")
    }

    fn pid(&self) -> Option<u32> {
        Some(self.process.id())
    }

    fn check(&mut self) -> Result<()> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("slirp4netns ended: {status}").into()),
        }
    }
}

impl Drop for SlirpNet {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
