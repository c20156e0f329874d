//! How a command ends when it cannot do what it was asked: one sentence and an exit code.

use std::process::ExitCode;

/// What kept a command from its work. Displayed as one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The words given make no sense, alone or together. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The words make sense, but the system refuses. Exit code 1.
    #[error("{0}")]
    Refused(String),
}

impl Failure {
    /// A usage error from anything that can be displayed.
    pub fn usage(why: impl ToString) -> Failure {
        Failure::Usage(why.to_string())
    }

    /// A refusal from anything that can be displayed.
    pub fn refused(why: impl ToString) -> Failure {
        Failure::Refused(why.to_string())
    }

    /// 2 for usage, 1 for what the system refuses.
    pub const fn code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Refused(_) => 1,
        }
    }

    /// Prints `program: sentence` as one line on stderr and gives the exit code.
    pub fn report(&self, program: &str) -> ExitCode {
        // It may quote a file or a daemon, and a terminal would obey control characters.
        let line = self.to_string().replace(char::is_control, " ");
        // A closed stderr leaves nobody to tell; the exit code still says it.
        let _ =
            std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{program}: {line}\n"));
        ExitCode::from(self.code())
    }
}
