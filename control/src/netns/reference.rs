//! How a person names a network namespace: a name, a path, or `pid:N`.

use super::named::RUN_NETNS;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A network namespace as it was asked for; [`super::Netns::open`] finds it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum NetnsRef {
    /// The one that the calling thread is in.
    Own,
    /// A name under /run/netns.
    Name(String),
    /// A file: `/proc/PID/ns/net` or a bind mount of it.
    Path(PathBuf),
    /// The namespace of a process.
    Pid(u32),
}

/// What was wrong with the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' names no network namespace: a name under /run/netns, a path, or pid:N")]
pub struct BadNetnsRef(pub String);

impl NetnsRef {
    /// Where its file is.
    pub fn path(&self) -> PathBuf {
        match self {
            NetnsRef::Own => PathBuf::from("/proc/thread-self/ns/net"),
            NetnsRef::Name(n) => Path::new(RUN_NETNS).join(n),
            NetnsRef::Path(p) => p.clone(),
            NetnsRef::Pid(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
        }
    }
}

/// Whether `name` is one that `ip netns add` would take: a file name, no path.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() < 255
        && name != "."
        && name != ".."
        && !name.contains(['/', '\0'])
}

impl FromStr for NetnsRef {
    type Err = BadNetnsRef;

    fn from_str(s: &str) -> Result<NetnsRef, BadNetnsRef> {
        let bad = || BadNetnsRef(s.to_owned());
        if let Some(pid) = s.strip_prefix("pid:") {
            return match pid.parse::<u32>() {
                Ok(n) if n > 0 && !pid.starts_with('+') => Ok(NetnsRef::Pid(n)),
                _ => Err(bad()),
            };
        }
        if s.contains('/') {
            return Ok(NetnsRef::Path(PathBuf::from(s)));
        }
        match is_name(s) {
            true => Ok(NetnsRef::Name(s.to_owned())),
            false => Err(bad()),
        }
    }
}

impl fmt::Display for NetnsRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetnsRef::Own => f.write_str("of this process"),
            NetnsRef::Name(n) => f.write_str(n),
            NetnsRef::Path(p) => write!(f, "{}", p.display()),
            NetnsRef::Pid(n) => write!(f, "pid:{n}"),
        }
    }
}
