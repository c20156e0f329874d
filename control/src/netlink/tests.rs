use super::*;
use crate::netns::tests::new_netns;
use std::os::fd::AsFd;

const IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

#[test]
fn broadcast_addresses() {
    let b = |ip: [u8; 4], prefix| {
        let ip = ip.into();
        let index = 1;
        Address { index, ip, prefix }.broadcast()
    };
    assert_eq!(b([10, 0, 0, 2], 24), Some([10, 0, 0, 255].into()));
    assert_eq!(b([10, 0, 0, 2], 30), Some([10, 0, 0, 3].into()));
    assert_eq!(b([10, 0, 0, 2], 8), Some([10, 255, 255, 255].into()));
    assert_eq!(b([10, 0, 0, 2], 31), None);
    assert_eq!(b([10, 0, 0, 2], 32), None);
}

#[test]
fn overlapping_routes() {
    let over = |dst: [u8; 4], prefix, ip: [u8; 4], p| {
        let dst = dst.into();
        let (gateway, index) = (None, None);
        Route {
            dst,
            prefix,
            gateway,
            index,
        }
        .overlaps(ip.into(), p)
    };
    assert!(over([10, 0, 0, 0], 8, [10, 0, 0, 0], 24));
    assert!(over([10, 0, 0, 128], 25, [10, 0, 0, 0], 24));
    assert!(over([10, 0, 0, 7], 32, [10, 0, 0, 0], 24));
    assert!(!over([10, 0, 1, 0], 24, [10, 0, 0, 0], 24));
    assert!(
        !over([0, 0, 0, 0], 0, [10, 0, 0, 0], 24),
        "the default route"
    );
}

#[test]
fn an_interface_from_making_to_deleting() {
    let (Some(a), Some(b)) = (new_netns(), new_netns()) else {
        return;
    };
    // From this thread, which is in neither.
    let mut here = Real::inside(&a).unwrap();
    let mut there = Real::inside(&b).unwrap();
    assert_eq!(here.links().unwrap().len(), 1);
    assert_eq!(here.link("lo").unwrap().unwrap().mtu, 65536);
    assert_eq!(here.link("nothing").unwrap(), None);

    here.create_veth("v0", "v1").unwrap();
    let v1 = here.link("v1").unwrap().unwrap();
    let mac = Mac([2, 0x42, 10, 0, 0, 2]);
    let change = LinkChange {
        netns: Some(b.as_fd()),
        mac: Some(mac),
        mtu: Some(1400),
        name: Some("eth0"),
        up: Some(true),
        txqlen: Some(5000),
        ..LinkChange::default()
    };
    here.change_link(v1.index, &change).unwrap();
    assert_eq!(here.link("v1").unwrap(), None);
    let eth0 = there.link("eth0").unwrap().unwrap();
    assert_eq!(
        (eth0.mac, eth0.mtu, eth0.txqlen, eth0.up),
        (mac, 1400, 5000, true)
    );
    assert!(!eth0.running, "its peer is down");
    let v0 = here.link("v0").unwrap().unwrap();
    let up = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    here.change_link(v0.index, &up).unwrap();
    assert!(here.link("v0").unwrap().unwrap().running);

    let address = Address {
        index: eth0.index,
        ip: IP,
        prefix: 24,
    };
    there.add_address(&address).unwrap();
    assert_eq!(there.addresses().unwrap(), [address]);
    let default = Route::default_via(GATEWAY, eth0.index);
    there.add_route(&default).unwrap();
    let mut routes = there.routes().unwrap();
    routes.sort_by_key(|r| r.prefix);
    let on_link = Route {
        dst: [10, 0, 0, 0].into(),
        prefix: 24,
        gateway: None,
        index: Some(eth0.index),
    };
    assert_eq!(routes, [default, on_link]);
    there.add_neighbour(eth0.index, GATEWAY, mac).unwrap();
    let arp = b.run(|| std::fs::read_to_string("/proc/thread-self/net/arp").unwrap());
    assert!(arp.unwrap().contains(&mac.to_string()));

    there.delete_address(&address).unwrap();
    assert_eq!(there.addresses().unwrap(), []);
    there.delete_link(eth0.index).unwrap();
    assert_eq!(here.link("v0").unwrap(), None, "its peer went with it");
}

#[test]
fn bridges_have_ports() {
    let Some(ns) = new_netns() else { return };
    let mut nl = Real::inside(&ns).unwrap();
    nl.create_veth("v0", "v1").unwrap();
    match nl.create_bridge("br0") {
        Err(e) if e.errno() == Some(libc::EOPNOTSUPP) => {
            eprintln!("SKIPPED: no bridge module: {e}");
            return;
        }
        r => r.unwrap(),
    }
    let br0 = nl.link("br0").unwrap().unwrap().index;
    let v0 = nl.link("v0").unwrap().unwrap().index;
    let change = LinkChange {
        master: Some(br0),
        ..LinkChange::default()
    };
    nl.change_link(v0, &change).unwrap();
    assert_eq!(nl.link("v0").unwrap().unwrap().master, Some(br0));
}

#[test]
fn refusals_say_what_was_attempted() {
    let Some(ns) = new_netns() else { return };
    let mut nl = Real::inside(&ns).unwrap();
    let address = Address {
        index: 77,
        ip: IP,
        prefix: 24,
    };
    let e = nl.add_address(&address).unwrap_err();
    assert_eq!(e.errno(), Some(libc::ENODEV));
    assert!(
        e.to_string()
            .contains("10.0.0.2/24 on interface 77: No such device"),
        "{e}"
    );
    let e = nl.add_route(&Route::default_via(GATEWAY, 1)).unwrap_err();
    assert!(
        e.to_string()
            .starts_with("adding the route 0.0.0.0/0 via 10.0.0.1"),
        "{e}"
    );
    nl.create_veth("v0", "v1").unwrap();
    let e = nl.create_veth("v0", "v2").unwrap_err();
    assert_eq!(e.errno(), Some(libc::EEXIST));
    let change = LinkChange {
        mtu: Some(1),
        name: Some("x"),
        ..LinkChange::default()
    };
    let e = nl.change_link(2, &change).unwrap_err();
    assert!(e.to_string().contains("MTU 1, name x"), "{e}");
    // The socket is in step after refusals.
    assert_eq!(nl.links().unwrap().len(), 3);
}
