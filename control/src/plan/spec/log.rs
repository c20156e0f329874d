//! `FORMAT/LEVEL` of the daemon's log.

use super::SpecError;
use std::fmt;
use tracing::Level;

/// How a line looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `FORMAT/LEVEL`: what `--log` takes. Either part may stand alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogSpec {
    /// How a line looks.
    pub format: Format,
    /// The least important level that is written.
    pub level: Level,
}

impl Default for LogSpec {
    fn default() -> LogSpec {
        LogSpec {
            format: Format::Text,
            level: Level::INFO,
        }
    }
}

impl fmt::Display for LogSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.format {
            Format::Text => "text",
            Format::Json => "json",
        };
        write!(f, "{format}/{}", self.level.as_str().to_ascii_lowercase())
    }
}

impl LogSpec {
    /// Reads `text/info`, `json`, `debug`.
    ///
    /// # Errors
    /// A format or level that does not exist.
    pub fn parse(text: &str) -> Result<LogSpec, SpecError> {
        let format = |s: &str| match s {
            "text" => Some(Format::Text),
            "json" => Some(Format::Json),
            _ => None,
        };
        let level = |s: &str| match s {
            "error" => Some(Level::ERROR),
            "warn" => Some(Level::WARN),
            "info" => Some(Level::INFO),
            "debug" => Some(Level::DEBUG),
            "trace" => Some(Level::TRACE),
            _ => None,
        };
        let d = LogSpec::default();
        let spec = match text.split_once('/') {
            Some((f, l)) => format(f).zip(level(l)),
            None => format(text)
                .map(|f| (f, d.level))
                .or_else(|| level(text).map(|l| (d.format, l))),
        };
        match spec {
            Some((format, level)) => Ok(LogSpec { format, level }),
            None => Err(SpecError::Shape {
                text: text.to_owned(),
                what: "a log format",
                shape: "FORMAT/LEVEL, as text/info (text or json; error, warn, info, debug, trace)",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        for (text, want) in [
            ("text/info", "text/info"),
            ("json/trace", "json/trace"),
            ("json", "json/info"),
            ("debug", "text/debug"),
            ("text/error", "text/error"),
            ("json/warn", "json/warn"),
        ] {
            assert_eq!(LogSpec::parse(text).unwrap().to_string(), want);
        }
        for text in [
            "",
            "/",
            "xml/info",
            "json/loud",
            "text/",
            "/info",
            "text/info/x",
        ] {
            let e = LogSpec::parse(text).unwrap_err().to_string();
            assert!(e.contains("as text/info"), "{e}");
        }
    }
}
