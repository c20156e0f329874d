//! A name server that the command can reach.
//!
//! A server on the host's loopback (systemd-resolved's stub, dnsmasq) is another loopback inside
//! the namespace, and IPv6 doesn't reach it either. What systemd-resolved itself asks stands in a
//! file of its own (systemd-resolved.service(8)); docker uses that one too.

use std::io::Write;
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

/// A file in the place of the command's resolv.conf; removed with this value.
#[derive(Debug)]
pub struct OwnFile(String);

impl OwnFile {
    /// Where it is.
    pub fn path(&self) -> &str {
        &self.0
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        // What is mounted stays readable; what is left behind harms nobody.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A file that names the gateway as server, and else says what the host's own says. `None` where
/// it can't be written.
pub fn by_gateway(gateway: Ipv4Addr) -> Option<OwnFile> {
    let name = format!("switchd-resolv-{}.conf", std::process::id());
    let path = std::env::temp_dir().join(name);
    let own = std::fs::read_to_string(FILE).unwrap_or_default();
    let mut file = std::fs::File::create_new(&path).ok()?;
    let made = OwnFile(path.to_str()?.to_owned());
    file.write_all(naming(gateway, &own).as_bytes()).ok()?;
    Some(made)
}

fn naming(gateway: Ipv4Addr, own: &str) -> String {
    let rest = own
        .lines()
        .filter(|l| l.split_whitespace().next() != Some("nameserver"));
    let mut text = format!("nameserver {gateway}\n");
    for line in rest {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// The first IPv4 server of the host's own file, wherever it is.
pub fn first_server() -> Option<Ipv4Addr> {
    let text = std::fs::read_to_string(FILE).unwrap_or_default();
    servers(&text).find_map(|s| match s {
        IpAddr::V4(ip) if !ip.is_unspecified() => Some(ip),
        _ => None,
    })
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
    fn the_gateway_takes_the_servers_place_and_the_rest_stays() {
        let own = "search x\nnameserver 127.0.0.53\noptions edns0";
        let text = naming(Ipv4Addr::new(10, 0, 0, 1), own);
        assert_eq!(text, "nameserver 10.0.0.1\nsearch x\noptions edns0\n");
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
