use super::responder::{arp, request};
use super::testing::{M1, M2, P, frame, ip, resolve, table, tags};
use super::*;
use crate::base::config::{Config, UplinkConfig};
use crate::base::{Mac, Reason, Role, Tick};
use crate::flow::Zone;
use crate::frame::{Arp, L3, Parsed};
use std::net::Ipv4Addr;

const GATEWAY: Mac = Mac([2, 0x42, 10, 0, 0, 1]);
const UPLINK: Mac = Mac([2, 0x42, 192, 0, 2, 1]);

fn out(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, n)
}

fn config() -> Config {
    let mut cfg = Config::new(ip(0), 24, ip(1));
    cfg.uplink = Some(UplinkConfig {
        ip: out(1),
        prefix: 24,
        mac: UPLINK,
        next_hop: out(2),
        mtu: 1500,
    });
    cfg
}

struct Ask {
    role: Role,
    dst: Mac,
    src: Mac,
    arp: Arp,
    vid: u16,
}

impl Ask {
    fn new(role: Role, op: u16, sha: Mac, spa: Ipv4Addr, tpa: Ipv4Addr) -> Ask {
        let arp = Arp {
            op,
            sha,
            spa,
            tha: Mac::ZERO,
            tpa,
        };
        Ask {
            role,
            dst: Mac::BROADCAST,
            src: sha,
            arp,
            vid: 0,
        }
    }

    fn run(&self, n: &Neighbours) -> ArpVerdict {
        let f = self.arp.frame(self.dst);
        let p = Parsed {
            dst: self.dst,
            src: self.src,
            vid: self.vid,
            l3: L3::Arp,
            ethertype: 0x0806,
            l3_off: 14,
            ..Parsed::default()
        };
        arp(&config(), self.role, &p, f.bytes(), Tick(0), n)
    }

    fn reason(&self) -> Option<Reason> {
        let n = table();
        let v = self.run(&n);
        assert!(
            n.is_empty() || !matches!(v.action, ArpAction::Drop(_)),
            "learned from a drop"
        );
        match v.action {
            ArpAction::Drop(reason) => Some(reason),
            _ => None,
        }
    }
}

fn answer(v: &ArpVerdict) -> Arp {
    match &v.action {
        ArpAction::Reply(f) => {
            let a = Arp::decode(f.bytes(), 14).unwrap();
            assert_eq!(f.bytes()[..6], a.tha.0);
            assert_eq!(f.bytes()[6..12], a.sha.0);
            a
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_gateway_is_answered_for_and_the_asker_learned() {
    let n = table();
    let v = Ask::new(Role::Access, 1, M1, ip(2), ip(1)).run(&n);
    let expected = Arp {
        op: 2,
        sha: GATEWAY,
        spa: ip(1),
        tha: M1,
        tpa: ip(2),
    };
    assert_eq!(answer(&v), expected);
    assert_eq!(resolve(&n, 2, 1), Resolve::Known(M1));
    // A probe for the gateway's address is answered (RFC 5227: defended) and teaches nothing.
    let v = Ask::new(Role::Access, 1, M2, Ipv4Addr::UNSPECIFIED, ip(1)).run(&n);
    assert_eq!(answer(&v).tpa, Ipv4Addr::UNSPECIFIED);
    // Nor does a sender from outside the subnet.
    answer(&Ask::new(Role::Access, 1, M2, out(9), ip(1)).run(&n));
    answer(&Ask::new(Role::Access, 1, M2, ip(255), ip(1)).run(&n));
    assert_eq!(n.len(), 1);
}

#[test]
fn the_uplink_address_is_answered_for_outside_only() {
    let n = table();
    let v = Ask::new(Role::Uplink, 1, M1, out(2), out(1)).run(&n);
    let a = answer(&v);
    assert_eq!((a.sha, a.spa, a.tha, a.tpa), (UPLINK, out(1), M1, out(2)));
    assert_eq!(n.resolve(Zone::Uplink, out(2), Tick(1)), Resolve::Known(M1));
    assert_eq!(resolve(&n, 2, 1), Resolve::Pending { first: true });
    let bridged = Ask::new(Role::Access, 1, M1, ip(2), out(1)).run(&n);
    assert!(matches!(bridged.action, ArpAction::Bridge));
    let other = Ask::new(Role::Uplink, 1, M1, out(3), out(4)).run(&n);
    assert!(matches!(other.action, ArpAction::Consume));
    assert_eq!(n.len(), 2, "{:?}", n.list(Tick(1)));
    // Who is not on the link, or has no address yet, is answered and not learned.
    for far in [Ipv4Addr::new(198, 51, 100, 7), Ipv4Addr::UNSPECIFIED] {
        let v = Ask::new(Role::Uplink, 1, M2, far, out(1)).run(&n);
        assert_eq!(answer(&v).tha, M2);
        assert_eq!(n.len(), 2, "{far}");
    }
}

#[test]
fn answers_release_what_waited() {
    let n = table();
    resolve(&n, 2, 0);
    n.hold(Zone::Inside, ip(2), frame(5), P);
    let mut reply = Ask::new(Role::Access, 2, M1, ip(2), ip(1));
    reply.dst = GATEWAY;
    let v = reply.run(&n);
    assert!(
        matches!(v.action, ArpAction::Bridge),
        "sw0 may have asked too"
    );
    let r = v.released.unwrap();
    assert_eq!((r.zone, r.ip, r.mac), (Zone::Inside, ip(2), M1));
    assert_eq!(tags(&r.held), [5]);

    n.resolve(Zone::Uplink, out(2), Tick(0));
    n.hold(Zone::Uplink, out(2), frame(6), P);
    let mut reply = Ask::new(Role::Uplink, 2, M2, out(2), out(1));
    reply.dst = UPLINK;
    let v = reply.run(&n);
    assert!(matches!(v.action, ArpAction::Consume));
    assert_eq!(tags(&v.released.unwrap().held), [6]);
}

#[test]
fn gratuitous_arp_updates_and_makes_nothing() {
    let n = table();
    let v = Ask::new(Role::Access, 1, M1, ip(2), ip(2)).run(&n);
    assert!(matches!(v.action, ArpAction::Bridge));
    assert!(n.is_empty());
    n.seed(Zone::Inside, ip(2), M1, Tick(0));
    for (op, mac) in [(1, M2), (2, M1)] {
        Ask::new(Role::Access, op, mac, ip(2), ip(2)).run(&n);
        assert_eq!(resolve(&n, 2, 1), Resolve::Known(mac));
    }
}

#[test]
fn the_host_speaks_for_the_gateway_and_others_are_asked_through() {
    let n = table();
    for (spa, tpa) in [
        (ip(1), ip(2)),                 // the host looks for a container
        (ip(1), ip(1)),                 // announces itself
        (Ipv4Addr::UNSPECIFIED, ip(1)), // probes for its own address
    ] {
        let v = Ask::new(Role::Host, 1, GATEWAY, spa, tpa).run(&n);
        assert!(matches!(v.action, ArpAction::Bridge), "{spa} {tpa}");
    }
    let v = Ask::new(Role::Access, 1, M1, ip(2), ip(3)).run(&n);
    assert!(matches!(v.action, ArpAction::Bridge));
    assert!(n.is_empty());
}

#[test]
fn claims_to_our_addresses_are_dropped() {
    let spoof = Some(Reason::ArpSpoof);
    for op in [1, 2] {
        for tpa in [ip(1), ip(2)] {
            assert_eq!(Ask::new(Role::Access, op, M1, ip(1), tpa).reason(), spoof);
            assert_eq!(Ask::new(Role::Host, op, M1, ip(1), tpa).reason(), spoof);
            assert_eq!(Ask::new(Role::Access, op, M1, out(1), tpa).reason(), spoof);
            assert_eq!(Ask::new(Role::Uplink, op, M1, out(1), tpa).reason(), spoof);
            assert_eq!(Ask::new(Role::Uplink, op, M1, ip(2), tpa).reason(), spoof);
        }
    }
    let mut liar = Ask::new(Role::Access, 1, M1, ip(2), ip(3));
    assert_eq!(liar.reason(), None);
    liar.src = M2;
    assert_eq!(liar.reason(), spoof);
}

#[test]
fn what_is_not_arp_between_hosts_is_dropped() {
    for spa in [
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [255; 4],
        [240, 0, 0, 1],
        [0, 0, 0, 1],
    ] {
        let ask = Ask::new(Role::Access, 1, M1, spa.into(), ip(1));
        assert_eq!(ask.reason(), Some(Reason::Martian), "{spa:?}");
    }
    let rarp = Ask::new(Role::Access, 3, M1, ip(2), ip(1));
    assert_eq!(rarp.reason(), Some(Reason::ArpMalformed));
    let mut ask = Ask::new(Role::Uplink, 1, M1, out(2), out(1));
    ask.dst = M2;
    assert_eq!(ask.reason(), Some(Reason::NotForUs));
    ask.vid = 5;
    assert_eq!(ask.reason(), Some(Reason::NotRouted));
    // A tagged network may use our addresses for itself.
    let mut tagged = Ask::new(Role::Access, 1, M1, ip(1), ip(2));
    tagged.vid = 5;
    let n = table();
    assert!(matches!(tagged.run(&n).action, ArpAction::Bridge));
    assert!(n.is_empty());
}

#[test]
fn questions_name_the_right_sender() {
    let mut cfg = config();
    let f = request(&cfg, Zone::Inside, ip(2), None).unwrap();
    let a = Arp::decode(f.bytes(), 14).unwrap();
    assert_eq!(
        (a.op, a.sha, a.spa, a.tha, a.tpa),
        (1, GATEWAY, ip(1), Mac::ZERO, ip(2))
    );
    assert_eq!(f.bytes()[..6], [0xff; 6]);
    let f = request(&cfg, Zone::Uplink, out(2), Some(M1)).unwrap();
    let a = Arp::decode(f.bytes(), 14).unwrap();
    assert_eq!((a.sha, a.spa, a.tpa), (UPLINK, out(1), out(2)));
    assert_eq!(f.bytes()[..6], M1.0);
    cfg.uplink = None;
    assert!(request(&cfg, Zone::Uplink, out(2), None).is_none());
}
