//! Records made, found, listed, freed and used again.

use super::explore;
use dataplane::base::hash::Keyed;
use dataplane::base::{Limits, PortId, Proto, RuleId, Tick, Timeouts, Tuple};
use dataplane::conntrack::table::{New, Refused};
use dataplane::conntrack::{Conntrack, state};
use dataplane::flow::{Dir, FlowKey, Zone};
use loom::thread;
use std::net::Ipv4Addr;
use std::sync::Arc;

const NOW: Tick = Tick(1_000);

/// Room for one connection: the next one gets the same record.
fn table(workers: usize) -> Conntrack {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let keyed = Keyed::with_key([1, 2, 3]);
    Conntrack::new(limits, &Timeouts::default(), keyed, workers)
}

fn tuples(n: u16) -> (Tuple, Tuple) {
    let orig = Tuple {
        src: Ipv4Addr::new(10, 0, 0, 2),
        dst: Ipv4Addr::new(192, 0, 2, 2),
        sport: n,
        dport: 53,
        proto: Proto::UDP,
    };
    let out = Tuple {
        src: Ipv4Addr::new(192, 0, 2, 1),
        sport: 1_000 + n,
        ..orig
    };
    (orig, out.reversed())
}

fn new(n: u16) -> New {
    let (orig, reply) = tuples(n);
    New {
        orig: FlowKey::new(Zone::Inside, &orig),
        reply: FlowKey::new(Zone::Uplink, &reply),
        worker: usize::from(n % 2),
        ingress: PortId(1),
        rule: RuleId::NONE,
        mapped_port: Some(1_000 + n),
        flags: 0,
    }
}

fn make(ct: &Conntrack, n: u16) -> Result<u32, Refused> {
    ct.create(&new(n), NOW, |_| Ok(state::UDP))
}

/// A worker that found a record keeps it to the end of its batch: whoever frees it meanwhile and
/// makes another connection gets another record or none.
#[test]
fn a_record_in_a_batch_is_not_used_again() {
    explore(|| {
        let ct = Arc::new(table(2));
        make(&ct, 1).unwrap();
        let other = {
            let ct = ct.clone();
            thread::spawn(move || {
                assert!(ct.remove(0).is_some());
                make(&ct, 2).is_ok()
            })
        };
        ct.epochs.enter(0);
        if let Some((id, dir)) = ct.find(&new(1).orig, NOW) {
            let r = ct.slab.get(id).unwrap();
            assert_eq!(dir, Dir::Orig);
            // As a hit does: the tuple of the answers says how the frame leaves.
            assert_eq!(r.key(Dir::Reply), new(1).reply);
            assert_eq!(r.key(Dir::Orig), new(1).orig);
        }
        ct.epochs.leave(0);
        other.join().unwrap();
        assert!(make(&ct, 3).is_ok() || ct.len() == 1);
    });
}

/// A connection is found whole or not at all, by either key.
#[test]
fn a_record_is_found_whole() {
    explore(|| {
        let ct = Arc::new(table(2));
        let maker = {
            let ct = ct.clone();
            thread::spawn(move || make(&ct, 1).unwrap())
        };
        ct.epochs.enter(0);
        if let Some((id, dir)) = ct.find(&new(1).reply, NOW) {
            let r = ct.slab.get(id).unwrap();
            assert_eq!(dir, Dir::Reply);
            assert_eq!(r.key(Dir::Orig), new(1).orig);
            assert_eq!(
                r.mapped_port.load(std::sync::atomic::Ordering::Relaxed),
                1_001
            );
        }
        ct.epochs.leave(0);
        maker.join().unwrap();
        assert!(ct.find(&new(1).orig, NOW).is_some());
        assert!(ct.find(&new(1).reply, NOW).is_some());
    });
}

/// Two workers that get the two first frames of one connection make one record.
#[test]
fn two_open_one_connection() {
    explore(|| {
        let ct = Arc::new(table(2));
        let other = {
            let ct = ct.clone();
            thread::spawn(move || make(&ct, 1).is_ok())
        };
        let here = make(&ct, 1).is_ok();
        let there = other.join().unwrap();
        assert!(here ^ there);
        assert_eq!(ct.len(), 1);
    });
}

/// Two that forget one connection give back what it held once.
#[test]
fn two_forget_one_connection() {
    explore(|| {
        let ct = Arc::new(table(2));
        make(&ct, 1).unwrap();
        let other = {
            let ct = ct.clone();
            thread::spawn(move || ct.remove(0).is_some())
        };
        let here = ct.remove(0).is_some();
        assert!(here ^ other.join().unwrap());
        assert_eq!(ct.len(), 0);
        assert!(make(&ct, 2).is_ok());
    });
}

/// A list taken while connections come and go shows each as it was, never a mixture of two.
#[test]
fn a_list_shows_no_mixture() {
    explore(|| {
        let ct = Arc::new(table(2));
        make(&ct, 1).unwrap();
        let changer = {
            let ct = ct.clone();
            thread::spawn(move || {
                ct.remove(0).unwrap();
                make(&ct, 2).unwrap();
            })
        };
        // As `Conntrack::list`, but only the keys: each field more multiplies what there is to
        // explore.
        for (_, r) in ct.slab.live() {
            if let Some(seen) = r.steady(|r| (r.key(Dir::Orig), r.key(Dir::Reply))) {
                assert!([1, 2].map(|n| (new(n).orig, new(n).reply)).contains(&seen));
            }
        }
        changer.join().unwrap();
    });
}
