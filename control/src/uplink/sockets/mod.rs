//! `--uplink sockets`: no privilege at all.
//!
//! The switch has an uplink and a host side as always, and behind both stands an engine in this
//! process: what a container sends to the outside ends there and goes on in ordinary sockets of
//! the host. Nothing is made on the host, neither an interface nor a rule.
//!
//! - `splice`: one TCP connection, ended here and gone on in a socket;
//! - `datagram`: UDP and echoes, by `message`; `errors`: what the outside says about them; `fragments`: what comes in pieces;
//! - `listen`: published ports; `asked`: by which address their clients came;
//! - `engine`: all of them, what they wait for, and their limits;
//! - `queue`: the engine as a port of the switch;
//! - `wire`: frames.
//!
//! The external address and its next hop are [`EXTERNAL`] and [`NEXT_HOP`] (RFC 7335: for hosts
//! behind translation, never on a wire). The engine runs in the workers, when they write to its
//! port and when its sockets have something to read: a byte is copied from the container's TAP
//! into the worker's buffer and from there into the socket, and no thread is woken in between.

mod asked;
mod datagram;
mod dest;
mod engine;
mod errors;
mod fragments;
mod limits;
mod listen;
mod message;
mod owner;
mod queue;
pub mod splice;
pub mod stats;
mod sys;
mod tcp;
mod tcp_open;
pub mod wire;

pub use crate::plan::spec::sockets::{EXTERNAL, PREFIX};
pub use listen::ListenError;
pub use owner::Sockets;
pub use stats::SocketsReport;

use dataplane::base::Mac;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The engine's own address on that side.
pub const NEXT_HOP: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 1);
/// What stands for an interface in reports.
pub const SOCKETS: &str = "sockets";

/// What the engine is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The gateway's address: the engine is the host behind it.
    pub gateway: Ipv4Addr,
    /// Its MAC.
    pub gateway_mac: Mac,
    /// The switch's MAC on the uplink.
    pub uplink_mac: Mac,
    /// MTU of both sides.
    pub mtu: u16,
    /// The containers' subnet and its mask.
    pub subnet: (Ipv4Addr, u32),
    /// Where DNS queries to the gateway go.
    pub resolver: Option<SocketAddrV4>,
    /// Idle times, as the switch has them.
    pub timeouts: dataplane::base::config::Timeouts,
    /// Number of queues, one for each worker.
    pub queues: usize,
}
