//! The programs: started, asked, ended, and never left behind.

use super::{bins, wait_for};
use control::api::Client;
use control::api::types::{Port, Rules, Stats, Status};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What a program said and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

/// Runs `switchd` to its end. For command lines that are refused; one that is still there after
/// thirty seconds fails the test.
pub fn switchd<S: AsRef<OsStr>>(args: &[S]) -> Ended {
    end(Command::new(bins::path("switchd")).args(args))
}

/// Runs `switchctl` for the daemon at `control`.
pub fn switchctl<S: AsRef<OsStr>>(control: &Path, args: &[S]) -> Ended {
    end(Command::new(bins::path("switchctl"))
        .arg("--control")
        .arg(control)
        .args(args))
}

/// Runs a command to its end, which has to come within thirty seconds.
pub fn end(cmd: &mut Command) -> Ended {
    let mut child = cmd
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starting a program");
    let deadline = Instant::now() + Duration::from_secs(30);
    // What these programs print fits a pipe, so nobody waits for us to read.
    while child.try_wait().expect("waiting").is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            let out = child.wait_with_output().expect("reading");
            panic!("{cmd:?} did not end: {out:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let out = child.wait_with_output().expect("reading");
    Ended {
        code: out.status.code(),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

/// A running daemon. Dropped, it is killed.
pub struct Daemon {
    child: Child,
    client: Client,
    log: PathBuf,
    _dir: tempfile::TempDir,
}

impl Daemon {
    /// Starts `switchd` and waits until its control socket answers. A `--control` is added.
    pub fn start<S: AsRef<OsStr>>(args: &[S]) -> Daemon {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let control = dir.path().join("s.sock");
        Daemon::start_at(&control, args, dir)
    }

    /// The same with a control socket of the caller's choice, in `dir` or elsewhere.
    pub fn start_at<S: AsRef<OsStr>>(control: &Path, args: &[S], dir: tempfile::TempDir) -> Daemon {
        Daemon::start_by(Command::new(bins::path("switchd")), control, args, dir)
    }

    /// The same under nohup(1), so with SIGHUP ignored.
    pub fn start_under_nohup<S: AsRef<OsStr>>(args: &[S]) -> Daemon {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let control = dir.path().join("s.sock");
        let mut nohup = Command::new("nohup");
        nohup.arg(bins::path("switchd"));
        Daemon::start_by(nohup, &control, args, dir)
    }

    fn start_by<S: AsRef<OsStr>>(
        mut program: Command,
        control: &Path,
        args: &[S],
        dir: tempfile::TempDir,
    ) -> Daemon {
        let log = dir.path().join("log");
        let file = std::fs::File::create(&log).expect("a log file");
        let child = program
            .arg("--control")
            .arg(control)
            .args(args)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a descriptor"))
            .stderr(file)
            .spawn()
            .expect("starting switchd");
        let mut daemon = Daemon {
            child,
            client: Client::new(control),
            log,
            _dir: dir,
        };
        wait_for("switchd answers", || {
            if let Some(status) = daemon.child.try_wait().expect("waiting") {
                panic!("switchd ended at its start ({status}): {}", daemon.log());
            }
            daemon.client.get::<Status>("/v1/status").ok()
        });
        // The last line of its start may come behind the first answer.
        wait_for("switchd says that it is ready", || {
            daemon.log().contains("ready: ").then_some(())
        });
        daemon
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its control socket.
    pub fn control(&self) -> &Path {
        self.client.path()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks its API.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.client
            .get(path)
            .unwrap_or_else(|e| panic!("GET {path}: {e}"))
    }

    /// Its ports.
    pub fn ports(&self) -> Vec<Port> {
        self.get("/v1/ports")
    }

    /// Its chains of rules.
    pub fn rules(&self) -> Rules {
        self.get("/v1/rules")
    }

    /// Its counters.
    pub fn stats(&self) -> Stats {
        self.get("/v1/stats")
    }

    /// Frames lost for this reason.
    pub fn drops(&self, reason: &str) -> u64 {
        let stats = self.stats();
        let found = stats.drops.iter().find(|d| d.reason == reason);
        found
            .unwrap_or_else(|| panic!("no reason '{reason}'"))
            .frames
    }

    /// Runs `switchctl` with it, which has to succeed; what it printed.
    pub fn ctl<S: AsRef<OsStr> + std::fmt::Debug>(&self, args: &[S]) -> String {
        let out = switchctl(self.control(), args);
        assert_eq!(out.code, Some(0), "switchctl {args:?}: {}", out.stderr);
        out.stdout
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("a process to signal");
    }

    /// Waits for its end, at most twenty seconds.
    pub fn wait(&mut self) -> ExitStatus {
        wait_for("switchd ends", || self.child.try_wait().expect("waiting"))
    }

    /// Kills it without a word; its control socket stays behind.
    pub fn kill(mut self) -> tempfile::TempDir {
        self.signal(Signal::SIGKILL);
        self.wait();
        std::mem::replace(
            &mut self._dir,
            tempfile::tempdir().expect("a temporary directory"),
        )
    }

    /// Asserts that every frame is accounted for. Frames may be under way while the counters
    /// are read, so this waits for a quiet moment.
    pub fn assert_balance(&self) {
        let mut last = None;
        wait_for(
            "rx + originated + copies = tx + drops + consumed + held",
            || {
                let stats = self.stats();
                let t = &stats.total;
                let came = (t.rx + t.originated + t.copies) as i64;
                let went = (t.tx + t.drops + t.consumed) as i64 + t.held;
                assert_eq!((stats.balance.came, stats.balance.went), (came, went));
                assert_eq!(stats.balance.holds, came == went);
                let of_reasons: u64 = stats.drops.iter().map(|d| d.frames).sum();
                let settled = came == went && of_reasons == t.drops;
                if !settled && last.as_ref() != Some(&stats) {
                    eprintln!(
                        "not in balance: {came} came, {went} went; {:?}",
                        stats.total
                    );
                    last = Some(stats);
                }
                settled.then_some(())
            },
        );
    }

    /// SIGTERM: it has to end with code 0, after a last look at its account of frames.
    pub fn terminate(mut self) {
        self.assert_balance();
        self.signal(Signal::SIGTERM);
        let status = self.wait();
        assert_eq!(
            status.code(),
            Some(0),
            "after SIGTERM; its log:\n{}",
            self.log()
        );
        assert!(!self.control().exists(), "its control socket stays");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("switchd's log:\n{}", self.log());
            if let Ok(stats) = self.client.get::<Stats>("/v1/stats") {
                let lost: Vec<_> = stats.drops.iter().filter(|d| d.frames > 0).collect();
                eprintln!("its counters: {:?}\nits losses: {lost:?}", stats.total);
            }
        }
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
