//! `switchd replay` as a person types it.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn pcaps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcaps")
}

fn replay(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_switchd"))
        .arg("replay")
        .args(args)
        .current_dir(pcaps())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_capture_becomes_a_line_for_each_frame_and_a_capture_of_what_left() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.pcapng");
    let out = out.to_str().unwrap();
    let done = replay(&["tcp-dnat.pcapng", "--config", "replay.toml", "-w", out]);
    let said = text(&done.stdout);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(
        said.contains("forwarded to web as 02:42:0a:00:00:01 > 02:42:0a:00:00:02: TCP 192.0.2.2:40000 > 10.0.0.2:5000 SYN"),
        "{said}"
    );
    assert!(said.contains("nothing is missing"), "{said}");
    let expected = std::fs::read(pcaps().join("expected/tcp-dnat.pcapng")).unwrap();
    assert_eq!(std::fs::read(out).unwrap(), expected);
    // Without the rule nobody is let in.
    let said = text(&replay(&["tcp-dnat.pcapng"]).stdout);
    assert!(said.contains("(not_published)"), "{said}");
}

#[test]
fn what_cannot_be_read_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.pcapng");
    let x = path.to_str().unwrap();
    let whole = std::fs::read(pcaps().join("udp.pcapng")).unwrap();
    for (bytes, code, says) in [
        (&b"hello"[..], 1, "neither a pcap nor a pcapng file"),
        (&whole[..whole.len() - 5], 1, "cut short"),
        (&whole[..40], 1, "cut short"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let done = replay(&[x]);
        let said = text(&done.stderr);
        assert_eq!(
            (done.status.code(), said.lines().count()),
            (Some(code), 1),
            "{said}"
        );
        assert!(
            said.starts_with("switchd: ") && said.contains(says),
            "{said}"
        );
    }
    for (args, code) in [
        (&["/nonexistent.pcap"][..], 1),
        (&[], 2),
        (&[x, "--mtu", "1"], 2),
        (&["udp.pcapng", "-w", "/nonexistent/out.pcapng"], 1),
    ] {
        let done = replay(args);
        let said = text(&done.stderr);
        assert_eq!(
            (done.status.code(), said.lines().count()),
            (Some(code), 1),
            "{said}"
        );
    }
}
