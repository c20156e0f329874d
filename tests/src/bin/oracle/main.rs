//! Gives random sequences of frames to the switch and to the kernel and compares what comes out.
//! As root, or as a user with user namespaces who may open `/dev/net/tun`.

use clap::Parser;
use control::netns::user::in_user_namespace;
use std::process::{Command, ExitCode};
use std::time::Duration;
use switchd_tests::oracle::kernel::lacks_privilege;
use switchd_tests::oracle::report::{Wish, case, run};
use switchd_tests::oracle::run::Runner;

/// Set in the process that runs in a user namespace.
const INSIDE: &str = "SWITCHD_ORACLE_INSIDE";

/// Compares the switch with the kernel's NAT.
#[derive(Parser)]
struct Args {
    /// How many sequences.
    #[arg(long, default_value_t = 10_000)]
    sequences: u64,
    /// The first one's seed; the others follow.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// At most so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Make sequences with an unexplained difference smaller before they are shown.
    #[arg(long)]
    shrink: bool,
    /// Stop after so many unexplained differences.
    #[arg(long, default_value_t = 10)]
    failures: usize,
    /// Only sequences from the captures in `pcaps/`; else one in ten is.
    #[arg(long)]
    captures: bool,
    /// Look for a small sequence that meets this known difference, and show it.
    #[arg(long)]
    case: Option<String>,
    /// So many namespaces, and threads, side by side.
    #[arg(long, default_value_t = 4)]
    jobs: usize,
    /// Show each step, of one sequence after the other.
    #[arg(long)]
    verbose: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let jobs = match args.verbose || args.case.is_some() {
        true => 1,
        false => args.jobs.max(1),
    };
    let made: Result<Vec<Runner>, _> = (0..jobs).map(|_| Runner::new()).collect();
    let mut runners = match made {
        Ok(r) => r,
        Err(e) if lacks_privilege(&*e) && std::env::var_os(INSIDE).is_none() => return again(),
        Err(e) => {
            eprintln!("oracle: no namespace with the kernel's NAT: {e}");
            return ExitCode::FAILURE;
        }
    };
    runners.iter_mut().for_each(|r| r.verbose = args.verbose);
    let wish = Wish {
        seed: args.seed,
        sequences: args.sequences,
        limit: args.seconds.map(Duration::from_secs),
        shrink: args.shrink,
        captures: args.captures,
        failures: args.failures,
    };
    if let Some(name) = &args.case {
        return match case(&mut runners[0], name, &wish) {
            Ok(Some(s)) => {
                println!("{s:?}");
                ExitCode::SUCCESS
            }
            Ok(None) => ExitCode::FAILURE,
            Err(e) => {
                eprintln!("oracle: {e}");
                ExitCode::FAILURE
            }
        };
    }
    match run(&mut runners, &wish) {
        Ok(report) => {
            print!("{report}");
            ExitCode::from(u8::from(!report.unexplained.is_empty()))
        }
        Err(e) => {
            eprintln!("oracle: {e}");
            ExitCode::FAILURE
        }
    }
}

/// This program once more, as root of a user namespace.
fn again() -> ExitCode {
    let started = std::env::current_exe().and_then(|program| {
        let mut cmd = Command::new(program);
        cmd.args(std::env::args_os().skip(1)).env(INSIDE, "1");
        in_user_namespace(&mut cmd).status()
    });
    match started {
        Ok(status) => ExitCode::from(u8::from(!status.success())),
        Err(e) => {
            eprintln!("oracle: no user namespace: {e}");
            ExitCode::FAILURE
        }
    }
}
