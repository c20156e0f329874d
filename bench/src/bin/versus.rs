//! `versus`: docker0's twin and switchd side by side.
//!
//! ```text
//! cargo run --release -p bench --bin versus -- [--filter NAME] [--seconds S] [--pairs N] [--json FILE]
//! ```
//!
//! Builds both networks in namespaces of its own, runs each measure on them in turn (A B A B ...)
//! and prints the medians, their spread and the ratio. Needs to be root, or root in a user
//! namespace that may open /dev/net/tun. Nothing machine-wide is changed.

use bench::Result;
use bench::measure::{Bar, MEASURES, Measure};
use bench::nets::{Net, PatchNet, Side, SwitchNet, TwinNet, Way, serve, serve_patch};
use bench::report::{HEAD, Row, Runs, Setting, lines};
use clap::Parser;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// docker0's twin (veth, kernel bridge, nftables, conntrack) and switchd side by side.
#[derive(Parser)]
struct Args {
    /// Only measures whose name contains this.
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// Seconds of each run.
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    seconds: f64,
    /// Pairs of runs.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pairs: usize,
    /// Write all figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure the zero-work patch between two TAPs too, wherever the way is L2.
    #[arg(long)]
    patch: bool,
    /// List the measures and end.
    #[arg(long)]
    list: bool,
    /// Further flags of switchd, as `--workers 1`.
    #[arg(last = true, value_name = "FLAGS")]
    switchd: Vec<String>,
}

/// First argument by which this program becomes switchd.
const AS_SWITCHD: &str = "as-switchd";
/// First argument by which it becomes the zero-work patch.
const AS_PATCH: &str = "as-patch";

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let program = args.next().unwrap_or_default();
    let ended = match args.next() {
        Some(role) if role == AS_SWITCHD => return serve(std::iter::once(program).chain(args)),
        Some(role) if role == AS_PATCH => serve_patch(&args.collect::<Vec<_>>()),
        _ => versus(&Args::parse()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("versus: {e}");
            ExitCode::FAILURE
        }
    }
}

fn versus(args: &Args) -> Result<()> {
    let wanted: Vec<&Measure> = MEASURES
        .iter()
        .filter(|m| args.filter.as_deref().is_none_or(|f| m.name.contains(f)))
        .collect();
    if args.list || wanted.is_empty() {
        for m in MEASURES {
            println!("{:14} {}", m.name, m.title);
        }
        return match args.list {
            true => Ok(()),
            false => Err("no measure of that name".into()),
        };
    }
    let time = Duration::try_from_secs_f64(args.seconds)?;
    let bars = |m: &Measure| {
        let mut bars = m.bars.to_vec();
        if args.patch && m.way == Way::L2 && !bars.iter().any(|b| b.to == Side::Patch) {
            bars.push(Bar {
                to: Side::Patch,
                bar: None,
                goal: None,
            });
        }
        bars
    };
    let mut nets = build(args, wanted.iter().flat_map(|m| bars(m)).map(|b| b.to))?;
    let setting = Setting::here(args.seconds, &args.switchd);
    println!(
        "Linux {}, {} × {}, {} rounds of {} s, TCP reno on all sides\n\n{HEAD}",
        setting.kernel,
        setting.cores,
        setting.cpu,
        args.pairs.max(1),
        args.seconds
    );
    let mut rows = Vec::new();
    for m in wanted {
        let bars = bars(m);
        let mut runs: Vec<Runs> = Vec::new();
        for _ in 0..args.pairs.max(1) {
            for (side, net) in &mut nets {
                let needed = *side == Side::Switchd || bars.iter().any(|b| b.to == *side);
                if !needed || !net.carries(m.way) {
                    continue;
                }
                let sample = m.run(net.as_mut(), time)?;
                match runs.iter_mut().find(|r| r.side == *side) {
                    Some(r) => r.samples.push(sample),
                    None => runs.push(Runs {
                        side: *side,
                        samples: vec![sample],
                    }),
                }
            }
        }
        let row = Row::new(m, &bars, runs);
        match row.comparisons.is_empty() {
            true => println!("| {} | left out: the twin has no NAT rules |", m.title),
            false => print!("{}", lines(&row)),
        }
        rows.push(row);
    }
    if let Some(path) = &args.json {
        let all = serde_json::json!({ "setting": setting, "measures": rows });
        std::fs::write(path, serde_json::to_vec_pretty(&all)?)?;
    }
    Ok(())
}

/// The networks that are needed, switchd last.
fn build(args: &Args, sides: impl Iterator<Item = Side>) -> Result<Vec<(Side, Box<dyn Net>)>> {
    let mut sides: Vec<Side> = sides.chain([Side::Switchd]).collect();
    sides.sort_unstable();
    sides.dedup();
    let own = |role: &str| -> Result<[OsString; 2]> {
        Ok([std::env::current_exe()?.into(), role.into()])
    };
    let mut nets: Vec<(Side, Box<dyn Net>)> = Vec::new();
    for side in sides {
        let net: Box<dyn Net> = match side {
            Side::Twin => {
                let twin = TwinNet::build()?;
                if let Some(lack) = twin.lacks() {
                    eprintln!("\nWARNING: {lack}\n");
                }
                Box::new(twin)
            }
            Side::Patch => Box::new(PatchNet::build(&own(AS_PATCH)?)?),
            Side::Switchd => Box::new(SwitchNet::build(&own(AS_SWITCHD)?, &args.switchd)?),
        };
        nets.push((side, net));
    }
    Ok(nets)
}
