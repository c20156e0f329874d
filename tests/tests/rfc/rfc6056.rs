//! RFC 6056: ports that can't be kept are drawn at random.

use dataplane::base::Proto;
use dataplane::nat::{PortSet, Ports};
use std::net::Ipv4Addr;

/// Ports drawn one at a time from an otherwise free range, for `n` endpoints whose own number
/// is taken.
fn draws(proto: Proto, n: u32) -> Vec<u16> {
    let (ports, none) = (Ports::new([6, 0, 56]), PortSet::new());
    let keeper = (Ipv4Addr::new(10, 255, 255, 255), 40_000);
    assert_eq!(ports.acquire(proto, keeper, None, &none), Ok(40_000));
    (0..n)
        .map(|i| {
            let inside = (Ipv4Addr::from_bits(0x0a00_0000 + i), 40_000);
            let p = ports.acquire(proto, inside, None, &none).unwrap();
            ports.release(proto, inside, p);
            p
        })
        .collect()
}

/// Pearson's statistic of `values` against the same chance for each of `bins`.
fn chi_square(values: impl Iterator<Item = usize>, bins: usize) -> f64 {
    let mut count = vec![0u32; bins];
    values.for_each(|v| count[v] += 1);
    let n: u32 = count.iter().sum();
    let expected = f64::from(n) / bins as f64;
    count
        .iter()
        .map(|c| (f64::from(*c) - expected).powi(2) / expected)
        .sum()
}

/// With 63 degrees of freedom the statistic is below 110 in 9,998 of 10,000 cases, and above 27
/// in as many.
#[test]
fn section_3_3_ten_thousand_draws_are_spread_evenly() {
    for proto in [Proto::TCP, Proto::UDP] {
        let drawn = draws(proto, 10_000);
        assert!(drawn.iter().all(|p| *p >= 1_024));
        // 64,512 ports in 64 bins of 1,008.
        let x = chi_square(drawn.iter().map(|p| usize::from(*p - 1_024) / 1_008), 64);
        assert!((27.0..110.0).contains(&x), "{proto:?}: {x}");
        if proto == Proto::TCP {
            let x = chi_square(drawn.iter().map(|p| usize::from(*p % 64)), 64);
            assert!((27.0..110.0).contains(&x), "low bits: {x}");
        }
    }
}

/// Neighbouring draws are not near each other either.
#[test]
fn section_3_3_a_draw_says_nothing_about_the_next() {
    let drawn = draws(Proto::TCP, 10_000);
    let steps = drawn
        .windows(2)
        .map(|w| usize::from(w[1].wrapping_sub(w[0]) >> 10));
    // Differences of two even draws modulo 2^16 are nearly even themselves.
    let x = chi_square(steps, 64);
    assert!(x < 130.0, "{x}");
}

/// Section 3.2: of ports that are in use none is drawn, in a range that is nearly full.
#[test]
fn section_3_2_a_nearly_full_range_gives_each_free_port_once() {
    let (ports, none) = (Ports::new([6, 0, 56]), PortSet::new());
    let mut seen = std::collections::HashSet::new();
    for i in 0..64_512u32 {
        let inside = (Ipv4Addr::from_bits(0x0a00_0000 + i), 40_000);
        let p = ports.acquire(Proto::TCP, inside, None, &none).unwrap();
        assert!(seen.insert(p), "{p} twice");
    }
}
