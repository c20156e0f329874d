//! The command line of `switchd`: clap reads the words, [`crate::config`] adds the file,
//! [`crate::plan::validate`] makes one [`Plan`](crate::plan::Plan) of both.

pub mod ctl;
pub mod flags;
pub mod render;

use crate::plan::Failure;
use crate::{demo, replay, run};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use flags::Raw;
use std::process::ExitCode;

/// A layer-2/3 switch with NAT in user space: docker0 without the kernel's bridge and netfilter.
#[derive(Parser, Debug)]
#[command(
    name = "switchd",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
pub struct Switchd {
    /// The daemon's flags.
    #[command(flatten)]
    pub raw: Raw,
    /// TOML file with the same names; a flag wins over the file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<std::path::PathBuf>,
    /// Something else than the daemon.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What `switchd` does besides being the daemon.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a command in a namespace of its own behind a switch, as docker run does.
    Run(run::Args),
    /// Stand beside a network namespace that somebody else made, as slirp4netns does.
    Attach(run::AttachArgs),
    /// Show Docker's networking with real traffic in namespaces made for it.
    Demo(demo::Args),
    /// Replay a capture through a switch in memory and say what became of each frame.
    Replay(Box<replay::Args>),
    /// Makes a TAP in another user namespace.
    #[command(name = "__tap", hide = true)]
    Tap,
    /// The first steps of such a command's process.
    #[command(name = "__inside", hide = true)]
    Inside(run::InsideArgs),
}

/// What the words of a command line ask for.
pub enum Parsed<T> {
    /// To run with these arguments.
    Run(T),
    /// To end now: help or version was printed, or the words were refused.
    Exit(ExitCode),
}

/// Reads a command line. Help and version go to stdout with code 0, everything else that clap
/// has to say becomes one line on stderr with code 2.
pub fn parse<T: Parser + CommandFactory>(
    program: &str,
    args: impl IntoIterator<Item = std::ffi::OsString>,
) -> Parsed<T> {
    match T::try_parse_from(args) {
        Ok(t) => Parsed::Run(t),
        Err(e) => match e.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                if e.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                    let line = format!("a command is missing: see {program} --help");
                    return Parsed::Exit(Failure::Usage(line).report(program));
                }
                let _ = e.print();
                Parsed::Exit(ExitCode::SUCCESS)
            }
            _ => Parsed::Exit(Failure::Usage(one_line(&e, program)).report(program)),
        },
    }
}

/// clap's complaint as one sentence, with its suggestion or a pointer to the help.
fn one_line(e: &clap::Error, program: &str) -> String {
    let rendered = e.render().to_string();
    // The first paragraph is the complaint; further paragraphs are tips and usage.
    let complaint = rendered
        .lines()
        .take_while(|l| !l.trim().is_empty())
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(" ");
    let complaint = complaint.strip_prefix("error: ").unwrap_or(&complaint);
    let near = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ]
    .into_iter()
    .find_map(|k| match e.get(k) {
        Some(ContextValue::String(s)) => Some(s.clone()),
        Some(ContextValue::Strings(s)) if !s.is_empty() => Some(s.join(" or ")),
        _ => None,
    });
    match near {
        Some(s) => format!("{complaint}: did you mean {s}?"),
        None => format!("{complaint}; see {program} --help"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(args: &[&str]) -> String {
        let e = Switchd::try_parse_from(args).unwrap_err();
        one_line(&e, "switchd")
    }

    #[test]
    fn definitions_hold() {
        Switchd::command().debug_assert();
        ctl::Switchctl::command().debug_assert();
    }

    #[test]
    fn refusals_are_one_line_with_a_way_out() {
        let unknown = complaint(&["switchd", "--port", "80:10.0.0.2:80"]);
        assert!(unknown.contains("'--port'"), "{unknown}");
        assert!(unknown.ends_with("did you mean --ports?"), "{unknown}");
        let missing = complaint(&["switchd", "--mtu"]);
        assert!(missing.contains("--mtu"), "{missing}");
        assert!(missing.ends_with("see switchd --help"), "{missing}");
        let twice = complaint(&["switchd", "--mtu", "1", "--mtu", "2"]);
        assert!(twice.contains("--mtu"), "{twice}");
        for line in [unknown, missing, twice] {
            assert!(!line.contains('\n') && !line.starts_with("error"), "{line}");
        }
    }
}
