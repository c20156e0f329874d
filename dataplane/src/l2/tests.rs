use super::fdb::Fdb;
use super::*;
use crate::base::Mac;
use crate::base::hash::Keyed;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

const AGE: u32 = 300_000;

fn mac(n: u32) -> Mac {
    Mac::from_u64(0x0200_0000_0000 | u64::from(n))
}

fn key(mac: Mac) -> FdbKey {
    FdbKey::new(0, mac)
}

fn fdb(capacity: usize) -> Fdb {
    Fdb::new(capacity, Keyed::with_key([1, 2, 3]), AGE)
}

const A: PortId = PortId(1);
const B: PortId = PortId(2);

#[test]
fn learns_moves_and_tells_vlans_apart() {
    let f = fdb(100);
    let t = Tick(u32::MAX - 10); // the tick wraps during the test
    assert_eq!(f.lookup(key(mac(1)), t), None);
    assert_eq!(f.learn(key(mac(1)), A, t), Learn::New);
    assert_eq!(f.learn(key(mac(1)), A, t.plus(20)), Learn::Known);
    assert_eq!(f.lookup(key(mac(1)), t.plus(20)), Some(A));
    assert_eq!(f.lookup(FdbKey::new(7, mac(1)), t), None);
    assert_eq!(f.learn(FdbKey::new(7, mac(1)), B, t), Learn::New);
    let before = f.generation();
    assert_eq!(
        f.learn(key(mac(1)), B, t.plus(30)),
        Learn::Moved { from: A }
    );
    assert_ne!(f.generation(), before);
    assert_eq!(f.lookup(key(mac(1)), t.plus(30)), Some(B));
    assert_eq!(f.len(), 2);
    let c = f.counts();
    assert_eq!((c.learned, c.moved, c.evicted, c.aged), (2, 1, 0, 0));
    let list = f.list(t.plus(50));
    assert_eq!(
        list.first(),
        Some(&FdbReport {
            mac: mac(1),
            vid: 0,
            port: B,
            is_static: false,
            idle_ms: 20
        })
    );
    assert_eq!(list.len(), 2);
}

#[test]
fn refuses_what_is_no_sender() {
    let f = fdb(100);
    for m in [Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1]), Mac::ZERO] {
        assert_eq!(f.learn(key(m), A, Tick(0)), Learn::Refused);
    }
    assert_eq!(f.learn(key(mac(1)), PortId::NONE, Tick(0)), Learn::Refused);
    assert_eq!(f.learn(key(mac(1)), PortId(4096), Tick(0)), Learn::Refused);
    assert!(f.is_empty() && f.list(Tick(0)).is_empty());
}

#[test]
fn silence_expires_at_the_look_up_and_the_sweep_only_tidies() {
    let f = fdb(100);
    f.learn(key(mac(1)), A, Tick(0));
    f.learn(key(mac(2)), A, Tick(0));
    f.learn(key(mac(2)), A, Tick(500)); // below the refresh interval: not stored
    f.learn(key(mac(2)), A, Tick(2_000));
    assert_eq!(f.lookup(key(mac(1)), Tick(AGE - 1)), Some(A));
    assert_eq!(f.lookup(key(mac(1)), Tick(AGE)), None);
    assert_eq!(f.lookup(key(mac(2)), Tick(AGE + 1_999)), Some(A));
    assert_eq!(f.list(Tick(AGE)).len(), 1);
    let before = f.generation();
    assert_eq!(f.sweep(Tick(AGE), 100), 1);
    assert_ne!(f.generation(), before);
    assert_eq!((f.len(), f.counts().aged), (1, 1));
    // An expired address is new again, swept or not, and at another port it has not moved.
    assert_eq!(f.learn(key(mac(1)), A, Tick(AGE)), Learn::New);
    assert_eq!(f.learn(key(mac(2)), B, Tick(AGE + 2_000)), Learn::New);
    assert_eq!((f.counts().aged, f.counts().moved), (2, 0));
}

#[test]
fn a_sweep_keeps_to_its_budget_and_reaches_every_port() {
    let f = fdb(1000);
    for n in 0..300 {
        f.learn(key(mac(n)), PortId((n % 10) as u16), Tick(0));
    }
    let mut calls = 0;
    while !f.is_empty() {
        assert!(f.sweep(Tick(AGE), 7) <= 7);
        calls += 1;
        assert!(calls < 200, "{} left", f.len());
    }
    assert!(calls >= 300 / 7);
    assert_eq!(f.counts().aged, 300);
    assert_eq!(f.sweep(Tick(AGE), 7), 0);
}

#[test]
fn nobody_is_where_nobody_can_be() {
    let f = fdb(9);
    let beyond = PortId(PortId::MAX_PORTS as u16);
    for (mac, port) in [(Mac::BROADCAST, B), (Mac::ZERO, B), (mac(1), beyond)] {
        assert!(!f.insert_static(key(mac), port), "{mac} {port:?}");
    }
    assert!(f.is_empty() && f.insert_static(key(mac(1)), B));
}

#[test]
fn static_entries_stay() {
    let f = fdb(2);
    assert_eq!(f.learn(key(mac(1)), B, Tick(5)), Learn::New);
    assert!(f.insert_static(key(mac(1)), A));
    assert_eq!(f.learn(key(mac(1)), B, Tick(5)), Learn::Refused);
    assert_eq!(f.learn(key(mac(1)), A, Tick(5)), Learn::Known);
    assert_eq!(f.lookup(key(mac(1)), Tick(10 * AGE)), Some(A));
    // It is neither evicted nor swept; what is learned beside it is.
    for n in 2..10 {
        assert_eq!(f.learn(key(mac(n)), B, Tick(5)), Learn::New);
    }
    assert_eq!((f.len(), f.counts().evicted), (2, 7));
    f.sweep(Tick(10 * AGE), 100);
    assert_eq!(f.len(), 1);
    assert!(f.insert_static(key(mac(2)), B));
    assert!(!f.insert_static(key(mac(3)), B));
    assert!(!f.insert_static(key(Mac::BROADCAST), B));
    assert_eq!(f.learn(key(mac(3)), B, Tick(5)), Learn::Refused);
    f.forget_port(A);
    assert_eq!(f.lookup(key(mac(1)), Tick(5)), None);
    assert_eq!(f.lookup(key(mac(2)), Tick(5)), Some(B));
}

#[test]
fn a_flood_of_addresses_evicts_its_own() {
    let f = fdb(100);
    for n in 0..20 {
        f.learn(key(mac(n)), A, Tick(0));
    }
    for n in 1_000..50_000 {
        assert_eq!(f.learn(key(mac(n)), B, Tick(1)), Learn::New);
    }
    assert_eq!(f.len(), 100);
    for n in 0..20 {
        assert_eq!(f.lookup(key(mac(n)), Tick(2)), Some(A));
    }
    assert_eq!(f.counts().evicted, 49_000 - 80);
    // The oldest go first.
    assert_eq!(f.lookup(key(mac(49_999)), Tick(2)), Some(B));
    assert_eq!(f.lookup(key(mac(49_920)), Tick(2)), Some(B));
    assert_eq!(f.lookup(key(mac(49_919)), Tick(2)), None);
}

#[test]
fn a_full_table_of_the_default_size_finds_everything() {
    let f = fdb(16_384);
    for n in 0..16_384 {
        assert_eq!(
            f.learn(
                FdbKey::new((n % 3) as u16, mac(n)),
                PortId((n % 50) as u16),
                Tick(0)
            ),
            Learn::New
        );
    }
    let found = (0..16_384)
        .filter(|&n| {
            f.lookup(FdbKey::new((n % 3) as u16, mac(n)), Tick(1)) == Some(PortId((n % 50) as u16))
        })
        .count();
    assert_eq!((found, f.counts().evicted), (16_384, 0));
}

#[test]
fn forgetting_a_port_leaves_the_others() {
    let f = fdb(100);
    f.learn(key(mac(1)), A, Tick(0));
    f.learn(key(mac(2)), B, Tick(0));
    let before = f.generation();
    f.forget_port(A);
    assert_ne!(f.generation(), before);
    assert_eq!(f.lookup(key(mac(1)), Tick(0)), None);
    assert_eq!(f.lookup(key(mac(2)), Tick(0)), Some(B));
    assert_eq!(f.learn(key(mac(1)), B, Tick(0)), Learn::New);
}

#[test]
fn decisions() {
    let f = fdb(100);
    f.learn(key(mac(1)), A, Tick(0));
    let to = |dst: Mac, vid| decide(&f, FdbKey::new(vid, dst), B, Tick(0));
    assert_eq!(to(mac(1), 0), L2::To(A));
    assert_eq!(to(mac(1), 5), L2::Flood);
    assert_eq!(to(mac(2), 0), L2::Flood);
    assert_eq!(to(Mac::BROADCAST, 0), L2::Flood);
    assert_eq!(to(Mac([0x33, 0x33, 0, 0, 0, 1]), 0), L2::Flood);
    assert_eq!(
        to(Mac([1, 0x80, 0xc2, 0, 0, 0x0e]), 0),
        L2::Drop(Reason::LinkLocalGroup)
    );
    f.learn(key(mac(3)), B, Tick(0));
    assert_eq!(to(mac(3), 0), L2::Drop(Reason::SamePort));
}

/// Address `n` is only ever learned at port `n % 8` or `n % 8 + 8`. Whatever the threads do to
/// each other, nobody may ever see it anywhere else.
#[test]
fn threads_never_see_a_port_that_was_not_the_address_own() {
    let f = fdb(64);
    let stop = AtomicBool::new(false);
    let found = std::thread::scope(|s| {
        for seed in 0..2u32 {
            let (f, stop) = (&f, &stop);
            s.spawn(move || {
                for i in 0..60_000u32 {
                    let n = (i.wrapping_mul(2_654_435_761) ^ seed) >> 5 & 255;
                    let port = PortId((n % 8 + 8 * (i >> 7 & 1)) as u16);
                    if let Learn::Moved { from } = f.learn(key(mac(n)), port, Tick(i / 16)) {
                        assert_eq!(from.0 % 8, (n % 8) as u16);
                    }
                    match i % 1_024 {
                        0 => f.forget_port(port),
                        512 => {
                            f.sweep(Tick(i / 16), 10);
                        }
                        _ => {}
                    }
                }
                stop.store(true, Relaxed);
            });
        }
        let reader = s.spawn(|| {
            let mut found = 0u64;
            let mut n = 0u32;
            while !stop.load(Relaxed) {
                n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let m = n >> 9 & 255;
                if let Some(p) = f.lookup(key(mac(m)), Tick(100)) {
                    assert_eq!(p.0 % 8, (m % 8) as u16);
                    assert!(p.0 < 16);
                    found += 1;
                }
            }
            found
        });
        reader.join().unwrap()
    });
    assert!(found > 0);
    // Truth and index still agree.
    let list = f.list(Tick(3_750));
    assert_eq!(list.len(), f.len());
    assert!(list.len() <= 64 && !list.is_empty());
    for r in &list {
        assert_eq!(
            f.lookup(FdbKey::new(r.vid, r.mac), Tick(3_750)),
            Some(r.port)
        );
    }
}

#[derive(Clone, Debug)]
enum Op {
    Learn(u32, u16),
    Static(u32, u16),
    Forget(u16),
    Sweep(usize),
    Wait(u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => (0..24u32, 0..4u16).prop_map(|(m, p)| Op::Learn(m, p)),
        1 => (0..24u32, 0..4u16).prop_map(|(m, p)| Op::Static(m, p)),
        1 => (0..4u16).prop_map(Op::Forget),
        3 => (0..6usize).prop_map(Op::Sweep),
        8 => (0..20_000u32).prop_map(Op::Wait),
    ]
}

/// What the table means, with neither order nor index: expired entries do not exist.
#[derive(Default)]
struct Model {
    map: HashMap<u32, (u16, bool, u64)>,
    now: u64,
}

impl Model {
    const AGE: u64 = 40_000;
    const REFRESH: u64 = 1_000;
    const CAPACITY: usize = 12;

    fn expire(&mut self) {
        let now = self.now;
        self.map.retain(|_, e| e.1 || now - e.2 < Model::AGE);
    }

    fn room(&mut self, wants: u16) -> bool {
        if self.map.len() < Model::CAPACITY {
            return true;
        }
        let count = |p: u16| self.map.values().filter(|e| !e.1 && e.0 == p).count();
        let Some(most) = (0..4)
            .filter(|&p| count(p) > 0)
            .max_by_key(|&p| (count(p), p == wants, p))
        else {
            return false;
        };
        let oldest = self
            .map
            .iter()
            .filter(|(_, e)| !e.1 && e.0 == most)
            .min_by_key(|(m, e)| (e.2, **m))
            .map(|(m, _)| *m);
        oldest.is_some_and(|m| self.map.remove(&m).is_some())
    }

    fn learn(&mut self, m: u32, p: u16) -> Learn {
        self.expire();
        let now = self.now;
        match self.map.get_mut(&m) {
            Some(e) if e.0 == p => {
                if now - e.2 >= Model::REFRESH {
                    e.2 = now;
                }
                Learn::Known
            }
            Some(e) if e.1 => Learn::Refused,
            Some(e) => {
                let from = PortId(e.0);
                *e = (p, false, now);
                Learn::Moved { from }
            }
            None => {
                if !self.room(p) {
                    return Learn::Refused;
                }
                self.map.insert(m, (p, false, now));
                Learn::New
            }
        }
    }

    fn insert_static(&mut self, m: u32, p: u16) -> bool {
        self.expire();
        if self.map.contains_key(&m) || self.room(p) {
            self.map.insert(m, (p, true, 0));
            return true;
        }
        false
    }
}

proptest! {
    #[test]
    fn behaves_as_the_model_whenever_the_sweep_runs(ops in prop::collection::vec(op(), 1..300)) {
        let f = Fdb::new(Model::CAPACITY, Keyed::with_key([4, 5, 6]), Model::AGE as u32);
        let mut model = Model::default();
        for op in ops {
            let now = Tick(model.now as u32);
            match op {
                Op::Learn(m, p) => prop_assert_eq!(f.learn(key(mac(m)), PortId(p), now), model.learn(m, p)),
                Op::Static(m, p) => {
                    f.sweep(now, usize::MAX);
                    prop_assert_eq!(f.insert_static(key(mac(m)), PortId(p)), model.insert_static(m, p));
                }
                Op::Forget(p) => {
                    f.forget_port(PortId(p));
                    model.map.retain(|_, e| e.0 != p);
                }
                Op::Sweep(budget) => {
                    f.sweep(now, budget);
                }
                Op::Wait(ms) => model.now += u64::from(ms),
            }
            model.expire();
            let now = Tick(model.now as u32);
            for m in 0..24 {
                prop_assert_eq!(f.lookup(key(mac(m)), now), model.map.get(&m).map(|e| PortId(e.0)));
            }
            prop_assert_eq!(f.list(now).len(), model.map.len());
        }
    }
}
