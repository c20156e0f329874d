//! The small languages of the flags: one parser each, used by flags, file and API alike.
//!
//! A parser checks what can be known from the words alone; whether the words fit together is
//! asked by [`super::validate`].

pub mod attach;
pub mod ifname;
pub mod log;
pub mod netns;
pub mod publication;
pub mod scalar;
pub mod sockets;
pub mod uplink;

#[cfg(test)]
mod tests;

pub use attach::AttachSpec;
pub use ifname::IfName;
pub use log::LogSpec;
pub use netns::NetnsRef;
pub use sockets::{Dns, SocketsSpec};
pub use uplink::{UplinkNic, UplinkSpec, UplinkTap};

use std::net::Ipv4Addr;

/// What was wrong with a word of a flag: the value, the fault, the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The parts don't have the shape that was asked for.
    #[error("'{text}' is not {what}: write {shape}")]
    Shape {
        /// The words given.
        text: String,
        /// What they should have been.
        what: &'static str,
        /// How that is written.
        shape: &'static str,
    },
    /// Not an IPv4 address.
    #[error("'{text}' in '{spec}' is not an IPv4 address: write four numbers, as 10.0.0.2")]
    Address {
        /// The part at fault.
        text: String,
        /// The whole.
        spec: String,
    },
    /// An address that no interface can have.
    #[error("{ip} in '{spec}' cannot be {what}: give the address of one interface")]
    AddressKind {
        /// The address.
        ip: Ipv4Addr,
        /// What it was to be.
        what: &'static str,
        /// The whole.
        spec: String,
    },
    /// Not a port number.
    #[error("port '{text}' in '{spec}' is not a number from 1 to 65535")]
    Port {
        /// The part at fault.
        text: String,
        /// The whole.
        spec: String,
    },
    /// A range that runs backwards.
    #[error("the range {first}-{last} in '{spec}' runs backwards: write {last}-{first}")]
    Backwards {
        /// First port as given.
        first: u16,
        /// Last port as given.
        last: u16,
        /// The whole.
        spec: String,
    },
    /// The two ranges differ in length.
    #[error("'{spec}' maps {outside} ports to {inside}: the two ranges must have the same length")]
    Unequal {
        /// Ports on the host's side.
        outside: u32,
        /// Ports on the container's side.
        inside: u32,
        /// The whole.
        spec: String,
    },
    /// Neither tcp nor udp.
    #[error("protocol '{text}' in '{spec}' has no ports to publish: use tcp or udp")]
    Protocol {
        /// The part at fault.
        text: String,
        /// The whole.
        spec: String,
    },
    /// A key that this language doesn't have.
    #[error("'{key}' in '{spec}' is unknown: the keys are {keys}")]
    Key {
        /// The part at fault.
        key: String,
        /// Those that exist.
        keys: &'static str,
        /// The whole.
        spec: String,
    },
    /// A key given twice.
    #[error("'{key}' is given twice in '{spec}': give it once")]
    Twice {
        /// The key.
        key: String,
        /// The whole.
        spec: String,
    },
    /// Not a MAC address, or one that no interface can have.
    #[error("'{text}' in '{spec}' {why}")]
    Mac {
        /// The part at fault.
        text: String,
        /// The fault.
        why: &'static str,
        /// The whole.
        spec: String,
    },
    /// Not an interface name.
    #[error("interface name '{name}' {why}")]
    IfName {
        /// The name.
        name: String,
        /// The fault, and what to do.
        why: &'static str,
    },
    /// Not a namespace.
    #[error("namespace '{text}' {why}")]
    Netns {
        /// The words given.
        text: String,
        /// The fault, and what to do.
        why: &'static str,
    },
    /// An address of an interface without its network.
    #[error("'{part}' in '{spec}' lacks its prefix length: say {part}/24, or what the network has")]
    NoPrefix {
        /// The part at fault.
        part: String,
        /// The whole.
        spec: String,
    },
    /// A prefix length that makes no sense here.
    #[error("the prefix length '{text}' in '{spec}' is not a number from {min} to {max}")]
    Prefix {
        /// The part at fault.
        text: String,
        /// Smallest.
        min: u8,
        /// Largest.
        max: u8,
        /// The whole.
        spec: String,
    },
    /// A value outside its bounds, or no value at all.
    #[error("'{text}' is not {what}: write {shape}")]
    Scalar {
        /// The words given.
        text: String,
        /// What they should have been.
        what: &'static str,
        /// How that is written, with the bounds.
        shape: String,
    },
}

/// Parses an IPv4 address inside `spec`.
pub(crate) fn address(text: &str, spec: &str) -> Result<Ipv4Addr, SpecError> {
    text.parse().map_err(|_| SpecError::Address {
        text: text.to_owned(),
        spec: spec.to_owned(),
    })
}

/// Parses an IPv4 address that an interface can have: not unspecified, loopback, multicast or
/// broadcast.
pub(crate) fn host_address(
    text: &str,
    what: &'static str,
    spec: &str,
) -> Result<Ipv4Addr, SpecError> {
    let ip = address(text, spec)?;
    if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.octets()[0] >= 240 {
        return Err(SpecError::AddressKind {
            ip,
            what,
            spec: spec.to_owned(),
        });
    }
    Ok(ip)
}

/// Parses a decimal number of digits only (no sign, no space).
pub(crate) fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}
