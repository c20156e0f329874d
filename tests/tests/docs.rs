//! Words that can drift: what the documents say is compared with what the code has.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The words in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_file_that_the_architecture_names_exists() {
    let text = read("ARCHITECTURE.md");
    let files: Vec<&str> = quoted(&text)
        .into_iter()
        .filter(|q| {
            q.contains('/')
                && q.rsplit('.')
                    .next()
                    .is_some_and(|e| ["rs", "json"].contains(&e))
        })
        .collect();
    assert!(files.len() > 40, "found only {files:?}");
    for f in files {
        assert!(
            root().join(f).is_file(),
            "ARCHITECTURE.md names {f}, which does not exist"
        );
    }
}

#[test]
fn each_named_crate_does_its_work_where_the_architecture_says() {
    let text = read("ARCHITECTURE.md");
    let section = text.split("## Where each of the eight").nth(1).unwrap();
    let rows: Vec<&str> = section.lines().filter(|l| l.starts_with("| `")).collect();
    let named = [
        "tun-tap",
        "smoltcp",
        "etherparse",
        "crossbeam-channel",
        "mio",
        "dashmap",
        "clap",
        "criterion",
    ];
    assert_eq!(rows.len(), named.len());
    for name in named {
        let row = rows
            .iter()
            .find(|r| r.starts_with(&format!("| `{name}`")))
            .unwrap();
        let file = quoted(row)[1];
        let code = read(file);
        let path = name.replace('-', "_");
        assert!(
            code.contains(&format!("{path}::")) || code.contains(&format!("use {path}")),
            "{file} does not use {name}"
        );
    }
}

#[test]
fn the_readme_lists_every_drop_reason_and_no_other() {
    let text = read("README.md");
    let section = text.split("## Why was my packet dropped?").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows: Vec<(&str, &str)> = section
        .lines()
        .filter(|l| l.starts_with("| `"))
        .map(|l| {
            let cells: Vec<&str> = l.split('|').map(str::trim).collect();
            (cells[1].trim_matches('`'), cells[2])
        })
        .collect();
    let expected: Vec<(&str, &str)> = dataplane::base::Reason::ALL
        .iter()
        .map(|r| (r.symbol(), r.sentence()))
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn the_readme_lists_every_flag_and_no_other() {
    let text = read("README.md");
    let section = text.split("## Flags of the daemon").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut listed: Vec<String> = section
        .lines()
        .filter_map(|l| l.strip_prefix("| `--"))
        .filter_map(|l| l.split([' ', '`']).next().map(str::to_owned))
        .collect();
    let mut flags = control::flags::Raw::names();
    flags.push("config".into());
    listed.sort();
    flags.sort();
    assert_eq!(listed, flags);
}

#[test]
fn no_file_outgrows_a_head() {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        for e in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let p = e.path();
            if p.is_dir() && !p.ends_with("target") {
                walk(&p, out);
            } else if p.extension().is_some_and(|x| x == "rs") {
                out.push(p);
            }
        }
    }
    let mut files = Vec::new();
    for part in ["dataplane", "control", "bench", "tests"] {
        walk(&root().join(part), &mut files);
    }
    assert!(files.len() > 100);
    for f in files {
        let lines = std::fs::read_to_string(&f).unwrap().lines().count();
        assert!(lines <= 500, "{} has {lines} lines: split it", f.display());
    }
}
