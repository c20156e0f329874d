//! `[HOST_IP:]PORT[-END]:CONTAINER_IP:PORT[-END][/tcp|udp]`

use super::{SpecError, address, digits, host_address};
use dataplane::base::Proto;
use dataplane::nat::Publication;

/// How a publication is written.
pub const SHAPE: &str =
    "[HOST_IP:]PORT[-END]:CONTAINER_IP:PORT[-END][/tcp|udp], as 5000:10.0.0.2:5000";

/// Parses one publication. A range is one publication; `0.0.0.0` as host address means any.
///
/// # Errors
/// What is wrong with the words. Whether the container's address is in the subnet is asked
/// later.
pub fn parse(spec: &str) -> Result<Publication, SpecError> {
    let (ports, proto) = match spec.rsplit_once('/') {
        None => (spec, Proto::TCP),
        Some((ports, "tcp")) => (ports, Proto::TCP),
        Some((ports, "udp")) => (ports, Proto::UDP),
        Some((_, other)) => {
            return Err(SpecError::Protocol {
                text: other.to_owned(),
                spec: spec.to_owned(),
            });
        }
    };
    let mut parts = ports.split(':');
    let fields = [parts.next(), parts.next(), parts.next(), parts.next()];
    let (host_ip, outside, ip, inside) = match (fields, parts.next()) {
        ([Some(out), Some(ip), Some(inside), None], None) => (None, out, ip, inside),
        ([Some(host), Some(out), Some(ip), Some(inside)], None) => (Some(host), out, ip, inside),
        _ => {
            return Err(SpecError::Shape {
                text: spec.to_owned(),
                what: "a port to publish",
                shape: SHAPE,
            });
        }
    };
    let host_ip = match host_ip {
        None => None,
        Some(text) => {
            let ip = address(text, spec)?;
            if ip.is_multicast() || ip.octets()[0] >= 240 {
                return Err(SpecError::AddressKind {
                    ip,
                    what: "a local address",
                    spec: spec.to_owned(),
                });
            }
            (!ip.is_unspecified()).then_some(ip)
        }
    };
    let ip = host_address(ip, "a container's address", spec)?;
    let (first, last) = range(outside, spec)?;
    let (port, port_last) = range(inside, spec)?;
    let count = |a: u16, b: u16| u32::from(b) - u32::from(a) + 1;
    let (outside, inside) = (count(first, last), count(port, port_last));
    if outside != inside {
        return Err(SpecError::Unequal {
            outside,
            inside,
            spec: spec.to_owned(),
        });
    }
    Ok(Publication {
        proto,
        host_ip,
        first,
        last,
        ip,
        port,
    })
}

/// `PORT` or `PORT-END`, both 1 to 65535, not backwards.
pub fn range(text: &str, spec: &str) -> Result<(u16, u16), SpecError> {
    let port = |text: &str| {
        digits::<u16>(text)
            .filter(|p| *p != 0)
            .ok_or_else(|| SpecError::Port {
                text: text.to_owned(),
                spec: spec.to_owned(),
            })
    };
    match text.split_once('-') {
        None => port(text).map(|p| (p, p)),
        Some((a, b)) => {
            let (first, last) = (port(a)?, port(b)?);
            if first > last {
                return Err(SpecError::Backwards {
                    first,
                    last,
                    spec: spec.to_owned(),
                });
            }
            Ok((first, last))
        }
    }
}

/// Whether two publications claim a common port of a common local address.
pub fn overlap(a: &Publication, b: &Publication) -> bool {
    let hosts = match (a.host_ip, b.host_ip) {
        (Some(x), Some(y)) => x == y,
        _ => true,
    };
    a.proto == b.proto && hosts && a.first <= b.last && b.first <= a.last
}
