//! What agents do: threads with ordinary blocking sockets.
//!
//! Each thread counts in a cache line of its own and keeps its times to itself until it ends, so
//! that counting costs no traffic between cores, and nothing that a person's program would not
//! pay. Calls that wait end every `PATIENCE` to see whether to go on, at the price of a timer.

mod bulk;
mod connections;
mod exchange;
mod ping;
mod tcp;
mod udp;

use super::{Count, Farewell, Latency, Order, Reading, Role};
use crate::Result;
use std::io;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a blocked call takes to see that it is to end.
const PATIENCE: Duration = Duration::from_millis(200);
/// How often a call may run into `PATIENCE` after the end was called for: what is under way then
/// has five seconds to arrive.
const GRACE: u32 = 25;
/// Times that a thread has room for from the start.
const TIMES: usize = 1 << 20;

/// What the threads of an agent share.
#[derive(Debug, Default)]
struct Shared {
    cc: Option<String>,
    stop: AtomicBool,
    recording: AtomicBool,
    /// ns, of threads that have ended.
    times: Mutex<Vec<u32>>,
    failure: Mutex<Option<String>>,
}

/// What a thread counted: only it writes here.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Tally {
    role: usize,
    sent: AtomicU64,
    got: AtomicU64,
}

/// A thread's own side of the counting.
struct Meter {
    shared: Arc<Shared>,
    tally: Arc<Tally>,
    times: Vec<u32>,
    /// Calls that ran into their limit since the end was called for.
    waited: u32,
}

impl Meter {
    fn stopped(&self) -> bool {
        self.shared.stop.load(Relaxed)
    }

    fn cc(&self) -> Option<&str> {
        self.shared.cc.as_deref()
    }

    fn sent(&self, n: u64) {
        let c = &self.tally.sent;
        c.store(c.load(Relaxed) + n, Relaxed);
    }

    fn got(&self, n: u64) {
        let c = &self.tally.got;
        c.store(c.load(Relaxed) + n, Relaxed);
    }

    /// Keeps the time of an exchange that ends now.
    fn time(&mut self, begun: Instant) {
        self.took(begun.elapsed());
    }

    /// Keeps the time of an exchange.
    fn took(&mut self, time: Duration) {
        if self.shared.recording.load(Relaxed) {
            if self.times.capacity() == 0 {
                self.times.reserve(TIMES);
            }
            let ns = u32::try_from(time.as_nanos());
            self.times.push(ns.unwrap_or(u32::MAX));
        }
    }

    /// A call ran into its limit: whether it is not to be made again.
    fn give_up(&mut self) -> bool {
        self.waited += u32::from(self.stopped());
        self.waited >= GRACE
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let all = self.shared.times.lock();
        all.unwrap_or_else(PoisonError::into_inner)
            .append(&mut self.times);
    }
}

/// The programs of an agent.
pub struct Programs {
    roles: usize,
    shared: Arc<Shared>,
    tallies: Vec<Arc<Tally>>,
    threads: Vec<JoinHandle<()>>,
}

impl Programs {
    /// Starts them in the calling thread's namespace. Servers listen when this returns.
    ///
    /// # Errors
    /// What the system refused.
    pub fn start(order: &Order) -> Result<Programs> {
        let shared = Shared {
            cc: order.cc.clone(),
            ..Shared::default()
        };
        let mut programs = Programs {
            roles: order.roles.len(),
            shared: Arc::new(shared),
            tallies: Vec::new(),
            threads: Vec::new(),
        };
        for ((i, role), port) in order.roles.iter().enumerate().zip(order.at.port()..) {
            programs.play(i, *role, SocketAddrV4::new(*order.at.ip(), port))?;
        }
        Ok(programs)
    }

    fn play(&mut self, i: usize, role: Role, at: SocketAddrV4) -> Result<()> {
        match role {
            Role::Sink(n) => bulk::sink(self, i, at.port(), n),
            Role::Source(n) => self.spawn(i, n, move |m| bulk::source(m, at)),
            Role::Echo(n) => exchange::echo(self, i, at.port(), n),
            Role::Ask(n) => self.spawn(i, n, move |m| exchange::ask(m, at)),
            Role::Answer(n) => connections::answer(self, i, at.port(), n),
            Role::Dial(n) => self.spawn(i, n, move |m| connections::dial_again(m, at)),
            Role::Drain => udp::drain(self, i, at.port()),
            Role::Flood(size) => self.spawn(i, 1, move |m| udp::flood(m, at, size)),
            Role::Ping => self.spawn(i, 1, move |m| ping::ping(m, *at.ip())),
        }
    }

    /// Starts `threads` threads that do `f`, which ends when told to. An error is kept.
    fn spawn(
        &mut self,
        role: usize,
        threads: usize,
        f: impl Fn(&mut Meter) -> io::Result<()> + Clone + Send + 'static,
    ) -> Result<()> {
        for _ in 0..threads {
            let tally = Arc::new(Tally {
                role,
                ..Tally::default()
            });
            self.tallies.push(Arc::clone(&tally));
            let mut meter = Meter {
                shared: Arc::clone(&self.shared),
                tally,
                times: Vec::new(),
                waited: 0,
            };
            let f = f.clone();
            let thread = std::thread::Builder::new()
                .name("traffic".into())
                .spawn(move || {
                    if let Err(e) = f(&mut meter) {
                        let first = meter.shared.failure.lock();
                        first
                            .unwrap_or_else(PoisonError::into_inner)
                            .get_or_insert(e.to_string());
                    }
                })?;
            self.threads.push(thread);
        }
        Ok(())
    }

    /// Counts now.
    pub fn read(&self) -> Reading {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let ns = u64::try_from(now.tv_nsec).unwrap_or(0);
        Reading {
            at_ns: seconds * 1_000_000_000 + ns,
            counts: self.counts(),
        }
    }

    /// Counts now; exchanges are timed from now on, or no longer.
    pub fn record(&self, on: bool) -> Reading {
        self.shared.recording.store(on, Relaxed);
        self.read()
    }

    fn counts(&self) -> Vec<Count> {
        let mut counts = vec![Count::default(); self.roles];
        for t in &self.tallies {
            if let Some(c) = counts.get_mut(t.role) {
                c.sent += t.sent.load(Relaxed);
                c.got += t.got.load(Relaxed);
            }
        }
        counts
    }

    /// Ends them.
    ///
    /// # Errors
    /// What the first one met that failed.
    pub fn stop(&mut self) -> Result<Farewell> {
        self.shared.stop.store(true, Relaxed);
        for t in self.threads.drain(..) {
            if t.join().is_err() {
                return Err("a program panicked".into());
            }
        }
        let failure = self.shared.failure.lock();
        if let Some(e) = failure.unwrap_or_else(PoisonError::into_inner).take() {
            return Err(e.into());
        }
        let times = self.shared.times.lock();
        let times = std::mem::take(&mut *times.unwrap_or_else(PoisonError::into_inner));
        Ok(Farewell {
            counts: self.counts(),
            latency: Latency::of(times),
        })
    }
}

/// Whether a call only ran into its time limit.
fn timed_out(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
