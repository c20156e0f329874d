//! Single values: subnets, numbers, durations, switches.

use super::{SpecError, digits, host_address};
use dataplane::port::sys::tap;
use dataplane::worker::wait::SPIN;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::time::Duration;

fn scalar<T>(text: &str, what: &'static str, shape: impl Into<String>) -> Result<T, SpecError> {
    Err(SpecError::Scalar {
        text: text.to_owned(),
        what,
        shape: shape.into(),
    })
}

/// A subnet: `10.0.0.0/24`, prefix length 8 to 30, host bits zero, addresses that hosts can have.
pub fn subnet(text: &str) -> Result<Ipv4Net, SpecError> {
    let shape = "ADDRESS/LEN, as 10.0.0.0/24";
    let Some((ip, len)) = text.split_once('/') else {
        return scalar(text, "a subnet", shape);
    };
    let ip = super::address(ip, text)?;
    let prefix = digits::<u8>(len)
        .filter(|p| (8..=30).contains(p))
        .ok_or_else(|| SpecError::Prefix {
            text: len.to_owned(),
            min: 8,
            max: 30,
            spec: text.to_owned(),
        })?;
    let Ok(net) = Ipv4Net::new(ip, prefix) else {
        return scalar(text, "a subnet", shape);
    };
    if net.network() != ip {
        return scalar(
            text,
            "a subnet (host bits are set)",
            format!("{}", net.trunc()),
        );
    }
    let first = ip.octets()[0];
    if first == 0 || first == 127 || first >= 224 {
        return scalar(
            text,
            "a subnet that hosts can have",
            "one of the private ones, as 10.0.0.0/24",
        );
    }
    Ok(net)
}

/// The gateway's address.
pub fn gateway(text: &str) -> Result<Ipv4Addr, SpecError> {
    host_address(text, "the gateway's address", text)
}

/// The number of a process, as a flag of clap's takes it.
///
/// # Errors
/// What is no such number.
pub fn process(text: &str) -> Result<u32, SpecError> {
    small(text, "the number of a process", 1)
}

/// The number of a descriptor that is not one of the standard three.
///
/// # Errors
/// What is no such number.
pub fn descriptor(text: &str) -> Result<i32, SpecError> {
    small(text, "the number of a descriptor", 3)
}

/// A number that the kernel keeps in an `int`.
fn small<T: TryFrom<u64>>(text: &str, what: &'static str, min: u64) -> Result<T, SpecError> {
    const MAX: u64 = i32::MAX as u64;
    let n = number(text, what, min, MAX)?;
    T::try_from(n).or_else(|_| scalar(text, what, "a smaller one"))
}

/// An IPv4 address by itself.
///
/// # Errors
/// What is no address.
pub fn address(text: &str) -> Result<Ipv4Addr, SpecError> {
    text.parse()
        .or_else(|_| scalar(text, "an IPv4 address", "four numbers, as 10.0.0.2"))
}

/// A whole number from `min` to `max`.
pub fn number(text: &str, what: &'static str, min: u64, max: u64) -> Result<u64, SpecError> {
    match digits::<u64>(text) {
        Some(n) if (min..=max).contains(&n) => Ok(n),
        _ => scalar(text, what, format!("a number from {min} to {max}")),
    }
}

/// A duration: whole seconds (`300` or `300s`), minutes (`5m`), hours (`2h`); 1 s to 24 days,
/// which is as far as the coarse clock of the tables can tell apart.
pub fn duration(text: &str, what: &'static str) -> Result<Duration, SpecError> {
    const MAX: u64 = 24 * 86_400;
    let (number, unit) = match text.as_bytes().last() {
        Some(b's') => (text.get(..text.len() - 1), 1),
        Some(b'm') => (text.get(..text.len() - 1), 60),
        Some(b'h') => (text.get(..text.len() - 1), 3_600),
        _ => (Some(text), 1),
    };
    number
        .and_then(digits::<u64>)
        .and_then(|n| n.checked_mul(unit))
        .filter(|s| (1..=MAX).contains(s))
        .map(Duration::from_secs)
        .map_or_else(
            || {
                scalar(
                    text,
                    what,
                    "seconds from 1 to 2073600, or with a unit, as 300s, 5m, 2h",
                )
            },
            Ok,
        )
}

/// `on` or `off`.
pub fn on_off(text: &str, what: &'static str) -> Result<bool, SpecError> {
    match text {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => scalar(text, what, "on or off"),
    }
}

/// Whether something is there where it is of use: `auto` or `off`.
pub fn auto_off(text: &str, what: &'static str) -> Result<bool, SpecError> {
    match text {
        "auto" | "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => scalar(text, what, "auto or off"),
    }
}

/// How long a worker polls before it blocks: `auto`, `off`, or microseconds up to 1,000.
pub fn spin(text: &str) -> Result<Duration, SpecError> {
    match text {
        "auto" | "on" | "true" => Ok(SPIN),
        "off" | "false" => Ok(Duration::ZERO),
        t => match digits::<u64>(t) {
            Some(us @ 0..=1_000) => Ok(Duration::from_micros(us)),
            _ => scalar(
                text,
                "a length of the spin",
                "auto, off, or microseconds from 0 to 1000",
            ),
        },
    }
}

/// Whether small latency is worth more than a machine that sleeps: `normal` or `low`.
pub fn latency(text: &str) -> Result<bool, SpecError> {
    match text {
        "normal" => Ok(false),
        "low" => Ok(true),
        _ => scalar(text, "a kind of latency", "normal or low"),
    }
}

/// What TAPs may be asked to do for us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offload {
    /// Whatever a self-test at start finds working.
    Auto,
    /// Everything, or the start fails.
    On,
    /// Nothing: plain TAP, one queue.
    Off,
    /// A chosen part.
    Only(tap::Offload),
}

impl Offload {
    /// What a TAP is asked for.
    pub const fn wanted(self) -> tap::Offload {
        match self {
            Offload::Auto | Offload::On => tap::Offload::AUTO,
            Offload::Only(chosen) => chosen,
            Offload::Off => tap::Offload::NONE,
        }
    }

    /// The same for the outside, whose kernel hands most frames on to a wire: what is beyond 64 KiB it
    /// would have to segment itself, where an interface segments the rest.
    pub fn outside(self) -> Offload {
        match self {
            Offload::Off => Offload::Off,
            other => Offload::Only(tap::Offload {
                big: false,
                ..other.wanted()
            }),
        }
    }
}

impl std::fmt::Display for Offload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Offload::Auto => f.write_str("auto"),
            Offload::On => f.write_str("on"),
            Offload::Off => f.write_str("off"),
            Offload::Only(tap::Offload { csum: false, .. }) => f.write_str("none"),
            Offload::Only(tap::Offload {
                csum,
                tso,
                uso,
                big,
            }) => {
                let mut sep = "";
                for (name, is) in [("csum", csum), ("tso", tso), ("uso", uso), ("big", big)] {
                    if is {
                        write!(f, "{sep}{name}")?;
                        sep = ",";
                    }
                }
                Ok(())
            }
        }
    }
}

/// `auto`, `on`, `off`, or a list of `csum`, `tso`, `uso`, `big`. TSO and USO imply checksums, because
/// the kernel refuses them without, and `big` implies TSO.
pub fn offload(text: &str) -> Result<Offload, SpecError> {
    let mut only = tap::Offload::NONE;
    match text {
        "auto" => return Ok(Offload::Auto),
        "on" | "true" => return Ok(Offload::On),
        "off" | "false" => return Ok(Offload::Off),
        _ => {}
    }
    for part in text.split(',') {
        match part {
            "csum" => {}
            "tso" => only.tso = true,
            "uso" => only.uso = true,
            "big" => (only.tso, only.big) = (true, true),
            _ => {
                return scalar(
                    text,
                    "a choice of offloads",
                    "auto, on, off or a list of csum, tso, uso, big, as csum,tso",
                );
            }
        }
    }
    only.csum = true;
    Ok(Offload::Only(only))
}
