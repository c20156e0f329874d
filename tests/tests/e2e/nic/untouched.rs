//! No rule and no setting of the host is touched, whatever the switch is asked for.

use std::net::Ipv4Addr;
use switchd_tests::lab::nic::{HOST, LAN, NicWorld, Settings, host_and_lan};
use switchd_tests::lab::ruleset::{Ruleset, load_some};
use switchd_tests::lab::tcp::exchange;
use switchd_tests::lab::world::at;
use switchd_tests::scenario;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

scenario!(ruleset_and_sysctls_before_during_and_after, || {
    let w = NicWorld::new(&["--ports=5000:10.0.0.2:5000"]);
    let before = Settings::of(&w.host);
    let still = |when: &str| before.still_hold(&w.host, when);
    let server = w.c[0].listen(ANY, 5000);
    exchange(&w.lan, at(HOST, 5000), &server, 1 << 16);
    let outside = w.lan.listen(ANY, 8080);
    exchange(&w.c[1], at(LAN, 8080), &outside, 1 << 16);
    still("with traffic");
    w.daemon
        .ctl(&["publish", "5001-5100:10.0.0.3:5001-5100/udp"]);
    still("with more ports");
    w.daemon
        .ctl(&["unpublish", "5001-5100:10.0.0.3:5001-5100/udp"]);
    w.daemon.ctl(&["detach", "db"]);
    still("with less of all");
    // `finish` compares with the time before the switch came.
    w.finish();
});

scenario!(the_comparison_sees_what_changes, || {
    let (host, _lan) = host_and_lan();
    let Some(none) = Ruleset::of(host.netns()) else {
        return;
    };
    assert!(none.is_empty());
    load_some(host.netns()).unwrap();
    let some = Ruleset::of(host.netns()).unwrap();
    assert_eq!(some.len(), 3, "a table, a chain, a rule: {some:?}");
    assert_eq!(Ruleset::of(host.netns()).unwrap(), some, "it lasts");
    let settings = Settings::of(&host);
    host.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))
        .unwrap();
    assert_ne!(Settings::of(&host), settings);
    load_some(host.netns()).unwrap();
    assert_ne!(Ruleset::of(host.netns()).unwrap(), some);
});
