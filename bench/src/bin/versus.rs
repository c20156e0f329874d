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
use bench::measure::{MEASURES, Measure};
use bench::nets::{Net, SwitchNet, TwinNet, serve};
use bench::report::{HEAD, Row, Setting, line};
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
    /// List the measures and end.
    #[arg(long)]
    list: bool,
    /// Further flags of switchd, as `--workers 1`.
    #[arg(last = true, value_name = "FLAGS")]
    switchd: Vec<String>,
}

/// First argument by which this program becomes switchd.
const AS_SWITCHD: &str = "as-switchd";

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let program = args.next().unwrap_or_default();
    if args.next().is_some_and(|a| a == AS_SWITCHD) {
        return serve(std::iter::once(program).chain(args));
    }
    match versus(&Args::parse()) {
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
    let twin = TwinNet::build()?;
    if let Some(lack) = twin.lacks() {
        eprintln!("\nWARNING: {lack}\n");
    }
    let own: [OsString; 2] = [std::env::current_exe()?.into(), AS_SWITCHD.into()];
    let switchd = SwitchNet::build(&own, &args.switchd)?;
    let setting = Setting::here(args.seconds, &args.switchd);
    println!(
        "Linux {}, {} × {}, {} pairs of {} s, TCP reno on both sides\n\n{HEAD}",
        setting.kernel,
        setting.cores,
        setting.cpu,
        args.pairs.max(1),
        args.seconds
    );
    let mut rows = Vec::new();
    for m in wanted {
        if !twin.carries(m.way) {
            println!("| {} | left out: the twin has no NAT rules |", m.title);
            continue;
        }
        let mut pairs = Vec::new();
        for _ in 0..args.pairs.max(1) {
            pairs.push((m.run(&twin, time)?, m.run(&switchd, time)?));
        }
        if let Some(row) = Row::new(m, pairs) {
            println!("{}", line(&row));
            rows.push(row);
        }
    }
    if let Some(path) = &args.json {
        let all = serde_json::json!({ "setting": setting, "measures": rows });
        std::fs::write(path, serde_json::to_vec_pretty(&all)?)?;
    }
    Ok(())
}
