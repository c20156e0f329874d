//! Cached decisions against changes of what they rest on.

use super::explore;
use dataplane::base::sync::{AtomicU64, Zeroable};
use dataplane::base::{Mac, PortId};
use dataplane::flow::{Dir, Forward, Generation, Record};
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A rule or a table (which port is right), the number that voids, and a record.
struct Shared {
    truth: AtomicU64,
    generation: Generation,
    record: Record,
}

impl Shared {
    fn new() -> Arc<Shared> {
        let record: Record = Zeroable::default();
        Arc::new(Shared {
            truth: AtomicU64::new(1),
            generation: Generation::default(),
            record,
        })
    }

    /// The slow path: look, then install.
    fn decide(&self) {
        let generation = self.generation.get();
        let port = self.truth.load(Relaxed) as u16;
        let f = Forward {
            egress: PortId(port),
            dst_mac: Mac([2, 0, 0, 0, 0, port as u8]),
            header_delta: 0,
            l4_delta: 0,
            mtu: 1500,
            until: port,
        };
        self.record
            .decide(Dir::Orig, &f, generation, &self.generation);
    }

    /// A hit.
    fn hit(&self) -> Option<u64> {
        let f = self.record.decided(Dir::Orig, self.generation.get())?;
        assert_eq!(f.dst_mac.0[5], f.egress.0 as u8);
        Some(f.egress.0.into())
    }

    /// A change of the control side.
    fn change(&self, to: u64) {
        self.truth.store(to, Relaxed);
        self.generation.bump();
    }
}

/// After a change has been made known, no hit acts on what was decided before it.
#[test]
fn no_hit_is_older_than_the_generation_it_saw() {
    explore(|| {
        let s = Shared::new();
        s.decide();
        let first = s.generation.get();
        let control = {
            let s = s.clone();
            thread::spawn(move || s.change(2))
        };
        let other = {
            let s = s.clone();
            thread::spawn(move || s.decide())
        };
        let seen = s.generation.get();
        if let Some(port) = s.hit()
            && seen != first
        {
            assert_eq!(port, 2);
        }
        control.join().unwrap();
        other.join().unwrap();
        assert!(matches!(s.hit(), None | Some(2)));
    });
}

/// Two workers decide anew about one direction while the truth changes: what stays cached is the
/// truth or nothing.
#[test]
fn two_deciders_leave_the_truth_or_nothing() {
    explore(|| {
        let s = Shared::new();
        let other = {
            let s = s.clone();
            thread::spawn(move || s.decide())
        };
        let control = {
            let s = s.clone();
            thread::spawn(move || {
                s.change(2);
                s.decide();
                // Nothing changes any more: what is cached now is right at once.
                assert!(matches!(s.hit(), None | Some(2)));
            })
        };
        other.join().unwrap();
        control.join().unwrap();
        assert!(matches!(s.hit(), None | Some(2)));
    });
}
