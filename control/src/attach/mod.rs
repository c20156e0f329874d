//! A TAP in a namespace, from nothing to an interface that is up, and back to nothing.
//!
//! The TAP is made in switchd's own namespace under a name that nobody uses, with all its queues
//! and offloads, and moved while it is down. So switchd keeps nothing open inside the namespace:
//! a descriptor of `/dev/net/tun` that was opened there would keep the namespace alive, and its
//! end would never be seen.
//!
//! There is no list of steps to undo: the TAP is not persistent, so closing its queues takes the
//! interface away, wherever it is and whatever it is called by then, and with it its addresses
//! and routes. Each error drops the queues; so does the end of the daemon, however it comes.

pub mod foreign;
pub mod probe;
#[cfg(test)]
mod tests;

use crate::forward::limits;
use crate::netlink::{Address, Link, LinkChange, Netlink, NetlinkError, Real, Route};
use crate::netns::{Netns, NetnsError, NetnsId};
use crate::plan::spec::scalar::Offload;
use dataplane::base::Mac;
use dataplane::port::sys::{TapError, check_name, tap, tap_plain};
use dataplane::port::{Caps, PortQueue};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

/// Frames that wait in each queue for the switch to read them. What is beyond is dropped by the
/// kernel: of bursts of 5,000 small datagrams it lost 40 % with 500 frames, 32 % with 1,000, 0.5 %
/// with 4,096 and none with 8,192 (a blocking reader, 2 busy cores, Linux 6.18). A place costs 8
/// bytes, whether it is taken or not, so each of eight lanes has half as many: 256 KiB together.
pub const TXQLEN: u32 = 8_192;

/// The interface to make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spec {
    /// Its name in the namespace, at most 15 bytes.
    pub ifname: String,
    /// Its Ethernet address. For `sw0` this is the gateway's MAC.
    pub mac: Mac,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Length of its network's prefix.
    pub prefix: u8,
    /// IP bytes, 68 to 65,521.
    pub mtu: u16,
    /// Next hop of the namespace's default route, if it gets one.
    pub gateway: Option<Ipv4Addr>,
    /// Whether it may have IPv6 addresses: not so for `sw0`.
    pub ipv6: bool,
    /// Frames that wait to be read, usually [`TXQLEN`].
    pub txqlen: u32,
    /// One per worker.
    pub queues: usize,
    /// What it takes of checksums and superframes.
    pub offload: Offload,
}

/// An interface that is up.
pub struct Attached {
    /// One per worker. When the last is dropped the interface is gone.
    pub queues: Vec<Box<dyn PortQueue>>,
    /// The offloads in force.
    pub caps: Caps,
    /// The namespace that it is in; which may end any time.
    pub netns: NetnsId,
    /// The interface as the kernel describes it there.
    pub link: Link,
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attached({:?}, {} queues)", self.link, self.queues.len())
    }
}

/// Why a namespace could not be attached. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The name is in use there.
    #[error("an interface '{ifname}' exists already in {netns}: choose another name or remove it")]
    Exists {
        /// The name.
        ifname: String,
        /// The namespace as the person called it.
        netns: String,
    },
    /// There is a default route there.
    #[error(
        "{netns} has a default route already (via {via}): remove it, or the namespace would have \
         two ways out"
    )]
    DefaultRoute {
        /// The namespace as the person called it.
        netns: String,
        /// Its present next hop, or the word "an interface".
        via: String,
    },
    /// The kernel would not hand the interface over.
    #[error(
        "an interface may not be moved into {netns}: it belongs to another user namespace; run \
         switchd as root, or inside that user namespace"
    )]
    ForeignUser {
        /// The namespace as the person called it.
        netns: String,
    },
    /// The helper in a foreign user namespace did not succeed.
    #[error("{netns}: {why}")]
    Foreign {
        /// The namespace as the person called it.
        netns: String,
        /// Its sentence.
        why: String,
    },
    /// `--offload on` and the kernel has not all.
    #[error("this kernel lacks an offload ({caps:?}) that --offload on asks for: use auto")]
    Offload {
        /// What it has.
        caps: Caps,
    },
    /// The TAP could not be made.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// The namespace could not be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// A step of configuring it was refused.
    #[error("{ifname} in {netns}: {source}")]
    Netlink {
        /// The interface.
        ifname: String,
        /// The namespace as the person called it.
        netns: String,
        /// The step, and why.
        source: NetlinkError,
    },
    /// IPv6 could not be turned off.
    #[error("turning IPv6 off on {ifname} failed: {source}")]
    Ipv6 {
        /// The interface.
        ifname: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes the interface `spec` in `netns`, which may be switchd's own namespace.
pub fn attach(spec: &Spec, netns: &Netns) -> Result<Attached, AttachError> {
    check_name(&spec.ifname)?;
    if let Some(owner) = foreign::owner(netns) {
        return foreign::attach(spec, netns, &owner, !nix::unistd::geteuid().is_root());
    }
    let failed = |source| AttachError::Netlink {
        ifname: spec.ifname.clone(),
        netns: netns.label().to_owned(),
        source,
    };
    let mut there = Real::inside(netns)?;
    refuse_what_is_taken(&mut there, spec, netns.label(), &failed)?;

    let own = Netns::current()?;
    let at_home = own.id() == netns.id();
    let (name, queues, caps) = make(spec, at_home)?;
    let absent = || failed(absent(&name));
    if !at_home {
        let mut here = Real::inside(&own)?;
        let index = here.link(&name).map_err(failed)?.ok_or_else(absent)?.index;
        let change = LinkChange {
            netns: Some(netns.as_fd()),
            name: Some(&spec.ifname),
            ..LinkChange::default()
        };
        here.change_link(index, &change)
            .map_err(|e| match e.errno() {
                Some(libc::EPERM) => AttachError::ForeignUser {
                    netns: netns.label().to_owned(),
                },
                _ => failed(e),
            })?;
    }
    let there = &mut there;
    let found = there.link(&spec.ifname).map_err(failed)?;
    let index = found.ok_or_else(absent)?.index;
    if !spec.ipv6 {
        ipv6_off(there, netns, &spec.ifname, index)?;
    }
    let lanes = queues.iter().any(|q| q.lanes() > 1);
    let txqlen = if lanes { spec.txqlen / 2 } else { spec.txqlen };
    let spec = &Spec {
        txqlen,
        ..spec.clone()
    };
    configure(there, spec, index).map_err(failed)?;
    let link = there.link(&spec.ifname).map_err(failed)?;
    Ok(Attached {
        queues,
        caps,
        netns: netns.id(),
        link: link.ok_or_else(absent)?,
    })
}

/// The first route that has addresses in common with `ip/prefix`, on an interface other than
/// `except`: the bridge domain's subnet must not hide a network that the host reaches otherwise.
pub fn overlapping_route(
    nl: &mut dyn Netlink,
    ip: Ipv4Addr,
    prefix: u8,
    except: Option<u32>,
) -> Result<Option<Route>, NetlinkError> {
    let routes = nl.routes()?;
    let mut others = routes
        .into_iter()
        .filter(|r| except.is_none() || r.index != except);
    Ok(others.find(|r| r.overlaps(ip, prefix)))
}

/// Brings `lo` up, for namespaces that switchd makes itself.
pub fn loopback_up(nl: &mut dyn Netlink) -> Result<(), NetlinkError> {
    let lo = nl.link("lo")?.ok_or_else(|| absent("lo"))?;
    let change = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    nl.change_link(lo.index, &change)
}

/// What can be known to fail before anything is made.
fn refuse_what_is_taken(
    nl: &mut dyn Netlink,
    spec: &Spec,
    netns: &str,
    failed: &dyn Fn(NetlinkError) -> AttachError,
) -> Result<(), AttachError> {
    if nl.link(&spec.ifname).map_err(failed)?.is_some() {
        return Err(AttachError::Exists {
            ifname: spec.ifname.clone(),
            netns: netns.to_owned(),
        });
    }
    if spec.gateway.is_none() {
        return Ok(());
    }
    let routes = nl.routes().map_err(failed)?;
    match routes.iter().find(|r| r.prefix == 0) {
        None => Ok(()),
        Some(r) => Err(AttachError::DefaultRoute {
            netns: netns.to_owned(),
            via: match r.gateway {
                Some(g) => g.to_string(),
                None => "an interface".to_owned(),
            },
        }),
    }
}

/// Whether there is room for a TAP with all its lanes: while few descriptors are in use, of sockets
/// too. Interfaces beyond that get one lane each.
fn room_for_lanes() -> bool {
    limits::open_now() + usize::from(tap::LANES) <= limits::raise() / 16
}

/// What `--offload on` insists on.
const ON: Caps = Caps {
    big: true,
    ..Caps::ALL
};

type Made = (String, Vec<Box<dyn PortQueue>>, Caps);

/// The TAP in switchd's own namespace. Where it stays it has its name at once, which the kernel
/// then refuses if somebody was quicker.
fn make(spec: &Spec, at_home: bool) -> Result<Made, AttachError> {
    let name = match at_home {
        true => spec.ifname.as_str(),
        false => "swtmp%d",
    };
    if spec.offload == Offload::Off {
        let plain = tap_plain::create(name, spec.queues)?;
        return Ok((plain.name, plain.queues, Caps::NONE));
    }
    let wanted = spec.offload.wanted();
    let made = match spec.queues {
        1 if room_for_lanes() => tap::create_lanes(name, wanted)?,
        several => tap::create(name, several, wanted)?,
    };
    if spec.offload == Offload::On && made.caps != ON {
        return Err(AttachError::Offload { caps: made.caps });
    }
    made.expect_source(spec.mac);
    let caps = made.caps;
    Ok((made.name.clone(), made.into_queues(), caps))
}

/// From an interface that is down to one that carries traffic.
///
/// It gets no queueing discipline: the kernel would make one for each of the 256 transmit queues
/// that a multi-queue TAP may have, each with room for `txqlen` frames in three bands, which is
/// 50 MB for every interface at [`TXQLEN`]. Nor is there anything to queue for: a TAP never asks
/// its sender to wait, and frames wait in its own ring to be read.
fn configure(nl: &mut dyn Netlink, spec: &Spec, index: u32) -> Result<(), NetlinkError> {
    let change = LinkChange {
        mac: Some(spec.mac),
        mtu: Some(spec.mtu.into()),
        txqlen: Some(spec.txqlen),
        ..LinkChange::default()
    };
    nl.change_link(index, &change)?;
    nl.no_queue(index)?;
    nl.add_address(&Address {
        index,
        ip: spec.ip,
        prefix: spec.prefix,
    })?;
    let up = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    nl.change_link(index, &up)?;
    match spec.gateway {
        Some(gateway) => nl.add_route(&Route::default_via(gateway, index)),
        None => Ok(()),
    }
}

/// No IPv6 on an interface that is still down. Where /proc/sys can't be written (containers often
/// have it read-only) it is at least kept from forming addresses; without an address it neither
/// sends nor takes IPv6 unicast.
fn ipv6_off(
    nl: &mut dyn Netlink,
    netns: &Netns,
    ifname: &str,
    index: u32,
) -> Result<(), AttachError> {
    let path = format!("/proc/sys/net/ipv6/conf/{ifname}/disable_ipv6");
    let Err(source) = netns.run(|| std::fs::write(&path, "1"))? else {
        return Ok(());
    };
    // The kernel has no IPv6.
    if source.kind() == io::ErrorKind::NotFound {
        return Ok(());
    }
    let change = LinkChange {
        ipv6_addresses: Some(false),
        ..LinkChange::default()
    };
    nl.change_link(index, &change)
        .map_err(|_| AttachError::Ipv6 {
            ifname: ifname.to_owned(),
            source,
        })
}

/// An interface that was made a moment ago and is not there: somebody took it away.
fn absent(ifname: &str) -> NetlinkError {
    NetlinkError::Refused {
        what: format!("looking for the interface {ifname}"),
        source: io::Error::from_raw_os_error(libc::ENODEV),
    }
}
