//! `none`, `nic[:IFNAME]`, `sockets[,dns=..]` or
//! `tap:NETNS:IFNAME,ip=A.B.C.D/len,peer=E.F.G.H/len`

use super::sockets::{self, SocketsSpec};
use super::{IfName, NetnsRef, SpecError, digits, host_address};
use ipnet::Ipv4Net;
use std::str::FromStr;

/// How an uplink is written.
pub const SHAPE: &str = "none, nic, nic:IFNAME, sockets[,dns=ADDRESS|off] or \
     tap:NETNS:IFNAME,ip=A.B.C.D/LEN,peer=E.F.G.H/LEN, \
     as tap:out:eth0,ip=192.0.2.1/24,peer=192.0.2.2/24";

/// The outside world, as it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UplinkSpec {
    /// There is none.
    None,
    /// A namespace.
    Tap(UplinkTap),
    /// An interface of the host, shared with it.
    Nic(UplinkNic),
    /// The host's ordinary sockets.
    Sockets(SocketsSpec),
}

impl UplinkSpec {
    /// The namespace, if it is one.
    pub fn tap(&self) -> Option<&UplinkTap> {
        match self {
            UplinkSpec::Tap(tap) => Some(tap),
            _ => None,
        }
    }

    /// How ordinary sockets are used, if they are.
    pub fn sockets(&self) -> Option<&SocketsSpec> {
        match self {
            UplinkSpec::Sockets(s) => Some(s),
            _ => None,
        }
    }
}

/// An outside world behind an interface of the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UplinkNic {
    /// The interface; `None`: that of the default route.
    pub ifname: Option<IfName>,
    /// Whether a person asked for it. If not, the switch does without where it can't be had.
    pub asked: bool,
}

impl UplinkNic {
    /// What is tried when nobody said anything: the interface of the default route.
    pub const DEFAULT: UplinkNic = UplinkNic {
        ifname: None,
        asked: false,
    };
}

/// An outside world that is a namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UplinkTap {
    /// The namespace.
    pub netns: NetnsRef,
    /// Name of the interface in there.
    pub ifname: IfName,
    /// The switch's own external address, with the prefix length of the outside network.
    pub ip: Ipv4Net,
    /// The address of the interface in there.
    pub peer: Ipv4Net,
}

impl FromStr for UplinkSpec {
    type Err = SpecError;

    fn from_str(spec: &str) -> Result<UplinkSpec, SpecError> {
        let shape = || SpecError::Shape {
            text: spec.to_owned(),
            what: "an uplink",
            shape: SHAPE,
        };
        if spec == "none" {
            return Ok(UplinkSpec::None);
        }
        let asked = true;
        if spec == "nic" {
            return Ok(UplinkSpec::Nic(UplinkNic {
                ifname: None,
                asked,
            }));
        }
        if let Some(name) = spec.strip_prefix("nic:") {
            let ifname = Some(name.parse()?);
            return Ok(UplinkSpec::Nic(UplinkNic { ifname, asked }));
        }
        if let Some(rest) = sockets::words(spec) {
            return sockets::parse(rest, spec).map(UplinkSpec::Sockets);
        }
        let rest = spec.strip_prefix("tap:").ok_or_else(shape)?;
        let (netns, rest) = NetnsRef::split(rest);
        let rest = rest.strip_prefix(':').ok_or_else(shape)?;
        let mut parts = rest.split(',');
        let ifname = parts.next().filter(|n| !n.is_empty()).ok_or_else(shape)?;
        let (mut ip, mut peer) = (None, None);
        for part in parts {
            let (key, slot) = match part.split_once('=') {
                Some(("ip", _)) => ("ip", &mut ip),
                Some(("peer", _)) => ("peer", &mut peer),
                _ => {
                    return Err(SpecError::Key {
                        key: part.to_owned(),
                        keys: "ip=ADDRESS/LEN and peer=ADDRESS/LEN",
                        spec: spec.to_owned(),
                    });
                }
            };
            let value = part.split_once('=').map_or("", |(_, v)| v);
            if slot.replace(with_prefix(part, value, spec)?).is_some() {
                return Err(SpecError::Twice {
                    key: key.to_owned(),
                    spec: spec.to_owned(),
                });
            }
        }
        match (ip, peer) {
            (Some(ip), Some(peer)) => Ok(UplinkSpec::Tap(UplinkTap {
                netns: netns.parse()?,
                ifname: ifname.parse()?,
                ip,
                peer,
            })),
            _ => Err(shape()),
        }
    }
}

/// `A.B.C.D/LEN`, LEN from 8 to 30: the address of an interface and its network.
fn with_prefix(part: &str, text: &str, spec: &str) -> Result<Ipv4Net, SpecError> {
    let bad = |len: &str| SpecError::Prefix {
        text: len.to_owned(),
        min: 8,
        max: 30,
        spec: spec.to_owned(),
    };
    let (ip, len) = text.split_once('/').ok_or_else(|| SpecError::NoPrefix {
        part: part.to_owned(),
        spec: spec.to_owned(),
    })?;
    let ip = host_address(ip, "an interface's address", spec)?;
    let prefix = digits::<u8>(len)
        .filter(|p| (8..=30).contains(p))
        .ok_or_else(|| bad(len))?;
    Ipv4Net::new(ip, prefix).map_err(|_| bad(len))
}
