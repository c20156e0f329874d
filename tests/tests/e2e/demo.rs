//! `switchd demo`, and that it notices when something is not as told.

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use switchd_tests::lab::{Ns, bins, daemon, wait_for};
use switchd_tests::{scenario, scenario_as_ordinary_user};

fn demo() -> Command {
    let mut cmd = Command::new(bins::path("switchd"));
    cmd.arg("demo");
    cmd
}

/// The demo makes its namespaces itself: what it tells is the same for root and others.
fn is_as_told() {
    let out = daemon::end(&mut demo());
    assert_eq!(out.code, Some(0), "{}\n{}", out.stdout, out.stderr);
    assert!(
        out.stdout.contains("observations in 11 steps were as told"),
        "{}",
        out.stdout
    );
    assert!(!out.stdout.contains('✗'), "{}", out.stdout);
    assert_eq!(out.stderr, "");
    assert_eq!(Ns::own().links(), ["lo"]);
    assert!(std::fs::read_dir("/run").unwrap().next().is_none());
}

scenario!(the_demo_is_as_told, is_as_told);
scenario_as_ordinary_user!(the_demo_of_an_ordinary_user_is_as_told, is_as_told);

scenario!(without_the_device_one_line_says_so, || {
    mount(
        Some("none"),
        "/dev/net",
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .unwrap();
    let out = daemon::end(&mut demo());
    assert_eq!(out.code, Some(1));
    assert_eq!(out.stderr.lines().count(), 1, "{}", out.stderr);
    assert!(out.stderr.contains("/dev/net/tun"), "{}", out.stderr);
});

/// A demo that stays up, and what it has printed until then.
fn kept() -> (Child, String, BufReader<std::process::ChildStdout>) {
    let mut child = demo().arg("--keep").stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    while !said.contains("tail -f") {
        assert_ne!(out.read_line(&mut said).unwrap(), 0, "it ended: {said}");
    }
    (child, said, out)
}

scenario!(it_can_be_kept_and_asked, || {
    let (mut child, said, mut out) = kept();
    // The control socket that it names answers.
    let path = said
        .split_once("--control ")
        .unwrap()
        .1
        .split_whitespace()
        .next()
        .unwrap();
    let rules = switchd_tests::lab::switchctl(path.as_ref(), &["rules"]);
    assert!(
        rules.stdout.contains("dpt:8080 to:10.0.0.2:80"),
        "{rules:?}"
    );
    // Its namespaces are where it says.
    let web = format!("/proc/{}/root/run/netns/web", child.id());
    let web = control::netns::Netns::open_path(web.as_ref()).unwrap();
    let mut netlink = control::netlink::Real::inside(&web).unwrap();
    let links = control::netlink::Netlink::links(&mut netlink).unwrap();
    assert!(links.iter().any(|l| l.name == "eth0"));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    assert!(rest.contains("interfaces left: none"), "{rest}");
});

scenario!(it_notices_a_switch_that_dies, || {
    let (mut child, _, mut out) = kept();
    let switch = children(child.id());
    kill(Pid::from_raw(switch[0] as i32), Signal::SIGKILL).unwrap();
    wait_for("the switch ends", || {
        children(child.id()).is_empty().then_some(())
    });
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest}");
    assert!(rest.contains("not so: "), "{rest}");
});

scenario!(killed_it_leaves_no_switch, || {
    let (mut child, ..) = kept();
    let switch = children(child.id());
    assert_eq!(switch.len(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let process = format!("/proc/{}", switch[0]);
    wait_for("the switch ends too", || {
        (!std::path::Path::new(&process).exists()).then_some(())
    });
});

/// Living child processes; zombies don't count.
fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let pids = list.split_whitespace().map(|p| p.parse().unwrap());
    let alive = |p: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{p}/stat")).unwrap_or_default();
        stat.rsplit(") ")
            .next()
            .is_some_and(|s| !s.is_empty() && !s.starts_with('Z'))
    };
    pids.filter(alive).collect()
}
