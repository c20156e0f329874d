//! The packet path of switchd, as a library.
//!
//! The modules stand in the order in which a frame meets them:
//!
//! 1. [`port`] reads a batch of up to 64 frames from one queue of one port,
//!    superframes with their `virtio_net_hdr` beside them;
//! 2. [`frame`] parses each once into a small `Copy` struct;
//! 3. [`guard`] refuses what no port may send (martians, land, the gateway's own addresses);
//! 4. [`flow`] looks routed frames up in one shared index of connection records,
//!    [`l2`] looks bridged ones up in the FDB;
//! 5. [`slow`] decides about what no index knew: the responder in [`neigh`], the tracker in
//!    [`conntrack`], the rules in [`nat`]; its answer is installed in the index;
//! 6. [`rewrite`] applies the answer in place;
//! 7. [`port`] again: coalescing, or segmentation and checksums, as the egress needs.
//!
//! [`pipeline`] is that list as code, [`worker`] the thread around it. Nothing here reads a
//! clock, opens a file or prints: `now` is an argument, so the whole switch can be run in a
//! test as a pure function of (frames, time).
//!
//! Imports go only from higher levels to lower ones: `base` (0), `frame` (1), `port`, `guard`,
//! `flow` (2), `rewrite`, `l2`, `neigh`, `conntrack`, `nat` (3), `slow` (4), `pipeline` (5),
//! `worker` (6).

pub mod base;
pub mod conntrack;
pub mod flow;
pub mod frame;
pub mod guard;
pub mod l2;
pub mod nat;
pub mod neigh;
pub mod pipeline;
pub mod port;
pub mod rewrite;
pub mod slow;
pub mod worker;
