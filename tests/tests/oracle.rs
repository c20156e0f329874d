//! The kernel's own bridge, router, NAT and connection tracking as oracle: some thousand random
//! sequences of frames. Many more: `cargo run --release -p switchd-tests --bin oracle`.

use std::collections::BTreeSet;
use switchd_tests::oracle::generate::sequence;
use switchd_tests::oracle::known;
use switchd_tests::oracle::report::{Wish, run};
use switchd_tests::oracle::run::Runner;
use switchd_tests::{scenario, scenario_as_ordinary_user};

const SEQUENCES: u64 = 2_000;

scenario!(the_switch_does_what_the_kernel_does, || {
    let runner = |_| Runner::new().expect("a namespace with the kernel's NAT");
    let mut runners: Vec<Runner> = (0..4).map(runner).collect();
    let wish = Wish {
        seed: 1,
        sequences: SEQUENCES,
        // The rest of a scenario's time is for a machine that is busy with other things.
        limit: Some(std::time::Duration::from_secs(30)),
        shrink: true,
        captures: false,
        failures: 3,
    };
    let report = run(&mut runners, &wish).expect("a kernel that goes on");
    println!("{report}");
    assert!(report.unexplained.is_empty(), "{report}");
    assert!(report.sequences > 50, "only {} sequences", report.sequences);
    let out = report.out as f64 / report.frames as f64;
    assert!(out > 0.3, "the kernel passed only {out:.2} of the frames");
});

/// What needs no captures, since that user may not be able to read them.
fn some_sequences() {
    let mut runner = Runner::new().expect("a namespace with the kernel's NAT");
    for seed in 1..60 {
        let o = runner.run(&sequence(seed), seed);
        let o = o.expect("a kernel that goes on");
        assert_eq!(o.unexplained, None, "seed {seed}");
    }
}

scenario_as_ordinary_user!(an_ordinary_user_can_ask_the_kernel, some_sequences);

#[test]
fn every_difference_is_written_down() {
    let text = include_str!("../../dataplane/CONFORMANCE.md");
    let (_, text) = text
        .split_once("## Where we differ from Linux, and why")
        .expect("the section");
    let written: BTreeSet<&str> = text
        .lines()
        .filter_map(|l| l.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    let mut known: BTreeSet<&str> = known::all().map(|d| d.name).collect();
    known.extend([known::IN_PART, known::TRACKED_FIRST]);
    assert_eq!(written, known);
}
