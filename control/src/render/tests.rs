//! Golden outputs, one per shape.

use super::*;
use crate::api::types::*;
use std::net::Ipv4Addr;

fn ip(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

#[test]
fn fdb_as_bridge_fdb() {
    let e = |mac: &str, port: &str, vlan, permanent, is_static| FdbEntry {
        mac: mac.into(),
        vlan,
        port: port.into(),
        bridge: "sw0".into(),
        permanent,
        is_static,
        idle_ms: 0,
    };
    let text = fdb::render(&[
        e("02:42:0a:00:00:01", "sw0", 0, true, true),
        e("02:42:0a:00:00:02", "eth0@web", 0, false, false),
        e("02:42:0a:00:00:03", "eth0@db", 7, false, true),
    ]);
    assert_eq!(
        text,
        "02:42:0a:00:00:01 dev sw0 master sw0 permanent\n\
         02:42:0a:00:00:02 dev eth0@web master sw0\n\
         02:42:0a:00:00:03 dev eth0@db vlan 7 master sw0 static\n"
    );
}

#[test]
fn neigh_as_ip_neigh() {
    let n = |d, mac: Option<&str>, state: &str| Neighbour {
        ip: ip(10, 0, 0, d),
        mac: mac.map(str::to_owned),
        device: "sw0".into(),
        state: state.into(),
        idle_ms: 0,
    };
    let text = neigh::render(&[
        n(2, Some("02:42:0a:00:00:02"), "REACHABLE"),
        n(9, None, "FAILED"),
    ]);
    assert_eq!(
        text,
        "10.0.0.2 dev sw0 lladdr 02:42:0a:00:00:02 REACHABLE\n10.0.0.9 dev sw0 FAILED\n"
    );
}

#[test]
fn conntrack_as_conntrack_l() {
    let ports = |src, dst, s, d| Tuple {
        src,
        dst,
        sport: Some(s),
        dport: Some(d),
        icmp_type: None,
        icmp_id: None,
    };
    let icmp = |src, dst, t| Tuple {
        src,
        dst,
        sport: None,
        dport: None,
        icmp_type: Some(t),
        icmp_id: Some(77),
    };
    let (c, o, x) = (ip(10, 0, 0, 2), ip(192, 0, 2, 2), ip(192, 0, 2, 1));
    let text = conntrack::render(&[
        Connection {
            proto: "tcp".into(),
            proto_number: 6,
            expires_ms: 431_999_900,
            state: "ESTABLISHED".into(),
            orig: ports(c, o, 40000, 80),
            reply: ports(o, x, 80, 40000),
            replied: true,
            assured: true,
            publication: None,
        },
        Connection {
            proto: "udp".into(),
            proto_number: 17,
            expires_ms: 29_000,
            state: String::new(),
            orig: ports(c, o, 53, 53),
            reply: ports(o, x, 53, 53),
            replied: false,
            assured: false,
            publication: None,
        },
        Connection {
            proto: "icmp".into(),
            proto_number: 1,
            expires_ms: 5_999,
            state: String::new(),
            orig: icmp(c, o, 8),
            reply: icmp(o, x, 0),
            replied: true,
            assured: false,
            publication: None,
        },
    ]);
    assert_eq!(
        text,
        "tcp      6 431999 ESTABLISHED src=10.0.0.2 dst=192.0.2.2 sport=40000 dport=80 \
         src=192.0.2.2 dst=192.0.2.1 sport=80 dport=40000 [ASSURED] mark=0 use=1\n\
         udp      17 29 src=10.0.0.2 dst=192.0.2.2 sport=53 dport=53 [UNREPLIED] \
         src=192.0.2.2 dst=192.0.2.1 sport=53 dport=53 mark=0 use=1\n\
         icmp     1 5 src=10.0.0.2 dst=192.0.2.2 type=8 code=0 id=77 \
         src=192.0.2.2 dst=192.0.2.1 type=0 code=0 id=77 mark=0 use=1\n"
    );
    assert!(conntrack::closing(3).ends_with(": 3 flow entries have been shown."));
}

fn rule(target: &str, proto: &str, count: (u64, u64), nets: [&str; 4], extra: &str) -> Rule {
    Rule {
        publication: None,
        count: count.into(),
        target: target.into(),
        proto: proto.into(),
        input: nets[0].into(),
        output: nets[1].into(),
        source: nets[2].into(),
        destination: nets[3].into(),
        extra: extra.into(),
    }
}

/// The columns are those of iptables 1.8 (`print_header` and `print_firewall` in
/// iptables/xshared.c), with protocols by name as before 1.8.9.
#[test]
fn rules_as_iptables_l_n_v() {
    let any = "0.0.0.0/0";
    let text = rules::render(&Rules {
        chains: vec![
            Chain {
                name: "PREROUTING".into(),
                policy: Some(Count {
                    packets: 3,
                    bytes: 123_456,
                }),
                references: None,
                rules: vec![rule(
                    "DOCKER",
                    "all",
                    (1, 60),
                    ["*", "*", any, any],
                    "ADDRTYPE match dst-type LOCAL",
                )],
            },
            Chain {
                name: "OUTPUT".into(),
                policy: Some(Count::default()),
                references: None,
                rules: vec![rule(
                    "DOCKER",
                    "all",
                    (0, 0),
                    ["*", "*", any, "!127.0.0.0/8"],
                    "ADDRTYPE match dst-type LOCAL",
                )],
            },
            Chain {
                name: "POSTROUTING".into(),
                policy: Some(Count::default()),
                references: None,
                rules: vec![
                    rule(
                        "MASQUERADE",
                        "all",
                        (99_999, 100_000),
                        ["*", "!sw0", "10.0.0.0/24", any],
                        "",
                    ),
                    rule(
                        "MASQUERADE",
                        "tcp",
                        (0, 0),
                        ["*", "*", "10.0.0.2", "10.0.0.2"],
                        "tcp dpt:5000",
                    ),
                ],
            },
            Chain {
                name: "DOCKER".into(),
                policy: None,
                references: Some(2),
                rules: vec![
                    rule("RETURN", "all", (0, 0), ["sw0", "*", any, any], ""),
                    rule(
                        "DNAT",
                        "tcp",
                        (12_345_678, 9_999_000_000),
                        ["!sw0", "*", any, any],
                        "tcp dpts:6000:6010 to:10.0.0.2:6000-6010",
                    ),
                ],
            },
        ],
    });
    let want = "\
Chain PREROUTING (policy ACCEPT 3 packets, 123K bytes)
 pkts bytes target     prot opt in     out     source               destination         
    1    60 DOCKER     all  --  *      *       0.0.0.0/0            0.0.0.0/0            ADDRTYPE match dst-type LOCAL

Chain OUTPUT (policy ACCEPT 0 packets, 0 bytes)
 pkts bytes target     prot opt in     out     source               destination         
    0     0 DOCKER     all  --  *      *       0.0.0.0/0           !127.0.0.0/8          ADDRTYPE match dst-type LOCAL

Chain POSTROUTING (policy ACCEPT 0 packets, 0 bytes)
 pkts bytes target     prot opt in     out     source               destination         
99999  100K MASQUERADE  all  --  *      !sw0    10.0.0.0/24          0.0.0.0/0           
    0     0 MASQUERADE  tcp  --  *      *       10.0.0.2             10.0.0.2             tcp dpt:5000

Chain DOCKER (2 references)
 pkts bytes target     prot opt in     out     source               destination         
    0     0 RETURN     all  --  sw0    *       0.0.0.0/0            0.0.0.0/0           
  12M 9999M DNAT       tcp  --  !sw0   *       0.0.0.0/0            0.0.0.0/0            tcp dpts:6000:6010 to:10.0.0.2:6000-6010
";
    for (got, want) in text.lines().zip(want.lines()) {
        assert_eq!(got, want);
    }
    assert_eq!(text.lines().count(), want.lines().count());
}

#[test]
fn ports_table() {
    let mut p = crate::api::types::Port {
        id: 0,
        name: "sw0".into(),
        interface: "sw0".into(),
        netns: String::new(),
        role: PortRole::Host,
        ip: Some(ip(10, 0, 0, 1)),
        mac: "02:42:0a:00:00:01".into(),
        mtu: 1500,
        rx_frames: 1,
        rx_bytes: 60,
        tx_frames: 1234,
        tx_bytes: 5,
        drops: 0,
    };
    let first = p.clone();
    p.name = "eth0@web".into();
    p.role = PortRole::Access;
    p.ip = None;
    assert_eq!(
        summary::ports(&[first, p]),
        "\
PORT      ROLE    ADDRESS   MAC                 MTU  RX  RX BYTES    TX  TX BYTES  DROPS
sw0       host    10.0.0.1  02:42:0a:00:00:01  1500   1        60  1234         5      0
eth0@web  access  -         02:42:0a:00:00:01  1500   1        60  1234         5      0
"
    );
}

#[test]
fn status_and_stats() {
    use crate::api::Backend;
    let fake = crate::api::fake::Fake::default();
    assert_eq!(
        summary::status(&fake.status(), &fake.publications()),
        "\
switchd     0.1.0 pid 1
up          1m 1s
bridge      sw0 10.0.0.1 02:42:0a:00:00:01 mtu 1500
subnet      10.0.0.0/24
host        sH
uplink      192.0.2.1/24 to eth0@sO 192.0.2.2/24
localhost   on
workers     2 offload auto
ports       3
connections 2
published   1
  7 10.0.0.9:5000:10.0.0.2:5000/tcp
"
    );
    assert_eq!(
        summary::stats(&fake.stats()),
        "\
rx 10 + originated 0 + copies 0 = 10
tx 8 + drops 1 + consumed 1 + held 0 = 10
balanced: every frame is accounted for

WORKER  RX  TX  DROPS  HITS  SLOW  BRIDGED  FLOODED  BATCHES  COALESCED  SEGMENTS
0       10   8      1     5     1        3        1        4          0         0
all     10   8      1     5     1        3        1        4          0         0

tables: 1 connections, 1 external ports, 2 neighbours
  fdb 3 now, 4 learned, 1 moved, 1 aged, 0 evicted

localhost: 1 listeners
  tcp 2 now, 3 accepted, 1 refused, 0 reset, 100 bytes in, 200 out
  udp 1 now, 4 datagrams in, 5 out, 0 lost

sockets: tcp 1 now, 2 out, 0 in, 0 refused, 0 reset, 0 over the limit, 0 evicted half-open, 0 unknown
  0 bytes out, 0 in, 0 sent again, 0 held
  udp 0 now, 0 datagrams out, 0 in, 0 lost, 0 over the limit
  echo 0 out, 0 refused; 0 errors in; 0 to nowhere, 0 not understood, 0 fragments lost, 0 found a full queue, 0 clients as the gateway

LOST  REASON  MEANING
1     land    source and destination address are the same
"
    );
    let mut none = fake.stats();
    none.drops.clear();
    none.balance.holds = false;
    let text = summary::stats(&none);
    assert!(
        text.contains("not balanced") && text.ends_with("no frame was lost\n"),
        "{text}"
    );
}
