//! Where the programs are. They are built on demand: `cargo test` builds the programs of a
//! package for that package's own tests only.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The programs.
pub const NAMES: [&str; 2] = ["switchd", "switchctl"];
/// Says where they are, to a process that can't build.
pub(super) const BINS_ENV: &str = "SWITCHD_LAB_BINS";

static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();

/// The directory that has them, of the same profile as this test and as new as the sources.
pub fn directory() -> &'static Path {
    DIRECTORY.get_or_init(|| match std::env::var_os(BINS_ENV) {
        Some(dir) => PathBuf::from(dir),
        None => build(),
    })
}

/// The program `name`.
pub fn path(name: &str) -> PathBuf {
    directory().join(name)
}

/// Lets cargo bring them up to date. Its own lock keeps two test programs from doing so at once.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("the test's program");
    let dir = test
        .parent()
        .filter(|d| d.file_name() == Some(OsStr::new("deps")))
        .and_then(Path::parent)
        .expect("a test program in target/PROFILE/deps")
        .to_owned();
    let (Some(cargo), Some(target)) = (std::env::var_os("CARGO"), dir.parent()) else {
        // Started by hand: what is there is what was meant.
        assert!(
            NAMES.iter().all(|n| dir.join(n).exists()),
            "no switchd in {}: run the tests by cargo",
            dir.display()
        );
        return dir;
    };
    let profile = match dir.file_name().and_then(OsStr::to_str) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let out = Command::new(cargo)
        .args(["build", "--quiet", "--package", "control", "--bins"])
        .args(["--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("starting cargo");
    assert!(
        out.status.success(),
        "building the programs failed:\n{}",
        String::from_utf8_lossy(&out.stderr)
    );
    dir
}
