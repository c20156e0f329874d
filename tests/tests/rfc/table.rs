//! `dataplane/CONFORMANCE.md` says only what is true: each test that it names exists and runs, no
//! row is empty, and no test of a requirement is missing in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The cells of every row of the tables of requirements, with the line's number. (The differences
/// from Linux, the last section, have a test of their own: `tests/tests/oracle.rs`.)
fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
    let (text, _) = text
        .split_once("## Where we differ from Linux")
        .expect("the last section");
    text.lines()
        .enumerate()
        .filter(|(_, l)| l.starts_with("| ") && !l.starts_with("| nr |"))
        .map(|(n, l)| {
            let inner = l.trim().trim_start_matches('|').trim_end_matches('|');
            (
                n + 1,
                inner.split(" | ").map(|c| c.trim().to_owned()).collect(),
            )
        })
        .collect()
}

/// The words in backticks that name a test: `path.rs::name`.
fn named(cell: &str) -> impl Iterator<Item = (&str, &str)> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|q| q.split_once(".rs::"))
}

/// The tests of a file: functions behind `#[test]`, or in a `proptest!` block.
fn tests_of(text: &str) -> BTreeSet<&str> {
    let mut out = BTreeSet::new();
    let (mut is_test, mut ignored) = (false, false);
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") {
            is_test = true;
        } else if line.starts_with("#[ignore") {
            ignored = true;
        } else if let Some(rest) = line.strip_prefix("fn ") {
            let name = rest.split(['(', '<']).next().unwrap_or("");
            if is_test && !ignored {
                out.insert(name);
            }
            (is_test, ignored) = (false, false);
        }
    }
    out
}

#[test]
fn every_row_names_a_test_that_exists_or_a_reason() {
    let text = read("dataplane/CONFORMANCE.md");
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let rows = rows(&text);
    assert!(rows.len() > 150, "only {} rows", rows.len());
    let mut with_test = 0;
    for (line, cells) in &rows {
        assert_eq!(
            cells.len(),
            3,
            "line {line}: number, content, test or reason"
        );
        assert!(
            cells.iter().all(|c| !c.is_empty()),
            "line {line}: an empty cell"
        );
        let tests: Vec<(&str, &str)> = named(&cells[2]).collect();
        if tests.is_empty() {
            let reason = cells[2]
                .strip_prefix("Deviation: ")
                .or_else(|| cells[2].strip_prefix("Not applicable: "));
            assert!(
                reason.is_some_and(|r| r.len() > 20),
                "line {line}: neither a test nor a reason: {}",
                cells[2]
            );
            continue;
        }
        with_test += 1;
        for (path, name) in tests {
            let path = format!("{path}.rs");
            let code = files.entry(path.clone()).or_insert_with(|| read(&path));
            assert!(
                tests_of(code).contains(name),
                "line {line}: {path} has no test {name}"
            );
        }
    }
    assert!(with_test > 120, "only {with_test} rows with a test");
}

#[test]
fn every_test_of_a_requirement_is_in_the_table() {
    let text = read("dataplane/CONFORMANCE.md");
    let listed: BTreeSet<(String, String)> = rows(&text)
        .iter()
        .flat_map(|(_, cells)| {
            named(&cells[2])
                .map(|(p, n)| (format!("{p}.rs"), n.to_owned()))
                .collect::<Vec<_>>()
        })
        .collect();
    let dir = root().join("tests/tests/rfc");
    let mut seen = 0;
    for e in std::fs::read_dir(dir).expect("the folder").flatten() {
        let file = e.file_name().into_string().expect("a name");
        if file == "table.rs" {
            continue;
        }
        let path = format!("tests/tests/rfc/{file}");
        for name in tests_of(&read(&path)) {
            seen += 1;
            assert!(
                listed.contains(&(path.clone(), name.to_owned())),
                "{path}::{name} is in no row"
            );
        }
    }
    assert!(seen > 100);
}
