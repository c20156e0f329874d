//! `count`: instructions per packet of hits and of first packets, compared with the numbers in the repository.
//!
//! ```text
//! cargo run --release -p bench --bin count -- [--write]
//! ```
//!
//! Runs itself under `valgrind --tool=callgrind`, which collects only inside the pipeline and only
//! after warm-up. Instructions don't depend on the neighbours, so CI can compare them:
//! more than 5 % above `bench/instructions.json` fails. That holds for the compiler that the file
//! names; with another one the numbers are printed and nothing fails. Without valgrind nothing is
//! counted, and that is said.

use bench::Result;
use bench::lab::{Flow, Lab, Pass, Room};
use clap::{Parser, Subcommand};
use dataplane::base::PortId;
use dataplane::flow::Dir;
use dataplane::frame::Batch;
use dataplane::frame::batch::BATCH;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Instructions per packet of the hit path.
#[derive(Parser)]
struct Args {
    /// Write the numbers found to bench/instructions.json.
    #[arg(long)]
    write: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// Takes one scene's frames through the pipeline and ends; callgrind watches.
    Scene {
        /// Its name.
        name: String,
    },
}

/// What the repository holds.
#[derive(Serialize, Deserialize)]
struct Baseline {
    /// `rustc --version` of the compiler that the numbers belong to.
    rustc: String,
    /// Instructions per packet by scene.
    instructions: BTreeMap<String, f64>,
}

/// How far above the baseline a scene may be.
const TOLERANCE: f64 = 1.05;
const WARM: u32 = 40;
const BATCHES: u32 = 100;
const FLOWS: u32 = 1_000;

/// What a scene's frames are.
#[derive(Clone, Copy)]
enum Frames {
    /// Of known connections.
    Hits(Flow, Dir),
    /// Between known MACs.
    Bridged,
    /// SYNs that open connections by DNAT.
    First,
}

/// A name, what frames, and how many of them in a batch: a whole one, or a single frame as in an
/// exchange.
const SCENES: [(&str, Frames, usize); 8] = [
    ("dnat there", Frames::Hits(Flow::Dnat, Dir::Orig), BATCH),
    ("dnat back", Frames::Hits(Flow::Dnat, Dir::Reply), BATCH),
    ("dnat singly", Frames::Hits(Flow::Dnat, Dir::Orig), 1),
    (
        "masquerade there",
        Frames::Hits(Flow::Masquerade, Dir::Orig),
        BATCH,
    ),
    (
        "masquerade back",
        Frames::Hits(Flow::Masquerade, Dir::Reply),
        BATCH,
    ),
    ("bridged", Frames::Bridged, BATCH),
    ("bridged singly", Frames::Bridged, 1),
    ("first packet", Frames::First, BATCH),
];

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.what {
        Some(What::Scene { name }) => scene(&name).map(|()| true),
        None => compare(args.write),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("count: {e}");
            ExitCode::FAILURE
        }
    }
}

/// The only function inside of which callgrind collects.
#[inline(never)]
fn counted_batch(lab: &mut Lab, batch: &mut Batch, by: PortId) {
    lab.process(batch, by);
}

fn scene(name: &str) -> Result<()> {
    let (_, frames, size) = SCENES
        .iter()
        .find(|s| s.0 == name)
        .ok_or_else(|| format!("there is no scene '{name}'"))?;
    let mut lab = match frames {
        Frames::Hits(..) => Lab::new(Room::for_connections(FLOWS))?,
        Frames::Bridged => Lab::new(Room::for_macs(2 * FLOWS))?,
        Frames::First => Lab::new(Room::for_connections(2 * 64 * (WARM + BATCHES)))?,
    };
    let mut pass: Pass = match *frames {
        Frames::Hits(flow, dir) => {
            lab.open(flow, FLOWS)?;
            lab.established(flow, dir, FLOWS).batches_of(*size)
        }
        Frames::Bridged => lab.bridged(FLOWS).batches_of(*size),
        Frames::First => {
            let mut openings = lab.openings();
            lab.first_packets(&mut openings, 0..64 * WARM);
            for n in WARM..WARM + BATCHES {
                let (batch, by) = openings.batch(64 * n);
                counted_batch(&mut lab, batch, by);
            }
            return lab.nothing_lost();
        }
    };
    (0..WARM).for_each(|_| lab.send(&mut pass));
    let by = pass.ingress;
    for _ in 0..BATCHES {
        counted_batch(&mut lab, pass.refill(), by);
    }
    lab.nothing_lost()
}

/// `rustc --version` of the toolchain in use here.
fn compiler() -> Result<String> {
    let out = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg("--version")
        .output()?;
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

fn baseline_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json")
}

/// Instructions per packet of one scene with so many in a batch.
fn count(name: &str, size: usize) -> Result<f64> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("callgrind.out");
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg("--toggle-collect=*counted_batch*")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe()?)
        .args(["scene", name])
        .output()?;
    if !out.status.success() {
        return Err(format!("{name}: {}", String::from_utf8_lossy(&out.stderr)).into());
    }
    let text = std::fs::read_to_string(&file)?;
    let total: f64 = text
        .lines()
        .find_map(|l| l.strip_prefix("totals: ").or(l.strip_prefix("summary: ")))
        .and_then(|n| n.trim().parse().ok())
        .ok_or("callgrind's file has no total")?;
    let frames = f64::from(BATCHES) * size as f64;
    if total < frames {
        return Err(
            format!("{name}: {total} instructions collected: was the function inlined?").into(),
        );
    }
    Ok((total / frames * 10.0).round() / 10.0)
}

/// Whether no scene got worse.
fn compare(write: bool) -> Result<bool> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("count: SKIPPED, valgrind is not installed (apt-get install valgrind)");
        return Ok(true);
    }
    if cfg!(debug_assertions) {
        return Err("built without optimisation; use --release".into());
    }
    let rustc = compiler()?;
    let file = baseline_file();
    let old: Option<Baseline> = match std::fs::read_to_string(&file) {
        Ok(text) => Some(serde_json::from_str(&text)?),
        Err(_) => None,
    };
    let binding = old.as_ref().is_some_and(|o| o.rustc == rustc);
    let (mut found, mut good) = (BTreeMap::new(), true);
    println!("| scene | instructions per packet | in the repository | change |\n|---|---|---|---|");
    for (name, _, size) in SCENES {
        let n = count(name, size)?;
        let before = old.as_ref().and_then(|o| o.instructions.get(name)).copied();
        let change = before.map_or("–".into(), |b| format!("{:+.1} %", (n / b - 1.0) * 100.0));
        println!(
            "| {name} | {n:.1} | {} | {change} |",
            before.map_or("–".into(), |b| format!("{b:.1}"))
        );
        good &= !binding || before.is_none_or(|b| n <= b * TOLERANCE);
        found.insert(name.to_owned(), n);
    }
    if write {
        let new = Baseline {
            rustc,
            instructions: found,
        };
        std::fs::write(&file, serde_json::to_string_pretty(&new)? + "\n")?;
        return Ok(true);
    }
    match (binding, old) {
        (true, _) if !good => {
            println!("count: FAILED, more than 5 % above the repository's numbers")
        }
        (true, _) => println!("count: passed"),
        (false, Some(o)) => println!(
            "count: the numbers in the repository are {}'s and this is {rustc}: nothing to compare",
            o.rustc
        ),
        (false, None) => println!("count: there are no numbers in the repository yet (--write)"),
    }
    Ok(good)
}
