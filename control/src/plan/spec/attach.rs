//! `NETNS[:IP][,name=eth0][,mac=02:42:0a:00:00:02]`

use super::{IfName, NetnsRef, SpecError, host_address};
use dataplane::base::Mac;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// How an attachment is written.
pub const SHAPE: &str = "NETNS[:IP][,name=eth0][,mac=02:42:0a:00:00:02], as web:10.0.0.2";

/// A namespace to attach, as it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttachSpec {
    /// The namespace.
    pub netns: NetnsRef,
    /// Its address; the next free one if `None`.
    pub ip: Option<Ipv4Addr>,
    /// Name of the interface in there (`eth0`).
    pub name: IfName,
    /// Its MAC; derived from the address if `None`.
    pub mac: Option<Mac>,
}

impl FromStr for AttachSpec {
    type Err = SpecError;

    fn from_str(spec: &str) -> Result<AttachSpec, SpecError> {
        let (netns, rest) = NetnsRef::split(spec);
        if netns.is_empty() {
            return Err(SpecError::Shape {
                text: spec.to_owned(),
                what: "a namespace to attach",
                shape: SHAPE,
            });
        }
        let netns: NetnsRef = netns.parse()?;
        let (ip, options) = match rest.strip_prefix(':') {
            None => (None, rest),
            Some(rest) => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (ip, options) = rest.split_at_checked(end).unwrap_or((rest, ""));
                let ip = host_address(ip, "a container's address", spec)?;
                (Some(ip), options)
            }
        };
        let (mut name, mut mac) = (None, None);
        for option in options.split(',').skip(1) {
            let twice = |key: &str| SpecError::Twice {
                key: key.to_owned(),
                spec: spec.to_owned(),
            };
            match option.split_once('=') {
                Some(("name", v)) => {
                    if name.replace(v.parse::<IfName>()?).is_some() {
                        return Err(twice("name"));
                    }
                }
                Some(("mac", v)) => {
                    if mac.replace(parse_mac(v, spec)?).is_some() {
                        return Err(twice("mac"));
                    }
                }
                _ => {
                    return Err(SpecError::Key {
                        key: option.to_owned(),
                        keys: "name=INTERFACE and mac=ADDRESS",
                        spec: spec.to_owned(),
                    });
                }
            }
        }
        let name = match name {
            Some(n) => n,
            None => "eth0".parse()?,
        };
        Ok(AttachSpec {
            netns,
            ip,
            name,
            mac,
        })
    }
}

fn parse_mac(text: &str, spec: &str) -> Result<Mac, SpecError> {
    let bad = |why| SpecError::Mac {
        text: text.to_owned(),
        why,
        spec: spec.to_owned(),
    };
    let mac: Mac = text
        .parse()
        .map_err(|_| bad("is not a MAC address: write six hex octets, as 02:42:0a:00:00:02"))?;
    if mac == Mac::ZERO {
        return Err(bad("is all zero: no interface can have it"));
    }
    if mac.is_group() {
        return Err(bad(
            "is a group address: the first octet of an interface's MAC is even",
        ));
    }
    Ok(mac)
}
