//! A set of ports: 65,536 bits that many threads change without a lock, with a summary level so
//! that a free port is found in a few steps even when nearly all are taken.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

const WORDS: usize = 1024;
const SUMMARY: usize = WORDS / 64;

/// Which ports of a range are wanted: all, the even or the odd ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parity {
    /// Either.
    Any,
    /// Even ports.
    Even,
    /// Odd ports.
    Odd,
}

impl Parity {
    /// The parity of `port`.
    pub const fn of(port: u16) -> Parity {
        if port & 1 == 0 {
            Parity::Even
        } else {
            Parity::Odd
        }
    }

    const fn mask(self) -> u64 {
        match self {
            Parity::Any => u64::MAX,
            Parity::Even => 0x5555_5555_5555_5555,
            Parity::Odd => 0xaaaa_aaaa_aaaa_aaaa,
        }
    }
}

/// A set of 16-bit numbers.
///
/// `full` has a bit for each word of `bits` that is all ones. It is a hint: it may miss a full
/// word for a moment, but never keeps a word with a free bit marked as full.
pub struct PortSet {
    bits: Box<[AtomicU64]>,
    full: [AtomicU64; SUMMARY],
}

impl Default for PortSet {
    fn default() -> PortSet {
        PortSet::new()
    }
}

/// Word number and bits in it for each word that `first..=last` touches.
fn words_of(first: u16, last: u16) -> impl Iterator<Item = (usize, u64)> {
    let (a, b) = (usize::from(first >> 6), usize::from(last >> 6));
    (a..=b).map(move |w| {
        let low = if w == a {
            u64::MAX << (first & 63)
        } else {
            u64::MAX
        };
        let high = if w == b {
            u64::MAX >> (63 - (last & 63))
        } else {
            u64::MAX
        };
        (w, low & high)
    })
}

impl PortSet {
    /// The empty set.
    pub fn new() -> PortSet {
        PortSet {
            bits: (0..WORDS).map(|_| AtomicU64::new(0)).collect(),
            full: [const { AtomicU64::new(0) }; SUMMARY],
        }
    }

    /// Whether `port` is in the set.
    #[inline]
    pub fn contains(&self, port: u16) -> bool {
        self.word(usize::from(port >> 6)) >> (port & 63) & 1 == 1
    }

    /// Adds `port`. True if it was not in the set: of several threads, one gets true.
    #[inline]
    pub fn insert(&self, port: u16) -> bool {
        let bit = 1 << (port & 63);
        self.or(usize::from(port >> 6), bit) & bit == 0
    }

    /// Takes `port` out.
    #[inline]
    pub fn remove(&self, port: u16) {
        self.and_not(usize::from(port >> 6), 1 << (port & 63));
    }

    /// Adds every port from `first` to `last`.
    pub fn insert_range(&self, first: u16, last: u16) {
        for (w, mask) in words_of(first, last) {
            self.or(w, mask);
        }
    }

    /// Takes every port from `first` to `last` out.
    pub fn remove_range(&self, first: u16, last: u16) {
        for (w, mask) in words_of(first, last) {
            self.and_not(w, mask);
        }
    }

    /// The first port at or after `start`, wrapping from `last` to `first`, that has the wanted
    /// parity and is in neither `self` nor `other`. `start` outside of the range begins at
    /// `first`.
    ///
    /// Costs a step for each word that is not full: 16 steps more at most when all are.
    pub fn find_free(
        &self,
        other: &PortSet,
        (first, last): (u16, u16),
        parity: Parity,
        start: u16,
    ) -> Option<u16> {
        if !(first..=last).contains(&start) {
            return self.scan(other, first, last, parity);
        }
        self.scan(other, start, last, parity).or_else(|| {
            let before = start.checked_sub(1)?;
            self.scan(other, first, before, parity)
        })
    }

    /// The lowest free port in `first..=last`.
    fn scan(&self, other: &PortSet, first: u16, last: u16, parity: Parity) -> Option<u16> {
        let (a, b) = (usize::from(first >> 6), usize::from(last >> 6));
        let mut s = a >> 6;
        let mut open = self.open(other, s) & (u64::MAX << (a & 63));
        loop {
            while open != 0 {
                let w = (s << 6) | open.trailing_zeros() as usize;
                open &= open - 1;
                if w > b {
                    return None;
                }
                let mut free = !(self.word(w) | other.word(w)) & parity.mask();
                if w == a {
                    free &= u64::MAX << (first & 63);
                }
                if w == b {
                    free &= u64::MAX >> (63 - (last & 63));
                }
                if free != 0 {
                    return u16::try_from((w << 6) | free.trailing_zeros() as usize).ok();
                }
            }
            s += 1;
            if s > b >> 6 {
                return None;
            }
            open = self.open(other, s);
        }
    }

    /// Words of summary word `s` that are full in neither set.
    fn open(&self, other: &PortSet, s: usize) -> u64 {
        let full = |set: &PortSet| set.full.get(s).map_or(0, |f| f.load(SeqCst));
        !(full(self) | full(other))
    }

    #[inline]
    fn word(&self, w: usize) -> u64 {
        self.bits.get(w).map_or(u64::MAX, |b| b.load(SeqCst))
    }

    /// Sets bits, and the summary if that filled the word. Returns the word as it was.
    fn or(&self, w: usize, mask: u64) -> u64 {
        let (Some(word), Some(full)) = (self.bits.get(w), self.full.get(w >> 6)) else {
            return u64::MAX;
        };
        let old = word.fetch_or(mask, SeqCst);
        if old | mask == u64::MAX && old != u64::MAX {
            let bit = 1 << (w & 63);
            full.fetch_or(bit, SeqCst);
            // A removal between the two steps cleared a summary bit that was not set yet.
            if word.load(SeqCst) != u64::MAX {
                full.fetch_and(!bit, SeqCst);
            }
        }
        old
    }

    fn and_not(&self, w: usize, mask: u64) {
        if let (Some(word), Some(full)) = (self.bits.get(w), self.full.get(w >> 6))
            && word.fetch_and(!mask, SeqCst) == u64::MAX
        {
            full.fetch_and(!(1 << (w & 63)), SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: (u16, u16) = (0, 65_535);

    #[test]
    fn finds_the_last_free_one_from_anywhere() {
        let (s, none) = (PortSet::new(), PortSet::new());
        s.insert_range(0, 65_535);
        assert_eq!(s.find_free(&none, ALL, Parity::Any, 77), None);
        for free in [0, 63, 64, 1023, 1024, 40_000, 65_535] {
            s.remove(free);
            for start in [0, free, free.wrapping_add(1), 30_000, 65_535] {
                assert_eq!(s.find_free(&none, ALL, Parity::Any, start), Some(free));
            }
            assert!(s.insert(free) && !s.insert(free));
        }
    }

    #[test]
    fn stays_inside_the_range_and_outside_of_the_other_set() {
        let (s, other) = (PortSet::new(), PortSet::new());
        other.insert_range(1024, 65_000);
        assert_eq!(
            s.find_free(&other, (1024, 65_535), Parity::Even, 2000),
            Some(65_002)
        );
        s.insert_range(65_001, 65_535);
        assert_eq!(s.find_free(&other, (1024, 65_535), Parity::Any, 2000), None);
        assert_eq!(s.find_free(&other, (1, 1023), Parity::Any, 9999), Some(1));
    }

    #[test]
    fn threads_share_out_every_port_once() {
        let (s, none) = (PortSet::new(), PortSet::new());
        let total: usize = std::thread::scope(|t| {
            let workers: Vec<_> = (0..4u16)
                .map(|i| {
                    let (s, none) = (&s, &none);
                    t.spawn(move || {
                        let mut got = 0;
                        while let Some(p) = s.find_free(none, ALL, Parity::Any, i * 16_000) {
                            got += usize::from(s.insert(p));
                        }
                        got
                    })
                })
                .collect();
            workers.into_iter().map(|w| w.join().unwrap()).sum()
        });
        assert_eq!(total, 65_536);
    }

    #[test]
    fn churn_by_threads_never_hides_a_free_port() {
        let (s, none) = (PortSet::new(), PortSet::new());
        s.insert_range(0, 65_535);
        std::thread::scope(|t| {
            for i in 0..4u16 {
                let s = &s;
                t.spawn(move || {
                    for _ in 0..20_000 {
                        s.remove(640 + i);
                        s.insert(640 + i);
                    }
                    s.remove(640 + i);
                });
            }
        });
        assert_eq!(s.find_free(&none, ALL, Parity::Any, 1000), Some(640));
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_search(
            taken in proptest::collection::vec((any::<u16>(), 0u16..3000), 0..40),
            a in any::<u16>(), b in any::<u16>(), start in any::<u16>(), odd in 0..3usize,
        ) {
            let (s, other) = (PortSet::new(), PortSet::new());
            for (i, (p, n)) in taken.iter().enumerate() {
                let set = if i % 3 == 0 { &other } else { &s };
                set.insert_range(*p, p.saturating_add(*n));
            }
            let (first, last) = (a.min(b), a.max(b));
            let parity = [Parity::Any, Parity::Even, Parity::Odd][odd];
            let wanted = |p: &u16| {
                !s.contains(*p) && !other.contains(*p)
                    && (parity == Parity::Any || Parity::of(*p) == parity)
            };
            let from = if (first..=last).contains(&start) { start } else { first };
            let plain = (from..=last).chain(first..from).find(wanted);
            prop_assert_eq!(s.find_free(&other, (first, last), parity, start), plain);
        }
    }
}
