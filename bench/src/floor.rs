//! The floor: the least that a router's or bridge's work costs in the same memory.
//!
//! Bare loops over a batch that read the headers without checking anything, fetch one index line
//! and one record line of each flow, rewrite and change checksums. No parse of what could be
//! malformed, no guard, no TCP state, no time, no counters, no ports. What the pipeline costs
//! beside this is what its promises cost.

use dataplane::base::bytes::{be16, be32, put};
use dataplane::base::mem::prefetch;
use dataplane::base::{Mac, Tick};
use dataplane::flow::{Dir, FlowKey, Zone};
use dataplane::frame::Batch;
use dataplane::frame::batch::BATCH;
use dataplane::frame::checksum::apply;
use dataplane::l2::FdbKey;
use dataplane::slow::switch::Switch;

/// Routed TCP frames with finished checksums, without options.
pub struct Routed {
    hashes: [u64; BATCH],
    records: [u32; BATCH],
}

impl Default for Routed {
    fn default() -> Routed {
        Routed {
            hashes: [0; BATCH],
            records: [0; BATCH],
        }
    }
}

/// Ethernet, IPv4 and TCP headers.
const HEADERS: usize = 54;

impl Routed {
    /// One batch of frames that come in by `zone` and are of direction `dir` in their connection.
    pub fn pass(&mut self, sw: &Switch, zone: Zone, dir: Dir, batch: &mut Batch) {
        let ct = &sw.conntrack;
        let n = batch.len();
        for (f, hash) in batch.frames().iter().zip(&mut self.hashes) {
            let Some(b) = f.bytes().first_chunk::<HEADERS>() else {
                continue;
            };
            let key = FlowKey {
                a: u64::from(be32(b, 26)) << 32 | u64::from(be32(b, 30)),
                b: u64::from(be32(b, 34)) << 32 | u64::from(b[23]) << 24 | (zone as u64) << 16 | 1,
            };
            *hash = ct.index.hash(&key);
            ct.index.prefetch(*hash);
        }
        for (hash, record) in self.hashes.iter().zip(&mut self.records).take(n) {
            *record = ct.index.candidate(*hash).get().map_or(0, |(id, _)| id);
            if let Some(r) = ct.slab.get(*record) {
                prefetch(r);
            }
        }
        for (f, record) in batch.frames_mut().iter_mut().zip(&self.records) {
            let Some(r) = ct.slab.get(*record) else {
                continue;
            };
            let Some(b) = f.bytes_mut().first_chunk_mut::<HEADERS>() else {
                continue;
            };
            let (to, new) = (r.forward(dir), r.key(dir.other()));
            put(b, 0, to.dst_mac.0);
            put(b, 6, Mac::ZERO.0);
            b[22] = b[22].wrapping_sub(1);
            let ip = apply(be16(b, 24), to.header_delta);
            put(b, 24, ip.to_be_bytes());
            // The answer's tuple, turned round.
            put(b, 26, new.a.rotate_left(32).to_be_bytes());
            let ports = ((new.b >> 32) as u32).rotate_left(16);
            put(b, 34, ports.to_be_bytes());
            let l4 = apply(be16(b, 50), to.l4_delta);
            put(b, 50, l4.to_be_bytes());
        }
    }
}

/// A MAC address in a frame; zero when there is none.
fn mac(b: &[u8], at: usize) -> Mac {
    b.get(at..)
        .and_then(<[u8]>::first_chunk)
        .map_or(Mac::ZERO, |m| Mac(*m))
}

/// Bridged frames: both MACs looked up, nothing changed.
#[derive(Default)]
pub struct Bridged;

impl Bridged {
    /// One batch; gives something that depends on every look-up.
    pub fn pass(&mut self, sw: &Switch, batch: &Batch, now: Tick) -> u32 {
        for f in batch.frames() {
            sw.fdb.prefetch(FdbKey::new(0, mac(f.bytes(), 0)));
            sw.fdb.prefetch(FdbKey::new(0, mac(f.bytes(), 6)));
        }
        let mut sum = 0u32;
        for f in batch.frames() {
            let to = sw.fdb.lookup(FdbKey::new(0, mac(f.bytes(), 0)), now);
            let from = sw.fdb.lookup(FdbKey::new(0, mac(f.bytes(), 6)), now);
            sum = sum
                .wrapping_add(to.map_or(0, |p| u32::from(p.0)))
                .wrapping_add(from.map_or(0, |p| u32::from(p.0)));
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{Flow, Lab, Room};
    use dataplane::frame::parse;

    /// The floor has to do the work that it stands for, else it is no floor.
    #[test]
    fn rewrites_as_the_pipeline_does() {
        for (flow, dir) in Flow::BOTH
            .into_iter()
            .flat_map(|f| Dir::BOTH.map(|d| (f, d)))
        {
            let mut lab = Lab::new(Room::for_connections(64)).unwrap();
            lab.open(flow, 3).unwrap();
            let mut pass = lab.established(flow, dir, 3).batches_of(3);
            let zone = match flow.from_outside(dir) {
                true => Zone::Uplink,
                false => Zone::Inside,
            };
            let sw = std::sync::Arc::clone(lab.switch());
            let seen = |b: &Batch| -> Vec<Vec<u8>> {
                let of = |f: &dataplane::frame::Frame| {
                    let mut v = f.bytes().to_vec();
                    // The floor does not know the switch's own MACs.
                    v[6..12].fill(0);
                    v
                };
                b.frames().iter().map(of).collect()
            };
            let mut floors = Vec::new();
            let mut other = Vec::new();
            let mut floor = Routed::default();
            pass.time(9, |b, ingress| {
                let mut copy = Batch::default();
                for f in b.frames() {
                    copy.push(f.bytes(), f.hdr);
                }
                floor.pass(&sw, zone, dir, b);
                floors.extend(seen(b));
                lab.process(&mut copy, ingress);
                other.extend(seen(&copy));
            });
            assert_eq!(floors, other);
            assert!(floors.iter().all(|f| {
                parse::parse(f, &dataplane::frame::VnetHdr::PLAIN).is_ok_and(|p| p.ttl == 63)
            }));
            lab.nothing_lost().unwrap();
        }
    }
}
