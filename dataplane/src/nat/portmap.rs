//! From port to value in two steps, whatever the number of entries: 256 pages of 256 ports, a
//! page that holds one value throughout being that value. Copies share the pages.

use std::sync::Arc;

const PAGE: usize = 256;

enum Page<T> {
    Uniform(Option<T>),
    Mixed(Arc<[Option<T>; PAGE]>),
}

impl<T: Copy> Clone for Page<T> {
    fn clone(&self) -> Page<T> {
        match self {
            Page::Uniform(v) => Page::Uniform(*v),
            Page::Mixed(m) => Page::Mixed(m.clone()),
        }
    }
}

/// An immutable-when-shared map from port to a small `T`, which lies in its slot: a look-up fetches
/// one cache line behind the 256 pages' heads. Cloning copies the heads; changing a clone copies the
/// pages that the change touches.
pub(super) struct PortMap<T> {
    pages: Box<[Page<T>]>,
}

impl<T: Copy> Clone for PortMap<T> {
    fn clone(&self) -> PortMap<T> {
        PortMap {
            pages: self.pages.clone(),
        }
    }
}

impl<T: Copy> PortMap<T> {
    pub(super) fn new() -> PortMap<T> {
        PortMap {
            pages: (0..PAGE).map(|_| Page::Uniform(None)).collect(),
        }
    }

    /// The place of a port's value.
    #[inline]
    pub(super) fn slot(&self, port: u16) -> Option<&Option<T>> {
        match self.pages.get(usize::from(port >> 8))? {
            Page::Uniform(v) => Some(v),
            Page::Mixed(m) => m.get(usize::from(port & 255)),
        }
    }

    #[inline]
    pub(super) fn get(&self, port: u16) -> Option<T> {
        *self.slot(port)?
    }

    /// The value at the lowest port of `first..=last` that has one.
    pub(super) fn first_in(&self, first: u16, last: u16) -> Option<T> {
        parts(first, last).find_map(|(page, low, high)| match self.pages.get(page)? {
            Page::Uniform(v) => *v,
            Page::Mixed(m) => m.get(low..=high)?.iter().flatten().next().copied(),
        })
    }

    /// Gives every port of `first..=last` the value that `f` makes of its present one.
    pub(super) fn update(&mut self, first: u16, last: u16, f: impl Fn(Option<T>) -> Option<T>) {
        for (page, low, high) in parts(first, last) {
            let Some(p) = self.pages.get_mut(page) else {
                continue;
            };
            if let Page::Uniform(v) = p {
                let new = f(*v);
                if (low, high) == (0, PAGE - 1) {
                    *v = new;
                    continue;
                }
                *p = Page::Mixed(Arc::new([*v; PAGE]));
            }
            if let Page::Mixed(m) = p {
                let slots = Arc::make_mut(m);
                for slot in slots.iter_mut().take(high + 1).skip(low) {
                    *slot = f(*slot);
                }
                if slots.iter().all(Option::is_none) {
                    *p = Page::Uniform(None);
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pages.iter().all(|p| matches!(p, Page::Uniform(None)))
    }
}

/// Page number, first and last slot for each page that `first..=last` touches.
fn parts(first: u16, last: u16) -> impl Iterator<Item = (usize, usize, usize)> {
    let (a, b) = (first >> 8, last >> 8);
    (a..=b).map(move |p| {
        let low = if p == a { first & 255 } else { 0 };
        let high = if p == b { last & 255 } else { 255 };
        (usize::from(p), usize::from(low), usize::from(high))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_an_array(
            changes in proptest::collection::vec(
                (any::<u16>(), 0u16..2000, proptest::option::of(0u32..5)), 1..30),
            probe in any::<u16>(), span in 0u16..3000,
        ) {
            let mut map = PortMap::new();
            let mut plain = vec![None; 65_536];
            let mut old = map.clone();
            for (first, n, v) in changes {
                let last = first.saturating_add(n);
                old = map.clone();
                map.update(first, last, |_| v);
                for p in first..=last {
                    plain[usize::from(p)] = v;
                }
            }
            for p in 0..=65_535u16 {
                prop_assert_eq!(map.get(p), plain[usize::from(p)]);
            }
            let end = probe.saturating_add(span);
            let expected = (probe..=end).find_map(|p| plain[usize::from(p)]);
            prop_assert_eq!(map.first_in(probe, end), expected);
            map.update(0, 65_535, |_| None);
            prop_assert!(map.is_empty());
            drop(old);
        }
    }

    #[test]
    fn a_clone_keeps_what_the_other_changes() {
        let mut map = PortMap::new();
        map.update(10, 600, |_| Some(1));
        let before = map.clone();
        map.update(300, 400, |_| None);
        assert_eq!((before.get(300), map.get(300)), (Some(1), None));
    }
}
