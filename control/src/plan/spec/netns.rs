//! How a network namespace is named.

use super::{SpecError, digits};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A namespace: a name under /run/netns, a path, or the namespace of a process.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NetnsRef {
    /// A name under /run/netns, as `ip netns add` makes them.
    Name(String),
    /// A file that stands for a namespace, as /proc/PID/ns/net.
    Path(PathBuf),
    /// The network namespace of a process.
    Pid(u32),
}

impl NetnsRef {
    /// The file that stands for the namespace.
    pub fn path(&self) -> PathBuf {
        match self {
            NetnsRef::Name(n) => PathBuf::from("/run/netns").join(n),
            NetnsRef::Path(p) => p.clone(),
            NetnsRef::Pid(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
        }
    }

    /// Splits `NETNS[rest]` where the rest begins at the first `:` or `,` that is not part of
    /// the namespace.
    pub(crate) fn split(text: &str) -> (&str, &str) {
        let skip = if text.starts_with("pid:") { 4 } else { 0 };
        let end = text
            .get(skip..)
            .and_then(|t| t.find([':', ',']))
            .map_or(text.len(), |at| at + skip);
        text.split_at_checked(end).unwrap_or((text, ""))
    }
}

impl fmt::Display for NetnsRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetnsRef::Name(n) => f.write_str(n),
            NetnsRef::Path(p) => write!(f, "{}", p.display()),
            NetnsRef::Pid(pid) => write!(f, "pid:{pid}"),
        }
    }
}

impl FromStr for NetnsRef {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<NetnsRef, SpecError> {
        let bad = |why| SpecError::Netns {
            text: text.to_owned(),
            why,
        };
        if let Some(pid) = text.strip_prefix("pid:") {
            return match digits::<u32>(pid) {
                Some(pid) if pid > 0 && pid <= i32::MAX as u32 => Ok(NetnsRef::Pid(pid)),
                _ => Err(bad("has no process number: write pid:N, as pid:1234")),
            };
        }
        if text.contains(['\0', '\n', ':', ',']) {
            return Err(bad(
                "contains a ':' or ',': give a name under /run/netns, a path or pid:N without them",
            ));
        }
        if text.starts_with('/') {
            return Ok(NetnsRef::Path(PathBuf::from(text)));
        }
        if text.contains('/') {
            return Err(bad("is a relative path: write the whole path, from /"));
        }
        match text {
            "" => Err(bad(
                "is empty: give a name under /run/netns, a path or pid:N",
            )),
            "." | ".." => Err(bad("is not a name: give one under /run/netns")),
            _ => Ok(NetnsRef::Name(text.to_owned())),
        }
    }
}
