use super::*;

const G: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const S: u32 = 1_000;

fn at(s: u32) -> Tick {
    Tick(s * S)
}

fn ports(g: &Groups, now: Tick) -> Option<Vec<u16>> {
    Some(g.ports(0, G, now)?.iter().map(|p| p.0).collect())
}

#[test]
fn members_age_and_are_refreshed() {
    let g = Groups::new(100);
    assert_eq!(ports(&g, at(0)), None, "nobody asked");
    g.join(0, G, PortId(1), false, at(0));
    g.join(0, G, PortId(2), false, at(100));
    assert_eq!(g.ports(7, G, at(1)), None, "another VLAN");
    assert_eq!(ports(&g, at(259)), Some(vec![1, 2]));
    g.join(0, G, PortId(2), false, at(259));
    assert_eq!(ports(&g, at(260)), Some(vec![2]));
    assert_eq!(ports(&g, at(519)), None);
    assert_eq!(g.due(at(519)), [0; 0]);
    assert!(g.is_empty() && g.next_deadline().is_none());
}

#[test]
fn a_leave_is_asked_about_and_ends_after_two_seconds() {
    let g = Groups::new(100);
    assert!(!g.leave(0, G, PortId(1), at(0)), "was none");
    g.join(0, G, PortId(1), false, at(0));
    g.join(0, G, PortId(2), false, at(0));
    assert!(g.leave(0, G, PortId(1), at(10)));
    assert_eq!(ports(&g, Tick(11_999)), Some(vec![1, 2]));
    assert_eq!(ports(&g, at(12)), Some(vec![2]));
    assert!(g.leave(0, G, PortId(2), at(20)));
    g.join(0, G, PortId(2), false, at(21));
    assert_eq!(ports(&g, at(30)), Some(vec![2]), "another one answered");
    // Who speaks IGMPv1 does not say when it goes.
    g.join(0, G, PortId(2), true, at(30));
    assert!(!g.leave(0, G, PortId(2), at(40)));
    assert_eq!(ports(&g, at(100)), Some(vec![2]));
}

#[test]
fn a_router_gets_everything_and_asks_in_our_place() {
    let g = Groups::new(100);
    g.join(0, G, PortId(1), false, at(0));
    assert_eq!(g.due(at(0)), [0], "at once");
    assert_eq!(g.due(at(124)), [0; 0]);
    assert_eq!(g.next_deadline(), Some(at(125)));
    assert_eq!(g.due(at(125)), [0]);
    g.query_heard(0, PortId(3), true, at(130));
    assert_eq!(ports(&g, at(131)), Some(vec![1, 3]));
    assert_eq!(g.routers(0, at(131)), [PortId(3)]);
    assert!(!g.leave(0, G, PortId(1), at(131)), "the router will ask");
    g.join(0, G, PortId(1), false, at(132));
    assert_eq!(g.due(at(250)), [0; 0]);
    g.join(0, G, PortId(1), false, at(380));
    assert_eq!(ports(&g, at(385)), Some(vec![1]));
    assert_eq!(g.due(at(385)), [0], "the router is gone");
    // A bridge that asks is no router.
    g.query_heard(0, PortId(4), false, at(390));
    assert_eq!(g.routers(0, at(391)), [PortId(0); 0]);
    assert_eq!(g.due(at(520)), [0; 0]);
}

#[test]
fn a_full_table_floods_what_it_can_not_hold() {
    let g = Groups::new(8);
    let group = |n: u8| Ipv4Addr::new(239, 0, 0, n);
    for n in 0..100 {
        g.join(0, group(n), PortId(1), false, at(0));
    }
    assert_eq!(g.len(), 2, "a quarter for one port");
    assert!(g.ports(0, group(1), at(1)).is_some() && g.ports(0, group(2), at(1)).is_none());
    for port in 2..9 {
        g.join(0, group(port), PortId(port.into()), false, at(0));
        g.join(0, group(1), PortId(port.into()), false, at(0));
    }
    assert_eq!(g.len(), 8);
    assert_eq!(g.ports(0, group(1), at(1)), None, "some member is missing");
    g.forget_port(PortId(1));
    g.forget_port(PortId(2));
    assert_eq!(g.len(), 4);
    assert_eq!(g.due(at(300)), [0; 0]);
    assert!(g.is_empty());
}

#[test]
fn link_local_groups_are_never_written_down() {
    let g = Groups::new(8);
    let mdns = Ipv4Addr::new(224, 0, 0, 251);
    g.join(0, mdns, PortId(1), false, at(0));
    assert!(g.is_empty() && g.ports(0, mdns, at(0)).is_none());
}

#[test]
fn routers_are_known_by_their_vlan_and_port() {
    let g = Groups::new(100);
    for (vid, port) in [(0, 3), (0, 4), (7, 4), (0, 3)] {
        g.query_heard(vid, PortId(port), true, at(0));
    }
    let mut of_all = g.routers(0, at(1));
    of_all.sort();
    assert_eq!(of_all, [PortId(3), PortId(4)]);
    assert_eq!(g.routers(7, at(1)), [PortId(4)]);
    // Each is known for as long as it asks itself.
    g.query_heard(0, PortId(4), true, at(200));
    assert_eq!(g.routers(0, at(300)), [PortId(4)]);
}
