//! `publish`: how long publishing takes, by the calls of the control API.
//!
//! ```text
//! cargo run --release -p bench --bin publish -- [--rounds N]
//! ```
//!
//! Each round starts switchd with `--uplink nic` in a namespace that plays the host. Needs to be
//! root, or root of a user namespace. Started again with `as-switchd` it becomes switchd.

use bench::Result;
use bench::nets::{SwitchNet, serve};
use bench::versus::AS_SWITCHD;
use clap::Parser;
use control::api::types::{Publication, PublishRequest};
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long publishing takes, by the calls of the control API.
#[derive(Parser)]
struct Args {
    /// Rounds, each with a switchd of its own.
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
}

/// What is timed, with its bar.
const LINES: [(&str, Option<Duration>); 5] = [
    ("206 TCP ports by 206 calls, each with its listener", None),
    (
        "206 TCP ports as one range, with listeners",
        Some(Duration::from_millis(50)),
    ),
    ("withdrawing that range", None),
    (
        "59,976 TCP ports as one rule, `--localhost off`",
        Some(Duration::from_millis(5)),
    ),
    ("withdrawing it", None),
];

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    if std::env::args_os().nth(1).as_deref() == Some(AS_SWITCHD.as_ref()) {
        return serve(std::iter::once(program).chain(words.skip(1)));
    }
    match publish(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("publish: {e}");
            ExitCode::FAILURE
        }
    }
}

fn publish(args: &Args) -> Result<()> {
    control::forward::limits::raise();
    let rounds = (0..args.rounds)
        .map(|_| round())
        .collect::<Result<Vec<_>>>()?;
    println!("| what | median | least | most | bar |");
    println!("|---|---|---|---|---|");
    for (n, (what, bar)) in LINES.into_iter().enumerate() {
        let mut times: Vec<Duration> = rounds.iter().filter_map(|r| r.get(n).copied()).collect();
        times.sort_unstable();
        let at = |i: usize| times.get(i).copied().unwrap_or_default();
        let median = at(times.len() / 2);
        let judged = bar.map_or(String::new(), |bar| {
            let word = if median < bar { "met" } else { "missed" };
            format!("< {bar:?}: {word}")
        });
        let last = at(times.len().saturating_sub(1));
        println!(
            "| {what} | {median:.1?} | {:.1?} | {last:.1?} | {judged} |",
            at(0)
        );
    }
    Ok(())
}

/// The times of one round, in the order of [`LINES`].
fn round() -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    let net = start(&[])?;
    settle(&net)?;
    let begun = Instant::now();
    for port in 10_000..10_206 {
        call(&net, &format!("{port}:10.0.0.2:{port}"))?;
    }
    times.push(begun.elapsed());
    times.extend(there_and_back(&net, "11000-11205:10.0.0.2:11000-11205")?);
    drop(net);
    let net = start(&["--localhost", "off"])?;
    settle(&net)?;
    times.extend(there_and_back(&net, "5101-65076:10.0.0.2:5101-65076")?);
    Ok(times)
}

fn start(flags: &[&str]) -> Result<SwitchNet> {
    let program: [OsString; 2] = [std::env::current_exe()?.into(), AS_SWITCHD.into()];
    let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
    Ok(SwitchNet::by_nic(&program, &flags)??)
}

/// A first call, which waits until the ports of masquerade are held: that goes on for a moment after
/// the start.
fn settle(net: &SwitchNet) -> Result<()> {
    there_and_back(net, "4999:10.0.0.2:4999").map(drop)
}

fn call(net: &SwitchNet, spec: &str) -> Result<Publication> {
    let spec = spec.to_owned();
    Ok(net
        .client()
        .post("/v1/publications", &PublishRequest { spec })?)
}

/// The times to publish and to withdraw.
fn there_and_back(net: &SwitchNet, spec: &str) -> Result<[Duration; 2]> {
    let begun = Instant::now();
    let made = call(net, spec)?;
    let there = begun.elapsed();
    let begun = Instant::now();
    let id = made.id.to_string();
    let _: Publication = net.client().delete("/v1/publications", &id)?;
    Ok([there, begun.elapsed()])
}
