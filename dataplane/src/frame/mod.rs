//! Level 1: frames as bytes. A batch of owned slots, the header that tells of offloads,
//! checksums, the one parse of each frame, and the frames that the switch makes itself.

pub mod arp;
pub mod batch;
pub mod checksum;
pub mod emit;
pub mod igmp;
pub mod parse;
pub mod vnet_hdr;

pub use arp::Arp;
pub use batch::{Batch, Frame};
pub use parse::{L3, L4, Parsed};
pub use vnet_hdr::{Gso, VnetHdr};
