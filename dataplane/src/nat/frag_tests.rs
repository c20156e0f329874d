use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

const IN: PortId = PortId(7);
const T0: Instant = Instant::from_secs(100);

fn table() -> FragTable {
    FragTable::new(64, Duration::from_secs(15), [1, 2, 3])
}

fn key(src: u32, ip_id: u16) -> FragKey {
    FragKey {
        zone: Zone::Inside,
        src: Ipv4Addr::from_bits(src),
        dst: Ipv4Addr::new(192, 0, 2, 2),
        proto: Proto::UDP,
        ip_id,
    }
}

fn tuple(k: &FragKey) -> Tuple {
    Tuple {
        src: k.src,
        dst: k.dst,
        sport: k.ip_id,
        dport: 53,
        proto: k.proto,
    }
}

fn part(offset: u16, len: u16, more: bool) -> Fragment {
    Fragment { offset, len, more }
}

/// Offers a fragment as the slow path does; its frame is its offset.
fn offer(t: &FragTable, now: Instant, k: FragKey, f: Fragment) -> Offered {
    let first = (f.offset == 0).then(|| tuple(&k));
    t.offer(now, k, f, first, IN, || {
        Frame::from_bytes(&f.offset.to_be_bytes())
    })
}

fn offsets(released: &[HeldFragment]) -> Vec<u16> {
    released
        .iter()
        .map(|h| u16::from_be_bytes(h.frame.bytes().try_into().unwrap()))
        .collect()
}

fn dropped(o: &Offered) -> Option<Reason> {
    match o.verdict {
        FragVerdict::Drop(r) => Some(r),
        _ => None,
    }
}

fn empty(t: &FragTable) -> bool {
    t.len() == (0, 0) && t.lock().sources.sizes() == [0; 4]
}

#[test]
fn in_order_nothing_is_held() {
    let (t, k) = (table(), key(1, 9));
    let FragVerdict::First { released, ip_id } = offer(&t, T0, k, part(0, 1480, true)).verdict
    else {
        panic!("first");
    };
    assert!(released.is_empty() && ip_id.is_some());
    for f in [part(1480, 1480, true), part(2960, 100, false)] {
        match offer(&t, T0, k, f).verdict {
            FragVerdict::Translate {
                tuple: got,
                ip_id: id,
            } => {
                assert_eq!((got, id), (tuple(&k), ip_id));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(empty(&t), "complete, so forgotten");
}

#[test]
fn from_outside_the_identification_stays() {
    let t = table();
    let k = FragKey {
        zone: Zone::Uplink,
        ..key(1, 9)
    };
    let o = offer(&t, T0, k, part(0, 8, true));
    assert!(matches!(o.verdict, FragVerdict::First { ip_id: None, .. }));
}

#[test]
fn early_ones_are_held_and_come_out_as_they_came_in() {
    let (t, k) = (table(), key(1, 9));
    for f in [part(2960, 100, false), part(1480, 1480, true)] {
        assert!(matches!(offer(&t, T0, k, f).verdict, FragVerdict::Held));
    }
    assert_eq!(t.len(), (1, 2));
    // Another datagram, and the same identification from elsewhere, are other datagrams.
    offer(&t, T0, key(1, 10), part(0, 8, true));
    offer(&t, T0, key(2, 9), part(0, 8, true));
    let o = offer(&t, T0, k, part(0, 1480, true));
    let FragVerdict::First { released, .. } = &o.verdict else {
        panic!("{o:?}");
    };
    assert_eq!(offsets(released), [2960, 1480]);
    assert!(released.iter().all(|h| h.ingress == IN) && o.lost.is_empty());
    assert_eq!(t.len(), (2, 0));
}

#[test]
fn an_overlap_spoils_the_datagram() {
    let (t, k) = (table(), key(1, 9));
    offer(&t, T0, k, part(800, 400, true));
    offer(&t, T0, k, part(1600, 400, false));
    let o = offer(&t, T0, k, part(792, 16, true));
    assert_eq!(dropped(&o), Some(Reason::FragOverlap));
    let lost = Lost {
        ingress: IN,
        reason: Reason::FragOverlap,
    };
    assert_eq!(o.lost, [lost; 2]);
    for f in [part(0, 792, true), part(1200, 400, true)] {
        assert_eq!(dropped(&offer(&t, T0, k, f)), Some(Reason::FragOverlap));
    }
    assert!(t.expire(T0 + Duration::from_secs(15)).is_empty());
    assert!(empty(&t));
}

#[test]
fn a_repetition_only_drops_itself() {
    let (t, k) = (table(), key(1, 9));
    for f in [part(8, 8, true), part(0, 8, true)] {
        offer(&t, T0, k, f);
        let o = offer(&t, T0, k, f);
        assert_eq!(dropped(&o), Some(Reason::FragOverlap));
        assert!(o.lost.is_empty());
    }
    let o = offer(&t, T0, k, part(16, 5, false));
    assert!(matches!(o.verdict, FragVerdict::Translate { .. }));
    assert!(empty(&t));
}

#[test]
fn impossible_fragments_leave_no_trace() {
    let (t, k) = (table(), key(1, 9));
    for f in [
        part(0, 0, true),
        part(0, 9, true),
        part(65_512, 8, false),
        part(65_528, 1480, false),
    ] {
        let o = offer(&t, T0, k, f);
        assert_eq!(dropped(&o), Some(Reason::FragMalformed), "{f:?}");
    }
    assert!(empty(&t));
    let o = offer(&t, T0, k, part(65_512, 3, false));
    assert!(matches!(o.verdict, FragVerdict::Held));
}

#[test]
fn contradicting_ends_spoil_the_datagram() {
    for (a, b) in [
        (part(800, 8, false), part(1600, 8, true)),
        (part(800, 8, false), part(1600, 8, false)),
        (part(1600, 8, true), part(800, 8, false)),
        (part(800, 16, false), part(400, 8, false)),
    ] {
        let (t, k) = (table(), key(1, 9));
        offer(&t, T0, k, a);
        let o = offer(&t, T0, k, b);
        assert_eq!(dropped(&o), Some(Reason::FragMalformed), "{a:?} {b:?}");
        assert_eq!(o.lost.len(), 1);
    }
}

#[test]
fn a_first_fragment_without_its_ports_is_refused() {
    let (t, k) = (table(), key(1, 9));
    let o = t.offer(T0, k, part(0, 8, true), None, IN, Frame::default);
    assert_eq!(dropped(&o), Some(Reason::FragMalformed));
    let o = offer(&t, T0, k, part(8, 8, true));
    assert_eq!(dropped(&o), Some(Reason::FragMalformed));
}

#[test]
fn fragments_and_bytes_of_one_datagram_are_bounded() {
    let (t, k) = (table(), key(1, 9));
    for i in 1..=64 {
        let o = offer(&t, T0, k, part(i * 8, 8, true));
        assert!(matches!(o.verdict, FragVerdict::Held), "{i}");
    }
    let o = offer(&t, T0, k, part(65 * 8, 8, true));
    assert_eq!((dropped(&o), o.lost.len()), (Some(Reason::FragTooMany), 64));

    // Small fragments in long frames.
    let k = key(1, 10);
    let long = |i: u16| {
        t.offer(T0, k, part(i * 8, 8, true), None, IN, || {
            Frame::from_bytes(&[0; 30_000])
        })
    };
    assert!(matches!(long(1).verdict, FragVerdict::Held));
    assert!(matches!(long(2).verdict, FragVerdict::Held));
    let o = long(3);
    assert_eq!((dropped(&o), o.lost.len()), (Some(Reason::FragTooMany), 2));
    assert_eq!(t.len().1, 0);
}

#[test]
fn time_runs_from_the_first_to_arrive() {
    let t = table();
    offer(&t, T0, key(1, 1), part(8, 8, true));
    offer(
        &t,
        T0 + Duration::from_secs(10),
        key(1, 1),
        part(16, 8, true),
    );
    offer(
        &t,
        T0 + Duration::from_secs(10),
        key(1, 2),
        part(8, 8, true),
    );
    assert!(t.expire(T0 + Duration::from_millis(14_999)).is_empty());
    let lost = Lost {
        ingress: IN,
        reason: Reason::FragTimeout,
    };
    assert_eq!(t.expire(T0 + Duration::from_secs(15)), [lost; 2]);
    assert_eq!(t.len(), (1, 1));
    // The identification has come round: the old datagram is over, whoever asks first.
    let o = offer(
        &t,
        T0 + Duration::from_secs(30),
        key(1, 2),
        part(0, 8, true),
    );
    assert_eq!(o.lost, [lost]);
    assert!(matches!(o.verdict, FragVerdict::First { released, .. } if released.is_empty()));
}

#[test]
fn a_refused_first_fragment_takes_the_rest_along() {
    let (t, k) = (table(), key(1, 9));
    offer(&t, T0, k, part(0, 8, true));
    assert!(t.refuse(&k, Reason::PolicyDenied).is_empty());
    let o = offer(&t, T0, k, part(8, 8, true));
    assert_eq!(dropped(&o), Some(Reason::PolicyDenied));
    offer(&t, T0, key(1, 10), part(8, 8, true));
    assert_eq!(t.refuse(&key(1, 10), Reason::NoUplink).len(), 1);
}

#[test]
fn one_source_fills_a_quarter_and_pays_by_itself() {
    let t = table();
    let other = key(2, 1);
    offer(&t, T0, other, part(8, 8, false));
    for id in 0..1000 {
        let o = offer(&t, T0, key(1, id), part(8, 8, true));
        let full = Lost {
            ingress: IN,
            reason: Reason::FragTableFull,
        };
        assert_eq!(o.lost, vec![full; usize::from(id >= 16)]);
    }
    assert_eq!(t.len(), (17, 17));
    let o = offer(&t, T0, other, part(0, 8, true));
    assert!(matches!(o.verdict, FragVerdict::First { released, .. } if released.len() == 1));
}

/// From a thousand (forged) sources: what comes in order passes whole, also over the flood's time.
#[test]
fn a_flood_without_first_fragments_harms_no_datagram_in_order() {
    let t = table();
    let k = key(5, 5);
    offer(&t, T0, k, part(0, 8, true));
    for n in 0..10_000u32 {
        let o = offer(
            &t,
            T0,
            key(0x0b00_0000 + n % 1000, n as u16),
            part(80, 8, true),
        );
        assert!(matches!(o.verdict, FragVerdict::Held));
        let other = key(6, n as u16);
        offer(&t, T0, other, part(0, 8, true));
        let last = offer(&t, T0, other, part(8, 8, false));
        assert!(matches!(last.verdict, FragVerdict::Translate { .. }));
        assert!(t.len().0 <= 64);
    }
    let last = offer(&t, T0, k, part(8, 8, false));
    assert!(matches!(last.verdict, FragVerdict::Translate { .. }));
}

#[test]
fn a_full_table_of_first_fragments_still_takes_new_ones() {
    let t = table();
    for n in 0..200 {
        let o = offer(&t, T0, key(n, 1), part(0, 8, true));
        assert!(matches!(o.verdict, FragVerdict::First { .. }));
    }
    assert_eq!(t.len(), (64, 0));
    let none = FragTable::new(0, Duration::from_secs(1), [1, 2, 3]);
    let o = offer(&none, T0, key(1, 1), part(0, 8, true));
    assert_eq!(dropped(&o), Some(Reason::FragTableFull));
}

#[test]
fn identifications_do_not_meet() {
    let t = table();
    let dst = Ipv4Addr::new(192, 0, 2, 2);
    let ids: HashSet<u16> = (0..=65_535u32).map(|_| t.ip_id(dst, Proto::UDP)).collect();
    assert_eq!(ids.len(), 65_536);
    // Two containers, the same identification, the same destination.
    let outside = |src| match offer(&t, T0, key(src, 1), part(0, 8, true)).verdict {
        FragVerdict::First { ip_id, .. } => ip_id.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_ne!(outside(1), outside(2));
}

proptest! {
    /// A datagram cut anyhow and shuffled anyhow: every fragment goes out once.
    #[test]
    fn any_order_works(
        sizes in proptest::collection::vec(1u16..100, 1..40), last in 1u16..800,
        order in proptest::collection::vec(any::<u32>(), 41),
    ) {
        let mut parts = Vec::new();
        let mut at = 0;
        for s in sizes {
            parts.push(part(at, s * 8, true));
            at += s * 8;
        }
        parts.push(part(at, last, false));
        let mut shuffled: Vec<_> = parts.iter().copied().zip(order).collect();
        shuffled.sort_by_key(|p| p.1);
        let (t, k) = (table(), key(1, 9));
        let mut out = Vec::new();
        for (f, _) in shuffled {
            let o = offer(&t, T0, k, f);
            prop_assert!(o.lost.is_empty());
            match o.verdict {
                FragVerdict::First { released, .. } => {
                    out.push(f.offset);
                    out.extend(offsets(&released));
                }
                FragVerdict::Translate { tuple: got, .. } => {
                    prop_assert_eq!(got, tuple(&k));
                    out.push(f.offset);
                }
                FragVerdict::Held => {}
                FragVerdict::Drop(r) => prop_assert!(false, "{r}"),
            }
        }
        out.sort_unstable();
        let all: Vec<u16> = parts.iter().map(|p| p.offset).collect();
        prop_assert_eq!(out, all);
        prop_assert!(empty(&t));
    }

    /// Anything goes: what was held comes out, is lost or is still held, and nothing grows.
    #[test]
    fn the_books_balance(
        steps in proptest::collection::vec(
            (0u32..6, 0u16..4, 0u16..20, 0u16..40, any::<bool>(), 0u64..3000), 0..400),
        limit in 1u32..20,
    ) {
        let t = FragTable::new(limit, Duration::from_secs(15), [1, 2, 3]);
        let (mut now, mut held, mut gone) = (T0, 0, 0);
        for (src, id, offset, len, more, ms) in steps {
            now = now + Duration::from_millis(ms);
            let o = offer(&t, now, key(src, id), part(offset * 8, len, more));
            gone += o.lost.len();
            match o.verdict {
                FragVerdict::Held => held += 1,
                FragVerdict::First { released, .. } => gone += released.len(),
                _ => {}
            }
            if ms % 5 == 0 {
                gone += t.expire(now).len();
            }
            let (datagrams, waiting) = t.len();
            prop_assert_eq!(held, gone + waiting);
            prop_assert!(datagrams <= limit as usize);
            prop_assert_eq!(t.lock().sources.sizes()[0], datagrams);
        }
        gone += t.expire(now + Duration::from_secs(15)).len();
        prop_assert_eq!(held, gone);
        prop_assert!(empty(&t));
    }
}
