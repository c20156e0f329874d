//! `bars`: the packet path in memory against what it must reach.
//!
//! ```text
//! cargo run --release -p bench --bin bars -- [--filter NAME] [--rounds N] [--small]
//! ```
//!
//! Prints a Markdown table. The whole of it takes about two minutes, up to 3 GB of memory, and
//! means something on a quiet machine only.

use bench::Result;
use bench::bars::{GROUPS, HEAD, Scale};
use clap::Parser;
use std::process::ExitCode;

/// The packet path in memory against what it must reach.
#[derive(Parser)]
struct Args {
    /// Only groups whose name contains this.
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// Rounds of each comparison; 7 unless told otherwise.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// Numbers of flows for the established hits, up to 4,000,000, separated by commas.
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    flows: Vec<u32>,
    /// Small tables and few frames: shows that everything runs, the figures mean nothing.
    #[arg(long)]
    small: bool,
    /// List the groups and end.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match bars(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bars: {e}");
            ExitCode::FAILURE
        }
    }
}

fn bars(args: &Args) -> Result<()> {
    let mut scale = if args.small {
        Scale::SMALL
    } else {
        Scale::FULL
    };
    if let Some(n) = args.rounds {
        scale.rounds = n.into();
    }
    if !args.flows.is_empty() {
        scale.flows = args.flows.clone().leak();
    }
    let wanted = |name: &str| {
        args.filter
            .as_ref()
            .is_none_or(|f| name.contains(f.as_str()))
    };
    let groups: Vec<_> = GROUPS.iter().filter(|(name, _)| wanted(name)).collect();
    if let (true, Some(f)) = (groups.is_empty(), &args.filter) {
        return Err(format!("no group has '{f}' in its name; see bars --list").into());
    }
    if args.list {
        groups.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(());
    }
    if cfg!(debug_assertions) && !args.small {
        eprintln!("bars: built without optimisation; use --release");
    }
    println!("{HEAD}");
    for (name, group) in groups {
        group(scale, &mut |line| println!("{}", line.markdown()))
            .map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}
