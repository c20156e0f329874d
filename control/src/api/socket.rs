//! The control socket's path: who may have it, and that nobody else can use it.
//!
//! The socket is bound in a private directory beside its place, made mode 0600 there, and then
//! renamed: at no moment can another user reach it. Two daemons that start at once are told
//! apart by a lock on the directory.

use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Why the path can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers there.
    #[error(
        "the control socket {0} is in use by a running switchd: stop that one, or give another \
         --control PATH"
    )]
    InUse(PathBuf),
    /// Something else is there.
    #[error("{0} exists and is not a socket: remove it, or give another --control PATH")]
    NotASocket(PathBuf),
    /// Somebody who starts at the same time keeps the directory locked.
    #[error("another program keeps {0} locked: try again, or give another --control PATH")]
    Locked(PathBuf),
    /// The system refused.
    #[error("cannot {what} {path}: {error}; give another --control PATH")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// A bound control socket. Dropped, it is removed, unless another daemon has taken the path over.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    listener: UnixListener,
    id: (u64, u64),
    made_dir: Option<PathBuf>,
    took_over: bool,
}

impl ControlSocket {
    /// Takes the path: refuses when a live daemon has it, takes over what a dead one left.
    ///
    /// # Errors
    /// See [`SocketError`]; nothing was changed then.
    pub fn bind(path: &Path) -> Result<ControlSocket, SocketError> {
        let io = |what, path: &Path| {
            let path = path.to_owned();
            move |error| SocketError::Io { what, path, error }
        };
        let dir = match path.parent() {
            Some(d) if !d.as_os_str().is_empty() => d.to_owned(),
            _ => PathBuf::from("."),
        };
        let made_dir = make_dir(&dir).map_err(io("make the directory", &dir))?;
        let taken = (|| {
            let _lock = lock(&dir)?;
            let took_over = check_free(path)?;
            let private = dir.join(format!(".{}", std::process::id()));
            let inside = private.join("s");
            // What an earlier process with this id left behind.
            let _ = fs::remove_file(&inside);
            let _ = fs::remove_dir(&private);
            fs::DirBuilder::new()
                .mode(0o700)
                .create(&private)
                .map_err(io("make the directory", &private))?;
            let bound = (|| {
                let listener = UnixListener::bind(&inside).map_err(io("listen on", path))?;
                fs::set_permissions(&inside, Permissions::from_mode(0o600))
                    .map_err(io("protect", path))?;
                let meta = fs::symlink_metadata(&inside).map_err(io("look at", path))?;
                fs::rename(&inside, path).map_err(io("make", path))?;
                Ok((listener, (meta.dev(), meta.ino()), took_over))
            })();
            let _ = fs::remove_file(&inside);
            let _ = fs::remove_dir(&private);
            bound
        })();
        match taken {
            Ok((listener, id, took_over)) => Ok(ControlSocket {
                path: path.to_owned(),
                listener,
                id,
                made_dir,
                took_over,
            }),
            Err(e) => {
                if let Some(dir) = made_dir {
                    let _ = fs::remove_dir(dir);
                }
                Err(e)
            }
        }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a daemon that was killed had left its socket here.
    pub fn took_over(&self) -> bool {
        self.took_over
    }

    /// The listener once more, non-blocking.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn listener(&self) -> io::Result<UnixListener> {
        let l = self.listener.try_clone()?;
        l.set_nonblocking(true)?;
        Ok(l)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == self.id);
        if ours {
            let _ = fs::remove_file(&self.path);
            if let Some(dir) = &self.made_dir {
                // Only if nobody else put something in it.
                let _ = fs::remove_dir(dir);
            }
        }
    }
}

/// Makes the directory if it is missing; gives it back if it was made.
fn make_dir(dir: &Path) -> io::Result<Option<PathBuf>> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => Ok(Some(dir.to_owned())),
        Err(e) if e.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(None),
        Err(e) => Err(e),
    }
}

/// Locks the directory; waits a moment for another daemon that starts.
fn lock(dir: &Path) -> Result<Flock<File>, SocketError> {
    let io = |error| SocketError::Io {
        what: "open",
        path: dir.to_owned(),
        error,
    };
    let mut file = File::open(dir).map_err(io)?;
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((back, nix::errno::Errno::EWOULDBLOCK)) if Instant::now() < until => {
                file = back;
                std::thread::sleep(Duration::from_millis(20));
            }
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                return Err(SocketError::Locked(dir.to_owned()));
            }
            Err((_, e)) => return Err(io(e.into())),
        }
    }
}

/// Whether the path can be taken: nothing there (false), or a socket that nobody listens on (true).
fn check_free(path: &Path) -> Result<bool, SocketError> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => {
            return Err(SocketError::Io {
                what: "look at",
                path: path.to_owned(),
                error,
            });
        }
        Ok(m) if !m.file_type().is_socket() => {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(SocketError::Io {
            what: "ask who has",
            path: path.to_owned(),
            error,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_private_and_goes_with_its_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/s.sock");
        let s = ControlSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(UnixStream::connect(&path).is_ok());
        let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "only the socket: {left:?}");
        drop(s);
        assert!(!path.exists() && !path.parent().unwrap().exists());
        assert!(dir.path().exists());
    }

    #[test]
    fn a_live_one_is_refused_and_a_dead_one_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let first = ControlSocket::bind(&path).unwrap();
        assert!(!first.took_over());
        let e = ControlSocket::bind(&path).unwrap_err();
        assert!(matches!(e, SocketError::InUse(_)), "{e}");
        assert!(path.exists(), "the refused one removes nothing");
        drop(first);

        // A killed daemon leaves the file without a listener.
        drop(UnixListener::bind(&path).unwrap());
        let second = ControlSocket::bind(&path).unwrap();
        assert!(second.took_over());
        assert!(UnixStream::connect(&path).is_ok());
        // Somebody else's socket at the path is not removed at the end.
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(second);
        assert!(path.exists());
    }

    #[test]
    fn other_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        fs::write(&path, "precious").unwrap();
        let e = ControlSocket::bind(&path).unwrap_err();
        assert!(matches!(e, SocketError::NotASocket(_)), "{e}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let e = ControlSocket::bind(&path.join("x/s.sock")).unwrap_err();
        assert!(matches!(e, SocketError::Io { .. }), "{e}");
    }

    #[test]
    fn of_many_that_start_at_once_one_wins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        drop(UnixListener::bind(&path).unwrap());
        let won: Vec<_> = std::thread::scope(|s| {
            let all: Vec<_> = (0..4)
                .map(|_| s.spawn(|| ControlSocket::bind(&path)))
                .collect();
            all.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(won.iter().filter(|r| r.is_ok()).count(), 1, "{won:?}");
    }
}
