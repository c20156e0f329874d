//! Slots with generations, so that an event for a closed socket never reaches its successor.

/// Names a slot and its use: a key whose value was removed finds nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// Packs the key and a kind (below 8) into a poll token.
    pub const fn token(self, kind: u8) -> mio::Token {
        mio::Token(
            (self.generation as usize) << 32 | (self.index as usize) << 3 | (kind & 7) as usize,
        )
    }

    /// The reverse of [`Key::token`].
    pub const fn from_token(token: mio::Token) -> (Key, u8) {
        let index = (token.0 & 0xffff_ffff) as u32 >> 3;
        (
            Key {
                index,
                generation: (token.0 >> 32) as u32,
            },
            (token.0 & 7) as u8,
        )
    }
}

// A token holds 32 bits of generation beside the index.
const _: () = assert!(usize::BITS == 64);

/// Values at stable indices.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub const fn new() -> Slab<T> {
        Slab {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Stores what `make` builds from its own key; an error stores nothing.
    pub fn try_insert<E>(&mut self, make: impl FnOnce(Key) -> Result<T, E>) -> Result<Key, E> {
        let index = match self.free.last() {
            Some(&i) => i,
            None => self.slots.len() as u32,
        };
        let generation = self.slots.get(index as usize).map_or(0, |s| s.0);
        let key = Key { index, generation };
        let value = make(key)?;
        match self.slots.get_mut(index as usize) {
            Some(slot) => {
                slot.1 = Some(value);
                self.free.pop();
            }
            None => self.slots.push((0, Some(value))),
        }
        Ok(key)
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.index as usize) {
            Some((generation, value)) if *generation == key.generation => value.as_mut(),
            _ => None,
        }
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        let (generation, value) = self.slots.get_mut(key.index as usize)?;
        if *generation != key.generation {
            return None;
        }
        let value = value.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    /// Keys of the values that satisfy `test`.
    pub fn keys_where(&self, test: impl Fn(&T) -> bool) -> Vec<Key> {
        let live = self.slots.iter().zip(0u32..);
        live.filter_map(|((generation, value), index)| {
            let value = value.as_ref()?;
            test(value).then_some(Key {
                index,
                generation: *generation,
            })
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_key_does_not_find_its_successor() {
        let mut slab: Slab<&str> = Slab::new();
        let a = slab.try_insert(|_| Ok::<_, ()>("a")).unwrap();
        assert_eq!(slab.remove(a), Some("a"));
        let b = slab.try_insert(|_| Ok::<_, ()>("b")).unwrap();
        assert_ne!(a, b);
        assert_eq!(slab.get_mut(a), None);
        assert_eq!(slab.remove(a), None);
        assert_eq!(slab.get_mut(b), Some(&mut "b"));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn a_failed_insert_leaves_the_slot_free() {
        let mut slab: Slab<u8> = Slab::new();
        let a = slab.try_insert(|_| Ok::<_, ()>(1)).unwrap();
        slab.remove(a);
        assert_eq!(slab.try_insert(|_| Err::<u8, _>("no")), Err("no"));
        assert_eq!(slab.len(), 0);
        let b = slab.try_insert(|_| Ok::<_, ()>(2)).unwrap();
        assert_eq!(slab.keys_where(|v| *v == 2), vec![b]);
    }

    #[test]
    fn tokens_keep_key_and_kind() {
        let key = Key {
            index: 0x1abc_def0,
            generation: 0xffff_fffe,
        };
        assert_eq!(Key::from_token(key.token(5)), (key, 5));
    }
}
