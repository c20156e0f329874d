//! The configuration file: TOML with the names of the flags.

use crate::flags::Raw;
use crate::plan::Failure;
use std::io::ErrorKind;
use std::path::Path;

/// Reads a configuration file.
///
/// # Errors
/// [`Failure::Refused`] when the file can't be read, [`Failure::Usage`] when it is not TOML,
/// has an unknown key (the nearest known one is named) or a value of the wrong type.
pub fn load(path: &Path) -> Result<Raw, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        let why = match e.kind() {
            ErrorKind::InvalidData => "it is not a text file".to_owned(),
            _ => e.to_string(),
        };
        Failure::Refused(format!(
            "cannot read the configuration {}: {why}; check --config",
            path.display()
        ))
    })?;
    parse(&text).map_err(|why| Failure::Usage(format!("{}: {why}", path.display())))
}

/// Reads the text of a configuration.
///
/// # Errors
/// One sentence: what is wrong, on which line, what to do.
pub fn parse(text: &str) -> Result<Raw, String> {
    let table: toml::Table = text.parse().map_err(|e| complaint(text, &e))?;
    let names = Raw::names();
    for key in table.keys() {
        if !names.contains(key) {
            return Err(match nearest(key, &names) {
                Some((near, true)) => format!("unknown key '{key}': did you mean '{near}'?"),
                Some((near, false)) => format!(
                    "unknown key '{key}': the nearest is '{near}', of {}",
                    names.join(", ")
                ),
                None => format!("unknown key '{key}'"),
            });
        }
    }
    toml::from_str(text).map_err(|e| {
        let key = table.iter().find(|(key, value)| {
            let alone = toml::Table::from_iter([((*key).clone(), (*value).clone())]);
            alone.try_into::<Raw>().is_err()
        });
        let said = complaint(text, &e);
        match (key, said.split_once("invalid type: ")) {
            (Some((key, _)), Some((line, kinds))) => {
                let kinds = kinds.replacen(", expected ", ": write ", 1);
                format!("{line}'{key}' cannot be {kinds}")
            }
            _ => said,
        }
    })
}

/// The known name most like `key`, and whether it is so like it that it was probably meant.
pub fn nearest<'a>(key: &str, names: &'a [String]) -> Option<(&'a str, bool)> {
    let key = key.replace('_', "-").to_lowercase();
    let likeness = |n: &String| {
        // The first favours a common beginning, the second swapped and missing letters.
        strsim::jaro_winkler(&key, n).max(strsim::normalized_damerau_levenshtein(&key, n) + 0.1)
    };
    names
        .iter()
        .map(|n| (likeness(n), n))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(l, n)| (n.as_str(), l > 0.7))
}

/// TOML's complaint as one line with the line's number.
fn complaint(text: &str, e: &toml::de::Error) -> String {
    let message = e.message().lines().collect::<Vec<_>>().join(" ");
    match e.span().and_then(|s| text.get(..s.start)) {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_names_of_the_flags_are_the_keys_of_the_file() {
        // Every name is accepted as a key, and sets something.
        for name in Raw::names() {
            let raw = parse(&format!("{name} = \"x\"")).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_ne!(raw, Raw::default(), "{name}");
            // A flag given on top wins over it.
            let flag = parse(&format!("{name} = \"y\"")).unwrap();
            assert_eq!(flag.clone().over(raw.clone()), flag, "{name}");
            assert_eq!(Raw::default().over(raw.clone()), raw, "{name}");
        }
    }

    #[test]
    fn numbers_and_lists() {
        let raw = parse("mtu = 9000\nlocalhost = false\nports = [\"1:10.0.0.2:1\", \"2:10.0.0.2:2\"]\nattach = \"web\"")
            .unwrap();
        assert_eq!(raw.mtu.as_deref(), Some("9000"));
        assert_eq!(raw.localhost.as_deref(), Some("false"));
        assert_eq!((raw.ports.len(), raw.attach.len()), (2, 1));
    }

    #[test]
    fn refusals_name_the_line_and_the_nearest_key() {
        for (text, parts) in [
            (
                "prots = []",
                &["unknown key 'prots'", "did you mean 'ports'?"][..],
            ),
            ("host_netns = \"x\"", &["did you mean 'host-netns'?"]),
            ("Subnet = \"x\"", &["did you mean 'subnet'?"]),
            (
                "zzzz = 1",
                &["unknown key 'zzzz'", "the nearest is", "subnet"],
            ),
            ("mtu = 1500\nmtu = 1", &["line 2"]),
            ("mtu =", &["line 1"]),
            (
                "spin = 5\nmtu = 1.5",
                &["line 2: 'mtu' cannot be floating point `1.5`: write a string, a whole number"],
            ),
            (
                "\n\nports = 80",
                &["line 3: 'ports' cannot be", "write a list of strings"],
            ),
            (
                "ports = [80]",
                &["line 1: 'ports' cannot be integer `80`: write a string"],
            ),
            ("[subnet]\na = 1", &["'subnet'", "string"]),
        ] {
            let e = parse(text).unwrap_err();
            assert!(!e.contains('\n'), "{e}");
            for p in parts {
                assert!(e.contains(p), "'{e}' does not say '{p}'");
            }
        }
    }

    #[test]
    fn an_unreadable_file_is_refused_with_its_name() {
        let e = load(Path::new("/nonexistent/s.toml")).unwrap_err();
        assert_eq!(e.code(), 1);
        assert!(e.to_string().contains("/nonexistent/s.toml"), "{e}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.toml");
        std::fs::write(&path, "mut = 1").unwrap();
        let e = load(&path).unwrap_err();
        assert_eq!(e.code(), 2);
        assert!(e.to_string().ends_with("did you mean 'mtu'?"), "{e}");
    }

    proptest! {
        #[test]
        fn never_panics(text in prop_oneof![".*", "[a-z-]{1,9} ?= ?[0-9a-z\"\\[\\],.]{0,9}"]) {
            let _ = parse(&text);
        }
    }
}
