//! The rounds of one measure: each side in turn, again and again.

use crate::Result;
use crate::awake::{self, Awake};
use crate::measure::{Bar, Manner, Measure, Sample};
use crate::nets::{Nets, Side};
use crate::report::{Note, Runs};
use std::time::Duration;

/// How long a switch may take to let go of the cores when its traffic has ended.
const LETTING_GO: Duration = Duration::from_secs(5);

/// What came of the rounds.
#[derive(Debug, Default)]
pub struct Rounds {
    /// The runs of each side; none if there is nothing to compare.
    pub runs: Vec<Runs>,
    /// Sides that can't be had here.
    pub left_out: Vec<Note>,
    /// The run that ended them.
    pub refused: Option<Note>,
}

/// How the cores' idle states are treated.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    /// Somebody else holds them awake all the time.
    pub held_by_others: bool,
}

/// Makes `rounds` rounds of a measure. The first run that fails or contradicts itself ends them,
/// and its network is not used again.
pub fn rounds(
    m: &Measure,
    bars: &[Bar],
    nets: &mut Nets,
    how: &Manner,
    rounds: usize,
    cores: Cores,
) -> Rounds {
    let mut out = Rounds::default();
    let sides = m.sides(bars);
    if let Err(e) = nets.prepare(&sides) {
        out.refused = Some(Note::new(m.name, e));
        return out;
    }
    let mut usable = Vec::new();
    for side in sides {
        match unusable(m, side, nets) {
            None => usable.push(side),
            Some(why) => {
                let what = format!("{} on {}", m.name, side.name());
                out.left_out.push(Note::new(what, why));
            }
        }
    }
    let alone = bars.iter().any(|b| b.to.is_none());
    if !usable.contains(&m.of) || (usable.len() < 2 && !alone) {
        return out;
    }
    let mut runs: Vec<Runs> = usable
        .iter()
        .map(|side| Runs {
            side: *side,
            samples: Vec::new(),
        })
        .collect();
    for _ in 0..rounds {
        for r in &mut runs {
            match one(m, r.side, nets, how, cores) {
                Ok(sample) => r.samples.push(sample),
                Err(e) => {
                    nets.forget(r.side);
                    let what = format!("{} on {}", m.name, r.side.name());
                    out.refused = Some(Note::new(what, e));
                    return out;
                }
            }
        }
    }
    out.runs = runs;
    out
}

/// Why a side can't be had here.
fn unusable(m: &Measure, side: Side, nets: &mut Nets) -> Option<String> {
    match nets.get(side) {
        Err(why) => return Some(why),
        Ok(net) => {
            if let Some(lack) = net.lacks(m.way) {
                return Some(lack.to_owned());
            }
        }
    }
    let awake = side == Side::TwinAwake;
    let refused = awake.then(Awake::hold)?.err()?;
    Some(format!("the cores can't be held awake: {refused}"))
}

fn one(m: &Measure, side: Side, nets: &mut Nets, how: &Manner, cores: Cores) -> Result<Sample> {
    let _awake = match side {
        Side::TwinAwake => Some(Awake::hold()?),
        _ if cores.held_by_others || awake::wait_until_released(LETTING_GO) => None,
        _ => return Err("somebody holds the cores awake (/dev/cpu_dma_latency)".into()),
    };
    m.run(nets.get(side)?, how)
}
