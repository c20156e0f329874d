//! What `switchctl` prints about traffic that really flowed.

use std::net::Ipv4Addr;
use std::time::Duration;
use switchd_tests::lab::tcp::{exchange, pair};
use switchd_tests::lab::world::{C1, C2, OUTSIDE, UPLINK, at};
use switchd_tests::lab::{World, WorldSpec, ping, wait_for};
use switchd_tests::scenario;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// The first two numbers of the line of `rules` that has all these words.
fn counters(rules: &str, words: &[&str]) -> (u64, u64) {
    let mut lines = rules
        .lines()
        .filter(|l| words.iter().all(|w| l.contains(w)));
    let line = lines
        .next()
        .unwrap_or_else(|| panic!("no line with {words:?} in\n{rules}"));
    assert_eq!(lines.next(), None, "two lines with {words:?} in\n{rules}");
    let mut numbers = line.split_whitespace().map(|w| w.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

scenario!(counters_of_rules_move_by_connections, || {
    let w = World::new(&WorldSpec::default().with(&["--ports=5000:10.0.0.2:80"]));
    let server = w.c[0].listen(ANY, 80);
    let outside = w.out.listen(ANY, 8080);
    let dnat = ["DNAT", "tcp dpt:5000 to:10.0.0.2:80"];
    let masquerade = ["MASQUERADE", "all", "!sw0", "10.0.0.0/24"];
    let rules = w.daemon.ctl(&["rules"]);
    for chain in ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING", "DOCKER"] {
        assert!(rules.contains(&format!("Chain {chain} (")), "{rules}");
    }
    assert_eq!(counters(&rules, &dnat), (0, 0));
    assert_eq!(counters(&rules, &masquerade), (0, 0));
    for n in 1..=3 {
        exchange(&w.out, at(UPLINK, 5000), &server, 50_000);
        exchange(&w.c[1], at(OUTSIDE, 8080), &outside, 50_000);
        let rules = w.daemon.ctl(&["rules"]);
        // As in netfilter, the packet that opens a connection: a SYN of 60 bytes.
        assert_eq!(counters(&rules, &dnat), (n, n * 60));
        assert_eq!(counters(&rules, &masquerade), (n, n * 60));
    }
    // What stays inside or comes from the host asks no rule.
    exchange(&w.c[1], at(C1, 80), &server, 50_000);
    exchange(&w.host, at(Ipv4Addr::LOCALHOST, 5000), &server, 50_000);
    let rules = w.daemon.ctl(&["rules"]);
    assert_eq!(counters(&rules, &dnat).0, 3);
    // A rule comes and goes with its publication; the others keep their counters.
    w.daemon
        .ctl(&["publish", "6000-6009:10.0.0.3:7000-7009/udp"]);
    let more = w.daemon.ctl(&["rules"]);
    assert_eq!(
        counters(&more, &["DNAT", "udp dpts:6000:6009 to:10.0.0.3:7000-7009"]),
        (0, 0)
    );
    w.daemon
        .ctl(&["unpublish", "6000-6009:10.0.0.3:7000-7009/udp"]);
    assert_eq!(w.daemon.ctl(&["rules"]), rules);
    w.finish();
});

scenario!(connections_are_listed_as_conntrack_does, || {
    let w = World::new(&WorldSpec::default().with(&["--ports=5000:10.0.0.2:80"]));
    let server = w.c[0].listen(ANY, 80);
    let (client, held) = pair(&w.out, at(UPLINK, 5000), &server);
    let port = client.local_addr().unwrap().port();
    let line = |needle: &str| {
        let all = w.daemon.ctl(&["conntrack"]);
        let found = all.lines().find(|l| l.contains(needle)).map(str::to_owned);
        found.unwrap_or_else(|| panic!("no '{needle}' in\n{all}"))
    };
    let there = format!("src=192.0.2.2 dst=192.0.2.1 sport={port} dport=5000");
    let back = format!("src=10.0.0.2 dst=192.0.2.2 sport=80 dport={port}");
    let tcp = line("ESTABLISHED");
    assert!(tcp.starts_with("tcp      6 7"), "{tcp}");
    assert!(tcp.contains(&format!("{there} {back} [ASSURED]")), "{tcp}");
    drop((client, held));
    // The two FINs may cross, and their last ACKs are still under way when `drop` returns.
    wait_for("the connection's end", || {
        line(&there).contains("TIME_WAIT").then_some(())
    });
    let pings = w.c[0]
        .run(|| ping(OUTSIDE, 1, 56, Duration::from_secs(5)))
        .unwrap();
    assert!(pings.all());
    let icmp = line("icmp");
    assert!(
        icmp.contains("src=10.0.0.2 dst=192.0.2.2 type=8 code=0 id="),
        "{icmp}"
    );
    assert!(
        icmp.contains("src=192.0.2.2 dst=192.0.2.1 type=0 code=0 id="),
        "{icmp}"
    );
    // Nobody answers: the way back was not used.
    let quiet = w.out.udp(ANY, 9999);
    w.c[0].udp(ANY, 0).send_to(b"?", at(OUTSIDE, 9999)).unwrap();
    quiet.recv(&mut [0; 9]).unwrap();
    assert!(
        line("dport=9999").contains("[UNREPLIED]"),
        "{}",
        line("dport=9999")
    );
    w.finish();
});

scenario!(tables_and_ports_name_what_is_there, || {
    let w = World::new(&WorldSpec::default());
    let before = w.daemon.ports();
    let pings = w.c[0]
        .run(|| ping(C2, 10, 1000, Duration::from_secs(5)))
        .unwrap();
    assert!(pings.all());
    w.c[0]
        .run(|| ping(OUTSIDE, 1, 56, Duration::from_secs(5)))
        .unwrap();
    let fdb = w.daemon.ctl(&["fdb"]);
    for line in [
        "02:42:0a:00:00:01 dev sw0 master sw0 permanent",
        "02:42:0a:00:00:02 dev eth0@c1 master sw0",
        "02:42:0a:00:00:03 dev eth0@c2 master sw0",
    ] {
        assert!(fdb.lines().any(|l| l == line), "{fdb}");
    }
    let neigh = w.daemon.ctl(&["neigh"]);
    let outside = w.out.link("eth0").unwrap().mac;
    let line = format!("192.0.2.2 dev eth0@out lladdr {outside} REACHABLE");
    assert!(neigh.lines().any(|l| l == line), "{neigh}");
    // Ten frames of 1042 bytes each way, and little else.
    for (name, after) in w.daemon.ports().iter().map(|p| (p.name.clone(), p)) {
        let before = before.iter().find(|p| p.name == name).unwrap();
        let (rx, tx) = (
            after.rx_bytes - before.rx_bytes,
            after.tx_bytes - before.tx_bytes,
        );
        match name.as_str() {
            "eth0@c1" | "eth0@c2" => assert!(rx >= 10_420 && tx >= 10_420, "{after:?}"),
            _ => assert!(rx < 5_000 && tx < 5_000, "{after:?}"),
        }
        assert_eq!(after.drops, 0, "{after:?}");
    }
    let ports = w.daemon.ctl(&["ports"]);
    let status = w.daemon.ctl(&["status"]);
    for name in ["sw0", "eth0@out", "eth0@c1", "eth0@c2"] {
        assert!(ports.lines().any(|l| l.starts_with(name)), "{ports}");
    }
    assert!(
        status.contains("192.0.2.1/24") && status.contains("10.0.0.1"),
        "{status}"
    );
    for command in [
        "status",
        "ports",
        "fdb",
        "neigh",
        "rules",
        "conntrack",
        "stats",
    ] {
        let json = w.daemon.ctl(&["--json", command]);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(value.is_object() || value.is_array(), "{command}: {json}");
    }
    w.finish();
});
