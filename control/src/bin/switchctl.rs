//! `switchctl`: asks a running switchd over its control socket, and nothing more.

use control::cli::ctl::{Switchctl, run};
use control::cli::{Parsed, parse};
use std::process::ExitCode;

fn main() -> ExitCode {
    match parse::<Switchctl>("switchctl", std::env::args_os()) {
        Parsed::Exit(code) => code,
        Parsed::Run(args) => match run(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => e.report("switchctl"),
        },
    }
}
