//! Network namespaces: which one a person means, work inside one, and making new ones.
//!
//! A thread is in one network namespace (`setns(2)`), and everything that it opens belongs to
//! that one for good. So work in another namespace is done on a thread of its own that ends with
//! the work; no other thread of the program ever moves.

mod named;
pub mod sys;
#[cfg(test)]
pub(crate) mod tests;
pub mod user;

pub use crate::plan::NetnsRef;
pub use named::{RUN_NETNS, create_named, delete_named, names};

use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Which namespace it is: device and inode of its nsfs file (`namespaces(7)`). Two equal ones are
/// the same namespace as long as it exists; a number may be used again afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NetnsId {
    /// `st_dev`
    pub dev: u64,
    /// `st_ino`
    pub ino: u64,
}

/// Why a namespace could not be found, entered or made.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// No such name under /run/netns.
    #[error("no network namespace '{name}' under /run/netns{}", suggestion(.near))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The nearest one that exists.
        near: Option<String>,
    },
    /// No such process, or it is gone.
    #[error("no process {0} whose network namespace could be used")]
    NoProcess(u32),
    /// No such file.
    #[error("no network namespace at {}: {source}", .path.display())]
    NoFile {
        /// The path that was asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file, but no network namespace.
    #[error("{0} is not a network namespace")]
    NotANamespace(String),
    /// A namespace of this name exists.
    #[error("a network namespace '{0}' exists already")]
    Exists(String),
    /// The capability is missing.
    #[error(
        "{what} needs CAP_SYS_ADMIN: run as root, or inside a user namespace of your own \
         (unshare --user --map-root-user)"
    )]
    NeedsAdmin {
        /// What was attempted.
        what: String,
    },
    /// Anything else.
    #[error("{what} failed: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

fn suggestion(near: &Option<String>) -> String {
    match near {
        Some(n) => format!(" (did you mean '{n}'?)"),
        None => String::new(),
    }
}

/// The error for `what`, telling a missing capability apart.
fn failed(what: impl Into<String>, e: impl Into<io::Error>) -> NetnsError {
    let (what, source) = (what.into(), e.into());
    match source.raw_os_error() {
        Some(libc::EPERM) => NetnsError::NeedsAdmin { what },
        _ => NetnsError::Io { what, source },
    }
}

/// An open network namespace. It can't end while this is held: keep it no longer than needed.
#[derive(Debug)]
pub struct Netns {
    file: File,
    id: NetnsId,
    label: String,
}

impl Netns {
    /// Opens what `r` names.
    pub fn open(r: &NetnsRef) -> Result<Netns, NetnsError> {
        let path = r.path();
        let file = File::open(&path).map_err(|source| match (r, source.raw_os_error()) {
            (NetnsRef::Name(name), Some(libc::ENOENT)) => NetnsError::Unknown {
                near: named::nearest(name),
                name: name.clone(),
            },
            (NetnsRef::Pid(pid), Some(libc::ENOENT | libc::ESRCH)) => NetnsError::NoProcess(*pid),
            (_, Some(libc::EACCES | libc::EPERM)) => failed(
                format!("opening the network namespace {r}"),
                io::Error::from_raw_os_error(libc::EPERM),
            ),
            _ => NetnsError::NoFile { path, source },
        })?;
        Netns::from_file(file, r.to_string())
    }

    /// The namespace of the calling thread.
    pub fn current() -> Result<Netns, NetnsError> {
        let here = Netns::open_path(Path::new("/proc/thread-self/ns/net"))?;
        Ok(Netns {
            label: "this network namespace".to_owned(),
            ..here
        })
    }

    /// The namespace at a path.
    pub fn open_path(path: &Path) -> Result<Netns, NetnsError> {
        Netns::open(&NetnsRef::Path(path.to_owned()))
    }

    /// A new, empty namespace (only `lo`, down) that lives as long as the value, or as what is
    /// opened inside.
    pub fn create() -> Result<Netns, NetnsError> {
        on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .map_err(|e| failed("making a network namespace", e))?;
            Netns::current()
        })
    }

    fn from_file(file: File, label: String) -> Result<Netns, NetnsError> {
        if !sys::is_netns(file.as_fd()) {
            return Err(NetnsError::NotANamespace(label));
        }
        let meta = file
            .metadata()
            .map_err(|e| failed(format!("looking at the network namespace {label}"), e))?;
        let id = NetnsId {
            dev: meta.dev(),
            ino: meta.ino(),
        };
        Ok(Netns { file, id, label })
    }

    /// The same namespace, held once more.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn try_clone(&self) -> Result<Netns, NetnsError> {
        let file = self.file.try_clone();
        Ok(Netns {
            file: file.map_err(|e| failed("holding a network namespace", e))?,
            id: self.id,
            label: self.label.clone(),
        })
    }

    /// Which one it is.
    pub fn id(&self) -> NetnsId {
        self.id
    }

    /// What the person called it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// A path by which another process of this user can open it while this value is held.
    pub fn proc_path(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.file.as_raw_fd()
        ))
    }

    /// Runs `f` inside, on a thread that ends with it. No privilege is needed when the calling
    /// thread is inside already. A panic of `f` goes on in the caller.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        let inside = Netns::current().is_ok_and(|own| own.id == self.id);
        on_thread(|| {
            if !inside {
                self.enter()?;
            }
            Ok(f())
        })
    }

    /// Moves the calling thread inside, for good.
    pub fn enter(&self) -> Result<(), NetnsError> {
        setns(&self.file, CloneFlags::CLONE_NEWNET)
            .map_err(|e| failed(format!("entering the network namespace {}", self.label), e))
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Runs `f` on a fresh thread, which inherits the caller's namespaces.
fn on_thread<T: Send>(f: impl FnOnce() -> Result<T, NetnsError> + Send) -> Result<T, NetnsError> {
    std::thread::scope(|s| {
        let thread = std::thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(s, f)
            .map_err(|e| failed("starting a thread", e))?;
        match thread.join() {
            Ok(r) => r,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
