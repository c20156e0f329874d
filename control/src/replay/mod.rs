//! `switchd replay`: a capture goes through a switch in memory, with the capture's own times, and
//! what became of each frame is told in words.
//!
//! Each packet enters by the port that is called like the interface it was captured on: the
//! bridge (`sw0`) is the host's, `uplink` is the outside, every other name is a container's port.
//! Packets of an interface without a name enter by `web`. What the file says of an interface's
//! MAC and IPv4 address is what the switch is told of that port, as when a namespace is attached;
//! a namespace of `--attach` is a port of that name, whether packets come in by it or not.

pub mod capture;
mod lab;
mod ports;
mod story;
#[cfg(test)]
mod tests;
pub mod words;

pub use lab::{Fate, Lab, Output, Setup};
pub use ports::setup;
pub use story::fate;

use crate::flags::Raw;
use crate::plan::Failure;
use crate::plan::spec::scalar::Offload;
use crate::plan::validate::{Surroundings, plan};
use capture::{Capture, Interface, Packet};
use dataplane::base::Instant;
use dataplane::frame::{Frame, VnetHdr};
use dataplane::port::Caps;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Replay a capture through a switch in memory and say what became of each frame.
#[derive(clap::Args, Debug, Default)]
pub struct Args {
    /// The capture, pcapng or pcap. Interfaces called sw0 (the host) and uplink are those; any
    /// other name is a container's port, and packets without a name come in by 'web'.
    #[arg(value_name = "IN.pcapng")]
    pub input: PathBuf,
    /// Write what left the switch, each frame on an interface called like its port.
    #[arg(short, long, value_name = "OUT.pcapng")]
    pub write: Option<PathBuf>,
    /// TOML file with the daemon's settings; a flag wins over the file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The daemon's settings.
    #[command(flatten)]
    pub raw: Raw,
}

/// Time that the switch is given after the last frame, for what waits to be given up.
pub const AFTERMATH: Duration = Duration::from_secs(20);

/// A capture on its way through a switch.
pub struct Replay {
    lab: Lab,
    /// The port of each interface of the capture.
    ports: Vec<usize>,
    /// The capture's time that is the switch's zero.
    origin: u64,
}

impl Replay {
    /// A switch for this capture; `ports` has the index of a port for each interface.
    ///
    /// # Errors
    /// When the setup contradicts itself.
    pub fn new(capture: &Capture, setup: &Setup, ports: Vec<usize>) -> Result<Replay, Failure> {
        Ok(Replay {
            lab: Lab::new(setup)?,
            ports,
            origin: capture.packets.first().map_or(0, |p| p.at),
        })
    }

    /// Time goes on to the packet's: gives what the switch sent meanwhile. Time never goes back,
    /// whatever the capture says.
    pub fn advance_to(&mut self, packet: &Packet) -> Vec<Output> {
        self.lab
            .advance(Instant(packet.at.saturating_sub(self.origin)))
    }

    /// Gives the packet to a worker.
    pub fn feed(&mut self, packet: &Packet, worker: usize) -> Fate {
        let frame = Frame::with_hdr(&packet.bytes, packet.hdr());
        self.lab.feed(self.port(packet), worker, frame)
    }

    /// The port by which the packet comes in.
    pub fn port(&self, packet: &Packet) -> usize {
        self.ports.get(packet.interface).copied().unwrap_or(0)
    }

    /// Lets [`AFTERMATH`] pass.
    pub fn settle(&mut self) -> Vec<Output> {
        self.lab.advance(self.lab.now() + AFTERMATH)
    }

    /// The switch.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The capture's time of an instant of the switch.
    fn time(&self, at: Instant) -> u64 {
        self.origin.saturating_add(at.0)
    }
}

/// Runs the command.
pub fn main(args: &Args) -> ExitCode {
    run(args).unwrap_or_else(|e| e.report("switchd"))
}

fn run(args: &Args) -> Result<ExitCode, Failure> {
    let raw = match &args.config {
        Some(path) => args.raw.clone().over(crate::config::load(path)?),
        None => args.raw.clone(),
    };
    // Where a control socket would be is of no interest here.
    let here = Surroundings {
        euid: 0,
        ..Surroundings::current()
    };
    let plan = plan(&raw, &here)?;
    let capture = load(&args.input)?;
    if let Some(path) = args.write.as_deref().filter(|p| same(p, &args.input)) {
        return Err(Failure::Usage(format!(
            "--write: {} is the capture itself: name another file",
            path.display()
        )));
    }
    let caps = caps(plan.offload);
    let (setup, ports) = setup(&capture, &plan, caps, 1);
    let mut replay = Replay::new(&capture, &setup, ports)?;
    let out = BufWriter::new(io::stdout().lock());
    let mut outputs = Vec::new();
    let told = story::tell(&mut replay, &capture, &setup, out, |sent| {
        // Only a file needs them once more, and there may be many.
        if args.write.is_some() {
            outputs.extend(sent);
        }
    });
    let balance = match told {
        // Nobody reads on, as under `head`.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        other => other.map_err(Failure::refused)?,
    };
    if let Some(path) = &args.write {
        save(path, &recorded(&replay, &setup, &outputs))?;
    }
    if let Err(equation) = balance {
        return Err(Failure::Refused(format!(
            "frames are unaccounted for: {equation}"
        )));
    }
    match &capture.trouble {
        Some(t) => Err(Failure::Refused(format!(
            "{}: {t}, behind {} packets",
            args.input.display(),
            capture.packets.len()
        ))),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Whether two paths lead to one file.
fn same(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let file = |p: &Path| p.metadata().ok().map(|m| (m.dev(), m.ino()));
    file(a).is_some_and(|a| file(b) == Some(a))
}

/// What ports with these offloads take unfinished.
fn caps(offload: Offload) -> Caps {
    let o = offload.wanted();
    Caps {
        csum: o.csum,
        tso4: o.csum && o.tso,
        tso6: o.csum && o.tso,
        uso: o.csum && o.uso,
        // Frames in a file are such as a wire could have.
        big: false,
    }
}

/// Reads a capture file.
///
/// # Errors
/// One sentence with the file's name.
pub fn load(path: &Path) -> Result<Capture, Failure> {
    let bytes = std::fs::read(path)
        .map_err(|e| Failure::Refused(format!("cannot read {}: {e}", path.display())))?;
    let capture =
        capture::read(&bytes).map_err(|e| Failure::Refused(format!("{}: {e}", path.display())))?;
    if capture.packets.is_empty() {
        // A file whose packets are all of another kind says so; one that is just empty is replayed.
        let other = capture.interfaces.iter().find(|i| i.passed_over > 0);
        let why = capture
            .trouble
            .clone()
            .or_else(|| other.and_then(Interface::refused));
        if let Some(t) = why {
            return Err(Failure::Refused(format!("{}: {t}", path.display())));
        }
    }
    Ok(capture)
}

/// Writes a capture file.
///
/// # Errors
/// One sentence with the file's name.
pub fn save(path: &Path, capture: &Capture) -> Result<(), Failure> {
    let write = || {
        let mut out = BufWriter::new(std::fs::File::create(path)?);
        capture::write(capture, &mut out)
    };
    write().map_err(|e| Failure::Refused(format!("cannot write {}: {e}", path.display())))
}

/// What left the switch, as a capture with an interface for each port.
pub fn recorded(replay: &Replay, setup: &Setup, outputs: &[Output]) -> Capture {
    let interfaces = setup
        .ports
        .iter()
        .map(|p| Interface::new(&p.name, Some(p.mac), p.ip))
        .collect();
    let packets = outputs
        .iter()
        .map(|o| Packet {
            at: replay.time(o.at),
            interface: o.port,
            bytes: o.frame.bytes().to_vec(),
            original_len: u32::try_from(o.frame.len()).unwrap_or(u32::MAX),
            vnet: match o.frame.hdr {
                VnetHdr::PLAIN => [0; VnetHdr::LEN],
                hdr => hdr.encode(),
            },
            comment: None,
        })
        .collect();
    Capture {
        interfaces,
        packets,
        trouble: None,
    }
}
