//! Whether a worker has frames to carry, told to whoever wants to know.

use crate::base::Instant;
use std::sync::Arc;
use std::time::Duration;

/// Called with `true` when a worker gets frames after a silence, with `false` after the next
/// silence. May be called by several workers at a time.
pub type WhileBusy = Arc<dyn Fn(bool) + Send + Sync>;

/// A worker without a frame for so long is idle.
pub(super) const SILENCE: Duration = Duration::from_millis(100);

/// One worker's state.
#[derive(Default)]
pub(super) struct Busy {
    tell: Option<WhileBusy>,
    last: Instant,
    busy: bool,
}

impl Busy {
    pub(super) fn new(tell: Option<WhileBusy>) -> Busy {
        Busy {
            tell,
            ..Busy::default()
        }
    }

    /// Frames were read.
    #[inline]
    pub(super) fn frames(&mut self, now: Instant) {
        if let Some(tell) = &self.tell {
            self.last = now;
            if !self.busy {
                self.busy = true;
                tell(true);
            }
        }
    }

    /// Looks whether a silence has begun; gives when to look again.
    #[inline]
    pub(super) fn silence(&mut self, now: Instant) -> Option<Instant> {
        if !self.busy {
            return None;
        }
        let end = self.last + SILENCE;
        if now < end {
            return Some(end);
        }
        self.stop();
        None
    }

    fn stop(&mut self) {
        if std::mem::take(&mut self.busy)
            && let Some(tell) = &self.tell
        {
            tell(false);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn each_change_is_told_once() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&told);
        let mut b = Busy::new(Some(Arc::new(move |on| sink.lock().unwrap().push(on))));
        let at = |ms: u64| Instant(ms * 1_000_000);
        assert_eq!(b.silence(at(0)), None);
        b.frames(at(1));
        b.frames(at(50));
        assert_eq!(b.silence(at(60)), Some(at(150)));
        assert_eq!(*told.lock().unwrap(), [true]);
        assert_eq!(b.silence(at(150)), None);
        assert_eq!(b.silence(at(400)), None);
        assert_eq!(*told.lock().unwrap(), [true, false]);
        b.frames(at(500));
        drop(b);
        assert_eq!(*told.lock().unwrap(), [true, false, true, false]);
    }
}
