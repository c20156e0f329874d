//! Records the captures of `pcaps/` anew from the kernel's own stack.
//!
//! Needs root (or a user namespace) and /dev/net/tun; makes namespaces without names and leaves
//! nothing. `cargo run -p switchd-tests --bin record_pcaps [-- DIRECTORY [NAME…]]`, then
//! `UPDATE_EXPECTED=1 cargo test -p switchd-tests --test replay`, and a look at what changed.

mod file;
mod lab;
mod nat;
mod packet;
mod scenes;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let dir = args
        .next()
        .map_or_else(|| PathBuf::from("pcaps"), PathBuf::from);
    let only: Vec<String> = args.collect();
    let mut failed = 0;
    for (name, scene) in scenes::ALL {
        if !only.is_empty() && !only.iter().any(|o| name.starts_with(o.as_str())) {
            continue;
        }
        let path = dir.join(format!("{name}.pcapng"));
        let done = scene().and_then(|r| {
            file::write(&path, lab::PORTS, &r).map_err(|e| e.to_string())?;
            Ok(r.len())
        });
        match done {
            Ok(frames) => println!("{name}: {frames} frames"),
            Err(e) => {
                eprintln!("record_pcaps: {name}: {e}");
                failed += 1;
            }
        }
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
