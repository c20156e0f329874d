//! What wrong input gets: one sentence on stderr, 2 for wrong words, 1 for what the system
//! refuses, and nothing half-made left behind.

use control::netlink::{Address, LinkChange, Netlink};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use switchd_tests::lab::daemon::{Ended, switchctl, switchd};
use switchd_tests::lab::{Daemon, Ns};
use switchd_tests::{scenario, scenario_as_ordinary_user};

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// A host, the namespaces `web` and `db`, and a place for the control socket.
struct Place {
    host: Ns,
    web: Ns,
    db: Ns,
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place {
            host: Ns::own(),
            web: Ns::named("web"),
            db: Ns::named("db"),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn control(&self) -> PathBuf {
        self.dir.path().join("s.sock")
    }

    /// Runs a daemon that is refused: with this code, in one line with these parts, and without
    /// a trace in any of the namespaces.
    fn refused(&self, args: &str, code: i32, parts: &[&str]) {
        let before = [&self.host, &self.web, &self.db].map(Ns::links);
        let control = format!("--control={}", self.control().display());
        let mut all = vec![control.as_str()];
        all.extend(args.split_whitespace());
        one_line(&switchd(&all), "switchd", args, code, parts);
        let after = [&self.host, &self.web, &self.db].map(Ns::links);
        assert_eq!(before, after, "{args}");
        assert!(!self.control().exists(), "{args}: the control socket stays");
    }
}

fn one_line(end: &Ended, program: &str, args: &str, code: i32, parts: &[&str]) {
    assert_eq!(end.code, Some(code), "{args}: {end:?}");
    assert_eq!(end.stdout, "", "{args}");
    let line = end.stderr.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "{args}: {line}");
    assert!(line.starts_with(&format!("{program}: ")), "{args}: {line}");
    for part in parts {
        assert!(line.contains(part), "{args}: '{line}' lacks '{part}'");
    }
}

scenario!(wrong_words, || {
    let p = Place::new();
    for (args, parts) in [
        (
            "--attach web:10.0.1.2",
            &["10.0.1.2", "outside the subnet"][..],
        ),
        ("--attach web:10.0.0.1", &["10.0.0.1", "gateway's address"]),
        (
            "--attach web:10.0.0.2 --attach db:10.0.0.2",
            &["already used by eth0@web"],
        ),
        ("--ports 0:10.0.0.2:80", &["port '0'"]),
        ("--ports 70000:10.0.0.2:80", &["port '70000'"]),
        ("--ports 80-90:10.0.0.2:80-89", &["11 ports to 10"]),
        ("--ports 80-90:10.0.0.2:80-90,90:10.0.0.3:90", &["overlaps"]),
        ("--bridge a-name-that-is-too-long", &["too long"]),
        ("--port 80:10.0.0.2:80", &["did you mean --ports?"]),
        (
            "--attach /etc/passwd",
            &["/etc/passwd is not a network namespace"],
        ),
    ] {
        p.refused(args, 2, parts);
    }
    let file = p.dir.path().join("switchd.toml");
    std::fs::write(&file, "sub_net = \"10.0.0.0/24\"\n").unwrap();
    let args = format!("--config {}", file.display());
    p.refused(
        &args,
        2,
        &["switchd.toml", "'sub_net'", "did you mean 'subnet'?"],
    );
});

scenario!(what_the_system_refuses, || {
    let p = Place::new();
    // Each comes after something that has been made and has to go again.
    p.refused(
        "--attach web --attach dv",
        1,
        &["'dv'", "did you mean 'db'?"],
    );
    p.refused(
        "--attach web --attach pid:999999999",
        1,
        &["no process 999999999"],
    );
    p.refused(
        "--attach web --attach db,name=lo",
        1,
        &["'lo' exists already in db"],
    );
    p.refused("--host-netns nope", 1, &["'nope'"]);
    p.refused(
        "--uplink tap:no:e,ip=192.0.2.1/24,peer=192.0.2.2/24",
        1,
        &["'no'"],
    );
    p.refused("--config /nonexistent", 1, &["/nonexistent"]);
});

scenario!(a_port_that_another_program_has, || {
    let p = Place::new();
    let tcp = p.host.listen(ANY, 5000);
    let udp = UdpSocket::bind((ANY, 5001)).unwrap();
    p.refused(
        "--attach web --ports 5000:10.0.0.2:80",
        1,
        &["0.0.0.0:5000/tcp is taken by another program"],
    );
    // The ports of a range that were free before it are free after it.
    p.refused(
        "--attach web --ports 4990-5010:10.0.0.2:4990-5010/udp",
        1,
        &["0.0.0.0:5001/udp is taken"],
    );
    drop(UdpSocket::bind((ANY, 4995)).unwrap());
    p.refused(
        "--ports 198.51.100.1:80:10.0.0.2:80",
        1,
        &["198.51.100.1 is no address of this host"],
    );
    drop((tcp, udp));
    Daemon::start(&["--ports=5000:10.0.0.2:80", "--ports=5001:10.0.0.2:1/udp"]).terminate();
});

scenario!(a_network_that_the_host_has, || {
    let p = Place::new();
    let mut nl = p.host.netlink();
    nl.create_veth("lan0", "lan1").unwrap();
    let index = nl.link("lan0").unwrap().unwrap().index;
    let up = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    nl.change_link(index, &up).unwrap();
    let ip = Ipv4Addr::new(10, 0, 0, 77);
    nl.add_address(&Address {
        index,
        ip,
        prefix: 26,
    })
    .unwrap();
    let parts = &["overlaps the host's route to 10.0.0.64/26", "--subnet"];
    p.refused("", 1, parts);
    p.refused("--subnet 10.0.0.0/8", 1, parts);
    p.refused(
        "--subnet 10.9.0.0/24 --bridge lan1",
        1,
        &["'lan1' exists already"],
    );
    Daemon::start(&["--subnet=10.0.1.0/24"]).terminate();
});

scenario!(what_is_in_the_place_of_the_control_socket, || {
    let p = Place::new();
    // A stale one is taken over; another file is not.
    drop(UnixListener::bind(p.control()).unwrap());
    let second = Daemon::start_at(
        &p.control(),
        &["--attach=web"],
        tempfile::tempdir().unwrap(),
    );
    assert!(second.log().contains("took over"), "{}", second.log());
    second.terminate();
    std::fs::write(p.control(), "precious").unwrap();
    let end = switchd(&["--control", p.control().to_str().unwrap()]);
    one_line(&end, "switchd", "file", 1, &["is not a socket"]);
    assert_eq!(std::fs::read(p.control()).unwrap(), b"precious");
});

scenario!(calls_to_a_running_daemon, || {
    let p = Place::new();
    let taken = p.host.listen(ANY, 5000);
    let d = Daemon::start(&["--attach=web:10.0.0.2", "--ports=6000:10.0.0.2:80"]);
    let before = (d.ports().len(), d.rules());
    for (args, code, parts) in [
        ("attach db:10.0.0.2", 1, &["already used by eth0@web"][..]),
        ("attach db:10.0.0.1", 1, &["gateway's"]),
        ("attach db:10.9.0.2", 2, &["outside the subnet"]),
        ("attach nope", 1, &["'nope'"]),
        ("attach db,name=a/b", 2, &["a/b"]),
        ("attach db,name=lo", 1, &["'lo' exists already"]),
        ("detach nope", 1, &["'nope'", "switchctl ports"]),
        ("detach sw0", 1, &["belongs to the switch itself"]),
        ("publish 5000:10.0.0.2:80", 1, &["taken by another program"]),
        (
            "publish 6000:10.0.0.3:80",
            1,
            &["overlaps the published 6000:10.0.0.2:80/tcp"],
        ),
        ("publish 80:10.0.9.2:80", 2, &["outside the subnet"]),
        ("publish 80", 2, &["is not a port to publish"]),
        ("unpublish 99", 1, &["'99'"]),
        ("unpublish 6001:10.0.0.2:80", 1, &["nothing is published"]),
        ("prots", 2, &["did you mean ports?"]),
    ] {
        let args_: Vec<&str> = args.split(' ').collect();
        one_line(
            &switchctl(d.control(), &args_),
            "switchctl",
            args,
            code,
            parts,
        );
    }
    assert_eq!((d.ports().len(), d.rules()), before);
    assert_eq!(p.db.links(), ["lo"]);
    // What was refused is free to be had.
    d.ctl(&["attach", "db"]);
    assert_eq!(d.ports()[2].ip, Some(Ipv4Addr::new(10, 0, 0, 3)));
    drop(taken);
    d.ctl(&["publish", "5000:10.0.0.2:80"]);
    d.ctl(&["unpublish", "5000:10.0.0.2:80/tcp"]);
    drop(p.host.listen(ANY, 5000));
    d.ctl(&["detach", "10.0.0.3"]);
    d.terminate();
    let end = switchctl(&p.control(), &["fdb"]);
    one_line(&end, "switchctl", "fdb", 1, &["s.sock", "start switchd"]);
});

fn default_control_socket() {
    let host = Ns::own();
    // Root's place, or the user's who is root in here: /run/switchd/switchd.sock.
    let d = Daemon::start_at(
        "/run/switchd/switchd.sock".as_ref(),
        &["--subnet=10.7.0.0/24"],
        tempfile::tempdir().unwrap(),
    );
    let end = switchd(&["--help"]);
    assert_eq!((end.code, end.stderr.as_str()), (Some(0), ""));
    for flag in control::flags::Raw::names() {
        assert!(end.stdout.contains(&format!("--{flag}")), "{flag}");
    }
    assert_eq!(host.links(), ["lo", "sw0"]);
    d.terminate();
    assert!(!PathBuf::from("/run/switchd").exists());
}

scenario!(
    the_usual_place_of_the_control_socket,
    default_control_socket
);
scenario_as_ordinary_user!(as_an_ordinary_user, default_control_socket);

scenario_as_ordinary_user!(idle_states_are_not_an_ordinary_users, || {
    Place::new().refused(
        "--latency low",
        1,
        &["/dev/cpu_dma_latency", "leave --latency low out"],
    );
});
