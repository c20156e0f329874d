use super::named::closest;
use super::*;

/// A new namespace, or `None` with a loud word where that is not permitted (a failure with `CI`).
pub fn new_netns() -> Option<Netns> {
    match Netns::create() {
        Ok(n) => Some(n),
        Err(NetnsError::NeedsAdmin { what }) => {
            assert!(std::env::var_os("CI").is_none(), "CI needs root: {what}");
            eprintln!("SKIPPED: {what} is not permitted here");
            None
        }
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn the_nearest_name_is_suggested_if_near() {
    let names = || vec!["web".to_owned(), "db".to_owned(), "frontend".to_owned()];
    assert_eq!(closest("wbe", names()).as_deref(), Some("web"));
    assert_eq!(closest("fronted", names()).as_deref(), Some("frontend"));
    assert_eq!(closest("cache", names()), None);
    let e = NetnsError::Unknown {
        name: "wbe".into(),
        near: closest("wbe", names()),
    };
    assert!(
        e.to_string()
            .ends_with("'wbe' under /run/netns (did you mean 'web'?)")
    );
}

#[test]
fn what_is_no_namespace_is_refused() {
    let open = |s: &str| Netns::open(&s.parse().unwrap()).unwrap_err();
    assert!(matches!(open("no-such-name"), NetnsError::Unknown { .. }));
    assert!(matches!(open("pid:4194304"), NetnsError::NoProcess(_)));
    assert!(matches!(open("/no/such/file"), NetnsError::NoFile { .. }));
    for other in ["/etc/hostname", "/proc/self/ns/mnt", "/proc/self"] {
        let e = open(other);
        assert!(matches!(e, NetnsError::NotANamespace(_)), "{other}: {e}");
    }
}

#[test]
fn own_namespace_needs_no_privilege() {
    let own = Netns::current().unwrap();
    let id = own.run(|| Netns::current().unwrap().id()).unwrap();
    assert_eq!(id, own.id());
    let by_pid = Netns::open(&NetnsRef::Pid(std::process::id())).unwrap();
    assert_eq!(by_pid.id(), own.id());
}

#[test]
fn work_inside_leaves_the_caller_outside() {
    let Some(ns) = new_netns() else { return };
    let outside = Netns::current().unwrap().id();
    assert_ne!(ns.id(), outside);
    // /proc/thread-self/net is the calling thread's namespace.
    let devices = ns
        .run(|| std::fs::read_to_string("/proc/thread-self/net/dev").unwrap())
        .unwrap();
    assert_eq!(
        devices.lines().count(),
        3,
        "two of headings, then lo: {devices}"
    );
    assert_eq!(Netns::current().unwrap().id(), outside);
    assert_eq!(Netns::open_path(&ns.proc_path()).unwrap().id(), ns.id());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        ns.run(|| panic!("inside")).unwrap();
    }));
    assert!(panicked.is_err());
}

#[test]
fn names_come_and_go() {
    if new_netns().is_none() {
        return;
    }
    let name = format!("swtest{}", std::process::id());
    match create_named(&name) {
        // Root of a user namespace may not write /run.
        Err(NetnsError::Io { source, .. }) if source.raw_os_error() == Some(libc::EACCES) => {
            eprintln!("SKIPPED: /run/netns may not be written");
            return;
        }
        r => r.unwrap(),
    }
    assert!(names().contains(&name));
    let ns = Netns::open(&NetnsRef::Name(name.clone())).unwrap();
    assert_ne!(ns.id(), Netns::current().unwrap().id());
    let again = create_named(&name).unwrap_err();
    assert!(matches!(again, NetnsError::Exists(_)), "{again}");
    delete_named(&name).unwrap();
    assert!(!names().contains(&name));
    let gone = delete_named(&name).unwrap_err();
    assert!(matches!(gone, NetnsError::Unknown { .. }), "{gone}");
    assert!(create_named("a/b").is_err() && delete_named("../netns").is_err());
}

#[test]
fn a_command_starts_in_a_user_namespace_of_its_own() {
    let script = "readlink /proc/self/ns/net; cat /proc/self/uid_map; id -u";
    let mut cmd = std::process::Command::new("sh");
    let out = match user::in_user_namespace(cmd.args(["-c", script])).output() {
        Ok(out) => String::from_utf8(out.stdout).unwrap(),
        Err(e) => {
            assert!(std::env::var_os("CI").is_none(), "{e}");
            eprintln!("SKIPPED: no user namespace: {e}");
            return;
        }
    };
    let words: Vec<&str> = out.split_whitespace().collect();
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_ne!(words[0], own.to_str().unwrap());
    let uid = nix::unistd::getuid().to_string();
    assert_eq!(words[1..], ["0", &uid, "1", "0"]);
}
