//! The daemon's log: one line per event on stderr, for people or for machines.

use crate::plan::spec::LogSpec;
use crate::plan::spec::log::Format;

/// Sends this process's events to stderr. A second call (a private switch inside a program
/// that logs already) changes nothing.
pub fn install(spec: LogSpec) {
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(spec.level)
        .with_target(false);
    let _ = match spec.format {
        Format::Text => builder
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .try_init(),
        Format::Json => builder.json().try_init(),
    };
}
