//! Only one switch on an interface: an abstract socket, which belongs to the network namespace
//! and ends with its process.

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

/// The right to serve an interface, as long as it is held.
#[derive(Debug)]
pub struct Claim {
    _held: UnixListener,
}

/// Why it was not given.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another one has it.
    #[error(
        "{interface} is the uplink of another switchd{}: stop that one, or give this one \
         --uplink none or another interface",
        by(.pid)
    )]
    Taken {
        /// The interface.
        interface: String,
        /// Its process, as far as it can be known.
        pid: Option<i32>,
    },
    /// The socket could not be made.
    #[error("cannot claim {interface}: {source}")]
    Socket {
        /// The interface.
        interface: String,
        /// What the system said.
        source: io::Error,
    },
}

fn by(pid: &Option<i32>) -> String {
    pid.map_or_else(String::new, |p| format!(" (process {p})"))
}

impl Claim {
    /// Claims the interface `index` of the calling thread's network namespace.
    ///
    /// # Errors
    /// See [`ClaimError`].
    pub fn new(index: u32, interface: &str) -> Result<Claim, ClaimError> {
        let failed = |source| ClaimError::Socket {
            interface: interface.to_owned(),
            source,
        };
        let name = format!("switchd-uplink-{index}");
        let name = SocketAddr::from_abstract_name(name).map_err(failed)?;
        match UnixListener::bind_addr(&name) {
            Ok(held) => Ok(Claim { _held: held }),
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => Err(ClaimError::Taken {
                interface: interface.to_owned(),
                pid: UnixStream::connect_addr(&name)
                    .ok()
                    .and_then(|s| getsockopt(&s, PeerCredentials).ok())
                    .map(|c| c.pid()),
            }),
            Err(e) => Err(failed(e)),
        }
    }
}
