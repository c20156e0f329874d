//! The command line of `switchd`: clap reads the words, [`crate::config`] adds the file,
//! [`crate::plan::validate`] makes one [`Plan`](crate::plan::Plan) of both.

pub mod ctl;

use crate::flags::Raw;
use crate::plan::Failure;
use crate::{demo, replay, run};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
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
    let args: Vec<_> = args.into_iter().collect();
    match words::<T>(&args) {
        Ok(t) => Parsed::Run(t),
        Err(e) => match e.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                let _ = e.print();
                Parsed::Exit(ExitCode::SUCCESS)
            }
            _ => {
                let help = help_for(&T::command(), program, &args);
                Parsed::Exit(Failure::Usage(one_line(&e, &help)).report(program))
            }
        },
    }
}

/// The words that show the help of what was asked for.
fn help_for(command: &clap::Command, program: &str, args: &[std::ffi::OsString]) -> String {
    let sub = args.iter().skip(1).find_map(|a| command.find_subcommand(a));
    match sub.filter(|s| !s.is_hide_set()) {
        Some(s) => format!("{program} {} --help", s.get_name()),
        None => format!("{program} --help"),
    }
}

/// The words as clap takes them. A negative number is a value as any other: who checks it knows
/// what may stand there, and clap would take it for a flag.
fn words<T: Parser + CommandFactory>(args: &[std::ffi::OsString]) -> Result<T, clap::Error> {
    let command = with_negative_numbers(T::command());
    T::from_arg_matches(&command.try_get_matches_from(args)?)
}

fn with_negative_numbers(command: clap::Command) -> clap::Command {
    command
        .mut_args(|a| {
            let takes = a.get_action().takes_values();
            a.allow_negative_numbers(takes)
        })
        .mut_subcommands(with_negative_numbers)
}

/// clap's complaint as one sentence, with its suggestion or a pointer to the help.
fn one_line(e: &clap::Error, help: &str) -> String {
    if matches!(
        e.kind(),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand
    ) {
        return format!("a command is missing: see {help}");
    }
    // What a parser of ours refuses it has said in a sentence of its own.
    if let (ErrorKind::ValueValidation, Some(why)) = (e.kind(), std::error::Error::source(e)) {
        let flag = match e.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(s)) => s.split(' ').next().unwrap_or(s),
            _ => "",
        };
        return format!("{flag}: {why}");
    }
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
        None => format!("{complaint}; see {help}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(args: &[&str]) -> String {
        let args: Vec<_> = args.iter().map(Into::into).collect();
        let e = words::<Switchd>(&args).unwrap_err();
        one_line(&e, &help_for(&Switchd::command(), "switchd", &args))
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
        let inside = complaint(&["switchd", "replay"]);
        assert!(inside.ends_with("see switchd replay --help"), "{inside}");
        let nothing = words::<ctl::Switchctl>(&["switchctl", "--json"].map(Into::into));
        let nothing = one_line(&nothing.unwrap_err(), "switchctl --help");
        assert_eq!(nothing, "a command is missing: see switchctl --help");
        for line in [unknown, missing, twice, inside] {
            assert!(!line.contains('\n') && !line.starts_with("error"), "{line}");
        }
    }

    #[test]
    fn values_are_refused_in_words_of_ours() {
        let says = |flag: &str, value: &str| complaint(&["switchd", "attach", flag, value]);
        for bad in ["x", "-1", "0", "99999999999", ""] {
            assert_eq!(
                says("--pid", bad),
                format!(
                    "--pid: '{bad}' is not the number of a process: write a number from 1 to 2147483647"
                )
            );
        }
        assert_eq!(
            says("--exit-fd", "-3"),
            "--exit-fd: '-3' is not the number of a descriptor: write a number from 3 to 2147483647"
        );
        assert_eq!(
            says("--ip", "10.0.0.256"),
            "--ip: '10.0.0.256' is not an IPv4 address: write four numbers, as 10.0.0.2"
        );
        assert_eq!(
            says("--ifname", "a/b"),
            "--ifname: interface name 'a/b' contains one of / : % , @: use letters, digits, '-', '_' and '.'"
        );
    }

    #[test]
    fn negative_numbers_reach_those_who_check_them() {
        let args = ["switchd", "--spin", "-5", "--mtu", "-1"].map(Into::into);
        let raw = words::<Switchd>(&args).unwrap().raw;
        assert_eq!(raw.spin.as_deref(), Some("-5"));
        assert_eq!(raw.mtu.as_deref(), Some("-1"));
        // A flag in a value's place is still a flag.
        assert!(complaint(&["switchd", "--spin", "--mtu"]).contains("--spin"));
    }
}
