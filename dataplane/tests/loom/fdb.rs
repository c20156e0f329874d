//! A MAC moves to another port while frames to it are looked up.

use super::explore;
use dataplane::base::hash::Keyed;
use dataplane::base::{Mac, PortId, Tick};
use dataplane::flow::Generation;
use dataplane::l2::{Fdb, FdbKey, Learn};
use loom::thread;
use std::sync::Arc;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);
const NOW: Tick = Tick(1_000);

fn key(mac: Mac) -> FdbKey {
    FdbKey::new(0, mac)
}

fn table() -> Fdb {
    Fdb::new(1, Keyed::with_key([1, 2, 3]), 300_000)
}

/// Whoever saw the generation that a move made sees the move, and everybody sees one of the two
/// ports.
#[test]
fn a_move_is_seen_with_its_generation() {
    explore(|| {
        let generation = Arc::new(Generation::default());
        let fdb = Arc::new(table().sharing(generation.clone()));
        assert_eq!(fdb.learn(key(MAC), PortId(1), NOW), Learn::New);
        let before = generation.get();
        let mover = {
            let fdb = fdb.clone();
            thread::spawn(move || {
                let moved = fdb.learn(key(MAC), PortId(2), NOW);
                assert_eq!(moved, Learn::Moved { from: PortId(1) });
            })
        };
        let seen = generation.get();
        let port = fdb.lookup(key(MAC), NOW);
        assert!(matches!(port, Some(PortId(1 | 2))));
        if seen != before {
            assert_eq!(port, Some(PortId(2)));
        }
        mover.join().unwrap();
        assert_eq!(fdb.lookup(key(MAC), NOW), Some(PortId(2)));
    });
}

/// A slot that is given to another address is never taken for it: a reader of the evicted one
/// finds its own port or nothing.
#[test]
fn a_slots_next_tenant_is_not_its_last() {
    explore(|| {
        let fdb = Arc::new(table());
        assert_eq!(fdb.learn(key(MAC), PortId(1), NOW), Learn::New);
        let writer = {
            let fdb = fdb.clone();
            // Room for one: the old entry goes.
            thread::spawn(move || fdb.learn(key(OTHER), PortId(2), NOW))
        };
        assert!(matches!(fdb.lookup(key(MAC), NOW), None | Some(PortId(1))));
        assert!(matches!(
            fdb.lookup(key(OTHER), NOW),
            None | Some(PortId(2))
        ));
        writer.join().unwrap();
    });
}

/// Two workers that hear one new address agree on one entry.
#[test]
fn two_learn_one_address() {
    explore(|| {
        let fdb = Arc::new(table());
        let other = {
            let fdb = fdb.clone();
            thread::spawn(move || fdb.learn(key(MAC), PortId(1), NOW))
        };
        let here = fdb.learn(key(MAC), PortId(1), NOW);
        let there = other.join().unwrap();
        let new = [here, there].iter().filter(|l| **l == Learn::New).count();
        assert_eq!((new, fdb.len()), (1, 1));
        assert_eq!(fdb.lookup(key(MAC), NOW), Some(PortId(1)));
    });
}
