//! `profile`: cycles, instructions and cache misses per packet of the hit path, by `perf_event`.
//!
//! ```text
//! cargo run --release -p bench --bin profile -- [--flows N,..]
//! ```
//!
//! Counts only inside the pipeline, in user space. Where the machine has no hardware counters (most
//! virtual machines) or keeps them from this user, it says so in one line.

use bench::Result;
use bench::lab::{Flow, Lab, Room};
use clap::Parser;
use dataplane::flow::Dir;
use perf_event::events::{Cache, CacheId, CacheOp, CacheResult, Hardware};
use perf_event::{Builder, Counter, Group};
use std::process::ExitCode;

/// Cycles, instructions and cache misses per packet of the hit path.
#[derive(Parser)]
struct Args {
    /// Numbers of established flows.
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_values_t = [1, 10_000, 1_000_000], value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    flows: Vec<u32>,
    /// Batches of 64 to count.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    batches: u32,
}

struct Counters {
    group: Group,
    each: Vec<(&'static str, Counter)>,
}

impl Counters {
    fn open() -> std::io::Result<Counters> {
        let mut group = Group::new()?;
        let l1_misses = Cache {
            which: CacheId::L1D,
            operation: CacheOp::READ,
            result: CacheResult::MISS,
        };
        let each = vec![
            ("cycles", group.add(&Builder::new(Hardware::CPU_CYCLES))?),
            (
                "instructions",
                group.add(&Builder::new(Hardware::INSTRUCTIONS))?,
            ),
            (
                "branch misses",
                group.add(&Builder::new(Hardware::BRANCH_MISSES))?,
            ),
            ("L1 read misses", group.add(&Builder::new(l1_misses))?),
            (
                "cache misses",
                group.add(&Builder::new(Hardware::CACHE_MISSES))?,
            ),
        ];
        Ok(Counters { group, each })
    }
}

fn main() -> ExitCode {
    match profile(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("profile: {e}");
            ExitCode::FAILURE
        }
    }
}

fn profile(args: &Args) -> Result<()> {
    let mut counters = match Counters::open() {
        Ok(c) => c,
        Err(e) => {
            println!("profile: this machine has no hardware counters for us: {e}");
            return Ok(());
        }
    };
    let names: Vec<&str> = counters.each.iter().map(|c| c.0).collect();
    println!(
        "| per packet | {} |\n|---|{}",
        names.join(" | "),
        "---|".repeat(names.len())
    );
    for &n in &args.flows {
        for flow in Flow::BOTH {
            let mut lab = Lab::new(Room::for_connections(n.max(64)))?;
            lab.open(flow, n)?;
            let mut pass = lab.established(flow, Dir::Orig, n);
            (0..100).for_each(|_| lab.send(&mut pass));
            let by = pass.ingress;
            counters.group.reset()?;
            for _ in 0..args.batches {
                let batch = pass.refill();
                counters.group.enable()?;
                lab.process(batch, by);
                counters.group.disable()?;
            }
            let found = counters.group.read()?;
            let frames = f64::from(args.batches) * dataplane::frame::batch::BATCH as f64;
            let cells: Vec<String> = counters
                .each
                .iter()
                .map(|(_, c)| format!("{:.2}", found[c] as f64 / frames))
                .collect();
            println!("| {}, {n} flows | {} |", flow.name(), cells.join(" | "));
            lab.nothing_lost()?;
        }
    }
    Ok(())
}
