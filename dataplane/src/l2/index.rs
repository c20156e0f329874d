//! The FDB's index: what a hit reads. Fixed size, no lock, no read-modify-write.
//!
//! A pair of atomics for key and value could be read torn: the key of one entry, the port of the
//! next. Here an entry is *one* word, so that cannot be. The trick is quotienting (Cleary 1984):
//! the bucket number holds a part of the key, and only the rest is stored. With `b` bucket bits,
//! the key's low `b` bits are xored with a keyed hash of its other `60 - b` bits; that gives the
//! bucket, and the other bits are the word's upper part. Both together give the key back, so two
//! keys never look alike; and who does not know the hash cannot aim at one bucket. With `b >= 12`
//! at most 48 bits remain, which leaves 16 for the port and the flag.
//!
//! The last-seen tick is a second atomic beside it. Read with the word of a neighbour in time, it
//! can only make a fresh entry look expired (one flooded frame) or one that is being replaced at
//! this moment look fresh (the frame goes where it would have gone a moment earlier); a refresh
//! that lands on a slot's next tenant makes that one seem fresh. No mix gives a port that was not
//! the address's own. Writers serialise on the lock in `fdb`.

use crate::base::mem::prefetch;
use crate::base::sync::{AtomicU32, AtomicU64, Table, Zeroable};
use crate::base::{PortId, Tick, hash::Keyed};
use std::sync::atomic::Ordering::Relaxed;

/// Bits of a key: 12 of VLAN identifier, 48 of address.
const KEY_BITS: u32 = 60;
/// Fewest bucket bits: what is left of the key then fits above 16 bits. (A model's few keys fit
/// anyway, and each slot of its table costs.)
const MIN_BITS: u32 = if cfg!(loom) { 1 } else { KEY_BITS - 48 };
/// Bit 15 of a word: never moved, never aged. Below it the port's number + 1, so that 0 is empty.
const STATIC: u64 = 1 << 15;
const PORT_MASK: u64 = STATIC - 1;

/// One cache line: five entries.
#[derive(Zeroable)]
#[repr(C, align(64))]
struct Line {
    words: [AtomicU64; 5],
    seen: [AtomicU32; 5],
}

impl Line {
    /// The entry with this part of a key: its way, its word, and when it was seen. The first that
    /// fits ends it: ways fill from the front, and few buckets hold more than two entries.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "both have five")]
    fn find(&self, rest: u64) -> Option<(u8, u64, Tick)> {
        for way in 0..5 {
            let word = self.words[way].load(Relaxed);
            if word >> 16 == rest && word & PORT_MASK != 0 {
                return Some((way as u8, word, Tick(self.seen[way].load(Relaxed))));
            }
        }
        None
    }
}

/// Two neighbouring lines; at the highest load a bucket holds two entries on average, and one in
/// a hundred thousand more than ten.
#[derive(Zeroable)]
#[repr(C, align(128))]
struct Bucket([Line; 2]);

#[cfg(not(loom))]
const _: () = assert!(size_of::<Bucket>() == 128);

/// Entries that one bucket can hold.
pub(super) const WAYS: usize = 10;

/// A slot of the index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct At {
    bucket: u32,
    way: u8,
}

/// An entry as it stands in a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hit {
    pub at: At,
    pub port: PortId,
    pub is_static: bool,
    pub seen: Tick,
}

pub(super) struct Index {
    buckets: Table<Bucket>,
    bits: u32,
    hash: Keyed,
}

impl Index {
    /// Room for `capacity` entries at two a bucket.
    pub fn new(capacity: usize, hash: Keyed) -> Index {
        let bits = (capacity / 2)
            .max(1)
            .next_power_of_two()
            .trailing_zeros()
            .clamp(MIN_BITS, 28);
        Index {
            buckets: Table::zeroed(1 << bits),
            bits,
            hash,
        }
    }

    /// Bucket number and the part of the key that the slot stores.
    #[inline]
    fn place(&self, key: u64) -> (usize, u64) {
        let rest = key >> self.bits;
        let mask = (1u64 << self.bits) - 1;
        (((key ^ self.hash.hash1(rest)) & mask) as usize, rest)
    }

    /// Inverse of [`Index::place`].
    fn key(&self, bucket: usize, rest: u64) -> u64 {
        let mask = (1u64 << self.bits) - 1;
        (rest << self.bits) | ((bucket as u64 ^ self.hash.hash1(rest)) & mask)
    }

    /// Brings the bucket's first line near: one entry in a hundred, at the highest load, stands in
    /// the second.
    #[inline]
    pub fn prefetch(&self, key: u64) {
        if let Some(Bucket([first, _])) = self.buckets.get(self.place(key).0) {
            prefetch(first);
        }
    }

    /// The entry of `key`, expired or not.
    #[inline(always)]
    pub fn find(&self, key: u64) -> Option<Hit> {
        let (bucket, rest) = self.place(key);
        let [first, second] = &self.buckets.get(bucket)?.0;
        let (way, word, seen) = match first.find(rest) {
            Some(found) => found,
            None => second
                .find(rest)
                .map(|(w, word, seen)| (w + 5, word, seen))?,
        };
        Some(Hit {
            at: At {
                bucket: bucket as u32,
                way,
            },
            port: PortId((word & PORT_MASK) as u16 - 1),
            is_static: word & STATIC != 0,
            seen,
        })
    }

    #[inline]
    fn slot(&self, at: At) -> Option<(&AtomicU64, &AtomicU32)> {
        let line = self
            .buckets
            .get(at.bucket as usize)?
            .0
            .get(usize::from(at.way / 5))?;
        let way = usize::from(at.way % 5);
        Some((line.words.get(way)?, line.seen.get(way)?))
    }

    /// Notes that the entry was seen.
    #[inline]
    pub fn touch(&self, at: At, now: Tick) {
        if let Some((_, seen)) = self.slot(at) {
            seen.store(now.0, Relaxed);
        }
    }

    /// When the slot's entry was last seen.
    pub fn seen(&self, at: At) -> Tick {
        self.slot(at)
            .map_or(Tick(0), |(_, seen)| Tick(seen.load(Relaxed)))
    }

    /// Fills a slot of `key`'s bucket, or changes the port of the entry there. Writers only.
    pub fn store(&self, at: At, key: u64, port: PortId, is_static: bool, now: Tick) {
        if let Some((word, seen)) = self.slot(at) {
            let (_, rest) = self.place(key);
            let flag = if is_static { STATIC } else { 0 };
            seen.store(now.0, Relaxed);
            word.store(
                (rest << 16) | flag | ((u64::from(port.0) + 1) & PORT_MASK),
                Relaxed,
            );
        }
    }

    /// Empties a slot. Writers only.
    pub fn clear(&self, at: At) {
        if let Some((word, _)) = self.slot(at) {
            word.store(0, Relaxed);
        }
    }

    /// A free slot in `key`'s bucket. Writers only.
    pub fn free(&self, key: u64) -> Option<At> {
        let (bucket, _) = self.place(key);
        (0..WAYS as u8)
            .map(|way| At {
                bucket: bucket as u32,
                way,
            })
            .find(|&at| {
                self.slot(at)
                    .is_some_and(|(word, _)| word.load(Relaxed) == 0)
            })
    }

    /// The entries of `key`'s bucket with their keys. Writers only.
    pub fn bucket_of(&self, key: u64) -> impl Iterator<Item = (u64, Hit)> {
        let (bucket, _) = self.place(key);
        (0..WAYS as u8).filter_map(move |way| {
            let at = At {
                bucket: bucket as u32,
                way,
            };
            let (word, seen) = self.slot(at)?;
            let word = word.load(Relaxed);
            if word == 0 {
                return None;
            }
            let hit = Hit {
                at,
                port: PortId(((word & PORT_MASK) as u16).saturating_sub(1)),
                is_static: word & STATIC != 0,
                seen: Tick(seen.load(Relaxed)),
            };
            Some((self.key(bucket, word >> 16), hit))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_is_invertible_and_spreads() {
        for capacity in [1, 16_384, 1 << 20] {
            let i = Index::new(capacity, Keyed::with_key([1, 2, 3]));
            let mut load = vec![0u32; i.buckets.len()];
            for n in 0..capacity as u64 {
                // Addresses as Docker forms them, in two VLANs, and the extremes of the key.
                let key = (n & 1) << 48 | 0x0242_0a00_0000 | n;
                let (bucket, rest) = i.place(key);
                assert!(rest < 1 << 48);
                assert_eq!(i.key(bucket, rest), key);
                load[bucket] += 1;
            }
            assert!(load.iter().all(|&n| n <= WAYS as u32));
            for key in [0, (1 << KEY_BITS) - 1] {
                let (bucket, rest) = i.place(key);
                assert!(rest < 1 << 48);
                assert_eq!(i.key(bucket, rest), key);
            }
        }
    }

    #[test]
    fn key_zero_and_port_limits_are_ordinary() {
        let i = Index::new(16, Keyed::with_key([1, 2, 3]));
        assert_eq!(i.find(0), None);
        for port in [PortId(0), PortId(4095)] {
            let at = i.free(0).unwrap();
            i.store(at, 0, port, false, Tick(9));
            let hit = i.find(0).unwrap();
            assert_eq!((hit.port, hit.seen, hit.is_static), (port, Tick(9), false));
            i.clear(at);
        }
        assert_eq!(i.find(0), None);
    }
}
