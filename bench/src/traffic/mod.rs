//! Programs that talk: threads in the hosts' namespaces, ordinary blocking sockets.
//!
//! TCP uses reno on both sides: with bbr its pacing timers, not the network, set the figure.

mod ping;
mod tcp;
mod udp;

pub use ping::ping;
pub use tcp::{bulk, connections, request_response};
pub use udp::flood;

use crate::Result;
use control::netns::Netns;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a blocked call of a program takes to see that it is to end.
const PATIENCE: Duration = Duration::from_millis(200);

/// What programs share with who runs them.
#[derive(Clone, Default)]
pub struct Shared {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    latencies: Arc<Mutex<Vec<u32>>>,
    failure: Arc<Mutex<Option<String>>>,
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Counts bytes, exchanges, datagrams: whatever the measure is about.
    fn count(&self, n: u64) {
        self.done.fetch_add(n, Relaxed);
    }

    fn latency(&self, d: Duration) {
        let ns = u32::try_from(d.as_nanos()).unwrap_or(u32::MAX);
        self.lock().push(ns);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, e: &dyn std::fmt::Display) {
        let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| e.to_string());
    }
}

/// The programs of one measure.
#[derive(Default)]
pub struct Programs {
    shared: Shared,
    threads: Vec<JoinHandle<()>>,
}

impl Programs {
    /// What was counted so far.
    pub fn done(&self) -> u64 {
        self.shared.done.load(Relaxed)
    }

    /// The latencies (ns) since the last call.
    pub fn take_latencies(&self) -> Vec<u32> {
        std::mem::take(&mut self.shared.lock())
    }

    /// Starts a thread inside a namespace. `f` ends when told to; an error before that is kept.
    fn spawn(
        &mut self,
        ns: &Arc<Netns>,
        f: impl FnOnce(&Shared) -> io::Result<()> + Send + 'static,
    ) -> Result<()> {
        let (ns, shared) = (Arc::clone(ns), self.shared.clone());
        let thread = std::thread::Builder::new()
            .name("traffic".into())
            .spawn(move || {
                let ended = match ns.enter() {
                    Ok(()) => f(&shared).map_err(|e| e.to_string()),
                    Err(e) => Err(e.to_string()),
                };
                if let Err(e) = ended
                    && !shared.stopped()
                {
                    shared.fail(&e);
                }
            })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Ends them.
    ///
    /// # Errors
    /// What the first program met that failed before it was told to end.
    pub fn stop(mut self) -> Result<()> {
        self.end();
        let failure = self.shared.failure.lock();
        match failure.unwrap_or_else(PoisonError::into_inner).take() {
            None => Ok(()),
            Some(e) => Err(e.into()),
        }
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Relaxed);
        for t in self.threads.drain(..) {
            let _ = t.join();
        }
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether a call only ran into its time limit.
fn timed_out(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
