//! A name server that the command can reach.
//!
//! A server on the host's loopback (systemd-resolved's stub, dnsmasq) is another loopback inside
//! the namespace, and IPv6 doesn't reach it either. What systemd-resolved itself asks stands in a
//! file of its own (systemd-resolved.service(8)); docker uses that one too.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// The file that everybody reads (resolv.conf(5)).
pub const FILE: &str = "/etc/resolv.conf";
/// The servers behind systemd-resolved's stub.
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";

/// What to do about the command's resolv.conf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// The host's works as it is.
    Keep,
    /// This file is to take its place.
    Replace(&'static str),
    /// None works.
    None,
}

/// Looks at the host's files.
pub fn choose() -> Choice {
    choose_from(|path| std::fs::read_to_string(path).unwrap_or_default())
}

fn choose_from(read: impl Fn(&Path) -> String) -> Choice {
    let usable = |path: &str| servers(&read(Path::new(path))).any(reachable);
    if usable(FILE) {
        Choice::Keep
    } else if usable(BEHIND_STUB) {
        Choice::Replace(BEHIND_STUB)
    } else {
        Choice::None
    }
}

fn servers(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver"))
            .then(|| words.next()?.parse().ok())
            .flatten()
    })
}

fn reachable(server: IpAddr) -> bool {
    match server {
        IpAddr::V4(ip) => !ip.is_loopback() && ip != Ipv4Addr::UNSPECIFIED,
        IpAddr::V6(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(own: &'static str, behind: &'static str) -> Choice {
        choose_from(|path| if path == Path::new(FILE) { own } else { behind }.to_owned())
    }

    #[test]
    fn a_server_that_can_be_reached_is_kept() {
        assert_eq!(with("search x\nnameserver 192.0.2.53\n", ""), Choice::Keep);
        assert_eq!(
            with("nameserver 127.0.0.1\nnameserver\t9.9.9.9 # x", ""),
            Choice::Keep
        );
    }

    #[test]
    fn a_stub_is_replaced_by_what_is_behind_it() {
        let stub = "nameserver 127.0.0.53\noptions edns0\n";
        assert_eq!(
            with(stub, "nameserver 192.0.2.53"),
            Choice::Replace(BEHIND_STUB)
        );
        assert_eq!(with(stub, "nameserver 127.0.0.1"), Choice::None);
    }

    #[test]
    fn without_a_server_there_is_none() {
        assert_eq!(with("", ""), Choice::None);
        assert_eq!(
            with(
                "#nameserver 9.9.9.9\nnameserver ::1\nnameserver fd00::1",
                ""
            ),
            Choice::None
        );
        assert_eq!(
            with("nameserver\nnameserver x\nnameserver 0.0.0.0", ""),
            Choice::None
        );
    }
}
