//! The localhost relay: what docker-proxy is to docker0.
//!
//! The host's own programs reach a published port by a listener in the host namespace. Each
//! connection there gets a second one that leaves by `sw0` with the gateway's address as source,
//! so a capture shows two TCP streams: one on loopback, one on the bridge. Connections from
//! other machines meet the listener only if no uplink took them first.
//!
//! - `socket`: how listeners and upstream sockets are made;
//! - `engine`: the event loop, one thread named `localhost`;
//! - `tcp`: one relayed connection, moved by `splice(2)`;
//! - `pipes`: the pool of pipes, taken only while bytes wait;
//! - `udp`: published UDP ports, one session for each client;
//! - `limits`: descriptors.
//!
//! The relay connects to the addresses of publications and to nothing else, from the gateway's
//! address and (when told its name) through `sw0` only: it is no way into the host's 127/8.

mod engine;
pub mod limits;
mod pipes;
pub(crate) mod slab;
mod socket;
mod stats;
mod tcp;
mod udp;

#[cfg(test)]
mod tests;

pub(crate) use engine::publish::refusal;
pub use stats::RelayReport;

use crossbeam_channel::{Sender, bounded, unbounded};
use dataplane::nat::Publication;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How the relay behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// Upstream connections leave by this interface only (`sw0`); `None`: by any route.
    pub device: Option<String>,
    /// Most relayed TCP connections at a time; also bounded by the descriptor limit.
    pub max_connections: usize,
    /// Most UDP sessions of one published port; the longest idle makes room.
    pub max_sessions_per_port: usize,
    /// Most UDP sessions in all; also bounded by the descriptor limit.
    pub max_sessions: usize,
    /// Most pipes in use; what finds none is copied instead.
    pub max_pipes: usize,
    /// A UDP session with no datagram in either direction ends after this.
    pub udp_idle: Duration,
}

impl Default for RelayConfig {
    fn default() -> RelayConfig {
        RelayConfig {
            device: None,
            max_connections: 8_192,
            max_sessions_per_port: 1_024,
            max_sessions: 4_096,
            max_pipes: 256,
            udp_idle: Duration::from_secs(300),
        }
    }
}

/// Why the relay could not do as told. Nothing half-made is left behind.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The thread, its poller or the move into the host's namespace failed.
    #[error("cannot start the localhost relay: {0}")]
    Start(#[source] io::Error),
    /// A socket of another program holds the address.
    #[error("{addr}/{proto} is taken by another program on this host")]
    InUse {
        /// The address and port.
        addr: SocketAddrV4,
        /// `tcp` or `udp`.
        proto: String,
    },
    /// No interface of the host has the address.
    #[error("cannot listen on {addr}/{proto}: {ip} is no address of this host", ip = addr.ip())]
    NoAddress {
        /// The address and port.
        addr: SocketAddrV4,
        /// `tcp` or `udp`.
        proto: String,
    },
    /// Ports below 1024 need a capability.
    #[error(
        "cannot listen on {addr}/{proto}: not permitted (ports below 1024 need \
         CAP_NET_BIND_SERVICE, or a lower net.ipv4.ip_unprivileged_port_start)"
    )]
    Forbidden {
        /// The address and port.
        addr: SocketAddrV4,
        /// `tcp` or `udp`.
        proto: String,
    },
    /// Any other refusal of the kernel.
    #[error("cannot listen on {addr}/{proto}: {source}")]
    Listen {
        /// The address and port.
        addr: SocketAddrV4,
        /// `tcp` or `udp`.
        proto: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// More listeners than descriptors.
    #[error(
        "{publication}: {need} ports need as many sockets, but {open} of at most {limit} \
         descriptors are open (ulimit -n); publish fewer ports or turn --localhost off"
    )]
    Descriptors {
        /// What was to be published.
        publication: Publication,
        /// Sockets that it needs.
        need: usize,
        /// Descriptors that are open now.
        open: usize,
        /// The limit of this process.
        limit: usize,
    },
    /// The same where no program of the host is to be heard.
    #[error(
        "{publication}: {need} ports need a socket each in the host's kernel, but {open} of at \
         most {limit} descriptors are open (ulimit -n); publish fewer ports"
    )]
    Holders {
        /// What was to be published.
        publication: Publication,
        /// Sockets that it needs.
        need: usize,
        /// Descriptors that are open now.
        open: usize,
        /// The limit of this process.
        limit: usize,
    },
    /// Neither TCP nor UDP, or a range that runs backwards or past 65535.
    #[error("{0} cannot be relayed")]
    Unfit(Publication),
    /// The address behind it would be the host itself.
    #[error("{0}: the relay must not lead to an address of the host itself")]
    HostAddress(Publication),
    /// The host's namespace could not be entered.
    #[error(transparent)]
    Namespace(#[from] crate::netns::NetnsError),
    /// The kernel took no filter.
    #[error("cannot tell the relay's listeners what to ignore: {0}")]
    Filter(#[source] io::Error),
    /// The relay's thread has ended.
    #[error("the localhost relay has stopped")]
    Stopped,
}

/// Names one relayed publication, for [`Relay::unpublish`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RelayId(u64);

/// What the owner of a [`Relay`] asks of its thread.
enum Command {
    Publish(Publication, Sender<Result<RelayId, ForwardError>>),
    Unpublish(RelayId, Sender<bool>),
    DeafTo(Option<u32>, Sender<Result<(), ForwardError>>),
    Stop,
}

/// A running relay. Dropping it closes all its sockets and ends its thread.
#[derive(Debug)]
pub struct Relay {
    commands: Sender<Command>,
    waker: Arc<mio::Waker>,
    stats: Arc<stats::Stats>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Starts the relay's thread in the network namespace `host_netns` (`None`: the caller's).
    ///
    /// `gateway` is the source of all upstream connections. The soft limit on descriptors is
    /// raised to the hard one.
    ///
    /// # Errors
    /// [`ForwardError::Start`]: the thread, its poller or `setns(2)` was refused.
    pub fn start(
        host_netns: Option<OwnedFd>,
        gateway: Ipv4Addr,
        cfg: RelayConfig,
    ) -> Result<Relay, ForwardError> {
        let limit = limits::raise();
        let stats = Arc::new(stats::Stats::default());
        let (commands, inbox) = unbounded();
        let (ready, started) = bounded(1);
        let shared = stats.clone();
        let thread = std::thread::Builder::new()
            .name("localhost".into())
            .spawn(move || {
                let made = host_netns
                    .map_or(Ok(()), |ns| enter(&ns))
                    .and_then(|()| engine::Engine::new(gateway, cfg, limit, inbox, shared));
                match made {
                    Ok((engine, waker)) => {
                        if ready.send(Ok(waker)).is_ok() {
                            engine.run();
                        }
                    }
                    Err(e) => drop(ready.send(Err(e))),
                }
            })
            .map_err(ForwardError::Start)?;
        match started.recv() {
            Ok(Ok(waker)) => Ok(Relay {
                commands,
                waker,
                stats,
                thread: Some(thread),
            }),
            Ok(Err(e)) => Err(ForwardError::Start(e)),
            Err(_) => Err(ForwardError::Stopped),
        }
    }

    /// Binds a socket for each port of `publication` and relays what comes; all are bound when
    /// this returns, or none.
    ///
    /// # Errors
    /// Which address was refused and why, see [`ForwardError`].
    pub fn publish(&self, publication: &Publication) -> Result<RelayId, ForwardError> {
        let (tx, rx) = bounded(1);
        self.tell(Command::Publish(*publication, tx))?;
        rx.recv().map_err(|_| ForwardError::Stopped)?
    }

    /// Closes the listeners of a publication and resets its live connections; all are gone when
    /// this returns. False: there was none of that name.
    pub fn unpublish(&self, id: RelayId) -> bool {
        let (tx, rx) = bounded(1);
        self.tell(Command::Unpublish(id, tx)).is_ok() && rx.recv().unwrap_or(false)
    }

    /// Has all listeners, present and to come, ignore what comes in by the interface of this
    /// number, which the switch serves itself.
    ///
    /// # Errors
    /// [`ForwardError::Filter`], [`ForwardError::Stopped`].
    pub fn deaf_to(&self, uplink: Option<u32>) -> Result<(), ForwardError> {
        let (tx, rx) = bounded(1);
        self.tell(Command::DeafTo(uplink, tx))?;
        rx.recv().map_err(|_| ForwardError::Stopped)?
    }

    /// What it has done so far.
    pub fn stats(&self) -> RelayReport {
        self.stats.report()
    }

    fn tell(&self, command: Command) -> Result<(), ForwardError> {
        self.commands
            .send(command)
            .map_err(|_| ForwardError::Stopped)?;
        self.waker.wake().map_err(|_| ForwardError::Stopped)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // A thread that can't be told can't be waited for either.
        if self.tell(Command::Stop).is_ok()
            && let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the localhost relay ended by a panic");
        }
    }
}

/// Moves the calling thread into a network namespace.
fn enter(ns: &OwnedFd) -> io::Result<()> {
    use std::os::fd::AsFd;
    rustix::thread::move_into_link_name_space(
        ns.as_fd(),
        Some(rustix::thread::LinkNameSpaceType::Network),
    )
    .map_err(io::Error::from)
}
