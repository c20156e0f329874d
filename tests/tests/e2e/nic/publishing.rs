//! Many ports at once on a shared address: each a listener of the host, or one rule without any.
//! What it took is printed, and nothing depends on it.

use control::api::Client;
use control::api::types::{Publication, PublishRequest};
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::Instant;
use switchd_tests::lab::nic::{HOST, NicWorld};
use switchd_tests::lab::switchctl;
use switchd_tests::lab::tcp::exchange;
use switchd_tests::lab::world::{GATEWAY, at};
use switchd_tests::scenario;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn publish(client: &Client, spec: String) -> Publication {
    let made = client.post("/v1/publications", &PublishRequest { spec });
    made.unwrap_or_else(|e| panic!("publishing: {e}"))
}

scenario!(two_hundred_ports_with_their_listeners, || {
    let w = NicWorld::new(&[]);
    let client = Client::new(w.daemon.control());
    let begun = Instant::now();
    for port in 10_000..10_206 {
        publish(&client, format!("{port}:10.0.0.2:{port}"));
    }
    println!("206 ports, one by one over the API: {:?}", begun.elapsed());
    let begun = Instant::now();
    publish(&client, "11000-11205:10.0.0.2:11000-11205".to_owned());
    println!("206 ports as one range: {:?}", begun.elapsed());
    // Ports that masquerade held are given up for it.
    publish(&client, "61000-61010:10.0.0.2:61000-61010".to_owned());
    for port in [10_000, 10_205, 11_000, 11_205, 61_005] {
        let server = w.c[0].listen(ANY, port);
        let x = exchange(&w.lan, at(HOST, port), &server, 1_000);
        assert_eq!(x.seen_by_server, x.client, "{port}");
        let x = exchange(&w.host, at(LOCALHOST, port), &server, 1_000);
        assert_eq!(x.seen_by_server.ip(), GATEWAY, "{port}");
    }
    // More listeners than there are descriptors.
    let spec = "1024-60999:10.0.0.3:1024-60999";
    let out = switchctl(w.daemon.control(), &["publish", spec]);
    assert_eq!(out.code, Some(1), "{out:?}");
    assert!(out.stderr.contains("overlaps"), "{}", out.stderr);
    w.finish();
});

scenario!(sixty_thousand_ports_without_listeners, || {
    let w = NicWorld::new(&["--localhost=off"]);
    let client = Client::new(w.daemon.control());
    let begun = Instant::now();
    let range = publish(&client, "1024-60999:10.0.0.2:1024-60999".to_owned());
    println!("59,976 ports as one rule: {:?}", begun.elapsed());
    for port in [1_024, 33_333, 60_999] {
        let server = w.c[0].listen(ANY, port);
        let x = exchange(&w.lan, at(HOST, port), &server, 1_000);
        assert_eq!(x.seen_by_server, x.client, "{port}");
    }
    // Where nobody listens it is the container that says so.
    let e = w.lan.connect(at(HOST, 2_000)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::ConnectionRefused);
    // The host's own connections go on by ports of the range.
    let server = w.lan.listen(ANY, 8080);
    let x = exchange(
        &w.host,
        at(switchd_tests::lab::nic::LAN, 8080),
        &server,
        1 << 20,
    );
    assert_eq!(x.seen_by_server, x.client);
    // Withdrawn, the kernel answers again.
    w.daemon.ctl(&["unpublish", &range.id.to_string()]);
    let service = w.host.listen(ANY, 2_000);
    let x = exchange(&w.lan, at(HOST, 2_000), &service, 1_000);
    assert_eq!(x.seen_by_server, x.client);
    w.finish();
});

scenario!(masquerade_goes_on_when_its_ports_are_published, || {
    let w = NicWorld::new(&[]);
    let client = Client::new(w.daemon.control());
    let server = w.lan.listen(ANY, 8080);
    let out = || {
        let x = exchange(
            &w.c[1],
            at(switchd_tests::lab::nic::LAN, 8080),
            &server,
            1_000,
        );
        assert_eq!(x.seen_by_server.ip(), HOST);
        x.seen_by_server.port()
    };
    // All that is held at first: what lies above the kernel's own range.
    let range = "61000-65535:10.0.0.2:61000-65535";
    assert!(out() >= 61_000);
    let all = publish(&client, range.to_owned());
    assert!(out() < 61_000);
    w.daemon.ctl(&["unpublish", &all.id.to_string()]);
    // What can't be published takes nothing away.
    let taken = w.host.listen(HOST, 61_234);
    let refused = switchctl(w.daemon.control(), &["publish", range]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(out() < 61_000);
    drop(taken);
    publish(&client, range.to_owned());
    out();
    w.finish();
});
