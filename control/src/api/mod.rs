//! The control API: HTTP/JSON over a Unix socket, version 1.
//!
//! [`types`] is what goes over it, [`routes`] the one table of what can be asked, [`server`] and
//! [`client`] the two ends, [`socket`] who may have the path. `control/openapi.json` says the
//! same to machines; a test compares the two.

pub mod client;
pub mod error;
pub mod report;
pub mod routes;
pub mod server;
pub mod socket;
mod stats;
pub mod types;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod openapi_tests;
#[cfg(test)]
mod tests;

pub use client::Client;
pub use error::{ApiError, Kind};
pub use server::Server;
pub use socket::ControlSocket;

use types::{Connection, FdbEntry, Neighbour, Port, Publication, Rules, Stats, Status};

/// What answers the API. Every call may block; the server calls it off its own thread.
pub trait Backend: Send + Sync + 'static {
    /// What the daemon is and how it does.
    fn status(&self) -> Status;
    /// All ports, `sw0` first.
    fn ports(&self) -> Vec<Port>;
    /// Attaches a namespace, written as for `--attach`.
    ///
    /// # Errors
    /// Bad words, an address in use, an unknown namespace, a refusal of the system; nothing was
    /// changed then. Likewise for the further calls that change something.
    fn attach(&self, spec: &str) -> Result<Port, ApiError>;
    /// Detaches by namespace, `interface@namespace` or address.
    ///
    /// # Errors
    /// No such port, or several.
    fn detach(&self, port: &str) -> Result<Port, ApiError>;
    /// All published ports, by id.
    fn publications(&self) -> Vec<Publication>;
    /// Publishes a port, written as for `--ports`.
    ///
    /// # Errors
    /// Bad words, an overlap, a host port in use.
    fn publish(&self, spec: &str) -> Result<Publication, ApiError>;
    /// Withdraws by id or by the words of `--ports`.
    ///
    /// # Errors
    /// No such publication.
    fn unpublish(&self, which: &str) -> Result<Publication, ApiError>;
    /// The forwarding database.
    fn fdb(&self) -> Vec<FdbEntry>;
    /// The neighbours.
    fn neighbours(&self) -> Vec<Neighbour>;
    /// The chains of the nat table.
    fn rules(&self) -> Rules;
    /// The tracked connections.
    fn connections(&self) -> Vec<Connection>;
    /// Every counter.
    fn stats(&self) -> Stats;
}
