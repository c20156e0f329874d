//! `switchd`: the daemon.

use control::cli::{Command, Parsed, Switchd, parse};
use control::plan::Failure;
use control::plan::validate::{Surroundings, plan};
use control::{attach, daemon, demo, replay, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    match parse::<Switchd>("switchd", std::env::args_os()) {
        Parsed::Exit(code) => code,
        Parsed::Run(args) => match &args.command {
            Some(Command::Run(command)) => run::run(command),
            Some(Command::Attach(args)) => {
                run::attach(args).unwrap_or_else(|e| e.report("switchd"))
            }
            Some(Command::Replay(command)) => replay::main(command),
            Some(Command::Inside(command)) => run::inside(command),
            Some(Command::Tap) => attach::foreign::helper(),
            Some(Command::Demo(args)) => demo::run(args).unwrap_or_else(|e| e.report("switchd")),
            None => serve(args).unwrap_or_else(|e| e.report("switchd")),
        },
    }
}

/// From words to the daemon's end.
fn serve(args: Switchd) -> Result<ExitCode, Failure> {
    let raw = match &args.config {
        Some(path) => args.raw.over(control::config::load(path)?),
        None => args.raw,
    };
    let plan = plan(&raw, &Surroundings::current())?;
    control::log::install(plan.log);
    daemon::run(plan)
}
