//! `--latency low`: no core falls into an idle state while frames flow.
//!
//! A core that sleeps takes tens of microseconds to wake, on virtual machines above all, and a
//! small request pays that more than once. `/dev/cpu_dma_latency` is the kernel's way to ask for
//! less (Documentation/power/pm_qos_interface.rst): the longest exit latency that may occur, in µs
//! as a 32-bit number, in force as long as the file is open. It is machine-wide, so it is off
//! unless asked for, and let go when the switch falls idle.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The kernel's file.
const FILE: &str = "/dev/cpu_dma_latency";

/// Why idle states can't be held off.
#[derive(Debug, thiserror::Error)]
#[error(
    "--latency low needs to write {FILE}, which failed ({0}): run switchd as root of the machine, \
     or leave --latency low out"
)]
pub struct AwakeError(#[from] io::Error);

/// Workers that are busy now, and the file while there are any.
#[derive(Debug, Default)]
struct State {
    busy: usize,
    file: Option<File>,
}

/// Something to be called with `true` by each worker that gets busy and with `false` when it falls
/// idle: idle states are held off in between.
///
/// # Errors
/// When the kernel's file can't be written.
pub fn hold() -> Result<Arc<dyn Fn(bool) + Send + Sync>, AwakeError> {
    hold_by(Path::new(FILE))
}

fn hold_by(path: &Path) -> Result<Arc<dyn Fn(bool) + Send + Sync>, AwakeError> {
    // Opened and closed: without a value written it asks for nothing.
    open(path)?;
    let path = path.to_owned();
    let state = Mutex::new(State::default());
    Ok(Arc::new(move |busy| {
        let mut s = state.lock().unwrap_or_else(PoisonError::into_inner);
        s.busy = match busy {
            true => s.busy + 1,
            false => s.busy.saturating_sub(1),
        };
        match (s.busy, &s.file) {
            (0, _) => s.file = None,
            // It worked at the start; if it fails now, frames are carried all the same.
            (_, None) => s.file = ask(&path).ok(),
            _ => {}
        }
    }))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

fn ask(path: &Path) -> io::Result<File> {
    let mut file = open(path)?;
    file.write_all(&0i32.to_ne_bytes())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_open_while_any_worker_is_busy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("latency");
        assert!(hold_by(&path).is_err());
        std::fs::write(&path, b"").unwrap();
        let open_here = || {
            std::fs::read_dir("/proc/self/fd")
                .unwrap()
                .flatten()
                .filter(|f| std::fs::read_link(f.path()).is_ok_and(|to| to == path))
                .count()
        };
        let tell = hold_by(&path).unwrap();
        assert_eq!(open_here(), 0);
        tell(true);
        tell(true);
        assert_eq!(std::fs::read(&path).unwrap(), 0i32.to_ne_bytes());
        tell(false);
        assert_eq!(open_here(), 1);
        tell(false);
        assert_eq!(open_here(), 0);
        tell(true);
        assert_eq!(open_here(), 1);
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let e = hold_by(Path::new("/proc/nowhere")).err().unwrap();
        assert!(e.to_string().contains("leave --latency low out"), "{e}");
    }
}
