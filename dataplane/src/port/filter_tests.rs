use super::*;

/// A packet as the kernel describes it.
struct Packet {
    bytes: Vec<u8>,
    kind: u32,
    protocol: u32,
    tag: Option<u32>,
}

/// What the kernel's interpreter does with the few instructions that are used here; a load past
/// the end shows nothing.
fn shows(program: &[Insn], p: &Packet) -> bool {
    let (mut a, mut x, mut at) = (0u32, 0u32, 0usize);
    let load = |i: u32, n: usize| -> Option<u32> {
        let i = i as usize;
        let bytes = p.bytes.get(i..i + n)?;
        Some(bytes.iter().fold(0, |v, b| v << 8 | u32::from(*b)))
    };
    loop {
        let i = program[at];
        at += 1;
        let taken = |yes: bool| usize::from(if yes { i.jt } else { i.jf });
        let loaded = match (i.code, i.k) {
            (LOAD_WORD, PROTOCOL) => Some(p.protocol),
            (LOAD_WORD, PACKET_TYPE) => Some(p.kind),
            (LOAD_WORD, INTERFACE) => Some(7),
            (LOAD_WORD, VLAN_TAG) => Some(p.tag.unwrap_or(0)),
            (LOAD_WORD, VLAN_PRESENT) => Some(u32::from(p.tag.is_some())),
            (LOAD_HALF, k) => load(k, 2),
            (LOAD_BYTE, k) => load(k, 1),
            (LOAD_HALF_INDEXED, k) => load(x + k, 2),
            (LOAD_BYTE_INDEXED, k) => load(x + k, 1),
            (LOAD_HEADER_LENGTH, k) => {
                x = 4 * (load(k, 1).unwrap() & 15);
                continue;
            }
            (JUMP, k) => {
                at += k as usize;
                continue;
            }
            (JUMP_EQUAL, k) => {
                at += taken(a == k);
                continue;
            }
            (JUMP_ABOVE, k) => {
                at += taken(a > k);
                continue;
            }
            (JUMP_AT_LEAST, k) => {
                at += taken(a >= k);
                continue;
            }
            (JUMP_ANY_BIT, k) => {
                at += taken(a & k != 0);
                continue;
            }
            (RETURN, k) => return k != 0,
            other => panic!("{other:?}"),
        };
        match loaded {
            Some(v) => a = v,
            None => return false,
        }
    }
}

/// An IPv4 packet with an options word, so that the header's length matters.
fn ip(proto: u8, l4: &[u8]) -> Packet {
    let mut bytes = vec![0; 12];
    bytes.extend([8, 0, 0x46, 0, 0, 0, 0, 0, 0, 0, 64, proto]);
    bytes.extend([0; 14]);
    bytes.extend(l4);
    Packet {
        bytes,
        kind: TO_US,
        protocol: IPV4,
        tag: None,
    }
}

fn to_port(proto: u8, port: u16) -> Packet {
    let [hi, lo] = port.to_be_bytes();
    ip(proto, &[0, 1, hi, lo, 0, 0, 0, 0])
}

fn program() -> Vec<Insn> {
    uplink(&OurPorts {
        tcp: vec![(80, 80), (61_000, 61_255)],
        udp: vec![(53, 60)],
        echo: vec![(57_344, 65_535)],
    })
}

#[test]
fn only_our_ports_are_shown() {
    let p = program();
    for (port, tcp, udp) in [
        (79, false, false),
        (80, true, false),
        (81, false, false),
        (60_999, false, false),
        (61_000, true, false),
        (61_255, true, false),
        (61_256, false, false),
        (52, false, false),
        (53, false, true),
        (60, false, true),
        (61, false, false),
    ] {
        assert_eq!(shows(&p, &to_port(6, port)), tcp, "tcp {port}");
        assert_eq!(shows(&p, &to_port(17, port)), udp, "udp {port}");
        assert!(!shows(&p, &to_port(132, port)), "sctp {port}");
    }
    assert!(!shows(&p, &ip(6, &[])), "no port at all");
}

#[test]
fn of_icmp_errors_and_our_echo_replies() {
    let p = program();
    let icmp = |kind, id: u16| {
        let [hi, lo] = id.to_be_bytes();
        ip(1, &[kind, 0, 0, 0, hi, lo, 0, 0])
    };
    for kind in 0..=255u8 {
        let error = matches!(kind, 3 | 11 | 12);
        assert_eq!(shows(&p, &icmp(kind, 1)), error, "type {kind}");
        assert_eq!(shows(&p, &icmp(kind, 57_344)), error || kind == 0, "{kind}");
    }
}

#[test]
fn fragments_are_shown_since_the_later_ones_have_no_port() {
    let mut f = to_port(17, 1);
    assert!(!shows(&program(), &f));
    f.bytes[20] = 0x20;
    assert!(shows(&program(), &f), "the first");
    f.bytes[21] = 1;
    assert!(shows(&program(), &f), "a later one");
    f.bytes[20] = 0x40;
    f.bytes[21] = 0;
    assert!(!shows(&program(), &f), "don't fragment");
}

#[test]
fn neither_tagged_nor_to_others_nor_sent_by_the_host() {
    let p = program();
    let mut f = to_port(6, 80);
    for (tag, shown) in [(None, true), (Some(0x6000), true), (Some(5), false)] {
        f.tag = tag;
        assert_eq!(shows(&p, &f), shown, "{tag:?}");
    }
    f.tag = None;
    // To us, broadcast, multicast, to others, outgoing.
    for kind in 0..5 {
        f.kind = kind;
        assert_eq!(shows(&p, &f), kind == 0, "packet type {kind}");
        let arp = Packet {
            kind,
            protocol: ARP,
            ..ip(0, &[])
        };
        assert_eq!(shows(&p, &arp), kind <= 1, "ARP, packet type {kind}");
        let ipv6 = Packet {
            kind,
            protocol: 0x86dd,
            ..ip(6, &[])
        };
        assert!(!shows(&p, &ipv6));
    }
}

#[test]
fn too_many_ranges_show_all_and_a_full_list_is_jumped_over() {
    let many: Vec<(u16, u16)> = (0..2000).map(|n| (n * 10, n * 10)).collect();
    let full = |n: usize| OurPorts {
        tcp: many[..n].to_vec(),
        udp: vec![(53, 53)],
        echo: Vec::new(),
    };
    let p = uplink(&full(1_000));
    assert!(p.len() <= LONGEST);
    assert!(shows(&p, &to_port(6, 9_990)) && !shows(&p, &to_port(6, 9_991)));
    assert!(shows(&p, &to_port(17, 53)) && !shows(&p, &to_port(17, 54)));
    let p = uplink(&full(2_000));
    assert!(p.len() <= LONGEST);
    assert!(shows(&p, &to_port(6, 9_991)) && shows(&p, &to_port(17, 54)));
}

#[test]
fn an_interface_is_told_by_its_number() {
    let p = to_port(6, 1);
    assert!(!shows(&not_from(7), &p) && shows(&not_from(8), &p) && !shows(&nothing(), &p));
}
