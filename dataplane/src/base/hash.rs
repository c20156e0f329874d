//! A keyed hash for table indexes.
//!
//! Two 64x64 -> 128 bit multiplications with their halves folded together (the construction of
//! wyhash and foldhash), keyed by 192 random bits drawn at start, so that somebody who chooses
//! addresses and ports can't aim at one bucket. Costs about 3 ns for a 16-byte key. It is not a
//! MAC: it hides collisions from a sender that sees no hash values, which is what a table needs.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Secret of one table's hash.
#[derive(Clone, Copy)]
pub struct Keyed {
    k: [u64; 3],
}

const fn fold(a: u64, b: u64) -> u64 {
    let p = (a as u128).wrapping_mul(b as u128);
    (p as u64) ^ ((p >> 64) as u64)
}

impl Keyed {
    /// A hash with the given secret; tests use fixed ones. Each word is made odd-weighted by
    /// mixing, so that even `[0, 0, 0]` gives a usable (if public) hash.
    pub const fn with_key(seed: [u64; 3]) -> Keyed {
        Keyed {
            k: [
                fold(seed[0] ^ 0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93) | 1,
                fold(seed[1] ^ 0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db) | 1,
                fold(seed[2] ^ 0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3) | 1,
            ],
        }
    }

    /// Hash of a 16-byte key given as two words.
    #[inline]
    pub const fn hash2(&self, a: u64, b: u64) -> u64 {
        let x = fold(a ^ self.k[0], b ^ self.k[1]);
        fold(x ^ a.rotate_left(32), self.k[2] ^ b)
    }

    /// Hash of an 8-byte key.
    #[inline]
    pub const fn hash1(&self, a: u64) -> u64 {
        self.hash2(a, 0)
    }
}

/// [`Keyed`] for maps whose keys are a few words: each word is taken in by one [`Keyed::hash2`], a
/// third of what the standard library's SipHash costs for such a key.
#[derive(Clone, Copy, Debug)]
pub struct KeyedState(Keyed);

impl KeyedState {
    /// With a secret that nobody knows, drawn by the standard library.
    pub fn random() -> KeyedState {
        let draw = |n: u64| RandomState::new().hash_one(n);
        KeyedState(Keyed::with_key([draw(1), draw(2), draw(3)]))
    }
}

impl BuildHasher for KeyedState {
    type Hasher = KeyedHasher;

    #[inline]
    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher {
            keyed: self.0,
            state: 0,
        }
    }
}

/// See [`KeyedState`].
#[derive(Clone, Copy, Debug)]
pub struct KeyedHasher {
    keyed: Keyed,
    state: u64,
}

impl Hasher for KeyedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(part) {
                *to = *from;
            }
            self.write_u64(u64::from_le_bytes(word));
        }
        // Zeros that fill up the last word don't make two keys of different length the same.
        self.write_u64(bytes.len() as u64);
    }

    #[inline]
    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    #[inline]
    fn write_u16(&mut self, n: u16) {
        self.write_u64(u64::from(n));
    }

    #[inline]
    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    #[inline]
    fn write_u64(&mut self, n: u64) {
        self.state = self.keyed.hash2(self.state, n);
    }

    #[inline]
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }
}

impl std::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyed(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequential_keys_spread_over_buckets() {
        let h = Keyed::with_key([1, 2, 3]);
        let mut buckets = [0u32; 256];
        for i in 0..65_536u64 {
            buckets[(h.hash2(0x0a00_0002_c000_0202, i << 48) & 255) as usize] += 1;
        }
        // 256 expected in each; 6 sigma is 96.
        assert!(
            buckets.iter().all(|&n| (160..=352).contains(&n)),
            "{buckets:?}"
        );
    }

    #[test]
    fn map_keys_that_differ_hash_differently() {
        let s = KeyedState::random();
        assert_eq!(s.hash_one((6u8, 7u32, 9u16)), s.hash_one((6u8, 7u32, 9u16)));
        let all = [
            s.hash_one((6u8, 7u32, 9u16)),
            s.hash_one((17u8, 7u32, 9u16)),
            s.hash_one((6u8, 9u32, 7u16)),
            s.hash_one([0u8; 7]),
            s.hash_one([0u8; 8]),
            KeyedState::random().hash_one([0u8; 8]),
        ];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn key_changes_the_hash() {
        assert_ne!(
            Keyed::with_key([1, 2, 3]).hash1(7),
            Keyed::with_key([1, 2, 4]).hash1(7)
        );
    }
}
