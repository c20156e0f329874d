//! The command `versus`: both networks, all measures, one report.

mod args;
mod rounds;

pub use args::Args;

use crate::Result;
use crate::awake;
use crate::cpu::CpuTimes;
use crate::measure::{MEASURES, Manner, Measure};
use crate::nets::{Nets, Wishes};
use crate::report::{
    HEAD, Note, Report, Row, Setting, default_congestion_control, lines, sections,
};
use crate::traffic::iperf;
use control::netns::Netns;
use rounds::{Cores, rounds};
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// First argument by which the program becomes switchd.
pub const AS_SWITCHD: &str = "as-switchd";
/// First argument by which it becomes the zero-work patch.
pub const AS_PATCH: &str = "as-patch";
/// First argument by which it becomes an agent of the traffic.
pub const AS_AGENT: &str = "as-agent";

/// Cores kept busy by others from which on a warning is due.
const BUSY: f64 = 0.1;

/// Lists the measures.
pub fn list() {
    for m in MEASURES {
        println!("{:14} {}: {}", m.name, m.of.name(), m.title);
    }
}

/// What is missing for any measure at all.
///
/// # Errors
/// The lack, as a sentence.
pub fn preflight() -> Result<()> {
    Netns::create()?;
    let tun = "/dev/net/tun";
    File::options()
        .read(true)
        .write(true)
        .open(tun)
        .map_err(|e| format!("{tun} can't be opened: {e}"))?;
    Ok(())
}

/// Runs `measures` and reports. True when all that was to be compared was compared.
///
/// # Errors
/// When nothing can be measured at all, or the report not be written.
pub fn run(args: &Args, measures: &[&Measure]) -> Result<bool> {
    let iperf3 = match args.iperf3 {
        true => Some(
            iperf::version()
                .ok_or_else(|| format!("iperf3 is not installed: {}", iperf::INSTALL))?,
        ),
        false => None,
    };
    // Now, and not after an hour, it shows whether it can be written.
    let create = |path: &PathBuf| {
        let failed = |e| format!("--json: {} can't be written: {e}", path.display());
        File::create(path).map_err(failed)
    };
    let json = args.json.as_ref().map(create).transpose()?;
    // A namespace is a descriptor.
    control::forward::limits::raise();
    let cc = Some(args.cc.clone()).filter(|cc| cc != "default");
    let setting = Setting {
        neighbours: neighbours(args.warm_up() * 2),
        seconds: args.time().as_secs_f64(),
        pairs: args.rounds(),
        congestion_control: cc.clone().unwrap_or_else(default_congestion_control),
        iperf3,
        flags: args.switchd.clone(),
        ..Setting::here()
    };
    head(&setting);
    let cores = Cores {
        held_by_others: awake::held().is_some(),
    };
    if cores.held_by_others {
        eprintln!("versus: WARNING: somebody holds the cores awake (/dev/cpu_dma_latency)");
    }
    let how = Manner {
        agent: become_words(AS_AGENT)?,
        time: args.time(),
        warm_up: args.warm_up(),
        cc,
        iperf3: args.iperf3,
    };
    let mut nets = Nets::new(Wishes {
        switchd: become_words(AS_SWITCHD)?,
        patch: become_words(AS_PATCH)?,
        flags: args.switchd.clone(),
        ports: args.crowd(),
    });
    let mut report = Report {
        judged: args.not_judged().is_none(),
        why_not_judged: args.not_judged().unwrap_or_default(),
        ..Report::default()
    };
    for m in measures {
        let bars = m.bars(args.patch || args.check);
        let done = rounds(m, &bars, &mut nets, &how, args.rounds(), cores);
        for note in &done.left_out {
            aloud("left out", note);
        }
        report.left_out.extend(done.left_out);
        if let Some(note) = done.refused {
            aloud("refused", &note);
            report.refused.push(note);
        } else if !done.runs.is_empty() {
            let row = Row::new(m, &bars, report.judged, done.runs);
            show(&lines(&row))?;
            report.rows.push(row);
        }
    }
    show(&sections(&report))?;
    if let Some(file) = json {
        serde_json::to_writer_pretty(
            file,
            &serde_json::json!({ "setting": setting, "report": report }),
        )?;
    }
    Ok(report.refused.is_empty())
}

/// A command that becomes one of the roles when words follow.
fn become_words(role: &str) -> Result<Vec<OsString>> {
    Ok(vec![std::env::current_exe()?.into(), role.into()])
}

fn head(s: &Setting) {
    println!(
        "Linux {}, {} × {}, {} rounds of {} s, {}{}\n",
        s.kernel,
        s.cores,
        s.cpu,
        s.pairs,
        s.seconds,
        s.congestion_control,
        match &s.iperf3 {
            Some(version) => format!(", bulk by {version}"),
            None => String::new(),
        }
    );
    print!("{HEAD}");
    if s.neighbours > BUSY {
        eprintln!(
            "versus: WARNING: others keep {:.2} cores of this machine busy",
            s.neighbours
        );
    }
}

/// On stdout, at once: a report is read while it grows.
fn show(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// On stderr, so that it doesn't get lost among the lines of a table.
fn aloud(what: &str, note: &Note) {
    eprintln!("versus: {} {what}: {}", note.measure, note.why);
}

/// Cores that the machine keeps busy while nothing of ours runs.
fn neighbours(time: Duration) -> f64 {
    let before = CpuTimes::now(None, &[]);
    std::thread::sleep(time);
    CpuTimes::now(None, &[]).since(&before).machine
}
