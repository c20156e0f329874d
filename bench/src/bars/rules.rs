//! What the number of rules and of taken ports costs.

use super::{Line, Scale, median};
use crate::Result;
use crate::lab::flows::Flow;
use crate::lab::pass::timed;
use crate::lab::{Lab, Room};
use dataplane::base::{Proto, Tuple};
use dataplane::flow::Dir;
use std::hint::black_box;
use std::time::Duration;

/// Rules and ports of each.
const SETS: [(u16, u16, &str); 3] = [
    (1, 1, "1 rule"),
    (65_000, 1, "65,000 ports"),
    (10_000, 6, "10,000 ranges"),
];

fn nanos(t: Duration, n: u32) -> f64 {
    t.as_secs_f64() * 1e9 / f64::from(n.max(1))
}

/// Nanoseconds for each of `chunk` new connections to published ports, all of which are used in turn.
fn first_packets(table: u32, rules: u16, each: u16) -> Result<f64> {
    let chunk = table / 16;
    let rules = u32::from(rules).min(chunk) as u16;
    let mut lab = Lab::unpublished(Room::for_connections(table))?;
    lab.publish_many(rules, each)?;
    let n = u32::from(rules) * u32::from(each);
    // Scattered over all of them.
    let port = move |i: u32| 1 + (i.wrapping_mul(40_503) % n) as u16;
    let mut spent = Duration::ZERO;
    for _ in 0..3 {
        let mut openings = lab.openings();
        // The last counts: the others fetch the tables' pages.
        spent = lab.first_packets_to(&mut openings, 0..chunk, port);
        let gone = lab.forget_tuples((0..chunk).map(|i| Tuple {
            dport: port(i),
            ..Flow::Dnat.tuple(Dir::Orig)(i)
        }));
        if gone != chunk {
            return Err("some connections were not there".into());
        }
    }
    lab.nothing_lost()?;
    Ok(nanos(spent, chunk))
}

/// Each round makes every lab anew: how its tables' pages fall into the cache is chance, and worth
/// a quarter.
pub(super) fn rules(scale: Scale, out: &mut dyn FnMut(Line)) -> Result<()> {
    let mut found = SETS.map(|_| Vec::new());
    for _ in 0..scale.rounds {
        for ((rules, each, _), found) in SETS.iter().zip(&mut found) {
            found.push(first_packets(scale.table, *rules, *each)?);
        }
    }
    let [one, ..] = found.clone().map(median);
    for ((_, _, name), found) in SETS.iter().zip(found) {
        let ns = median(found);
        let ratio = ns / one;
        out(Line {
            what: format!("new connection by DNAT, {name}"),
            figure: format!("{ns:.0} ns, {ratio:.2} ×"),
            beside: format!("1 rule {one:.0} ns"),
            bar: "0.9 to 1.1 × 1 rule".into(),
            met: Some((0.9..=1.1).contains(&ratio)),
        });
    }
    Ok(())
}

/// The choice of an external port for an inside endpoint, and its return.
pub(super) fn ports(scale: Scale, out: &mut dyn FnMut(Line)) -> Result<()> {
    let lab = Lab::new(Room::for_connections(64))?;
    let sw = lab.switch();
    let endpoint = |n: u32| Lab::inside_endpoint(n);
    let n = (scale.frames / 16) as u32;
    let choose = |salt: u32| -> Result<f64> {
        let mut held = Vec::with_capacity(64);
        let mut spent = Duration::ZERO;
        for i in 0..n / 64 {
            let first = 1_000_000 + (salt * n + i * 64).wrapping_mul(97) % 1_000_000;
            spent += timed(|| {
                for k in 0..64 {
                    let e = endpoint(first + k * 1009);
                    if let Ok(p) =
                        black_box(sw.take_external(Proto::TCP, e, lab.now().tick(), |_| true))
                    {
                        held.push((e, p));
                    }
                }
            });
            for (e, p) in held.drain(..) {
                sw.external.release(Proto::TCP, e, p);
            }
        }
        Ok(nanos(spent, n / 64 * 64))
    };
    let fill = || -> Result<Vec<((std::net::Ipv4Addr, u16), u16)>> {
        (0..64_512)
            .filter(|i| i % 100 != 0)
            .map(|i| {
                let e = endpoint(i);
                Ok((
                    e,
                    sw.take_external(Proto::TCP, e, lab.now().tick(), |_| true)
                        .map_err(|r| r.sentence())?,
                ))
            })
            .collect()
    };
    let (mut empty, mut full) = (Vec::new(), Vec::new());
    for round in 0..scale.rounds as u32 {
        empty.push(choose(2 * round)?);
        let taken = fill()?;
        full.push(choose(2 * round + 1)?);
        for (e, p) in taken {
            sw.external.release(Proto::TCP, e, p);
        }
    }
    let (empty, full) = (median(empty), median(full));
    let ratio = full / empty.max(1e-9);
    out(Line {
        what: "port choice, 99 % of the external ports taken".into(),
        figure: format!("{full:.0} ns, {ratio:.2} ×"),
        beside: format!("none taken {empty:.0} ns"),
        bar: "≤ 3 × the empty case".into(),
        met: Some(ratio <= 3.0),
    });
    Ok(())
}
