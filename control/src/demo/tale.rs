//! How the demo speaks: numbered steps, what was observed, and whether it was as told.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Columns of running text.
const WIDTH: usize = 88;

/// The story so far.
pub struct Tale {
    out: Box<dyn Write>,
    colours: bool,
    steps: u32,
    checks: u32,
    failed: u32,
}

impl Tale {
    /// Told on stdout.
    pub fn new() -> Tale {
        let out = io::stdout();
        let colours = out.is_terminal();
        Tale::on(Box::new(out), colours)
    }

    fn on(out: Box<dyn Write>, colours: bool) -> Tale {
        Tale {
            out,
            colours,
            steps: 0,
            checks: 0,
            failed: 0,
        }
    }

    /// A line as it is. A closed stdout is no reason to end: the exit code still tells.
    pub fn line(&mut self, text: impl Display) {
        let _ = writeln!(self.out, "{text}");
        let _ = self.out.flush();
    }

    /// Running text, wrapped.
    pub fn text(&mut self, text: &str) {
        for line in wrap(text, WIDTH) {
            self.line(format_args!("   {line}"));
        }
    }

    /// The next step: its title, and what Docker does and what happens here.
    pub fn step(&mut self, title: &str, text: &str) {
        self.steps += 1;
        let heading = format!("{} {title}", self.steps);
        self.line("");
        match self.colours {
            true => self.line(format_args!("\x1b[1m{heading:>2}\x1b[0m")),
            false => self.line(heading),
        }
        self.text(text);
        self.line("");
    }

    /// Something that was seen.
    pub fn saw(&mut self, what: impl Display) {
        for line in what.to_string().lines() {
            self.line(format_args!("      {line}"));
        }
    }

    /// Whether something was as told.
    pub fn check(&mut self, what: impl Display, so: bool) {
        self.checks += 1;
        let (mark, colour) = match so {
            true => ("✓", 32),
            false => ("✗ not so:", 31),
        };
        if !so {
            self.failed += 1;
        }
        match self.colours {
            true => self.line(format_args!("   \x1b[{colour}m{mark}\x1b[0m {what}")),
            false => self.line(format_args!("   {mark} {what}")),
        }
    }

    /// What came of an attempt; a failure is something that was not as told.
    pub fn attempt<T>(&mut self, what: impl Display, r: Result<T, impl Display>) -> Option<T> {
        match r {
            Ok(t) => Some(t),
            Err(e) => {
                self.check(format_args!("{what}: {e}"), false);
                None
            }
        }
    }

    /// The last line; true when all was as told.
    pub fn end(&mut self) -> bool {
        self.line("");
        let (checks, steps) = (self.checks, self.steps);
        let last = match self.failed {
            0 => format!("All {checks} observations in {steps} steps were as told."),
            n => format!("{n} of {checks} observations were not as told."),
        };
        self.line(last);
        self.failed == 0 && self.checks > 0
    }
}

/// Breaks text at spaces into lines of at most `width` characters, if its words allow.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn told(f: impl FnOnce(&mut Tale)) -> (String, bool) {
        let out = Shared::default();
        let mut tale = Tale::on(Box::new(out.clone()), false);
        f(&mut tale);
        let all = tale.end();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        (text, all)
    }

    #[test]
    fn one_wrong_observation_makes_the_whole_story_wrong() {
        let (text, all) = told(|t| {
            t.step("Cables", "there are cables");
            t.check("one", true);
            t.check("two", false);
        });
        assert!(!all);
        assert!(
            text.contains("✗ not so: two") && text.contains("1 of 2"),
            "{text}"
        );
        let (text, all) = told(|t| {
            t.check("one", true);
            assert_eq!(t.attempt("try", Ok::<_, String>(7)), Some(7));
        });
        assert!(all, "{text}");
        let (text, all) = told(|t| {
            t.check("one", true);
            assert_eq!(t.attempt("try", Err::<u8, _>("no")), None);
        });
        assert!(!all && text.contains("try: no"), "{text}");
        assert!(!told(|_| ()).1, "a story without observations");
    }

    #[test]
    fn text_is_wrapped_at_words() {
        assert_eq!(wrap("aa bb  cc\ndd", 5), ["aa bb", "cc dd"]);
        assert_eq!(wrap("aaaaaaa b", 3), ["aaaaaaa", "b"]);
        assert!(wrap(" ", 3).is_empty());
    }
}
