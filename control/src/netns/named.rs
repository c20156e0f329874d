//! Named namespaces, as `ip netns` keeps them: an nsfs file bound to a name under /run/netns.

use super::{NetnsError, failed, on_thread};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Where names live (iproute2's `NETNS_RUN_DIR`).
pub const RUN_NETNS: &str = "/run/netns";

const NONE: Option<&str> = None;

/// Whether `name` is one that `ip netns add` would take: a file name, no path.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() < 255
        && name != "."
        && name != ".."
        && !name.contains(['/', '\0'])
}

/// The names that exist.
pub fn names() -> Vec<String> {
    let Ok(dir) = std::fs::read_dir(RUN_NETNS) else {
        return Vec::new();
    };
    let mut all: Vec<String> = dir
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    all.sort();
    all
}

/// The existing name most like `name`, if one is like it at all.
pub(super) fn nearest(name: &str) -> Option<String> {
    closest(name, names())
}

pub(super) fn closest(name: &str, among: Vec<String>) -> Option<String> {
    among
        .into_iter()
        .map(|n| (strsim::damerau_levenshtein(name, &n), n))
        .filter(|&(d, ref n)| d <= 1 + n.len().min(name.len()) / 4)
        .min()
        .map(|(_, n)| n)
}

/// Makes a namespace that lives until [`delete_named`], or the end of the machine.
pub fn create_named(name: &str) -> Result<(), NetnsError> {
    if !is_name(name) {
        return Err(NetnsError::Unknown {
            name: name.to_owned(),
            near: None,
        });
    }
    let what = || format!("making the network namespace {name}");
    share_run_dir().map_err(|e| failed(what(), e))?;
    let path = Path::new(RUN_NETNS).join(name);
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o444)
        .open(&path)
        .map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => NetnsError::Exists(name.to_owned()),
            _ => failed(what(), e),
        })?;
    let bound = on_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|e| failed(what(), e))?;
        let own = Path::new("/proc/thread-self/ns/net");
        mount(Some(own), &path, NONE, MsFlags::MS_BIND, NONE).map_err(|e| failed(what(), e))
    });
    if bound.is_err() {
        // The file is ours and empty; what matters is the first error.
        let _ = std::fs::remove_file(&path);
    }
    bound
}

/// Takes the name away. The namespace ends when nothing in it is open or running any more.
pub fn delete_named(name: &str) -> Result<(), NetnsError> {
    let path = Path::new(RUN_NETNS).join(name);
    if !is_name(name) || !path.exists() {
        return Err(NetnsError::Unknown {
            name: name.to_owned(),
            near: nearest(name),
        });
    }
    let what = || format!("deleting the network namespace {name}");
    match umount2(&path, MntFlags::MNT_DETACH) {
        // EINVAL: a file that nothing is bound to.
        Ok(()) | Err(nix::errno::Errno::EINVAL) => {}
        Err(e) => return Err(failed(what(), e)),
    }
    std::fs::remove_file(&path).map_err(|e| failed(what(), e))
}

/// Makes /run/netns a shared mount of its own, so that every mount namespace sees a name appear
/// and, more important, disappear.
fn share_run_dir() -> io::Result<()> {
    let dir = Path::new(RUN_NETNS);
    DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    let shared = MsFlags::MS_SHARED | MsFlags::MS_REC;
    match mount(NONE, dir, NONE, shared, NONE) {
        // Not a mount point yet.
        Err(nix::errno::Errno::EINVAL) => {
            mount(
                Some(dir),
                dir,
                NONE,
                MsFlags::MS_BIND | MsFlags::MS_REC,
                NONE,
            )?;
            mount(NONE, dir, NONE, shared, NONE)?;
        }
        other => other?,
    }
    Ok(())
}
