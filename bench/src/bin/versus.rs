//! `versus`: docker0's twin and switchd side by side; `versus --help` says how.
//!
//! Started again with another first word it becomes switchd, the zero-work patch, or an end of the
//! traffic, so that it measures the code that it was built with and needs no other program.

use bench::measure::Measure;
use bench::nets::{serve, serve_patch, takes};
use bench::traffic::agent::serve_agent;
use bench::versus::{AS_AGENT, AS_PATCH, AS_SWITCHD, Args, list, preflight, run};
use control::cli::{Parsed, parse};
use control::netns::user::in_user_namespace;
use control::plan::Failure;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    let first = words.next();
    let ended = match first.as_ref().and_then(|w| w.to_str()) {
        Some(AS_SWITCHD) => return serve(std::iter::once(program).chain(words)),
        Some(AS_PATCH) => serve_patch(&words.collect::<Vec<_>>()),
        Some(AS_AGENT) => serve_agent(&words.collect::<Vec<_>>()),
        _ => {
            let all = std::iter::once(program).chain(first).chain(words);
            return match parse::<Args>("versus", all) {
                Parsed::Exit(code) => code,
                Parsed::Run(args) => versus(&args).unwrap_or_else(|e| e.report("versus")),
            };
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => Failure::refused(e).report("versus"),
    }
}

fn versus(args: &Args) -> Result<ExitCode, Failure> {
    if args.list {
        list();
        return Ok(ExitCode::SUCCESS);
    }
    let measures = args.measures().map_err(Failure::Usage)?;
    if let Err(code) = takes(&args.switchd) {
        return Ok(code);
    }
    let lack = match nix::unistd::geteuid().is_root() {
        true => match preflight() {
            Ok(()) => return compare(args, &measures),
            Err(e) => e.to_string(),
        },
        false => match as_root_of_a_user_namespace() {
            Ok(code) => return Ok(code),
            Err(e) => format!("no user namespace: {e}"),
        },
    };
    // To be seen, but no failure of what is checked; in CI it would stay unseen.
    if args.check && std::env::var_os("CI").is_none() {
        eprintln!("versus: SKIPPED: {lack}");
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::Refused(lack))
}

fn compare(args: &Args, measures: &[&Measure]) -> Result<ExitCode, Failure> {
    match run(args, measures) {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::FAILURE),
        Err(e) => Err(Failure::refused(e)),
    }
}

/// The same once more, as root of a new user namespace.
fn as_root_of_a_user_namespace() -> std::io::Result<ExitCode> {
    let mut again = Command::new(std::env::current_exe()?);
    again.args(std::env::args_os().skip(1));
    let status = in_user_namespace(&mut again).status()?;
    Ok(match status.code() {
        Some(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        None => ExitCode::FAILURE,
    })
}
