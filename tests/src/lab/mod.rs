//! A laboratory for end-to-end tests: network namespaces, the real programs, real traffic.
//!
//! A [`scenario!`](crate::scenario) is a test whose body runs in a process of its own, in new
//! network and mount namespaces with an empty `/run`. So a test may call its namespaces `web`,
//! the daemon may have its usual control socket, several scenarios run side by side, and nothing
//! is left when the process ends, however it ends. An ordinary user gets the same inside a user
//! namespace of its own.
//!
//! - [`isolate`]: from a test function to that process and back;
//! - [`bins`]: where `switchd` and `switchctl` are;
//! - [`ns`]: namespaces; [`daemon`]: the programs; [`world`]: host, containers and outside;
//! - [`nic`]: a host with an interface towards an outside, which the switch shares;
//! - [`ruleset`]: the host's nf_tables rules, which nobody is to touch;
//! - [`rootless`]: an ordinary user and its switch;
//! - [`tcp`], [`udp`]: traffic that is checked at both ends.

pub mod bins;
pub mod daemon;
pub mod isolate;
pub mod nic;
pub mod ns;
pub mod rootless;
pub mod ruleset;
pub mod tcp;
pub mod udp;
pub mod world;

pub use control::demo::ping::{ping, ping_as};
pub use control::demo::web::{WebServer, fetch};
pub use daemon::{Daemon, Ended, switchctl, switchd};
pub use ns::Ns;
pub use world::{World, WorldSpec};

use std::time::{Duration, Instant};

/// How long a test waits for what takes no time on a machine that is not busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `f` gives a value; fails the test with `what` after twenty seconds.
pub fn wait_for<T>(what: &str, f: impl FnMut() -> Option<T>) -> T {
    wait_long_for(what, PATIENCE, f)
}

/// The same with a limit of its own, for what has to be done thousands of times.
pub fn wait_long_for<T>(what: &str, limit: Duration, mut f: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(t) = f() {
            return t;
        }
        assert!(
            Instant::now() < end,
            "waited {limit:?} for this in vain: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
