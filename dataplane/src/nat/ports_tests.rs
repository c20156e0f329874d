use super::*;
use std::collections::{HashMap, HashSet};
use std::sync::Barrier;

fn host(n: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 + u32::from(n))
}

fn new() -> (Ports, PortSet) {
    (Ports::new([1, 2, 3]), PortSet::new())
}

#[test]
fn one_mapping_per_inside_endpoint_until_its_last_connection() {
    let (p, none) = new();
    let a = (host(2), 40_000);
    for _ in 0..3 {
        assert_eq!(p.acquire(Proto::TCP, a, None, &none), Ok(40_000));
    }
    assert_eq!(p.lookup(Proto::TCP, 40_000), Some(a));
    assert_eq!(p.lookup(Proto::UDP, 40_000), None);
    let b = p
        .acquire(Proto::TCP, (host(3), 40_000), None, &none)
        .unwrap();
    assert!(b != 40_000 && b >= 1024);
    for left in [2, 1, 0] {
        assert_eq!(p.in_use().tcp, 2, "{left} before");
        p.release(Proto::TCP, a, 40_000);
    }
    assert_eq!((p.in_use().tcp, p.mappings()), (1, 1));
    assert_eq!(p.lookup(Proto::TCP, 40_000), None);
    p.release(Proto::TCP, a, 40_000);
    p.release(Proto::TCP, (host(3), 40_000), 1);
    assert_eq!(p.in_use().tcp, 1, "a release too many changes nothing");
    assert_eq!(
        p.acquire(Proto::TCP, (host(4), 40_000), None, &none),
        Ok(40_000)
    );
}

#[test]
fn published_ports_are_only_for_their_own_container() {
    let (p, published) = new();
    published.insert_range(5000, 5010);
    let other = p
        .acquire(Proto::UDP, (host(3), 5000), None, &published)
        .unwrap();
    assert!(!published.contains(other) && other % 2 == 0);
    assert_eq!(
        p.acquire(Proto::UDP, (host(2), 80), Some(5000), &published),
        Ok(5000)
    );
    // Its own port is taken: any other, but a free one.
    let q = p
        .acquire(Proto::UDP, (host(4), 81), Some(5000), &published)
        .unwrap();
    assert_eq!(q, 81);
}

#[test]
fn ranges_and_parity_are_kept() {
    let (p, none) = new();
    for n in 0..300u16 {
        for port in [53, 1000, 1024, 40_001] {
            let e = p.acquire(Proto::UDP, (host(n), port), None, &none).unwrap();
            assert_eq!((e < 1024, e % 2), (port < 1024, port % 2), "{port} -> {e}");
            assert_ne!(e, 0);
        }
    }
    // Port 0 is never given; a datagram from it gets an ordinary port.
    assert!(p.acquire(Proto::UDP, (host(2), 0), None, &none).unwrap() >= 1024);
    assert_eq!(p.acquire(Proto::ICMP, (host(2), 0), None, &none), Ok(0));
    assert_eq!(
        p.acquire(Proto(47), (host(2), 0), None, &none),
        Err(Reason::ProtoUnsupported)
    );
}

#[test]
fn every_port_is_given_before_any_is_refused() {
    let (p, none) = new();
    let mut seen = HashSet::new();
    for n in 0..1023u16 {
        // Half of them have to take the other parity at last.
        seen.insert(p.acquire(Proto::UDP, (host(n), 53), None, &none).unwrap());
    }
    assert_eq!(seen.len(), 1023);
    let refused = p.acquire(Proto::UDP, (host(5000), 53), None, &none);
    assert_eq!(refused, Err(Reason::PortsExhausted));
    assert_eq!((p.in_use().udp, p.mappings()), (1023, 1023));
    let mut all = HashSet::new();
    for n in 0..64_512u32 {
        let inside = (Ipv4Addr::from_bits(0x0a00_0000 + n), 33_333);
        all.insert(p.acquire(Proto::TCP, inside, None, &none).unwrap());
    }
    assert_eq!(all.len(), 64_512);
    assert!(all.iter().all(|p| *p >= 1024));
}

#[test]
fn a_full_range_is_shared_where_destinations_differ() {
    let (p, none) = new();
    for n in 0..1023u16 {
        p.acquire(Proto::TCP, (host(n), 99), None, &none).unwrap();
    }
    let a = (host(2000), 99);
    let refuse_all = p.acquire_overloaded(Proto::TCP, a, &none, |_| true);
    assert_eq!(refuse_all, Err(Reason::PortsExhausted));
    assert_eq!(p.mappings(), 1023);
    let e = p
        .acquire_overloaded(Proto::TCP, a, &none, |e| e < 900)
        .unwrap();
    assert!((900..1024).contains(&e));
    let owner = p.lookup(Proto::TCP, e).unwrap();
    assert_ne!(owner, a, "the first owner stays");
    // The same endpoint keeps its port, unless that clashes; then it gets another.
    assert_eq!(p.acquire(Proto::TCP, a, None, &none), Ok(e));
    let f = p
        .acquire_overloaded(Proto::TCP, a, &none, |x| x == e)
        .unwrap();
    assert_ne!(f, e);
    assert_eq!((p.in_use().tcp, p.mappings()), (1023, 1024));
    p.release(Proto::TCP, owner, e);
    assert_eq!(p.in_use().tcp, 1023, "still shared");
    assert_eq!(p.lookup(Proto::TCP, e), None);
    p.release(Proto::TCP, a, e);
    p.release(Proto::TCP, a, e);
    assert_eq!(p.in_use().tcp, 1022, "the last user freed it");
    assert_eq!(
        p.acquire(Proto::TCP, a, None, &none),
        Ok(f),
        "its other port is the mapping now"
    );
    p.release(Proto::TCP, a, f);
    p.release(Proto::TCP, a, f);
    assert_eq!((p.in_use().tcp, p.mappings()), (1022, 1022));
}

/// Pearson's chi-square over 64 equal bins of the 64,512 ports; for 63 degrees of freedom 113
/// is exceeded once in 10,000 times.
#[test]
fn draws_are_uniform() {
    let (p, none) = new();
    p.acquire(Proto::TCP, (host(1), 2000), None, &none).unwrap();
    let mut bins = HashMap::new();
    let (mut previous, mut repeats) = (0, 0);
    for n in 0..10_000u16 {
        let inside = (host(2 + n), 2000);
        let e = p.acquire(Proto::TCP, inside, None, &none).unwrap();
        *bins.entry((e - 1024) / 1008).or_insert(0u32) += 1;
        repeats += u32::from(e.abs_diff(previous) < 2);
        previous = e;
        p.release(Proto::TCP, inside, e);
    }
    let expected = 10_000.0 / 64.0;
    let chi: f64 = (0..64)
        .map(|b| (f64::from(bins.get(&b).copied().unwrap_or(0)) - expected).powi(2) / expected)
        .sum();
    assert!(chi < 113.0, "{chi}");
    assert!(chi > 25.0, "too even to be random: {chi}");
    assert!(repeats < 6, "{repeats} draws beside the one before");
}

#[test]
fn threads_agree_on_one_mapping() {
    let (p, none) = new();
    let start = Barrier::new(4);
    // Somebody has the port, so that each has to draw.
    p.acquire(Proto::UDP, (host(1), 7000), None, &none).unwrap();
    let got: Vec<Vec<u16>> = std::thread::scope(|s| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                s.spawn(|| {
                    start.wait();
                    (2..500)
                        .map(|n| p.acquire(Proto::UDP, (host(n), 7000), None, &none).unwrap())
                        .collect()
                })
            })
            .collect();
        workers.into_iter().map(|w| w.join().unwrap()).collect()
    });
    assert!(got.iter().all(|g| *g == got[0]));
    let distinct: HashSet<u16> = got[0].iter().copied().collect();
    assert_eq!((distinct.len(), p.in_use().udp), (498, 499));
    for _ in 0..4 {
        assert_eq!(p.in_use().udp, 499);
        for (n, e) in (2..500).zip(&got[0]) {
            p.release(Proto::UDP, (host(n), 7000), *e);
        }
    }
    assert_eq!((p.in_use().udp, p.mappings()), (1, 1));
}

/// Threads take, share and free the last few ports; nothing is lost and nothing stays.
#[test]
fn churn_at_the_limit_leaves_nothing_behind() {
    let (p, published) = new();
    published.insert_range(11, 1023);
    std::thread::scope(|s| {
        for t in 0..4u16 {
            let (p, published) = (&p, &published);
            s.spawn(move || {
                for i in 0..5_000u16 {
                    let inside = (host(t * 100 + i % 7), 500);
                    let got = p.acquire(Proto::TCP, inside, None, published).or_else(|_| {
                        p.acquire_overloaded(Proto::TCP, inside, published, |x| x % 2 == 0)
                    });
                    let e = got.unwrap();
                    assert!((1..=10).contains(&e));
                    if i % 3 == 0 {
                        let f = p
                            .acquire_overloaded(Proto::TCP, inside, published, |x| x == e)
                            .unwrap();
                        assert_ne!(e, f);
                        p.release(Proto::TCP, inside, f);
                    }
                    p.release(Proto::TCP, inside, e);
                }
            });
        }
    });
    assert_eq!((p.in_use(), p.mappings()), (InUse::default(), 0));
    for n in 1..=10 {
        assert_eq!(p.lookup(Proto::TCP, n), None);
        assert!(
            p.acquire(Proto::TCP, (host(n), 500), None, &published)
                .is_ok()
        );
    }
}
