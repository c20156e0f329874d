//! Random numbers that somebody who sees many of them can't foretell: SipHash-2-4 (Aumasson and
//! Bernstein, 2012) of a counter, under a secret key. The key is an argument, so that a test
//! repeats itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A source of random numbers, shared by threads without a lock.
pub struct Prf {
    key: [u64; 2],
    next: AtomicU64,
}

/// The state words of SipHash.
struct Sip(u64, u64, u64, u64);

impl Sip {
    /// One ARX round.
    const fn round(self) -> Sip {
        let Sip(mut a, mut b, mut c, mut d) = self;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        Sip(a, b, c, d)
    }

    /// Takes one message word in (two rounds).
    const fn absorb(self, m: u64) -> Sip {
        let Sip(a, b, c, d) = self;
        let Sip(a, b, c, d) = Sip(a, b, c, d ^ m).round().round();
        Sip(a ^ m, b, c, d)
    }
}

/// SipHash-2-4 of the 8-byte message `m` (little endian).
const fn sip24([k0, k1]: [u64; 2], m: u64) -> u64 {
    let s = Sip(
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    );
    // The last word carries the message's length, 8, in its top byte.
    let Sip(a, b, c, d) = s.absorb(m).absorb(8 << 56);
    let Sip(a, b, c, d) = Sip(a, b, c ^ 0xff, d).round().round().round().round();
    a ^ b ^ c ^ d
}

impl Prf {
    /// A source with this secret.
    pub const fn new([a, b, c]: [u64; 3]) -> Prf {
        Prf {
            key: [a, b ^ c.rotate_left(32)],
            next: AtomicU64::new(0),
        }
    }

    /// 64 random bits.
    pub fn draw(&self) -> u64 {
        sip24(self.key, self.next.fetch_add(1, Relaxed))
    }

    /// A random number from `first` to `last`, both included (`last` at least `first`).
    pub fn draw_port(&self, first: u16, last: u16) -> u16 {
        let n = u64::from(last.saturating_sub(first)) + 1;
        // 32 random bits for at most 2^16 values: no value is favoured by more than 2^-16.
        first.saturating_add((((self.draw() >> 32) * n) >> 32) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference vector for the message 00 01 .. 07 under the key 00 01 .. 0f, from the
    /// authors' table.
    #[test]
    fn reference_vector() {
        let k = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        assert_eq!(sip24(k, 0x0706_0504_0302_0100), 0x93f5_f579_9a93_2462);
    }

    #[test]
    fn ports_stay_in_their_range_and_reach_both_ends() {
        let p = Prf::new([1, 2, 3]);
        let seen: Vec<u16> = (0..2000).map(|_| p.draw_port(10, 13)).collect();
        for v in 10..=13 {
            assert!(seen.iter().filter(|&&s| s == v).count() > 400);
        }
        assert!(seen.iter().all(|s| (10..=13).contains(s)));
        assert_eq!(p.draw_port(7, 7), 7);
    }
}
