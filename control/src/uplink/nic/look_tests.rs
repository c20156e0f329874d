use super::*;
use dataplane::base::Mac;

fn ip(s: &str) -> Ipv4Addr {
    s.parse().unwrap()
}

fn network() -> Network {
    Network {
        subnet: "10.0.0.0/24".parse().unwrap(),
        gateway: ip("10.0.0.1"),
        bridge: "sw0".parse().unwrap(),
        mtu: 1500,
    }
}

fn link(index: u32, name: &str, last: u8) -> Link {
    Link {
        index,
        name: name.to_owned(),
        mac: Mac([0, 0, 0, 0, 0, last]),
        mtu: 1500,
        ..Link::default()
    }
}

fn address(index: u32, s: &str, prefix: u8) -> Address {
    Address {
        index,
        ip: ip(s),
        prefix,
    }
}

fn route(dst: &str, prefix: u8, metric: u32, to: (u32, Option<&str>)) -> HostRoute {
    HostRoute {
        dst: ip(dst),
        prefix,
        metric,
        source: None,
        to: Some((to.0, to.1.map(ip))),
    }
}

/// Two interfaces that lead out, `sw0`, and a tunnel without Ethernet.
fn host() -> View {
    View {
        links: vec![
            link(1, "lo", 0),
            link(2, "eth0", 2),
            link(3, "wlan0", 3),
            link(4, "sw0", 4),
            link(5, "tun0", 0),
        ],
        addresses: vec![
            address(1, "127.0.0.1", 8),
            address(2, "198.51.100.9", 24),
            address(2, "192.0.2.1", 24),
            address(3, "203.0.113.1", 24),
            address(4, "10.0.0.1", 24),
        ],
        routes: vec![
            route("192.0.2.0", 24, 0, (2, None)),
            route("203.0.113.0", 24, 0, (3, None)),
            route("10.0.0.0", 24, 0, (4, None)),
            route("0.0.0.0", 0, 100, (2, Some("192.0.2.254"))),
            route("0.0.0.0", 0, 600, (3, Some("203.0.113.254"))),
        ],
    }
}

const ANY: UplinkNic = UplinkNic::DEFAULT;

fn named(name: &str) -> UplinkNic {
    UplinkNic {
        ifname: Some(name.parse().unwrap()),
        asked: true,
    }
}

#[test]
fn the_best_default_route_names_the_interface_and_its_router_the_address() {
    let c = host().choose(&ANY, &network(), None).unwrap();
    assert_eq!((c.index, c.name.as_str()), (2, "eth0"));
    assert_eq!(
        (c.leg.ip, c.leg.next_hop),
        (ip("192.0.2.1"), ip("192.0.2.254"))
    );
    assert_eq!(c.leg.mac, Mac([0, 0, 0, 0, 0, 2]));
    for (dst, hop) in [
        ("192.0.2.7", Some("192.0.2.7")),
        ("8.8.8.8", Some("192.0.2.254")),
        // By another interface: not by the uplink.
        ("203.0.113.7", None),
    ] {
        assert_eq!(c.host.next_hop(ip(dst)), hop.map(ip), "{dst}");
    }
    assert!(c.host.has(ip("203.0.113.1")) && c.host.has(ip("198.51.100.9")));
    assert!(!c.host.has(ip("10.0.0.1")) && !c.host.has(ip("127.0.0.1")));
}

#[test]
fn a_route_may_prefer_a_source() {
    let mut h = host();
    h.routes[3].source = Some(ip("198.51.100.9"));
    let c = h.choose(&ANY, &network(), None).unwrap();
    assert_eq!(c.leg.ip, ip("198.51.100.9"));
    // One that the interface doesn't have any more is no choice.
    h.addresses.remove(1);
    let c = h.choose(&ANY, &network(), None).unwrap();
    assert_eq!(c.leg.ip, ip("192.0.2.1"));
}

#[test]
fn the_default_route_moves_and_the_uplink_with_it() {
    let mut h = host();
    h.routes.remove(3);
    let c = h.choose(&ANY, &network(), Some(2)).unwrap();
    assert_eq!((c.name.as_str(), c.leg.ip), ("wlan0", ip("203.0.113.1")));
    // With none left it stays where it was, without a way out.
    h.routes.retain(|r| r.prefix > 0);
    let c = h.choose(&ANY, &network(), Some(2)).unwrap();
    assert_eq!(
        (c.name.as_str(), c.host.next_hop(ip("8.8.8.8"))),
        ("eth0", None)
    );
    assert_eq!(h.choose(&ANY, &network(), None), Err(Absent::NoRoute));
    assert_eq!(h.choose(&ANY, &network(), Some(9)), Err(Absent::NoRoute));
}

#[test]
fn a_named_interface_needs_no_default_route_but_an_address() {
    let mut h = host();
    let c = h.choose(&named("wlan0"), &network(), None).unwrap();
    assert_eq!((c.index, c.leg.next_hop), (3, ip("203.0.113.254")));
    h.addresses.retain(|a| a.index != 3);
    for (name, why) in [
        ("wlan0", Absent::NoAddress("wlan0".into())),
        ("eth7", Absent::NoInterface("eth7".into())),
        ("tun0", Absent::NotEthernet("tun0".into())),
        ("lo", Absent::NotEthernet("lo".into())),
        ("sw0", Absent::Own("sw0".into())),
    ] {
        assert_eq!(h.choose(&named(name), &network(), None), Err(why));
    }
}

#[test]
fn the_subnet_must_not_be_the_interfaces_own_network() {
    let mut h = host();
    h.addresses.push(address(2, "10.0.0.77", 16));
    let e = h.choose(&ANY, &network(), None).unwrap_err();
    assert_eq!(
        e.to_string(),
        "the network of eth0, 10.0.0.0/16, overlaps the subnet 10.0.0.0/24: choose another --subnet"
    );
}

#[test]
fn a_default_route_by_the_switch_itself_leads_nowhere() {
    let mut h = host();
    h.routes.retain(|r| r.prefix > 0);
    h.routes.push(route("0.0.0.0", 0, 0, (4, None)));
    assert_eq!(h.choose(&ANY, &network(), None), Err(Absent::NoRoute));
}
