//! `switchd run`.

use control::demo::web::WebServer;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use switchd_tests::lab::daemon::{Ended, end};
use switchd_tests::lab::{Daemon, Ns, bins, fetch, switchd, wait_for};
use switchd_tests::{scenario, scenario_as_ordinary_user};

/// Where the page server of [`serve`] listens.
const PORT: &str = "RUN_TEST_PORT";

/// Not a test: this program once more, as the command that serves a page with its own addresses.
#[test]
#[ignore = "started by other tests"]
fn serve() {
    let Some(port) = std::env::var(PORT).ok().and_then(|p| p.parse().ok()) else {
        return;
    };
    let ip = Ns::own().addresses().first().expect("an address").ip;
    let listener = Ns::own().listen(Ipv4Addr::UNSPECIFIED, port);
    let page = move |_: &str| Some(ip.to_string().into_bytes());
    let _server = WebServer::start(listener, page).expect("a server");
    std::thread::sleep(Duration::from_secs(60));
}

fn run(args: &[&str]) -> Ended {
    let words: Vec<&str> = std::iter::once("run").chain(args.iter().copied()).collect();
    switchd(&words)
}

/// A command that runs. Dropped, it is killed.
struct Running(Child);

impl Running {
    fn start(args: &[&str]) -> Running {
        let mut command = Command::new(bins::path("switchd"));
        command.arg("run").args(args).stdin(Stdio::null());
        Running(command.spawn().expect("starting switchd"))
    }

    /// The page server on `port` of a namespace, published as the host's `port`.
    fn server(port: u16, more: &[&str]) -> Running {
        let this = std::env::current_exe().expect("this program");
        let mut command = Command::new(bins::path("switchd"));
        command
            .args(["run", "-p", &format!("{port}:{port}")])
            .args(more)
            .arg("--")
            .arg(this)
            .args(["run::serve", "--exact", "--ignored"])
            .env(PORT, port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Running(command.spawn().expect("starting switchd"))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).expect("a process to signal");
    }

    fn wait(mut self) -> Option<i32> {
        wait_for("the command ends", || self.0.try_wait().expect("waiting")).code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The page of the host's `port`, and so the address of the one that serves it.
fn page(port: u16) -> String {
    let at = (Ipv4Addr::LOCALHOST, port).into();
    wait_for("the page comes", || fetch(at, "/").ok()).text()
}

fn nothing_is_left() {
    assert_eq!(Ns::own().links(), ["lo"]);
    assert!(control::netns::names().is_empty());
    let sockets = std::fs::read_dir("/run/switchd").map_or(0, Iterator::count);
    assert_eq!(sockets, 0, "a control socket is left");
}

fn two_at_once() {
    let first = Running::server(5000, &[]);
    let second = Running::server(5001, &[]);
    let (a, b) = (page(5000), page(5001));
    assert_ne!(a, b);
    for ip in [&a, &b] {
        assert!(["10.0.0.2", "10.0.1.2"].contains(&ip.as_str()), "{ip}");
    }
    assert_eq!(Ns::own().links(), ["lo", "sw0", "sw1"]);
    first.signal(Signal::SIGTERM);
    assert_eq!(first.wait(), Some(143));
    assert_eq!(page(5001), b, "the other goes on");
    second.signal(Signal::SIGINT);
    assert_eq!(second.wait(), Some(130));
    nothing_is_left();
}

scenario!(two_commands_side_by_side, two_at_once);
scenario_as_ordinary_user!(two_commands_of_an_ordinary_user, two_at_once);

scenario!(codes_are_those_of_shells, || {
    for (args, code) in [
        (&["--", "true"][..], 0),
        (&["--", "sh", "-c", "exit 7"], 7),
        (&["--", "sh", "-c", "kill -9 $$"], 137),
        (&["--", "no-such-program"], 127),
        (&["--", "/etc/passwd"], 126),
        (&["-p", "80:80", "--", "no-such-program"], 127),
        (&["--net", "host", "--", "no-such-program"], 127),
        (&["--net", "host", "--", "/etc/passwd"], 126),
        (&["--net", "host", "--", "sh", "-c", "exit 8"], 8),
        (&["-p", "80", "--", "true"], 2),
        (&["-p", "80:80", "-p", "80:81", "--", "true"], 2),
        (&["--ip", "10.77.0.2", "--", "true"], 2),
        (&["-p"], 2),
    ] {
        let ended = run(args);
        assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.stderr);
        assert_eq!(
            ended.stderr.lines().count(),
            usize::from(code == 2 || code / 2 == 63),
            "{}",
            ended.stderr
        );
        nothing_is_left();
    }
});

scenario_as_ordinary_user!(a_path_that_may_not_be_searched_hides_nothing, || {
    for args in [&["run", "--"][..], &["run", "--net", "host", "--"]] {
        let mut cmd = Command::new(bins::path("switchd"));
        cmd.args(args)
            .arg("no-such-program")
            .env("PATH", "/root:/usr/bin:/bin");
        let ended = end(&mut cmd);
        assert_eq!(ended.code, Some(127), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("command not found"),
            "{}",
            ended.stderr
        );
    }
});

scenario!(a_taken_port_leaves_nothing, || {
    let _taken = Ns::own().listen(Ipv4Addr::UNSPECIFIED, 5001);
    let ended = run(&["-p", "5000-5003:5000-5003", "--", "sh", "-c", "echo ran"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(
        ended.stderr.contains("0.0.0.0:5001/tcp"),
        "{}",
        ended.stderr
    );
    nothing_is_left();
});

scenario!(the_command_is_alone_in_its_namespace, || {
    let script = "cat /proc/net/dev /proc/self/status; ulimit -n; ls /proc/self/fd";
    let ended = run(&["--", "sh", "-c", script]);
    let has = |s: &str| ended.stdout.contains(s);
    assert!(
        has("lo:") && has("eth0:") && !has("sw0:"),
        "{}",
        ended.stdout
    );
    assert!(has("SigBlk:\t0000000000000000"), "{}", ended.stdout);
    let limit = open_files();
    assert!(
        has(&format!("\n{limit}\n")),
        "the limit on files is the caller's, {limit}"
    );
    let host = run(&["--net", "host", "--", "cat", "/proc/net/dev"]);
    assert!(host.stdout.contains("lo:") && !host.stdout.contains("eth0:"));
});

/// The soft limit on open files that this process starts others with.
fn open_files() -> u64 {
    nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
        .expect("limits")
        .0
}

scenario!(signals_are_passed_on, || {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("heard");
    let script = format!(
        "for s in TERM HUP INT QUIT USR1; do trap \"echo $s >> {0}\" $s; done; \
         trap 'exit 9' USR2; echo ready >> {0}; while :; do sleep 0.05; done",
        file.display()
    );
    let running = Running::start(&["--", "sh", "-c", &script]);
    let heard = |word: &str| {
        wait_for(word, || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            text.lines().any(|l| l == word).then_some(())
        });
    };
    heard("ready");
    for (signal, word) in [
        (Signal::SIGTERM, "TERM"),
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGQUIT, "QUIT"),
        (Signal::SIGUSR1, "USR1"),
    ] {
        running.signal(signal);
        heard(word);
    }
    running.signal(Signal::SIGUSR2);
    assert_eq!(running.wait(), Some(9));
    let text = std::fs::read_to_string(&file).expect("the file");
    assert_eq!(text.lines().count(), 6, "each once: {text}");
});

scenario!(a_daemon_that_answers_is_used, || {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let control = dir.path().join("s.sock");
    let daemon = Daemon::start_at(&control, &["--subnet", "10.7.0.0/24"], dir);
    let path = control.to_str().expect("a path");
    let to = ["--control", path, "--ip", "10.7.0.77", "--name", "web"];
    let running = Running::server(5000, &to);
    assert_eq!(page(5000), "10.7.0.77");
    assert_eq!(Ns::own().links(), ["lo", "sw0"]);
    let names: Vec<_> = daemon.ports().into_iter().map(|p| p.name).collect();
    assert_eq!(names, ["sw0", "eth0@web"]);
    assert_eq!(control::netns::names(), ["web"]);
    assert!(daemon.ctl(&["rules"]).contains("dpt:5000"));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait(), Some(143));
    assert_eq!(daemon.ports().len(), 1, "it is detached");
    assert!(!daemon.ctl(&["rules"]).contains("dpt:5000"));
    assert!(control::netns::names().is_empty());

    // From another namespace than the daemon's host it is none of our business.
    let other = Ns::named("other");
    let script = "cat /proc/net/fib_trie";
    let ended = other.run(|| {
        end(Command::new(bins::path("switchd")).args([
            "run",
            "--control",
            path,
            "--",
            "sh",
            "-c",
            script,
        ]))
    });
    assert!(ended.stdout.contains("10.0.0.2") && !ended.stdout.contains("10.7.0."));
    other.delete("other");
    daemon.terminate();
});

scenario!(what_a_killed_run_leaves_is_cleared_away, || {
    // The command becomes this process's child when its parent is killed.
    nix::sys::prctl::set_child_subreaper(true).expect("to adopt orphans");
    let running = Running::server(5000, &[]);
    page(5000);
    let left = format!("/run/switchd/switchd-run-{}.sock", running.0.id());
    running.signal(Signal::SIGKILL);
    drop(running);
    let orphan = wait_for("the command ends too", || waitpid(None, None).ok());
    assert!(
        matches!(orphan, WaitStatus::Signaled(_, Signal::SIGTERM, _)),
        "{orphan:?}"
    );
    wait_for("sw0 goes with its process", || {
        (Ns::own().links() == ["lo"]).then_some(())
    });
    assert!(Path::new(&left).exists());
    let next = Running::server(5000, &[]);
    assert_eq!(page(5000), "10.0.0.2");
    assert!(!Path::new(&left).exists());
    next.signal(Signal::SIGTERM);
    assert_eq!(next.wait(), Some(143));
});
