use super::*;
use crate::frame::Gso;
use etherparse::Icmpv4Type;

fn echo(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    builder(GATE_IP)
        .icmpv4_echo_request(0x1234, 7)
        .write(&mut out, payload)
        .unwrap();
    out
}

#[test]
fn echo_replies_of_every_size() {
    for len in [0, 1, 55, 56, 1472, 65_507] {
        let payload: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
        let mut f = Frame::from_bytes(&echo(&payload));
        let p = parsed(f.bytes());
        echo_reply(&mut f, &p).unwrap();
        let (h, s) = checked(f.bytes());
        assert_eq!(
            (h.source, h.destination),
            (GATE_IP.octets(), HOST_IP.octets())
        );
        let Some(TransportSlice::Icmpv4(i)) = s.transport else {
            panic!("no ICMP");
        };
        let Icmpv4Type::EchoReply(e) = i.icmp_type() else {
            panic!("{:?}", i.icmp_type());
        };
        assert_eq!((e.id, e.seq), (0x1234, 7));
        assert_eq!(i.payload(), payload);
        let q = parsed(f.bytes());
        assert_eq!((q.src, q.dst, q.ttl), (GATE, HOST, 64));
        assert_eq!(q.tuple, p.tuple.reversed());
    }
}

#[test]
fn echo_replies_refused_and_partial() {
    let mut bytes = echo(b"abc");
    bytes[36] ^= 1;
    let mut f = Frame::from_bytes(&bytes);
    let p = parsed(f.bytes());
    assert_eq!(echo_reply(&mut f, &p), Err(Reason::IcmpChecksum));
    assert_eq!(f.bytes(), bytes);

    // The sender left the checksum to others: the field (0, ICMP has no pseudo-header) and the
    // header stay, and a sum over the reply is right.
    bytes[36..38].fill(0);
    let hdr = VnetHdr {
        needs_csum: true,
        csum_start: 34,
        csum_offset: 2,
        ..VnetHdr::PLAIN
    };
    let mut f = Frame::with_hdr(&bytes, hdr);
    let p = parse(f.bytes(), &hdr).unwrap();
    echo_reply(&mut f, &p).unwrap();
    assert_eq!(f.hdr, hdr);
    let sum = checksum::finish(checksum::sum(&f.bytes()[34..], 0));
    f.bytes_mut()[36..38].copy_from_slice(&sum.to_be_bytes());
    checked(f.bytes());

    let mut f = Frame::from_bytes(&udp(b"no echo"));
    let p = parsed(f.bytes());
    assert_eq!(echo_reply(&mut f, &p), Err(Reason::NotRouted));
}

#[test]
fn an_echo_reply_has_no_reserved_bit() {
    let mut bytes = echo(b"abc");
    edit_ipv4(&mut bytes, &[(6, &[0xc0, 0])]);
    let mut f = Frame::from_bytes(&bytes);
    let p = parsed(f.bytes());
    echo_reply(&mut f, &p).unwrap();
    assert_eq!(f.bytes()[20], 0x40);
    checked(f.bytes());
}

#[test]
fn fragmented_echo_is_answered_in_fragments() {
    let mut whole = echo(&[3; 2000]);
    edit_ipv4(&mut whole, &[(4, &[9, 9]), (6, &[0, 0])]);
    let mut pieces = Vec::new();
    fragment(&whole, &parsed(&whole), 600, |b| pieces.push(b.to_vec())).unwrap();
    assert_eq!(pieces.len(), 4);
    let mut message = Vec::new();
    for piece in &pieces {
        let mut f = Frame::from_bytes(piece);
        let p = parsed(f.bytes());
        echo_reply(&mut f, &p).unwrap();
        let q = parsed(f.bytes());
        assert_eq!((q.tuple.src, q.tuple.dst), (GATE_IP, HOST_IP));
        assert_eq!((q.frag_off, q.ip_id, q.ttl), (p.frag_off, p.ip_id, 64));
        message.extend_from_slice(&f.bytes()[34..]);
    }
    assert_eq!(message[0], 0);
    assert_eq!(checksum::finish(checksum::sum(&message, 0)), 0);
    assert_eq!(message.len(), 2008);
}

#[test]
fn errors_carry_type_code_and_quote() {
    use IcmpError::*;
    let f = udp(&[0xab; 100]);
    let p = parsed(&f);
    for (what, kind, code, rest) in [
        (NetUnreachable, 3, 0, [0; 4]),
        (HostUnreachable, 3, 1, [0; 4]),
        (ProtocolUnreachable, 3, 2, [0; 4]),
        (PortUnreachable, 3, 3, [0; 4]),
        (FragmentationNeeded { mtu: 1400 }, 3, 4, [0, 0, 5, 0x78]),
        (AdminProhibited, 3, 13, [0; 4]),
        (TimeExceeded, 11, 0, [0; 4]),
        (ReassemblyTimeExceeded, 11, 1, [0; 4]),
        (ParameterProblem { pointer: 20 }, 12, 0, [20, 0, 0, 0]),
    ] {
        let e = icmp_error(what, &f, &p, GATE_IP, GATE);
        let (h, _) = checked(e.bytes());
        assert_eq!((h.time_to_live, h.dont_fragment), (64, true));
        let b = e.bytes();
        assert_eq!(b[15], 0xc0);
        assert_eq!((b[34], b[35], &b[38..42]), (kind, code, &rest[..]));
        assert_eq!(&b[42..], &f[14..]);
        let q = parsed(b);
        assert_eq!(
            (q.src, q.dst, q.l4),
            (GATE, HOST, crate::frame::L4::IcmpError)
        );
        assert_eq!((q.tuple.src, q.tuple.dst), (GATE_IP, HOST_IP));
        assert!(icmp_checksum_ok(b, &q));
    }
}

#[test]
fn quotes_stop_at_576_bytes_and_at_padding() {
    let long = udp(&[1; 1400]);
    let e = icmp_error(
        IcmpError::TimeExceeded,
        &long,
        &parsed(&long),
        GATE_IP,
        GATE,
    );
    assert_eq!(parsed(e.bytes()).l3_len, 576);
    assert_eq!(&e.bytes()[42..], &long[14..14 + 548]);

    let mut padded = udp(&[1; 3]);
    padded.resize(60, 0xee);
    let e = icmp_error(
        IcmpError::TimeExceeded,
        &padded,
        &parsed(&padded),
        GATE_IP,
        GATE,
    );
    assert_eq!(parsed(e.bytes()).l3_len, 28 + 31);

    // A tag comes back, and service bits without ECN.
    let mut tagged = udp(&[1; 3]);
    edit_ipv4(&mut tagged, &[(1, &[0x1f])]);
    tagged.splice(12..12, [0x81, 0, 0, 5]);
    let e = icmp_error(
        IcmpError::TimeExceeded,
        &tagged,
        &parsed(&tagged),
        GATE_IP,
        GATE,
    );
    let q = parsed(e.bytes());
    assert_eq!((q.vid, e.bytes()[19]), (5, 0xdc));
}

#[test]
fn superframes_are_quoted_as_they_are() {
    let mut f = Vec::new();
    builder(FAR)
        .tcp(1, 2, 3, 4)
        .ack(5)
        .write(&mut f, &[7; 9000])
        .unwrap();
    let hdr = VnetHdr {
        needs_csum: true,
        gso: Gso::TcpV4,
        gso_size: 1448,
        csum_start: 34,
        csum_offset: 16,
        ..VnetHdr::PLAIN
    };
    let p = parse(&f, &hdr).unwrap();
    let e = icmp_error(
        IcmpError::FragmentationNeeded { mtu: 1400 },
        &f,
        &p,
        GATE_IP,
        GATE,
    );
    checked(e.bytes());
    assert_eq!(&e.bytes()[42..], &f[14..14 + 548]);
}

#[test]
fn who_may_get_an_error() {
    let may = |f: &[u8]| may_answer_with_error(&parsed(f), f);
    let good = udp(&[0; 16]);
    assert!(may(&good));
    let with = |at: usize, v: &[u8]| {
        let mut f = good.clone();
        edit_ipv4(&mut f, &[(at, v)]);
        may(&f)
    };
    for (src, want) in [
        ([0, 0, 0, 0], false),
        ([0, 1, 2, 3], false),
        ([127, 0, 0, 1], false),
        ([224, 0, 0, 1], false),
        ([240, 0, 0, 1], false),
        ([255, 255, 255, 255], false),
        ([223, 255, 255, 1], true),
        ([1, 0, 0, 1], true),
    ] {
        assert_eq!(with(12, &src), want, "from {src:?}");
    }
    for (dst, want) in [
        ([239, 1, 1, 1], false),
        ([255, 255, 255, 255], false),
        ([0, 0, 0, 0], false),
        ([10, 0, 0, 3], true),
    ] {
        assert_eq!(with(16, &dst), want, "to {dst:?}");
    }
    // First fragment yes, later fragment no.
    assert!(with(6, &[0x20, 0]));
    assert!(!with(6, &[0x00, 1]));
    // By MAC: group destination.
    for mac in [0xff, 0x01, 0x33] {
        let mut f = good.clone();
        f[0] = mac;
        assert!(!may(&f), "{mac:x}");
    }
    // ICMP by type.
    for kind in 0..=255u8 {
        let mut f = Vec::new();
        builder(FAR)
            .write(&mut f, IpNumber::ICMP, &[kind, 0, 0, 0, 0, 0, 0, 0])
            .unwrap();
        let want = matches!(kind, 0 | 8..=10 | 13..=18 | 42 | 43);
        assert_eq!(may(&f), want, "type {kind}");
    }
    let mut f = Vec::new();
    builder(FAR)
        .write(&mut f, IpNumber::ICMP, &[8, 0, 0, 0])
        .unwrap();
    assert!(!may(&f), "a cut ICMP header");
    let arp = arp_announcement(HOST, HOST_IP);
    assert!(!may(arp.bytes()));
    // What we make ourselves is never answered.
    let e = icmp_error(
        IcmpError::TimeExceeded,
        &good,
        &parsed(&good),
        GATE_IP,
        GATE,
    );
    assert!(!may(e.bytes()));
}
