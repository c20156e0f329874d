//! The rules' counters, packed: of many rules each first packet brings a quarter of a cache line
//! near, not lines of its own.

use super::chains::Tally;
use std::collections::VecDeque;
use std::sync::Arc;

/// Rules of one block.
const BLOCK: usize = 256;

/// So many places of withdrawn rules lie idle before the first is used again: whoever found a rule
/// a moment ago may count for it yet, and would have to stand still for as many withdrawals to count
/// for another.
const REST: usize = 1024;

struct Block {
    dnat: [Tally; BLOCK],
    masquerade: [Tally; BLOCK],
}

impl Block {
    fn new() -> Block {
        Block {
            dnat: std::array::from_fn(|_| Tally::default()),
            masquerade: std::array::from_fn(|_| Tally::default()),
        }
    }
}

/// Where a rule's counters are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place(u32);

impl Place {
    const fn parts(self) -> (usize, usize) {
        (self.0 as usize / BLOCK, self.0 as usize % BLOCK)
    }
}

/// The counters that there were at one moment. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Tallies(Arc<Vec<Arc<Block>>>);

impl Tallies {
    /// Connections whose destination the rule translated.
    #[inline]
    pub(super) fn dnat(&self, place: Place) -> Option<&Tally> {
        let (block, i) = place.parts();
        self.0.get(block)?.dnat.get(i)
    }

    /// Those of them whose source was translated too.
    #[inline]
    fn masquerade(&self, place: Place) -> Option<&Tally> {
        let (block, i) = place.parts();
        self.0.get(block)?.masquerade.get(i)
    }

    /// Counts a first packet, as a hairpin too if it is one.
    #[inline]
    pub(super) fn count(&self, place: Place, bytes: u64, hairpin: bool) {
        if let Some(dnat) = self.dnat(place) {
            dnat.add(bytes);
        }
        if hairpin && let Some(masquerade) = self.masquerade(place) {
            masquerade.add(bytes);
        }
    }

    /// Packets and bytes of both.
    pub(super) fn get(&self, place: Place) -> ((u64, u64), (u64, u64)) {
        let read = |t: Option<&Tally>| t.map_or((0, 0), Tally::get);
        (read(self.dnat(place)), read(self.masquerade(place)))
    }
}

/// Which places are taken.
#[derive(Default)]
pub(super) struct Places {
    /// Given at least once.
    given: u32,
    /// Given back, the longest idle first.
    idle: VecDeque<Place>,
}

impl Places {
    /// A place, with its counters at 0, in `tallies`, which grow by a block if they have to.
    pub(super) fn take(&mut self, tallies: &mut Tallies) -> Place {
        let idle = (self.idle.len() > REST).then(|| self.idle.pop_front());
        let place = idle.flatten().unwrap_or_else(|| {
            let fresh = Place(self.given);
            self.given += 1;
            fresh
        });
        if place.parts().0 >= tallies.0.len() {
            Arc::make_mut(&mut tallies.0).push(Arc::new(Block::new()));
        }
        let both = [tallies.dnat(place), tallies.masquerade(place)];
        both.into_iter().flatten().for_each(Tally::reset);
        place
    }

    /// Gives the place of a withdrawn rule back.
    pub(super) fn give(&mut self, place: Place) {
        self.idle.push_back(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_but_not_at_once_and_begin_at_zero() {
        let (mut tallies, mut places) = (Tallies::default(), Places::default());
        let first = places.take(&mut tallies);
        let before = tallies.clone();
        tallies.dnat(first).unwrap().add(60);
        tallies.masquerade(first).unwrap().add(60);
        places.give(first);
        for _ in 0..REST {
            let place = places.take(&mut tallies);
            assert_ne!(place, first);
            assert_eq!(tallies.dnat(place).unwrap().get(), (0, 0));
            places.give(place);
        }
        assert_eq!(before.dnat(first).unwrap().get(), (1, 60));
        assert_eq!(places.take(&mut tallies), first);
        assert_eq!(tallies.dnat(first).unwrap().get(), (0, 0));
        assert_eq!(tallies.masquerade(first).unwrap().get(), (0, 0));
        assert_eq!(tallies.0.len(), (REST + 1).div_ceil(BLOCK));
    }
}
