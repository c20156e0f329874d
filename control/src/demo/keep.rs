//! `--keep`: everything stays up, and a person is told how to get in.

use super::stage::{CONTROL, LOG, PUBLISHED, UPLINK, switchctl};
use super::tale::Tale;
use crate::plan::Failure;
use crate::signals::that_end;
use nix::unistd::getpid;
use signal_hook::iterator::Signals;

/// Says how to play, and waits for [a signal that ends it](that_end).
///
/// # Errors
/// Signals can't be waited for.
pub fn keep(t: &mut Tale) -> Result<(), Failure> {
    let mut signals = Signals::new(that_end()).map_err(Failure::refused)?;
    for line in instructions(own_user_namespace()) {
        t.line(line);
    }
    signals.forever().next();
    t.line("");
    Ok(())
}

/// Whether the demo had to make a user namespace, which others have to enter first.
fn own_user_namespace() -> bool {
    // user_namespaces(7): the initial one maps all ids onto themselves.
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().nth(2) == Some("1")
}

fn instructions(user: bool) -> Vec<String> {
    let pid = getpid();
    let root = format!("/proc/{pid}/root");
    let enter = match user {
        true => format!("nsenter -t {pid} -U --preserve-credentials -m"),
        false => format!("nsenter -t {pid} -m"),
    };
    let inside = |name: &str| format!("{enter} --net={root}/run/netns/{name}");
    let ctl = match switchctl() {
        Some(path) => format!("{} --control {root}{CONTROL}", path.display()),
        None => format!("switchctl --control {root}{CONTROL}"),
    };
    let mut lines = vec![
        String::new(),
        "Everything stays up until Ctrl-C. From another terminal:".to_owned(),
        String::new(),
        "  ask the switch".to_owned(),
    ];
    for command in ["status", "rules", "fdb", "conntrack", "stats"] {
        lines.push(format!("    {ctl} {command}"));
    }
    if switchctl().is_none() {
        lines.push("    (switchctl is built by: cargo build --release --bin switchctl)".to_owned());
    }
    lines.extend([
        "  be in the container web, and in the other namespaces".to_owned(),
        format!("    {} sh", inside("web")),
        "    (likewise api, db and outside)".to_owned(),
        "  be on the host".to_owned(),
        format!("    {enter} -n sh"),
        "  serve a page in web, and get it from outside".to_owned(),
        format!("    {} python3 -m http.server 80", inside("web")),
        format!(
            "    {} curl http://{UPLINK}:{PUBLISHED}/",
            inside("outside")
        ),
        "  see what the switch logs".to_owned(),
        format!("    tail -f {root}{LOG}"),
    ]);
    lines
}
