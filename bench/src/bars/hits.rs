//! Established flows against the floor, and superframes against ordinary frames.
//!
//! The floor sends nothing, so the bar is for all stages up to the verdict: parse, guard, look-up,
//! TCP state, rewrite, counters. The same with sending to a port that takes everything stands
//! beside it.

use super::{Line, Scale, Versus, count, median, mega, versus};
use crate::Result;
use crate::lab::{Draw, Flow, Lab, Room};
use dataplane::flow::Dir;
use dataplane::port::Caps;

/// The switch may take this much of the floor's time.
const BAR: f64 = 2.5;

/// Every combination of flow, direction and batch size at each number of flows and way to draw
/// them; the bar holds for the worst.
pub(super) fn hits(scale: Scale, out: &mut dyn FnMut(Line)) -> Result<()> {
    for &n in scale.flows {
        let mut found: Vec<(Flow, Dir, usize, Draw, Versus, f64)> = Vec::new();
        for flow in Flow::BOTH {
            let mut lab = Lab::new(Room::for_connections(n.max(64)))?;
            lab.open(flow, n)?;
            let slow = lab.totals().slow;
            for (dir, draw) in Dir::BOTH
                .into_iter()
                .flat_map(|d| Draw::BOTH.map(|w| (d, w)))
            {
                if n == 1 && draw == Draw::Zipf {
                    continue;
                }
                for size in [32, 64] {
                    let pass = || lab.established(flow, dir, n).drawn(draw).batches_of(size);
                    let (mut a, mut b) = (pass(), pass());
                    // The two borrow the lab in turn.
                    let cell = std::cell::RefCell::new(&mut lab);
                    let v = versus(
                        scale,
                        |k| cell.borrow_mut().run_decide(&mut a, k),
                        |k| cell.borrow().floor_routed(&mut b, dir, k),
                    );
                    let whole = lab.run(&mut a, scale.frames).as_secs_f64() * 1e9;
                    found.push((flow, dir, size, draw, v, whole / scale.frames as f64));
                }
            }
            lab.nothing_lost()?;
            if lab.totals().slow > slow + 2 * u64::from(n) {
                return Err("established flows took the slow path".into());
            }
        }
        for draw in Draw::BOTH {
            let these: Vec<_> = found.iter().filter(|f| f.3 == draw).collect();
            let Some(worst) = these.iter().max_by(|a, b| a.4.ratio.total_cmp(&b.4.ratio)) else {
                continue;
            };
            let of = |f: fn(&Versus) -> f64| median(these.iter().map(|t| f(&t.4)).collect());
            let whole = median(these.iter().map(|t| t.5).collect());
            let (flow, dir, size, _, v, _) = worst;
            let dir = if *dir == Dir::Orig { "there" } else { "back" };
            out(Line {
                what: format!("established hit, {} flows, {}", count(n), draw.name()),
                figure: format!(
                    "{} ({:.1} ns), {:.2} × floor; worst {:.2} × ({}, {dir}, batches of {size})",
                    mega(of(|v| v.ours)),
                    of(|v| v.ours),
                    of(|v| v.ratio),
                    v.ratio,
                    flow.name(),
                ),
                beside: format!(
                    "floor {} ({:.1} ns); with sending {whole:.1} ns",
                    mega(of(|v| v.other)),
                    of(|v| v.other)
                ),
                bar: format!("≤ {BAR} × floor (goal 1.5)"),
                met: Some(v.ratio <= BAR),
            });
        }
    }
    Ok(())
}

/// A superframe of 64 KiB is rewritten once, so it costs what 64 bytes cost.
pub(super) fn superframe(scale: Scale, out: &mut dyn FnMut(Line)) -> Result<()> {
    let mut lab = Lab::new(Room {
        caps: Caps::ALL,
        ..Room::for_connections(64)
    })?;
    lab.open(Flow::Dnat, 1)?;
    // A batch holds few superframes; filling them is not timed, but slow.
    let mut large = lab.superframes(64_000).batches_of(8);
    let mut beside = lab.superframes(64_000).batches_of(8);
    // Without payload nothing is joined, so that as many writes are made.
    let mut small = lab.with_payload(Flow::Dnat, Dir::Orig, 1, 0).batches_of(8);
    let scale = Scale {
        frames: scale.frames / 16,
        ..scale
    };
    let cell = std::cell::RefCell::new(&mut lab);
    let v = versus(
        scale,
        |k| cell.borrow_mut().run(&mut large, k),
        // With caches that copying superframes left as cold.
        |k| cell.borrow_mut().run_beside(&mut small, &mut beside, k),
    );
    lab.nothing_lost()?;
    out(Line {
        what: "superframe of 64 KiB through DNAT, batches of 8".into(),
        figure: format!("{:.1} ns, {:.2} ×", v.ours, v.ratio),
        beside: format!("small frame {:.1} ns", v.other),
        bar: "0.8 to 1.2 × a small frame".into(),
        met: Some((0.8..=1.2).contains(&v.ratio)),
    });
    Ok(())
}
