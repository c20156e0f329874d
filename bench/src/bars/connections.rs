//! Connections opened, and whole lives of connections.

use super::{Line, Scale, count, median};
use crate::Result;
use crate::lab::{Lab, Room};
use std::time::Duration;

fn per_second(n: u32, t: Duration) -> f64 {
    f64::from(n) / t.as_secs_f64().max(1e-9)
}

fn millions(v: f64) -> String {
    format!("{:.2} M/s", v / 1e6)
}

/// First packets at a steady fill of the table: what is opened is forgotten again, untimed.
pub(super) fn new(scale: Scale, out: &mut dyn FnMut(Line)) -> Result<()> {
    const BAR: f64 = 1.5e6;
    for percent in [0, 50, 90] {
        let mut lab = Lab::new(Room::for_connections(scale.table))?;
        let mut openings = lab.openings();
        let fill = (u64::from(scale.table) * percent / 100) as u32;
        lab.first_packets(&mut openings, 0..fill);
        let chunk = scale.table / 16;
        let mut rates = Vec::new();
        for round in 0..=scale.rounds {
            let which = fill..fill + chunk;
            let t = lab.first_packets(&mut openings, which.clone());
            // The first touches memory that was never used.
            if round > 0 {
                rates.push(per_second(chunk, t));
            }
            if lab.forget(which) != chunk {
                return Err("some connections were not there".into());
            }
        }
        lab.nothing_lost()?;
        let rate = median(rates);
        out(Line {
            what: format!("new connections, table of {} {percent} % full", scale.table),
            figure: millions(rate),
            beside: String::new(),
            bar: "≥ 1.5 M/s (goal 3)".into(),
            met: Some(rate >= BAR),
        });
    }
    Ok(())
}

/// Six frames a life, expiry at the rate of opening.
pub(super) fn lives(scale: Scale, out: &mut dyn FnMut(Line)) -> Result<()> {
    let mut small_rate = 0.0;
    for (live, large) in [(10_000.min(scale.most()), false), (scale.most(), true)] {
        // Room for what waits to be used again.
        let mut lab = Lab::new(Room::for_connections(live + live / 16 + 4096))?;
        let mut lives = lab.lives(live);
        lives.settle(&mut lab, live)?;
        let mut all = Vec::new();
        for _ in 0..scale.rounds {
            let batches = (scale.frames / 6 / 64).max(1) as u32;
            let s = lives.run(&mut lab, batches);
            all.push((batches * 64, s));
        }
        lab.nothing_lost()?;
        let rate = |f: fn(&crate::lab::lives::Spent) -> Duration| {
            median(all.iter().map(|(n, s)| per_second(*n, f(s))).collect())
        };
        let total = rate(|s| s.set_up + s.tear_down);
        let (bar, least) = if large {
            ("≥ a third of the rate at 10 k".into(), small_rate / 3.0)
        } else {
            small_rate = total;
            ("≥ 0.5 M/s (goal 1)".to_owned(), 0.5e6)
        };
        out(Line {
            what: format!(
                "connection rate, SYN to last ACK and expiry, {} live",
                count(live)
            ),
            figure: millions(total),
            beside: format!(
                "set-up {}, tear-down with expiry {}; {} in the table",
                millions(rate(|s| s.set_up)),
                millions(rate(|s| s.tear_down)),
                lab.switch().conntrack.len()
            ),
            bar,
            met: Some(total >= least),
        });
    }
    Ok(())
}
