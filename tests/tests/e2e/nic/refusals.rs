//! What can't be shared, in one sentence each.

use std::net::Ipv4Addr;
use switchd_tests::lab::Daemon;
use switchd_tests::lab::daemon::{Ended, switchd};
use switchd_tests::lab::nic::{HOST, LAN, NIC, NicWorld, give_address, host_and_lan, set_up};
use switchd_tests::lab::tcp::exchange;
use switchd_tests::lab::world::at;
use switchd_tests::scenario;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// Runs a daemon that is refused, with a control socket of its own.
fn refused(args: &[&str], parts: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let control = format!("--control={}", dir.path().join("s.sock").display());
    let end: Ended = switchd(&[&[control.as_str()], args].concat());
    assert_eq!(end.code, Some(1), "{args:?}: {end:?}");
    let line = end.stderr.trim_end();
    assert!(!line.contains('\n'), "{line}");
    for part in parts {
        assert!(line.contains(part), "{args:?}: '{line}' lacks '{part}'");
    }
}

scenario!(a_second_switch_on_the_same_interface, || {
    let w = NicWorld::new(&["--uplink=nic:nic0"]);
    let pid = w.daemon.pid().to_string();
    let other = ["--bridge=sw1", "--subnet=10.1.0.0/24"];
    let words = [
        "nic0 is the uplink of another switchd",
        &pid,
        "--uplink none",
    ];
    refused(&[&other[..], &["--uplink=nic"]].concat(), &words);
    refused(&[&other[..], &["--uplink=nic:nic0"]].concat(), &words);
    // One that was not asked to share it does without, and says why.
    let second = Daemon::start(&other);
    let log = second.log();
    assert!(
        log.contains("no uplink for now: nic0 is the uplink of another switchd"),
        "{log}"
    );
    second.terminate();
    w.finish();
});

scenario!(no_interface_no_route_no_address, || {
    let (host, _lan) = host_and_lan();
    refused(
        &["--uplink=nic:eth9"],
        &["--uplink nic:eth9", "no interface 'eth9'"],
    );
    refused(&["--uplink=nic:lo"], &["lo is no Ethernet interface"]);
    // The subnet is routed already.
    refused(&["--subnet=192.0.2.0/24"], &["192.0.2.0/24", "--subnet"]);
    set_up(&host, NIC, false);
    refused(
        &["--uplink=nic"],
        &["no default route", "--uplink nic:NAME"],
    );
    set_up(&host, NIC, true);
    switchd_tests::lab::nic::take_address(&host, NIC, HOST, 24);
    refused(&["--uplink=nic:nic0"], &["nic0 has no IPv4 address"]);
    assert_eq!(host.links(), ["lo", NIC], "nothing is left behind");
});

scenario!(without_the_right_to_it, || {
    let (host, _lan) = host_and_lan();
    // What a thread of root may not have is not had by the programs that it starts.
    host.run(|| {
        let raw = rustix::thread::CapabilitySet::NET_RAW;
        rustix::thread::remove_capability_from_bounding_set(raw).expect("dropping CAP_NET_RAW");
        refused(&["--uplink=nic"], &["CAP_NET_RAW", "run as root"]);
        let daemon = Daemon::start::<&str>(&[]);
        let log = daemon.log();
        assert!(
            log.contains("no uplink for now") && log.contains("CAP_NET_RAW"),
            "{log}"
        );
        daemon.terminate();
    });
});

scenario!(a_host_ip_restricts_and_has_to_be_the_hosts, || {
    let second = Ipv4Addr::new(192, 0, 2, 5);
    refused(&["--attach=/proc/self/ns/net"], &["host's namespace"]);
    let w = NicWorld::new(&["--ports=192.0.2.1:5000:10.0.0.2:5000"]);
    give_address(&w.host, NIC, second, 24);
    let server = w.c[0].listen(ANY, 5000);
    let x = exchange(&w.lan, at(HOST, 5000), &server, 1000);
    assert_eq!(x.seen_by_server, x.client);
    // The kernel's answer: nobody listens there.
    let e = w.lan.connect(at(second, 5000)).unwrap_err();
    assert_eq!(e.kind(), std::io::ErrorKind::ConnectionRefused);
    let no = |spec: &str, part: &str| {
        let out = switchd_tests::lab::switchctl(w.daemon.control(), &["publish", spec]);
        assert_eq!(out.code, Some(1), "{spec}: {out:?}");
        assert!(out.stderr.contains(part), "{spec}: {}", out.stderr);
    };
    no(
        "192.0.2.77:5002:10.0.0.2:5002",
        "192.0.2.77 is no address of this host",
    );
    // A port of the host's own is not taken from it.
    let service = w.host.listen(ANY, 7000);
    no("7000:10.0.0.2:7000", "taken by another program");
    let x = exchange(&w.lan, at(HOST, 7000), &service, 1000);
    assert_eq!(x.seen_by_server, x.client);
    let x = exchange(&w.host, at(LAN, 7001), &w.lan.listen(ANY, 7001), 1000);
    assert_eq!(x.seen_by_server, x.client);
    w.finish();
});
