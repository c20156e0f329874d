//! `-p` as docker writes it: `[HOST_IP:]PORT[-END]:CONTAINER_PORT[-END][/tcp|udp]`.

use crate::plan::spec::{SpecError, address, publication};
use std::fmt;
use std::net::Ipv4Addr;

/// How it is written.
pub const SHAPE: &str = "[HOST_IP:]PORT[-END]:CONTAINER_PORT[-END][/tcp|udp], as 5000:5000";

/// A port to publish, as it was asked for; the container's address comes later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    host: String,
    container: String,
    proto: &'static str,
    /// The local address; `None`: any.
    host_ip: Option<Ipv4Addr>,
    first: u16,
    last: u16,
}

impl Published {
    /// Reads one `-p`.
    ///
    /// # Errors
    /// What is wrong with the words.
    pub fn parse(spec: &str) -> Result<Published, SpecError> {
        let shape = || SpecError::Shape {
            text: spec.to_owned(),
            what: "a port to publish",
            shape: SHAPE,
        };
        let (ports, proto) = match spec.rsplit_once('/') {
            None => (spec, "tcp"),
            Some((ports, "tcp")) => (ports, "tcp"),
            Some((ports, "udp")) => (ports, "udp"),
            Some((_, other)) => {
                return Err(SpecError::Protocol {
                    text: other.to_owned(),
                    spec: spec.to_owned(),
                });
            }
        };
        let (host, container) = ports.rsplit_once(':').ok_or_else(shape)?;
        let (host_ip, outside) = match host.rsplit_once(':') {
            None => (None, host),
            Some((ip, outside)) => (Some(address(ip, spec)?), outside),
        };
        let (first, last) = publication::range(outside, spec)?;
        let (port, end) = publication::range(container, spec)?;
        if last - first != end - port {
            return Err(SpecError::Unequal {
                outside: u32::from(last - first) + 1,
                inside: u32::from(end - port) + 1,
                spec: spec.to_owned(),
            });
        }
        Ok(Published {
            host: host.to_owned(),
            container: container.to_owned(),
            proto,
            host_ip: host_ip.filter(|ip| !ip.is_unspecified()),
            first,
            last,
        })
    }

    /// Whether both claim a common port of a common local address.
    pub fn overlaps(&self, other: &Published) -> bool {
        let hosts = match (self.host_ip, other.host_ip) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        hosts && self.proto == other.proto && self.first <= other.last && other.first <= self.last
    }

    /// The same in the words of `--ports`, for a container that has its address.
    pub fn to(&self, ip: Ipv4Addr) -> String {
        format!("{}:{ip}:{}/{}", self.host, self.container, self.proto)
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.container, self.proto)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    #[test]
    fn becomes_what_ports_takes() {
        for (given, want) in [
            ("5000:80", "5000:10.0.0.2:80/tcp"),
            ("5000:80/udp", "5000:10.0.0.2:80/udp"),
            ("127.0.0.1:5000:80", "127.0.0.1:5000:10.0.0.2:80/tcp"),
            (
                "0.0.0.0:6000-6010:7000-7010/udp",
                "0.0.0.0:6000-6010:10.0.0.2:7000-7010/udp",
            ),
        ] {
            let text = Published::parse(given).unwrap().to(IP);
            assert_eq!(text, want);
            publication::parse(&text).unwrap();
        }
    }

    #[test]
    fn wrong_words_are_named() {
        for (given, said) in [
            ("5000", "write [HOST_IP:]PORT"),
            ("", "write [HOST_IP:]PORT"),
            ("0:80", "port '0'"),
            ("70000:80", "port '70000'"),
            ("80:x", "port 'x'"),
            ("80:", "port ''"),
            (":80", "port ''"),
            ("10-12:1-2", "maps 3 ports to 2"),
            ("12-10:1-3", "runs backwards"),
            ("80:80/sctp", "protocol 'sctp'"),
            ("localhost:80:80", "'localhost' in"),
            ("1.2.3.4:5.6.7.8:80:80", "'1.2.3.4:5.6.7.8' in"),
            ("::1:80:80", "'::1' in"),
        ] {
            let e = Published::parse(given).unwrap_err().to_string();
            assert!(e.contains(said), "{given}: {e}");
        }
    }
}
