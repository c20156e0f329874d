use super::*;
use crate::base::config::UplinkConfig;
use crate::base::{Mac, Proto, Tuple};
use crate::frame::{VnetHdr, parse};
use std::net::Ipv4Addr;

const M1: Mac = Mac([2, 0, 0, 0, 0, 1]);
const ROLES: [Role; 3] = [Role::Access, Role::Host, Role::Uplink];

fn config() -> Config {
    let mut cfg = Config::new([10, 0, 0, 0].into(), 24, [10, 0, 0, 1].into());
    cfg.uplink = Some(UplinkConfig {
        ip: [192, 0, 2, 1].into(),
        prefix: 24,
        mac: Mac([2, 0x42, 192, 0, 2, 1]),
        next_hop: [192, 0, 2, 2].into(),
        mtu: 1500,
    });
    cfg
}

fn v4(src: [u8; 4], dst: [u8; 4]) -> Parsed {
    Parsed {
        src: M1,
        dst: Mac([2, 0, 0, 0, 0, 2]),
        l3: L3::Ipv4,
        ethertype: 0x0800,
        tuple: Tuple {
            src: src.into(),
            dst: dst.into(),
            sport: 68,
            dport: 67,
            proto: Proto::UDP,
        },
        ..Parsed::default()
    }
}

/// What the guard says of a frame with these addresses.
fn judge(cfg: &Config, role: Role, p: &Parsed) -> Result<(), Reason> {
    let [high, low] = p.ethertype.to_be_bytes();
    let header = [&p.dst.0[..], &p.src.0, &[high, low]].concat();
    check(cfg, role, p, &header)
}

fn see(role: Role, src: [u8; 4], dst: [u8; 4]) -> Option<Reason> {
    judge(&config(), role, &v4(src, dst)).err()
}

fn route(role: Role, src: [u8; 4], dst: [u8; 4]) -> Option<Reason> {
    routed(&config(), role, &v4(src, dst)).err()
}

const C1: [u8; 4] = [10, 0, 0, 2];
const C2: [u8; 4] = [10, 0, 0, 3];
const OUT: [u8; 4] = [203, 0, 113, 9];

#[test]
fn source_addresses_of_ethernet() {
    let cfg = config();
    for role in ROLES {
        let mac = |src| {
            let p = Parsed {
                src,
                ..Parsed::default()
            };
            judge(&cfg, role, &p).err()
        };
        assert_eq!(mac(M1), None);
        assert_eq!(mac(Mac::BROADCAST), Some(Reason::SrcMacGroup));
        assert_eq!(mac(Mac([1, 0, 0x5e, 0, 0, 1])), Some(Reason::SrcMacGroup));
        assert_eq!(mac(Mac::ZERO), Some(Reason::SrcMacZero));
        let gateway = (role != Role::Host).then_some(Reason::SrcMacGateway);
        assert_eq!(mac(cfg.gateway_mac), gateway);
    }
}

#[test]
fn ordinary_traffic_passes() {
    for (role, src, dst) in [
        (Role::Access, C1, C2),
        (Role::Access, C1, OUT),
        (Role::Access, C1, [10, 0, 0, 255]),
        (Role::Access, C1, [255; 4]),
        (Role::Access, C1, [224, 0, 0, 251]),
        (Role::Access, [192, 168, 7, 7], [192, 168, 7, 8]),
        (Role::Access, [169, 254, 1, 1], [169, 254, 1, 2]),
        (Role::Host, [10, 0, 0, 1], C1),
        (Role::Host, [192, 0, 2, 1], C1),
        (Role::Uplink, OUT, [192, 0, 2, 1]),
        (Role::Uplink, [192, 0, 2, 2], [192, 0, 2, 1]),
    ] {
        assert_eq!(see(role, src, dst), None, "{role:?} {src:?} {dst:?}");
    }
}

#[test]
fn martians_from_anywhere() {
    for role in ROLES {
        let there = if role == Role::Uplink { OUT } else { C1 };
        for bad in [
            [127, 0, 0, 1],
            [224, 0, 0, 1],
            [239, 255, 255, 255],
            [240, 0, 0, 1],
            [255, 255, 255, 255],
            [0, 0, 0, 0],
            [0, 1, 2, 3],
        ] {
            assert_eq!(see(role, bad, C2), Some(Reason::Martian), "from {bad:?}");
        }
        for bad in [
            [127, 0, 0, 1],
            [0, 0, 0, 0],
            [0, 1, 2, 3],
            [240, 0, 0, 1],
            [255, 255, 255, 254],
        ] {
            assert_eq!(see(role, there, bad), Some(Reason::Martian), "to {bad:?}");
        }
        assert_eq!(see(role, there, there), Some(Reason::Land));
    }
}

#[test]
fn hosts_without_an_address_may_ask_for_one_but_are_not_routed() {
    let unspecified = [0, 0, 0, 0];
    assert_eq!(see(Role::Access, unspecified, [255; 4]), None);
    let cfg = config();
    let mut p = v4(unspecified, [255; 4]);
    p.tuple.dport = 68;
    assert_eq!(judge(&cfg, Role::Access, &p), Err(Reason::Martian));
    p = v4([0, 0, 0, 1], [255; 4]);
    assert_eq!(judge(&cfg, Role::Access, &p), Err(Reason::Martian));
    p = v4(unspecified, [224, 0, 0, 22]);
    assert_eq!(judge(&cfg, Role::Access, &p), Err(Reason::Martian));
    p.tuple.proto = Proto::IGMP;
    assert_eq!(judge(&cfg, Role::Access, &p), Ok(()));
    assert_eq!(route(Role::Access, unspecified, OUT), Some(Reason::Martian));
}

#[test]
fn addresses_that_are_ours() {
    let martian = Some(Reason::Martian);
    assert_eq!(see(Role::Access, [10, 0, 0, 1], C1), martian);
    assert_eq!(see(Role::Access, [192, 0, 2, 1], C1), martian);
    assert_eq!(see(Role::Access, [10, 0, 0, 255], C1), martian);
    assert_eq!(see(Role::Host, [10, 0, 0, 0], C1), martian);
    for src in [
        [10, 0, 0, 1],
        C1,
        [10, 0, 0, 255],
        [192, 0, 2, 1],
        [192, 0, 2, 255],
    ] {
        assert_eq!(see(Role::Uplink, src, OUT), martian, "{src:?}");
    }
    // In a VLAN they belong to whom they belong there.
    let mut p = v4([10, 0, 0, 1], C1);
    p.vid = 7;
    assert_eq!(judge(&config(), Role::Access, &p), Ok(()));
    // Without an uplink there is one address less.
    let mut cfg = config();
    cfg.uplink = None;
    assert_eq!(judge(&cfg, Role::Access, &v4([192, 0, 2, 1], C1)), Ok(()));
}

#[test]
fn what_may_be_routed() {
    assert_eq!(route(Role::Access, C1, OUT), None);
    assert_eq!(route(Role::Host, [10, 0, 0, 1], C1), None);
    assert_eq!(route(Role::Uplink, OUT, [192, 0, 2, 1]), None);
    let foreign = Some(Reason::SourceNotInSubnet);
    assert_eq!(route(Role::Access, [192, 168, 7, 7], OUT), foreign);
    assert_eq!(route(Role::Access, [10, 0, 1, 2], OUT), foreign);
    let group = Some(Reason::GroupDestination);
    for dst in [
        [224, 0, 0, 1],
        [255; 4],
        [10, 0, 0, 255],
        [10, 0, 0, 0],
        [192, 0, 2, 255],
    ] {
        assert_eq!(route(Role::Access, C1, dst), group, "{dst:?}");
        assert_eq!(route(Role::Uplink, OUT, dst), group, "{dst:?}");
    }
    let mut p = v4(C1, OUT);
    p.dst = Mac::BROADCAST;
    assert_eq!(routed(&config(), Role::Access, &p).err(), group);
    let link_local = [169, 254, 1, 1];
    assert_eq!(route(Role::Access, C1, link_local), Some(Reason::Martian));
    assert_eq!(route(Role::Uplink, link_local, OUT), Some(Reason::Martian));
}

#[test]
fn a_narrow_uplink_has_no_directed_broadcast() {
    let mut cfg = config();
    for (prefix, dst) in [
        (31, [192, 0, 2, 1]),
        (32, [192, 0, 2, 1]),
        (31, [192, 0, 2, 0]),
    ] {
        cfg.uplink = cfg.uplink.map(|u| UplinkConfig { prefix, ..u });
        assert_eq!(routed(&cfg, Role::Uplink, &v4(OUT, dst)), Ok(()));
    }
    cfg.uplink = cfg.uplink.map(|u| UplinkConfig { prefix: 0, ..u });
    assert_eq!(routed(&cfg, Role::Access, &v4(C1, OUT)), Ok(()));
}

/// An IPv6 frame with `payload` behind `next`.
fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut b = vec![0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x86, 0xdd];
    b.extend([0x60, 0, 0, 0, 0, payload.len() as u8, next, 255]);
    b.extend("fe80::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    b.extend("ff02::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    b.extend(payload);
    b
}

#[test]
fn containers_are_no_routers() {
    let icmp = |kind: u8| [[kind, 0, 0, 0], [0; 4], [0; 4], [0; 4]].concat();
    let hop_by_hop = |rest: &[u8]| [&[58, 0, 1, 4, 0, 0, 0, 0], rest].concat();
    let udp = |dport: u16| {
        let [a, b] = dport.to_be_bytes();
        [2, 35, a, b, 0, 8, 0, 0]
    };
    for (next, payload, expected) in [
        (58, icmp(134), Some(Reason::RogueRa)),
        (0, hop_by_hop(&icmp(134)), Some(Reason::RogueRa)),
        (58, icmp(137), Some(Reason::RogueRedirect)),
        (17, udp(546).to_vec(), Some(Reason::RogueDhcpv6)),
        (0, vec![58, 9, 1, 4, 0, 0, 0, 0], Some(Reason::Ipv6Chain)),
        (58, icmp(133), None),
        (58, icmp(135), None),
        (58, icmp(136), None),
        (17, udp(547).to_vec(), None),
    ] {
        let bytes = v6(next, &payload);
        let p = parse::parse(&bytes, &VnetHdr::PLAIN).unwrap();
        let seen = |role| check(&config(), role, &p, &bytes).err();
        assert_eq!(seen(Role::Access), expected, "{next} {payload:?}");
        assert_eq!(seen(Role::Host), None);
    }
}

#[test]
fn the_directed_broadcast_address_is_the_last_of_its_network() {
    let mut cfg = config();
    for (prefix, last) in [
        (8, [192, 255, 255, 255]),
        (25, [192, 0, 2, 127]),
        (30, [192, 0, 2, 3]),
    ] {
        cfg.uplink = cfg.uplink.map(|u| UplinkConfig { prefix, ..u });
        let to = |dst: Ipv4Addr| routed(&cfg, Role::Access, &v4(C1, dst.octets()));
        let last = Ipv4Addr::from(last);
        assert_eq!(to(last), Err(Reason::GroupDestination));
        assert_eq!(to(Ipv4Addr::from_bits(last.to_bits() - 1)), Ok(()));
    }
}
