//! `switchd demo`: Docker's networking told with real traffic in namespaces of its own.
//!
//! The demo makes a host, three containers and an outside client (`enter`, `stage`), starts
//! the switch between them, and walks through what a Docker user knows (`story`, `host`).
//! Everything that it says it has seen, it has seen; what is not as told makes it end with code 1.
//! All of it lives in namespaces that end with the demo, so that nothing is left, however it ends.

mod counters;
mod enter;
mod host;
mod keep;
pub mod ping;
mod stage;
mod story;
mod tale;
pub mod web;

use crate::plan::Failure;
use stage::Stage;
use std::process::ExitCode;
use tale::Tale;

/// What `switchd demo` takes.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Leave everything up to play with, until Ctrl-C, and say how.
    #[arg(long)]
    pub keep: bool,
    /// Be the web server of the step about the host's network.
    #[arg(long, hide = true, value_name = "PORT")]
    pub serve: Option<u16>,
}

/// Tells the story; the exit code says whether all of it was as told.
///
/// # Errors
/// What the demo needs and does not have.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    if let Some(port) = args.serve {
        host::serve(port)?;
    }
    enter::enter()?;
    let mut tale = Tale::new();
    tale.line("switchd demo: Docker's networking, told with real packets");
    tale.line("");
    tale.text(
        "A host, three containers (web, api, db) and a client outside, each in a network \
         namespace made for this demo. Nothing of this machine's own network is touched.",
    );
    let mut stage = Stage::set()?;
    tale.line("");
    tale.text(&format!(
        "Started: switchd {}",
        stage::Switch::words().join(" ")
    ));
    let steps = [
        story::interfaces,
        story::by_mac,
        story::learning,
        story::gateway,
        story::rules,
        story::from_outside,
        story::from_the_host,
        story::to_outside,
        host::network,
        story::account,
    ];
    for step in steps {
        let told = step(&mut tale, &stage);
        tale.attempt("this step could not be finished", told);
    }
    if args.keep {
        keep::keep(&mut tale)?;
    }
    end(&mut tale, &mut stage);
    Ok(match tale.end() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// The last step: SIGTERM, and nothing is left.
fn end(tale: &mut Tale, stage: &mut Stage) {
    tale.step(
        "The end",
        "On SIGTERM the switch ends with code 0 and takes its interfaces with it.",
    );
    let ended = stage.switch.end();
    if let Some(status) = tale.attempt("the switch ends", ended) {
        tale.check(format_args!("the switch ended: {status}"), status.success());
    }
    let mut left = Vec::new();
    for room in stage.rooms() {
        use crate::netlink::Netlink;
        let links = room
            .netlink()
            .and_then(|mut nl| nl.links().map_err(Failure::refused));
        if let Some(links) = tale.attempt(format_args!("looking into {}", room.name), links) {
            let others = links.into_iter().filter(|l| l.name != "lo");
            left.extend(others.map(|l| format!("{} in {}", l.name, room.name)));
        }
    }
    tale.check(
        format_args!(
            "interfaces left: {}",
            if left.is_empty() {
                "none".into()
            } else {
                left.join(", ")
            }
        ),
        left.is_empty(),
    );
}
