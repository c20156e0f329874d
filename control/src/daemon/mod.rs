//! The daemon: a plan made real, changed while it runs, and taken away without a trace.
//!
//! - `start`: from a plan to a running switch, or nothing;
//! - `ports` and `published`: attach, detach, publish, withdraw;
//! - `nic`: the host's own interface as uplink, followed as it changes;
//! - `sockets`: the engine of `--uplink sockets`;
//! - `backend`: what the control API answers;
//! - `events`: what the workers report.
//!
//! Everything that is made belongs to a value whose end takes it away: the queues of a TAP, the
//! sockets of the relay, the control socket. So an error half-way, a signal and the end of the
//! process leave the same: nothing.

mod backend;
mod events;
mod nic;
mod ports;
mod published;
mod quarantine;
mod sockets;
mod start;

use crate::api::{Backend, Server};
use crate::forward::Relay;
use crate::forward::RelayId;
use crate::netns::NetnsId;
use crate::plan::spec::scalar::Offload;
use crate::plan::{Addresses, Failure, Plan};
use crate::signals;
use crate::uplink::sockets::Sockets;
use crate::workers::Workers;
use dataplane::base::{Mac, PortId, Role, RuleId};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

/// A running switch with its control socket. Dropped or stopped, it leaves nothing behind.
pub struct Daemon {
    // Dropped in this order: no call any more, then the relay and the interfaces.
    server: Server,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Daemon({})", self.shared.plan.control.display())
    }
}

impl Daemon {
    /// Makes everything that the plan says: control socket, workers, `sw0`, uplink, attachments,
    /// published ports.
    ///
    /// # Errors
    /// The first refusal; nothing is left behind then.
    pub fn start(plan: Plan) -> Result<Daemon, Failure> {
        start::start(plan)
    }

    /// The calls of the control API, without the socket.
    pub fn backend(&self) -> Arc<dyn Backend> {
        self.shared.clone()
    }

    /// The control socket.
    pub fn control(&self) -> &Path {
        &self.shared.plan.control
    }

    /// Ends everything and waits until it is gone.
    pub fn stop(self) {
        let Daemon { server, shared } = self;
        server.stop();
        drop(shared);
    }
}

/// Runs a daemon until [a signal ends it](signals::that_end).
///
/// # Errors
/// See [`Daemon::start`]; also when the signals can't be watched.
pub fn run(plan: Plan) -> Result<ExitCode, Failure> {
    // Before anything is made, so that a signal during the start takes it away again.
    let mut signals = signal_hook::iterator::Signals::new(signals::that_end())
        .map_err(|e| Failure::Refused(format!("cannot watch signals: {e}")))?;
    let daemon = Daemon::start(plan)?;
    if let Some(signal) = signals.forever().next() {
        let name = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
        tracing::info!("ending on {name}");
    }
    daemon.stop();
    Ok(ExitCode::SUCCESS)
}

/// What the API's calls and the workers' events share.
struct Shared {
    // Dropped in this order: who follows the host, its listeners, then the interfaces.
    follow: OnceLock<nic::Follow>,
    relay: Option<Relay>,
    sockets: Option<Sockets>,
    workers: Workers,
    plan: Plan,
    /// What the self-test left of the wanted offloads.
    offload: Offload,
    host: NetnsId,
    ready: Instant,
    state: Mutex<State>,
    /// This value, for threads that must not keep it alive.
    me: OnceLock<Weak<Shared>>,
}

/// What changes while the daemon runs.
struct State {
    ports: BTreeMap<PortId, Attachment>,
    addresses: Addresses,
    published: BTreeMap<RuleId, Published>,
    /// The host's interface as uplink, where that is asked for.
    nic: Option<nic::Nic>,
}

/// The interface behind a port.
#[derive(Clone, Debug)]
struct Attachment {
    role: Role,
    /// As the person called it; empty for the namespace that the daemon was started in.
    netns: String,
    netns_id: NetnsId,
    interface: String,
    ip: Ipv4Addr,
    mac: Mac,
}

impl Attachment {
    /// `interface@namespace`; the host's interface goes by its own name.
    fn name(&self) -> String {
        match self.role {
            Role::Host => self.interface.clone(),
            Role::Uplink if self.netns.is_empty() => self.interface.clone(),
            Role::Access | Role::Uplink => format!("{}@{}", self.interface, self.netns),
        }
    }
}

/// What the host's side of a published port is.
#[derive(Debug)]
struct Published {
    publication: dataplane::nat::Publication,
    relay: Option<RelayId>,
    /// Without the relay: what keeps the host's kernel quiet about it, if it needs sockets.
    held: Vec<OwnedFd>,
}

impl Shared {
    /// The state. A call that panicked half-way is no reason to refuse all later ones.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
