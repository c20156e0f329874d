//! The kernel as oracle: the same frames to a switch in memory and to a namespace with the
//! kernel's own bridge, router, NAT and connection tracking, and a comparison of what comes out.
//!
//! | file | what |
//! |---|---|
//! | `sequence` | what can be done: flows, publications, steps |
//! | `generate`, `captures`, `shrink` | where sequences come from, and how they get smaller |
//! | `build` | steps to frames, in the words that each side uses |
//! | `kernel`, `rules`, `netfilter`, `conntrack` | the kernel's side |
//! | `switch` | the switch's, with one worker and with two |
//! | `side` | what the hosts on each side have seen |
//! | `canon` | what is compared of a frame |
//! | `expiry` | timeouts short enough to wait for |
//! | `run` | a sequence through all sides |
//! | `segment`, `watch` | TCP conversations as the kernel let them through |
//! | `known` | the differences that we mean |
//! | `report` | many sequences |

pub mod build;
pub mod canon;
pub mod captures;
mod conntrack;
mod expiry;
pub mod facts;
pub mod generate;
pub mod kernel;
pub mod known;
pub mod netfilter;
pub mod nft;
mod regular;
pub mod report;
mod rules;
pub mod run;
mod segment;
pub mod sequence;
pub mod shrink;
mod side;
pub mod switch;
mod watch;

use crate::memory::{APP, DB, PEER, WEB};
use dataplane::frame::VnetHdr;
use std::net::Ipv4Addr;

pub use rules::Published;

/// Who is behind each port: three containers and the neighbour outside.
pub const PORTS: [Ipv4Addr; 4] = [WEB, DB, APP, PEER];
/// The port outside.
pub const OUTSIDE: usize = 3;

/// A frame on its way in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wire {
    /// Place of the port in [`PORTS`].
    pub port: usize,
    /// The frame.
    pub bytes: Vec<u8>,
    /// What was left undone in it.
    pub hdr: VnetHdr,
}

impl Wire {
    /// A whole, finished frame.
    pub const fn plain(port: usize, bytes: Vec<u8>) -> Wire {
        Wire {
            port,
            bytes,
            hdr: VnetHdr::PLAIN,
        }
    }
}

/// A frame that came out; always whole and finished.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Out {
    /// Place of the port in [`PORTS`].
    pub port: usize,
    /// The frame.
    pub bytes: Vec<u8>,
}

impl Out {
    /// A frame that came out by a port.
    pub fn new(port: usize, bytes: &[u8]) -> Out {
        let bytes = bytes.to_vec();
        Out { port, bytes }
    }
}
