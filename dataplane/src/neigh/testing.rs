//! What the tests of neighbours and of ARP share.

use super::{Held, Neighbours, Resolve};
use crate::base::{Mac, PortId, Tick};
use crate::flow::Zone;
use crate::frame::Frame;
use std::net::Ipv4Addr;

pub const REACH: u32 = 60_000;
pub const M1: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub const M2: Mac = Mac([2, 0, 0, 0, 0, 2]);
pub const P: PortId = PortId(3);

pub fn ip(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, n)
}

pub fn table() -> Neighbours {
    Neighbours::new(8, REACH)
}

pub fn resolve(n: &Neighbours, last: u8, ms: u32) -> Resolve {
    n.resolve(Zone::Inside, ip(last), Tick(ms))
}

pub fn frame(tag: u8) -> Frame {
    Frame::from_bytes(&[tag; 60])
}

pub fn tags(held: &[Held]) -> Vec<u8> {
    held.iter().map(|h| h.frame.bytes()[0]).collect()
}
