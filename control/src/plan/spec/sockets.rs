//! `sockets[,dns=ADDRESS|off]`

use super::{SpecError, host_address};
use std::net::Ipv4Addr;

/// What masquerade puts as source on the way to the sockets' engine (`uplink::sockets`).
pub const EXTERNAL: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 2);
/// Prefix length of its network.
pub const PREFIX: u8 = 29;

/// Where DNS queries to the gateway go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Dns {
    /// To the first server of the host's resolv.conf.
    #[default]
    Host,
    /// Nowhere.
    Off,
    /// To this server.
    To(Ipv4Addr),
}

/// The outside by the host's ordinary sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SocketsSpec {
    /// DNS by the gateway.
    pub dns: Dns,
}

/// What follows the word, if it is this kind of uplink.
pub(super) fn words(spec: &str) -> Option<Option<&str>> {
    match spec.strip_prefix("sockets")? {
        "" => Some(None),
        rest => rest.strip_prefix(',').map(Some),
    }
}

/// Reads what follows the word.
pub(super) fn parse(rest: Option<&str>, spec: &str) -> Result<SocketsSpec, SpecError> {
    let mut dns = None;
    for part in rest.into_iter().flat_map(|r| r.split(',')) {
        let value = part.strip_prefix("dns=").ok_or_else(|| SpecError::Key {
            key: part.to_owned(),
            keys: "dns=ADDRESS or dns=off",
            spec: spec.to_owned(),
        })?;
        let to = match value {
            "off" => Dns::Off,
            ip if ip.starts_with("127.") => match ip.parse() {
                // A resolver of the host alone: that is what this is for.
                Ok(ip) => Dns::To(ip),
                Err(_) => Dns::To(host_address(ip, "a DNS server's address", spec)?),
            },
            ip => Dns::To(host_address(ip, "a DNS server's address", spec)?),
        };
        if dns.replace(to).is_some() {
            return Err(SpecError::Twice {
                key: "dns".to_owned(),
                spec: spec.to_owned(),
            });
        }
    }
    Ok(SocketsSpec {
        dns: dns.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::spec::UplinkSpec;

    fn read(spec: &str) -> Result<Dns, String> {
        match spec.parse::<UplinkSpec>() {
            Ok(UplinkSpec::Sockets(s)) => Ok(s.dns),
            Ok(other) => panic!("{other:?}"),
            Err(e) => Err(e.to_string()),
        }
    }

    #[test]
    fn dns_is_the_hosts_one_or_none() {
        assert_eq!(read("sockets"), Ok(Dns::Host));
        assert_eq!(read("sockets,dns=off"), Ok(Dns::Off));
        let to = |ip: [u8; 4]| Ok(Dns::To(ip.into()));
        assert_eq!(read("sockets,dns=127.0.0.53"), to([127, 0, 0, 53]));
        assert_eq!(read("sockets,dns=9.9.9.9"), to([9, 9, 9, 9]));
    }

    #[test]
    fn wrong_words_are_named() {
        for (spec, said) in [
            ("sockets,", "''"),
            ("sockets,x=1", "'x=1'"),
            ("sockets,dns=off,dns=off", "dns"),
            ("sockets,dns=127.0.0", "127.0.0"),
            ("sockets,dns=224.0.0.1", "224.0.0.1"),
            ("sockets:eth0", "sockets:eth0"),
        ] {
            let e = read(spec).unwrap_err();
            assert!(e.contains(said) && !e.contains('\n'), "{spec}: {e}");
        }
    }
}
