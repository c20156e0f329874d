//! `/dev/cpu_dma_latency` (Documentation/power/pm_qos_interface.rst): while a 0 is held there, no
//! core of the machine goes into an idle state that it would have to be woken from.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

const PATH: &str = "/dev/cpu_dma_latency";
/// What is in force when nobody asks for anything, µs.
const NOBODY: i32 = 2_000_000_000;

/// Holds all cores awake as long as it lives.
#[derive(Debug)]
pub struct Awake {
    _held: File,
}

impl Awake {
    /// Holds them.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn hold() -> io::Result<Awake> {
        let mut file = File::options().write(true).open(PATH)?;
        file.write_all(&0i32.to_ne_bytes())?;
        Ok(Awake { _held: file })
    }
}

/// The latency that somebody holds now, µs; `None` if nobody does, or if it can't be read.
pub fn held() -> Option<i32> {
    let mut now = [0; 4];
    File::open(PATH).ok()?.read_exact(&mut now).ok()?;
    Some(i32::from_ne_bytes(now)).filter(|us| *us < NOBODY)
}

/// Waits until nobody holds any; false if somebody still does after `patience`.
pub fn wait_until_released(patience: Duration) -> bool {
    let begun = Instant::now();
    while held().is_some() {
        if begun.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the device can't be opened there is nothing to see.
    #[test]
    fn what_is_held_is_seen() {
        match Awake::hold() {
            Ok(_awake) => assert_eq!(held(), Some(0)),
            Err(e) => eprintln!("SKIPPED: {PATH}: {e}"),
        }
    }
}
