//! Wrong words about `--uplink sockets` and `switchd attach`: one line that says what was wrong
//! and what to do.

use std::net::Ipv4Addr;
use switchd_tests::lab::daemon::end;
use switchd_tests::lab::rootless::Rootless;
use switchd_tests::scenario;

scenario!(wrong_words_get_one_line, || {
    let lab = Rootless::new();
    let _taken = lab.host.listen(Ipv4Addr::UNSPECIFIED, 6000);
    let own = std::process::id().to_string();
    let true_ = ["--", "true"];
    for (words, code, said) in [
        ("--uplink sockets,", 2, "dns=ADDRESS or dns=off"),
        ("--uplink sockets,mtu=1", 2, "'mtu=1'"),
        ("--uplink sockets,dns=x", 2, "'x'"),
        ("--uplink sockets,dns=off,dns=off", 2, "dns"),
        ("--uplink socket", 2, "sockets[,dns=ADDRESS|off]"),
        ("--uplink sockets --localhost off", 2, "leave it out"),
        ("--uplink sockets --host-netns x", 2, "start it there"),
        (
            "--uplink sockets --subnet 192.0.0.0/24",
            2,
            "choose another --subnet",
        ),
        ("run -p 80:80", 1, "privileged"),
        ("run -p 6000:6000", 1, "in use by another program"),
        ("run -p 203.0.113.9:5000:5000", 1, "no address of this host"),
        ("run -p 1024-60000:1024-60000", 1, "publish fewer"),
        ("attach", 2, "--pid"),
        ("attach --pid x", 2, "'x'"),
        ("attach --pid 4194000", 1, "there is no process 4194000"),
        (
            "attach --pid OWN --ready-fd 77",
            2,
            "77 is not an open descriptor",
        ),
        (
            "attach --pid OWN --exit-fd 1",
            2,
            "'1' is not the number of a descriptor",
        ),
        ("attach --pid OWN --ifname a/b", 2, "a/b"),
        ("attach --pid OWN --mtu 10", 2, "--mtu"),
        ("attach --pid OWN --uplink x", 2, "--uplink"),
        ("attach --pid OWN -p 5000", 2, "-p: '5000'"),
        ("attach --pid OWN", 1, "CAP_SYS_ADMIN"),
    ] {
        let mut cmd = lab.command("switchd");
        let words = words.replace("OWN", &own);
        cmd.args(words.split(' '));
        match words.split(' ').next() {
            Some("run") => {
                cmd.args(true_);
            }
            Some("attach") => {}
            _ => {
                cmd.arg("--control").arg(lab.path("x.sock"));
            }
        }
        let ended = end(&mut cmd);
        assert_eq!(ended.code, Some(code), "{words}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{words}: {}", ended.stderr);
        assert!(ended.stderr.contains(said), "{words}: {}", ended.stderr);
    }
});
