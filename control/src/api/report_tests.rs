use super::*;
use crate::plan::spec;
use crate::render;
use std::net::Ipv4Addr;

fn network() -> Network {
    Network {
        subnet: "10.0.0.0/24".parse().unwrap(),
        gateway: Ipv4Addr::new(10, 0, 0, 1),
        bridge: "sw0".parse().unwrap(),
        mtu: 1500,
    }
}

fn published(id: u32, spec: &str, dnat: (u64, u64), masquerade: (u64, u64)) -> RuleReport {
    RuleReport {
        id: RuleId(id),
        publication: spec::publication::parse(spec).unwrap(),
        dnat,
        masquerade,
    }
}

/// From the dataplane's report to what a person reads.
#[test]
fn the_chains_of_a_docker_host() {
    let report = NatReport {
        rules: vec![
            published(1, "5000:10.0.0.2:5000", (3, 180), (1, 60)),
            published(
                2,
                "127.0.0.1:6000-6010:10.0.0.3:7000-7010/udp",
                (2, 90),
                (0, 0),
            ),
        ],
        prerouting: (9, 540),
        input: (4, 336),
        output: (0, 0),
        postrouting: (2, 120),
        masquerade: (5, 300),
    };
    let want = "\
Chain PREROUTING (policy ACCEPT 9 packets, 540 bytes)
 pkts bytes target     prot opt in     out     source               destination         
    5   270 DOCKER     all  --  *      *       0.0.0.0/0            0.0.0.0/0            ADDRTYPE match dst-type LOCAL

Chain INPUT (policy ACCEPT 4 packets, 336 bytes)
 pkts bytes target     prot opt in     out     source               destination         

Chain OUTPUT (policy ACCEPT 0 packets, 0 bytes)
 pkts bytes target     prot opt in     out     source               destination         
    0     0 DOCKER     all  --  *      *       0.0.0.0/0           !127.0.0.0/8          ADDRTYPE match dst-type LOCAL

Chain POSTROUTING (policy ACCEPT 2 packets, 120 bytes)
 pkts bytes target     prot opt in     out     source               destination         
    5   300 MASQUERADE  all  --  *      !sw0    10.0.0.0/24          0.0.0.0/0           
    1    60 MASQUERADE  tcp  --  *      *       10.0.0.2             10.0.0.2             tcp dpt:5000
    0     0 MASQUERADE  udp  --  *      *       10.0.0.3             10.0.0.3             udp dpts:7000:7010

Chain DOCKER (2 references)
 pkts bytes target     prot opt in     out     source               destination         
    0     0 RETURN     all  --  sw0    *       0.0.0.0/0            0.0.0.0/0           
    3   180 DNAT       tcp  --  !sw0   *       0.0.0.0/0            0.0.0.0/0            tcp dpt:5000 to:10.0.0.2:5000
    2    90 DNAT       udp  --  !sw0   *       0.0.0.0/0            127.0.0.1            udp dpts:6000:6010 to:10.0.0.3:7000-7010
";
    let got = render::rules::render(&rules(&report, &network()));
    for (got, want) in got.lines().zip(want.lines()) {
        assert_eq!(got, want);
    }
    assert_eq!(got.lines().count(), want.lines().count());
}

#[test]
fn an_echo_shows_its_identifier_on_both_sides() {
    let orig = Tuple {
        src: Ipv4Addr::new(10, 0, 0, 2),
        dst: Ipv4Addr::new(192, 0, 2, 2),
        sport: 77,
        dport: 0,
        proto: Proto::ICMP,
    };
    let c = connection(&ConnReport {
        orig,
        reply: orig.reversed(),
        state: "",
        replied: true,
        assured: false,
        expires_ms: 60_000,
        rule: RuleId::NONE,
    });
    assert_eq!(
        (c.orig.icmp_type, c.orig.icmp_id, c.orig.sport),
        (Some(8), Some(77), None)
    );
    assert_eq!((c.reply.icmp_type, c.reply.icmp_id), (Some(0), Some(77)));
    assert_eq!(c.publication, None);
}

#[test]
fn the_balance_is_the_dataplanes() {
    let mut t = Totals {
        rx: 10,
        originated: 1,
        copies: 2,
        tx: 8,
        consumed: 3,
        held: 1,
        drops: vec![0; Reason::COUNT],
        ..Totals::default()
    };
    t.drops[Reason::Land.index()] = 1;
    assert!(t.balance().is_ok());
    let s = stats(&t, std::slice::from_ref(&t), &Tables::default(), None, None);
    assert_eq!(
        (s.balance.came, s.balance.went, s.balance.holds),
        (13, 13, true)
    );
    assert_eq!(s.drops.len(), Reason::COUNT);
    let land = s.drops.iter().find(|d| d.reason == "land").unwrap();
    assert_eq!(
        (land.frames, land.sentence.as_str()),
        (1, Reason::Land.sentence())
    );
    t.rx += 1;
    assert!(!stats(&t, &[], &Tables::default(), None, None).balance.holds);
}
