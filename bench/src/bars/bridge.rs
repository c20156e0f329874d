//! Bridging by the FDB against its floor: up to the verdict, as with routed flows.

use super::{Line, Scale, count, mega, versus};
use crate::Result;
use crate::lab::{Lab, Room};

const BAR: f64 = 2.0;

pub(super) fn l2(scale: Scale, out: &mut dyn FnMut(Line)) -> Result<()> {
    for &n in scale.macs {
        // The table's bound is twice its content, so that nothing is evicted.
        let mut lab = Lab::new(Room::for_macs(2 * n))?;
        let (mut a, mut b) = (lab.bridged(n), lab.bridged(n));
        let flooded = lab.totals().flooded;
        let cell = std::cell::RefCell::new(&mut lab);
        let v = versus(
            scale,
            |k| cell.borrow_mut().run_decide(&mut a, k),
            |k| cell.borrow().floor_bridged(&mut b, k),
        );
        let whole = lab.run(&mut a, scale.frames).as_secs_f64() * 1e9 / scale.frames as f64;
        lab.nothing_lost()?;
        if lab.totals().flooded != flooded {
            return Err("known addresses were flooded".into());
        }
        out(Line {
            what: format!("L2 by FDB, {} MACs", count(n)),
            figure: format!(
                "{} ({:.1} ns), {:.2} × floor",
                mega(v.ours),
                v.ours,
                v.ratio
            ),
            beside: format!(
                "floor {} ({:.1} ns); with sending {whole:.1} ns",
                mega(v.other),
                v.other
            ),
            bar: format!("≤ {BAR:.1} × floor (goal 1.5)"),
            met: Some(v.ratio <= BAR),
        });
    }
    Ok(())
}
