//! The floor: the least that a router's or bridge's work costs in the same memory.
//!
//! Bare loops over a batch that read the headers without checking anything, fetch one index line
//! and one record line of each flow, rewrite and change checksums. No parse of what could be
//! malformed, no guard, no TCP state, no time, no counters, no ports. What the pipeline costs
//! beside this is what its promises cost.

use dataplane::base::mem::prefetch;
use dataplane::base::{Mac, Tick};
use dataplane::flow::{Dir, FlowKey, Zone};
use dataplane::frame::Batch;
use dataplane::frame::batch::BATCH;
use dataplane::frame::checksum::{apply, combine};
use dataplane::slow::switch::Switch;

fn array<const N: usize>(b: &[u8], at: usize) -> [u8; N] {
    b.get(at..at + N)
        .and_then(|s| s.try_into().ok())
        .unwrap_or([0; N])
}

fn put<const N: usize>(b: &mut [u8], at: usize, v: [u8; N]) {
    if let Some(d) = b.get_mut(at..at + N) {
        d.copy_from_slice(&v);
    }
}

/// Routed TCP frames with finished checksums, original direction.
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

impl Routed {
    /// One batch.
    pub fn pass(&mut self, sw: &Switch, zone: Zone, batch: &mut Batch) {
        let ct = &sw.conntrack;
        for (f, hash) in batch.frames().iter().zip(&mut self.hashes) {
            let b = f.bytes();
            let ports = u64::from(u32::from_be_bytes(array(b, 34)));
            let proto = u64::from(b.get(23).copied().unwrap_or(0));
            let key = FlowKey {
                a: u64::from_be_bytes(array(b, 26)),
                b: (ports << 32) | (proto << 24) | ((zone as u64) << 16) | 1,
            };
            *hash = ct.index.hash(&key);
            ct.index.prefetch(*hash);
        }
        for (hash, record) in self.hashes.iter().zip(&mut self.records).take(batch.len()) {
            *record = ct.index.candidate(*hash).unwrap_or(0);
            if let Some(r) = ct.slab.get(*record) {
                prefetch(r);
            }
        }
        for (f, record) in batch.frames_mut().iter_mut().zip(&self.records) {
            let Some(r) = ct.slab.get(*record) else {
                continue;
            };
            let (to, new) = (r.forward(Dir::Orig), r.key(Dir::Reply));
            let b = f.bytes_mut();
            put(b, 0, to.dst_mac.0);
            put(b, 6, Mac::ZERO.0);
            let ttl = b.get(22).copied().unwrap_or(0);
            put(b, 22, [ttl.wrapping_sub(1)]);
            let ip = u16::from_be_bytes(array(b, 24));
            put(b, 24, apply(ip, combine(0xfeff, to.ip_delta)).to_be_bytes());
            // The answer's tuple, turned round.
            put(b, 26, new.a.rotate_left(32).to_be_bytes());
            let ports = ((new.b >> 32) as u32).rotate_left(16);
            put(b, 34, ports.to_be_bytes());
            let l4 = u16::from_be_bytes(array(b, 50));
            put(b, 50, apply(l4, to.l4_delta).to_be_bytes());
        }
    }
}

/// Bridged frames: both MACs looked up, nothing changed.
#[derive(Default)]
pub struct Bridged;

impl Bridged {
    /// One batch; gives something that depends on every look-up.
    pub fn pass(&mut self, sw: &Switch, batch: &Batch, now: Tick) -> u32 {
        for f in batch.frames() {
            sw.fdb.prefetch(0, Mac(array(f.bytes(), 0)));
            sw.fdb.prefetch(0, Mac(array(f.bytes(), 6)));
        }
        let mut sum = 0u32;
        for f in batch.frames() {
            let to = sw.fdb.lookup(0, Mac(array(f.bytes(), 0)), now);
            let from = sw.fdb.lookup(0, Mac(array(f.bytes(), 6)), now);
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
    use crate::lab::{Flow, Lab};
    use dataplane::frame::parse;
    use dataplane::port::Caps;

    /// The floor has to do the work that it stands for, else it is no floor.
    #[test]
    fn rewrites_as_the_pipeline_does() {
        for flow in [Flow::Dnat, Flow::Masquerade] {
            let mut lab = Lab::new(64, 64, Caps::ALL).unwrap();
            let mut pass = lab.open(flow, 3, 10).unwrap().batches_of(3);
            let zone = match flow {
                Flow::Dnat => Zone::Uplink,
                Flow::Masquerade => Zone::Inside,
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
                floor.pass(&sw, zone, b);
                floors.extend(seen(b));
                lab.process(&mut copy, ingress);
                other.extend(seen(&copy));
            });
            assert_eq!(floors, other);
            assert!(floors.iter().all(|f| {
                parse::parse(f, &dataplane::frame::VnetHdr::PLAIN).is_ok_and(|p| p.ttl == 63)
            }));
        }
    }
}
