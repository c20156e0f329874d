//! `switchd attach`: beside a namespace that somebody else made, as slirp4netns.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use switchd_tests::lab::rootless::{HOST, OUTSIDE, Rootless};
use switchd_tests::lab::tcp::exchange;
use switchd_tests::lab::world::at;
use switchd_tests::lab::{Ns, wait_for};
use switchd_tests::scenario;

/// A namespace of the user's own, made as others make theirs.
struct Sleeper(Child);

impl Sleeper {
    fn start(lab: &Rootless) -> Sleeper {
        let child = lab
            .command("unshare")
            .args(["--user", "--map-root-user", "--net", "sleep", "1000"])
            .spawn()
            .expect("unshare");
        let path = format!("/proc/{}/comm", child.id());
        wait_for("the namespace is there", || {
            let comm = std::fs::read_to_string(&path).ok()?;
            (comm.trim() == "sleep").then_some(())
        });
        Sleeper(child)
    }

    fn inside(&self) -> Ns {
        Ns::of_process(self.0.id())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `switchd attach` by a script: descriptor 3 says when it is ready, 4 when it is to end.
fn script(lab: &Rootless, pid: u32, more: &str) -> (Child, File, OwnedFd) {
    let (ready, told) = std::io::pipe().expect("a pipe");
    let (ends, exit) = std::io::pipe().expect("a pipe");
    let line = format!(
        "exec {} attach --pid {pid} --ready-fd 3 --exit-fd 4 {more} 3>&1 4<&0 >/dev/null",
        lab.path("switchd").display()
    );
    let child = lab
        .command("sh")
        .args(["-c", &line])
        .stdin(Stdio::from(ends))
        .stdout(Stdio::from(told))
        .spawn()
        .expect("a shell");
    (child, File::from(OwnedFd::from(ready)), exit.into())
}

scenario!(a_script_for_slirp4netns_works, || {
    let lab = Rootless::new();
    let sleeper = Sleeper::start(&lab);
    let control = lab.path("control.sock");
    let more = format!("-p 5000:5000 --ifname tap0 --control {}", control.display());
    let (mut switch, mut ready, exit) = script(&lab, sleeper.0.id(), &more);
    let mut said = String::new();
    ready.read_to_string(&mut said).expect("the ready pipe");
    assert_eq!(said, "1", "one byte, and the pipe is closed");
    let inside = sleeper.inside();
    assert_eq!(inside.links(), ["lo", "tap0"]);
    let server = lab.out.listen(OUTSIDE, 7000);
    let e = exchange(&inside, at(OUTSIDE, 7000), &server, 1 << 20);
    assert_eq!(e.seen_by_server.ip(), HOST);
    let within = inside.listen([0, 0, 0, 0], 5000);
    let e = exchange(&lab.out, at(HOST, 5000), &within, 1 << 20);
    assert_eq!(e.seen_by_server, e.client);
    // Ports change while it runs.
    let ctl = |words: &[&str]| {
        let out = Command::new(lab.path("switchctl"))
            .arg("--control")
            .arg(&control)
            .args(words)
            .output()
            .expect("switchctl");
        assert!(out.status.success(), "{words:?}: {out:?}");
    };
    let other = "5001:10.0.0.2:5000";
    ctl(&["publish", other]);
    exchange(&lab.out, at(HOST, 5001), &within, 1_000);
    ctl(&["unpublish", other]);
    assert!(lab.out.connect(at(HOST, 5001)).is_err());
    drop(exit);
    let status = wait_for("it ends", || switch.try_wait().expect("waiting"));
    assert_eq!(status.code(), Some(0));
    assert_eq!(inside.links(), ["lo"], "the interface is gone");
    assert!(!control.exists());
});

scenario!(it_ends_with_the_process, || {
    let lab = Rootless::new();
    let sleeper = Sleeper::start(&lab);
    let (mut switch, mut ready, _exit) = script(&lab, sleeper.0.id(), "");
    let mut said = String::new();
    ready.read_to_string(&mut said).expect("the ready pipe");
    drop(sleeper);
    let status = wait_for("it ends", || switch.try_wait().expect("waiting"));
    assert_eq!(status.code(), Some(0));
});

scenario!(a_daemon_of_the_user_takes_namespaces_too, || {
    let lab = Rootless::new();
    let (one, two) = (Sleeper::start(&lab), Sleeper::start(&lab));
    let control = lab.path("daemon.sock");
    let mut daemon = lab
        .command("switchd")
        .args(["--workers=2", "--control"])
        .arg(&control)
        .arg(format!("--attach=pid:{}", one.0.id()))
        .arg(format!("--attach=pid:{}", two.0.id()))
        .spawn()
        .expect("switchd");
    let client = control::api::Client::new(&control);
    let ports = || client.get::<Vec<control::api::types::Port>>("/v1/ports");
    wait_for("both are attached", || {
        ports().ok().filter(|p| p.len() == 4)
    });
    let (a, b) = (one.inside(), two.inside());
    let server = a.listen([0, 0, 0, 0], 5000);
    exchange(&b, at([10, 0, 0, 2].into(), 5000), &server, 1 << 20);
    let outside = lab.out.listen(OUTSIDE, 7000);
    // Frames of a flow may come by either worker.
    for _ in 0..4 {
        exchange(&a, at(OUTSIDE, 7000), &outside, 8 << 20);
        exchange(&b, at(OUTSIDE, 7000), &outside, 8 << 20);
    }
    drop((server, b));
    drop(two);
    wait_for("the second is detached", || {
        ports().ok().filter(|p| p.len() == 3)
    });
    daemon.kill().expect("killing");
    daemon.wait().expect("waiting");
});
