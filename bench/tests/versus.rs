//! The program `versus`: its words, and a short run of a few measures on all networks.

use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output};

fn versus(words: &[&str]) -> std::io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_versus"))
        .args(words)
        .output()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn wrong_words_are_one_line_and_code_2() {
    for words in [
        &["--seconds", "0"][..],
        &["--pairs", "none"],
        &["--cc", "no-such-thing"],
        &["--filter", "no-such-measure"],
        &["--nonsense"],
    ] {
        let out = versus(words).unwrap();
        let err = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{words:?}: {err}");
        assert_eq!(err.lines().count(), 1, "{words:?}: {err}");
        assert!(err.starts_with("versus: "), "{err}");
        assert!(out.stdout.is_empty(), "{words:?}");
    }
}

#[test]
fn the_list_and_the_help_need_no_rights() {
    let list = versus(&["--list"]).unwrap();
    assert!(list.status.success());
    assert!(text(&list.stdout).lines().count() >= 20);
    let help = versus(&["--help"]).unwrap();
    assert!(help.status.success());
    assert!(text(&help.stdout).contains("--iperf3"));
}

/// One measure of each kind. Where there are no namespaces the program says so itself, and with
/// `CI` set fails.
#[test]
fn a_short_run_compares_all_networks() {
    let json = std::env::temp_dir().join(format!("versus-test-{}.json", std::process::id()));
    let file = json.display().to_string();
    let out = versus(&[
        "--check",
        "--ports",
        "5",
        "--filter",
        "tcp-1-l2,rr-bulk,conn-1,udp-64-l2,udp-1400-dnat,ping,idle,nic-rr,nic-conn-out,ports-rr",
        "--json",
        &file,
    ])
    .unwrap();
    let (stdout, stderr) = (text(&out.stdout), text(&out.stderr));
    let found = std::fs::read_to_string(&json);
    let _ = std::fs::remove_file(&json);
    if let Some(why) = stderr.lines().find(|l| l.contains("SKIPPED")) {
        assert!(std::env::var_os("CI").is_none(), "{why}");
        // Written by hand, because what `eprintln!` prints in a test that passes is not shown.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED a_short_run_compares_all_networks: {why}"
        );
        return;
    }
    assert!(out.status.success(), "{stdout}\n{stderr}");
    let all: Value = serde_json::from_str(&found.unwrap()).unwrap();
    let report = &all["report"];
    let nat = !stderr.contains("nft");
    let expected: &[(&str, &[&str])] = &[
        ("tcp-1-l2", &["twin", "patch", "switchd"]),
        ("rr-bulk", &["twin", "patch", "switchd"]),
        ("conn-1", &["twin", "switchd"]),
        ("udp-64-l2", &["twin", "patch", "switchd"]),
        ("udp-1400-dnat", &["twin", "switchd"]),
        ("ping", &["twin", "patch", "switchd"]),
        ("idle", &["switchd"]),
        ("nic-rr", &["twin", "nic"]),
        ("nic-conn-out", &["twin", "nic"]),
        ("ports-rr", &["switchd", "crowd"]),
    ];
    for (name, sides) in expected {
        if !nat && ["conn-1", "udp-1400-dnat", "nic-rr", "nic-conn-out"].contains(name) {
            continue;
        }
        let rows = report["rows"].as_array().unwrap();
        let row = rows.iter().find(|r| r["name"] == *name);
        let row = row.unwrap_or_else(|| panic!("{name} is not there:\n{stdout}\n{stderr}"));
        let runs = row["runs"].as_array().unwrap();
        let found: Vec<&str> = runs.iter().filter_map(|r| r["side"].as_str()).collect();
        assert_eq!(found, *sides, "{name}");
        for sample in runs.iter().map(|r| &r["samples"][0]) {
            let (sent, arrived) = (&sample["sent"], &sample["arrived"]);
            let number = |v: &Value| v.as_u64().unwrap();
            assert_eq!(
                *name != "idle",
                sample["value"].as_f64() > Some(0.0) && number(arrived) > 0,
                "{name}: {sample}"
            );
            assert!(number(sent) >= number(arrived), "{name}: {sample}");
            if !name.starts_with("udp") {
                assert_eq!(
                    sent, arrived,
                    "{name}: nothing gets lost for good: {sample}"
                );
            }
        }
    }
    assert!(stdout.contains("\nNo bar was judged\n"), "{stdout}");
}
