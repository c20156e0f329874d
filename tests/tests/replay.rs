//! The captures of `pcaps/` through the whole switch, compared frame by frame with what is
//! expected of it.
//!
//! `UPDATE_EXPECTED=1 cargo test -p switchd-tests --test replay` writes the expected captures
//! anew; look at what changed (`switchd replay`, Wireshark) before you keep it.

use control::plan::Plan;
use control::plan::validate::{Surroundings, plan};
use control::replay::capture::{Capture, Packet, read};
use control::replay::{Output, Replay, Setup, load, recorded, save, setup, words};
use dataplane::port::Caps;
use dataplane::slow::Limits;
use std::path::{Path, PathBuf};

fn pcaps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcaps")
}

/// The captures, by name.
fn captures() -> Vec<(String, Capture)> {
    let mut all: Vec<(String, Capture)> = std::fs::read_dir(pcaps())
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "pcapng"))
        .map(|p| {
            let name = p.file_stem().unwrap().to_str().unwrap().to_owned();
            let capture = load(&p).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(capture.trouble, None, "{name}");
            (name, capture)
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(all.len() > 30, "only {} captures in pcaps/", all.len());
    all
}

fn the_plan() -> Plan {
    let raw = control::config::load(&pcaps().join("replay.toml")).unwrap();
    let here = Surroundings {
        cores: 1,
        euid: 0,
        runtime_dir: None,
    };
    plan(&raw, &here).unwrap()
}

/// A switch for the capture, with small tables.
fn switch(capture: &Capture, caps: Caps, workers: usize) -> (Replay, Setup) {
    let (mut setup, ports) = setup(capture, &the_plan(), caps, workers);
    setup.config.limits = Limits {
        connections: 1024,
        fdb: 1024,
        neighbours: 256,
        ..Limits::default()
    };
    (Replay::new(capture, &setup, ports).unwrap(), setup)
}

/// Replays with each frame given to the worker that `choose` names, and gives what came out.
fn play(
    capture: &Capture,
    caps: Caps,
    workers: usize,
    mut choose: impl FnMut() -> usize,
) -> Capture {
    let (mut replay, setup) = switch(capture, caps, workers);
    let mut outputs: Vec<Output> = Vec::new();
    for p in &capture.packets {
        outputs.extend(replay.advance_to(p));
        outputs.extend(replay.feed(p, choose()).outputs);
    }
    outputs.extend(replay.settle());
    let totals = replay.lab().totals();
    totals.balance().unwrap();
    assert_eq!(totals.rx as usize, capture.packets.len());
    assert_eq!(totals.held, 0, "held after all timers");
    recorded(&replay, &setup, &outputs)
}

fn port<'a>(c: &'a Capture, p: &Packet) -> &'a str {
    c.interfaces[p.interface].name.as_deref().unwrap_or("?")
}

/// A frame for people, all of it.
fn said(c: &Capture, p: Option<&Packet>) -> String {
    match p {
        None => "nothing".into(),
        Some(p) => {
            let hex: String = p
                .bytes
                .iter()
                .take(96)
                .map(|b| format!("{b:02x}"))
                .collect();
            format!(
                "to {}: {}\n            {} bytes {hex}",
                port(c, p),
                words::frame(&p.bytes, &p.hdr()),
                p.bytes.len()
            )
        }
    }
}

/// The first frame that differs, in words.
fn difference(expected: &Capture, got: &Capture) -> Option<String> {
    let n = expected.packets.len().max(got.packets.len());
    (0..n).find_map(|i| {
        let (e, g) = (expected.packets.get(i), got.packets.get(i));
        let key = |c, p: &Packet| (port(c, p).to_owned(), p.bytes.clone(), p.vnet);
        if e.map(|p| key(expected, p)) == g.map(|p| key(got, p)) {
            return None;
        }
        let at = e
            .zip(g)
            .and_then(|(e, g)| e.bytes.iter().zip(&g.bytes).position(|(a, b)| a != b));
        let at = at
            .map(|at| format!(", first at byte {at}"))
            .unwrap_or_default();
        Some(format!(
            "frame {} of {} (expected {}) differs{at}\n  expected  {}\n  got       {}",
            i + 1,
            got.packets.len(),
            expected.packets.len(),
            said(expected, e),
            said(got, g)
        ))
    })
}

/// How each capture is replayed: superframes also to ports that take none.
fn cases() -> Vec<(String, Capture, Caps)> {
    let mut all = Vec::new();
    for (name, c) in captures() {
        if name.contains("superframes") || name.contains("vnet-hdr") {
            all.push((format!("{name}-no-offload"), c.clone(), Caps::NONE));
        }
        all.push((name, c, Caps::ALL));
    }
    all
}

#[test]
fn every_capture_gives_what_is_expected() {
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut wrong = Vec::new();
    for (name, capture, caps) in cases() {
        let got = play(&capture, caps, 1, || 0);
        let path = pcaps().join("expected").join(format!("{name}.pcapng"));
        if update {
            save(&path, &got).unwrap();
            continue;
        }
        let expected = load(&path).unwrap_or_else(|e| panic!("{e}; see UPDATE_EXPECTED"));
        if let Some(d) = difference(&expected, &got) {
            wrong.push(format!("{name}: {d}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The decoder shares no code with the switch, and complains in capital letters.
#[test]
fn what_leaves_is_sound_if_what_came_in_was() {
    let wrong = |p: &Packet| {
        let text = words::frame(&p.bytes, &p.hdr());
        let bad = ["WRONG", "LENGTH", "HEADER", "IHL", "VERSION", "cut "];
        bad.iter().any(|w| text.contains(w)).then_some(text)
    };
    let mut seen = 0;
    for (name, capture, caps) in cases() {
        if ["malformed", "hostile", "icmp-handmade"]
            .iter()
            .any(|w| name.contains(w))
        {
            continue;
        }
        let got = play(&capture, caps, 1, || 0);
        for (side, c) in [("came in", &capture), ("left", &got)] {
            for p in &c.packets {
                seen += 1;
                if let Some(text) = wrong(p) {
                    panic!("{name}: what {side} is wrong: {text}");
                }
            }
        }
        if caps == Caps::NONE {
            let unfinished = got.packets.iter().find(|p| p.vnet != [0; 10]);
            assert_eq!(unfinished, None, "{name}: a port without offloads");
        }
    }
    assert!(seen > 500, "only {seen} frames");
}

#[test]
fn nothing_is_expected_of_a_capture_that_is_gone() {
    let names: Vec<String> = cases().into_iter().map(|c| c.0).collect();
    for e in std::fs::read_dir(pcaps().join("expected")).unwrap() {
        let path = e.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            names.iter().any(|n| n == name),
            "{} has no capture",
            path.display()
        );
    }
}

#[test]
fn the_readme_has_a_line_for_each_capture() {
    let text = std::fs::read_to_string(pcaps().join("README.md")).unwrap();
    for (name, _) in captures() {
        assert!(
            text.contains(&format!("`{name}`")),
            "pcaps/README.md does not name {name}"
        );
    }
}

/// splitmix64
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn two_workers_at_random_put_out_what_one_does() {
    for (name, capture, caps) in cases() {
        let one = play(&capture, caps, 1, || 0);
        for seed in 0..8 {
            let mut state = seed;
            let two = play(&capture, caps, 2, || next(&mut state) as usize % 2);
            if let Some(d) = difference(&one, &two) {
                panic!("{name}, seed {seed}: {d}");
            }
        }
    }
}

#[test]
fn frames_cut_at_any_byte_are_survived_and_counted() {
    for (name, capture, caps) in cases() {
        let (mut replay, _) = switch(&capture, caps, 2);
        let mut state = 1;
        let mut fed = 0;
        for p in &capture.packets {
            replay.advance_to(p);
            // Every cut of the headers and of the end, and some of a long middle.
            let n = p.bytes.len();
            for cut in (0..n).filter(|c| *c < 256 || n - c < 64 || c % 7 == 0) {
                let mut short = p.clone();
                short.bytes.truncate(cut);
                replay.feed(&short, next(&mut state) as usize % 2);
                fed += 1;
            }
            replay.feed(p, 0);
            fed += 1;
            let totals = replay.lab().totals();
            if let Err(e) = totals.balance() {
                panic!("{name}: behind {}: {e}", words::frame(&p.bytes, &p.hdr()));
            }
            assert_eq!(totals.rx, fed, "{name}");
        }
        replay.settle();
        replay.lab().totals().balance().unwrap();
    }
}

#[test]
fn frames_with_any_byte_changed_are_survived_and_counted() {
    let mut state = 2;
    for (name, capture, caps) in cases() {
        let (mut replay, _) = switch(&capture, caps, 2);
        for p in &capture.packets {
            replay.advance_to(p);
            for _ in 0..64 {
                let mut bad = p.clone();
                for _ in 0..=next(&mut state) % 3 {
                    let at = next(&mut state) as usize % bad.bytes.len().clamp(1, 96);
                    if let Some(b) = bad.bytes.get_mut(at) {
                        *b = next(&mut state) as u8;
                    }
                }
                if next(&mut state).is_multiple_of(4) {
                    let at = next(&mut state) as usize % bad.vnet.len();
                    bad.vnet[at] = next(&mut state) as u8;
                }
                replay.feed(&bad, next(&mut state) as usize % 2);
            }
            let totals = replay.lab().totals();
            if let Err(e) = totals.balance() {
                panic!("{name}: behind {}: {e}", words::frame(&p.bytes, &p.hdr()));
            }
        }
    }
}

#[test]
fn capture_files_changed_anywhere_are_read_or_refused() {
    let mut state = 3;
    for e in std::fs::read_dir(pcaps()).unwrap() {
        let path = e.unwrap().path();
        if path.extension().is_none_or(|e| e != "pcapng") {
            continue;
        }
        let file = std::fs::read(&path).unwrap();
        for _ in 0..200 {
            let mut bad = file.clone();
            for _ in 0..=next(&mut state) % 4 {
                let at = next(&mut state) as usize % bad.len();
                bad[at] = next(&mut state) as u8;
            }
            bad.truncate(next(&mut state) as usize % (2 * bad.len()));
            let Ok(capture) = read(&bad) else {
                continue;
            };
            for p in &capture.packets {
                words::frame(&p.bytes, &p.hdr());
            }
        }
    }
}

#[test]
fn a_difference_is_told_in_words() {
    let capture = captures()
        .into_iter()
        .find(|c| c.0 == "tcp-dnat")
        .unwrap()
        .1;
    let good = play(&capture, Caps::ALL, 1, || 0);
    let mut bad = good.clone();
    let i = bad.packets.iter().position(|p| p.bytes.len() > 54).unwrap();
    bad.packets[i].bytes[22] -= 1;
    let text = difference(&good, &bad).unwrap();
    assert!(text.contains(&format!("frame {} of", i + 1)), "{text}");
    assert!(text.contains("first at byte 22"), "{text}");
    assert!(
        text.contains(
            "expected  to web: 02:42:0a:00:00:01 > 02:42:0a:00:00:02: TCP 192.0.2.2:40000"
        ),
        "{text}"
    );
    assert!(text.contains("ttl 62, IP CHECKSUM WRONG"), "{text}");
    bad = good.clone();
    bad.packets.pop();
    assert!(
        difference(&good, &bad)
            .unwrap()
            .contains("got       nothing")
    );
    assert_eq!(difference(&good, &good), None);
}
