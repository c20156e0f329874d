use super::*;
use dataplane::slow::{Limits, Timeouts};
use dataplane::worker::wait::SPIN;
use proptest::prelude::*;
use std::time::Duration;

fn here() -> Surroundings {
    Surroundings {
        cores: 3,
        euid: 0,
        runtime_dir: None,
    }
}

/// The settings of a command line such as `--mtu 1500 --attach web`.
fn raw(line: &str) -> Raw {
    use clap::Parser;
    let args = std::iter::once("switchd").chain(line.split_whitespace());
    crate::cli::Switchd::try_parse_from(args).unwrap().raw
}

fn ok(line: &str) -> Plan {
    plan(&raw(line), &here()).unwrap_or_else(|e| panic!("{line}: {e}"))
}

#[test]
fn defaults() {
    let p = ok("");
    assert_eq!(p.network.subnet.to_string(), "10.0.0.0/24");
    assert_eq!(p.network.gateway.to_string(), "10.0.0.1");
    assert_eq!((p.network.bridge.as_str(), p.network.mtu), ("sw0", 1500));
    assert_eq!(
        (p.workers, p.offload, p.localhost),
        (1, Offload::Auto, true)
    );
    assert_eq!((p.spin, p.low_latency), (SPIN, false));
    assert!(p.bulk_worker, "of three cores one is the worker's");
    assert_eq!(p.control, PathBuf::from("/run/switchd/switchd.sock"));
    assert_eq!(
        (p.host_netns, p.uplink),
        (None, UplinkSpec::Nic(UplinkNic::DEFAULT))
    );
    assert!(p.attach.is_empty() && p.ports.is_empty());
    assert_eq!(p.timeouts, Timeouts::default());
    assert_eq!(p.limits, Limits::default());
    assert!(!p.tcp_pickup && p.igmp_snooping);
}

#[test]
fn an_ordinary_user_has_no_interface_to_share() {
    let here = Surroundings {
        euid: 1000,
        runtime_dir: Some(PathBuf::from("/run/user/1000")),
        ..here()
    };
    assert!(plan(&raw(""), &here).unwrap().uplink.sockets().is_some());
    let asked = UplinkNic {
        ifname: Some("eth0".parse().unwrap()),
        asked: true,
    };
    let p = plan(&raw("--uplink nic:eth0"), &here).unwrap();
    assert_eq!(p.uplink, UplinkSpec::Nic(asked));
    let e = plan(&raw("--uplink nic:sw0"), &here).unwrap_err();
    assert!(e.to_string().contains("own interface"), "{e}");
}

#[test]
fn the_command_lines_of_the_manual() {
    let p = ok(
        "--attach web:10.0.0.2 --attach db --ports 5000:10.0.0.2:5000,6000-6010:10.0.0.2:6000-6010/udp",
    );
    assert_eq!(p.ports.len(), 2);
    let ips: Vec<String> = p.attach.iter().map(|a| a.ip.to_string()).collect();
    assert_eq!(ips, ["10.0.0.2", "10.0.0.3"]);
    assert!(p.attach.iter().all(|a| a.mac == Mac::from_ip(a.ip)));

    let p = ok("--control /tmp/s.sock --host-netns sH \
         --uplink tap:sO:eth0,ip=192.0.2.1/24,peer=192.0.2.2/24 --attach sc1:10.0.0.2 \
         --attach sc2:10.0.0.3 --ports 5000-5100:10.0.0.2:5000-5100/tcp \
         --ports 5000-5100:10.0.0.2:5000-5100/udp");
    assert_eq!(p.ports.len(), 2);
    assert_eq!(p.host_netns, Some(NetnsRef::Name("sH".into())));
    assert_eq!(p.uplink.tap().unwrap().peer.to_string(), "192.0.2.2/24");
}

#[test]
fn addresses_given_by_name_are_not_handed_out() {
    let p = ok("--attach a --attach b:10.0.0.2 --attach c --gateway 10.0.0.4");
    let ips: Vec<String> = p.attach.iter().map(|a| a.ip.to_string()).collect();
    assert_eq!(ips, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
}

#[test]
fn one_worker_has_another_for_bulk_where_that_can_be() {
    for (line, there) in [
        ("", true),
        ("--workers 1", true),
        ("--bulk-worker auto", true),
        ("--bulk-worker off", false),
        ("--workers 2", false),
        ("--workers 2 --bulk-worker auto", false),
        ("--uplink sockets", false),
    ] {
        assert_eq!(ok(line).bulk_worker, there, "{line}");
    }
    let single = Surroundings { cores: 1, ..here() };
    assert!(!plan(&raw(""), &single).unwrap().bulk_worker);
}

#[test]
fn settings_arrive() {
    let p = ok(
        "--subnet 172.16.0.0/16 --gateway 172.16.9.9 --bridge br9 --mtu 9000 --workers 2 \
         --spin 20 --latency low \
         --offload csum,tso --localhost off --fdb-age 10s --neigh-age 20 \
         --tcp-established-timeout 3h --tcp-transitory-timeout 30 --tcp-closing-timeout 40 --udp-timeout 5m \
         --icmp-timeout 7 --fragment-timeout 8 --conntrack-max 1000 --log json/debug --uplink none \
         --host-connections 500 --host-ports 60 --port-rest 9 --tcp-pickup on --igmp-snooping off",
    );
    assert_eq!(p.network.gateway.to_string(), "172.16.9.9");
    assert_eq!(
        (p.network.bridge.as_str(), p.network.mtu, p.workers),
        ("br9", 9000, 2)
    );
    assert_eq!((p.spin, p.low_latency), (Duration::from_micros(20), true));
    assert_eq!(ok("--spin off").spin, Duration::ZERO);
    assert_eq!(ok("--spin auto --latency normal").spin, SPIN);
    assert!(!p.localhost && p.tcp_pickup && !p.igmp_snooping);
    let per_host = (p.limits.connections_per_host, p.limits.ports_per_host);
    assert_eq!(per_host, (500, 60));
    let s = Duration::from_secs;
    let want = Timeouts {
        tcp_established: s(10_800),
        tcp_transitory: s(30),
        tcp_closing: s(40),
        udp: s(300),
        icmp: s(7),
        fdb: s(10),
        fragment: s(8),
        neigh: s(20),
        port_rest: s(9),
    };
    assert_eq!(p.timeouts, want);
    assert_eq!(
        (
            p.limits.connections,
            p.limits.connections_per_port,
            p.limits.half_open_per_port
        ),
        (1000, 1000, 1000)
    );
    assert_eq!(p.log.to_string(), "json/debug");
}

#[test]
fn the_control_socket_has_a_place_or_the_user_is_told() {
    let mut h = Surroundings {
        cores: 1,
        euid: 1000,
        runtime_dir: Some("/run/user/1000".into()),
    };
    let at = |h: &Surroundings| plan(&Raw::default(), h).map(|p| p.control);
    assert_eq!(
        at(&h).unwrap(),
        PathBuf::from("/run/user/1000/switchd/switchd.sock")
    );
    h.runtime_dir = None;
    let e = at(&h).unwrap_err();
    assert!(
        e.to_string().contains("--control PATH") && e.code() == 2,
        "{e}"
    );
    let long = format!("--control /tmp/{}", "x".repeat(200));
    assert!(
        plan(&raw(&long), &h)
            .unwrap_err()
            .to_string()
            .contains("at most 107")
    );
}

#[test]
fn contradictions() {
    for (line, parts) in [
        (
            "--subnet 10.0.0.5/24",
            &["--subnet", "write 10.0.0.0/24"][..],
        ),
        ("--subnet 10.0.0.0/31", &["--subnet", "8 to 30"]),
        (
            "--gateway 10.0.1.1",
            &["--gateway", "10.0.1.1 is outside the subnet"],
        ),
        ("--gateway 10.0.0.0", &["--gateway", "network address"]),
        ("--gateway 10.0.0.255", &["--gateway", "broadcast address"]),
        ("--gateway x", &["--gateway", "'x'"]),
        ("--bridge sixteen_letters_", &["--bridge", "too long"]),
        ("--bridge lo", &["--bridge", "loopback"]),
        ("--mtu 67", &["--mtu", "68 to 65521"]),
        ("--mtu 65522", &["--mtu", "68 to 65521"]),
        ("--mtu x", &["--mtu", "'x'"]),
        ("--workers 0", &["--workers", "1 to 64"]),
        ("--spin 1001", &["--spin", "0 to 1000"]),
        ("--spin fast", &["--spin", "'fast'"]),
        ("--bulk-worker 2", &["--bulk-worker", "auto or off", "'2'"]),
        ("--latency high", &["--latency", "normal or low"]),
        ("--offload fast", &["--offload", "'fast'"]),
        ("--localhost maybe", &["--localhost", "on or off"]),
        ("--log loud", &["--log", "'loud'"]),
        ("--udp-timeout 0", &["--udp-timeout", "'0'"]),
        ("--conntrack-max 0", &["--conntrack-max", "1 to"]),
        ("--control /tmp/", &["--control", "path of a file"]),
        ("--host-netns a/b", &["--host-netns", "relative path"]),
        ("--uplink eth0", &["--uplink", "'eth0'"]),
        (
            "--attach web:10.0.1.2",
            &["--attach 'web:10.0.1.2'", "outside the subnet"],
        ),
        ("--attach web:10.0.0.1", &["gateway's address"]),
        ("--attach web:10.0.0.255", &["broadcast"]),
        (
            "--attach a:10.0.0.2 --attach b:10.0.0.2",
            &["--attach 'b:", "used by eth0@a"],
        ),
        (
            "--attach a:10.0.0.2 --attach a:10.0.0.3",
            &["eth0 in a is made twice", "name="],
        ),
        (
            "--attach a:10.0.0.2 --attach b,mac=02:42:0a:00:00:02",
            &["MAC 02:42:0a:00:00:02 is already used by eth0@a"],
        ),
        ("--attach a,mac=02:42:0a:00:00:01", &["used by the gateway"]),
        ("--host-netns h --attach h", &["is the host's namespace"]),
        (
            "--subnet 10.0.0.0/30 --attach a --attach b",
            &["--attach 'b'", "no address is free in 10.0.0.0/30"],
        ),
        ("--ports 0:10.0.0.2:80", &["--ports", "port '0'"]),
        (
            "--ports 80:10.0.9.2:80",
            &["--ports '80:10.0.9.2:80'", "outside the subnet"],
        ),
        ("--ports 80:10.0.0.1:80", &["gateway's address"]),
        ("--ports 80:10.0.0.0:80", &["network address"]),
        (
            "--ports 80-90:10.0.0.2:80-90,85:10.0.0.3:85",
            &[
                "--ports '85:10.0.0.3:85'",
                "overlaps '80-90:10.0.0.2:80-90/tcp'",
            ],
        ),
        (
            "--uplink tap:o:eth0,ip=192.0.2.1/24,peer=192.0.3.2/24",
            &["--uplink", "not in one network"],
        ),
        (
            "--uplink tap:o:eth0,ip=192.0.2.1/24,peer=192.0.2.2/25",
            &["--uplink", "not in one network"],
        ),
        (
            "--uplink tap:o:eth0,ip=192.0.2.1/24,peer=192.0.2.1/24",
            &["are both 192.0.2.1"],
        ),
        (
            "--uplink tap:o:eth0,ip=192.0.2.0/24,peer=192.0.2.1/24",
            &["ip: 192.0.2.0 is the network"],
        ),
        (
            "--uplink tap:o:eth0,ip=192.0.2.1/24,peer=192.0.2.255/24",
            &["peer: 192.0.2.255"],
        ),
        (
            "--uplink tap:o:eth0,ip=10.0.0.1/8,peer=10.0.0.2/8",
            &["overlaps the subnet"],
        ),
        (
            "--uplink tap:o:eth0,ip=192.0.2.1/24,peer=192.0.2.2/24 --attach o",
            &["eth0 in o is made twice"],
        ),
    ] {
        let e = plan(&raw(line), &here()).expect_err(line);
        assert_eq!(e.code(), 2, "{line}");
        let text = e.to_string();
        assert!(!text.contains('\n'), "{text}");
        for p in parts {
            assert!(text.contains(p), "{line}: '{text}' does not say '{p}'");
        }
    }
}

proptest! {
    /// A plan that is accepted contradicts nothing, whatever the words were.
    #[test]
    fn accepted_plans_hold(
        len in 24u8..=30,
        ips in proptest::collection::vec(proptest::option::of(0u8..=32), 0..12),
    ) {
        let raw = Raw {
            subnet: Some(format!("10.0.0.0/{len}")),
            attach: ips.iter().enumerate().map(|(i, ip)| match ip {
                Some(d) => format!("n{i}:10.0.0.{d}"),
                None => format!("n{i}"),
            }).collect(),
            ..Raw::default()
        };
        if let Ok(p) = plan(&raw, &here()) {
            prop_assert_eq!(p.attach.len(), ips.len());
            let mut seen = std::collections::BTreeSet::from([p.network.gateway]);
            for (a, wanted) in p.attach.iter().zip(&ips) {
                prop_assert!(seen.insert(a.ip), "{} twice", a.ip);
                prop_assert!(host_of(p.network.subnet, a.ip).is_ok());
                if let Some(d) = wanted {
                    prop_assert_eq!(a.ip.octets()[3], *d);
                }
            }
        }
    }
}
