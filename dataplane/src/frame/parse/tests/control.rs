//! IPv6 control messages, and packets inside of ICMP errors.

use super::*;

/// An IPv6 frame: `next` names the first header of `payload`.
fn six(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut f = vec![0x33; 12];
    f.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    f.extend((payload.len() as u16).to_be_bytes());
    f.extend([next, 255]);
    f.extend([0xfe; 32]);
    f.extend(payload);
    f
}

fn control(next: u8, payload: &[u8]) -> Ipv6Control {
    let f = six(next, payload);
    let plain_verdict = ipv6_control(&f, &plain(&f).unwrap());
    let t = tagged(&f, &[(0x88a8, 1), (0x8100, 2)]);
    assert_eq!(ipv6_control(&t, &plain(&t).unwrap()), plain_verdict);
    plain_verdict
}

#[test]
fn direct_messages() {
    let mut icmp = [0u8; 16];
    for t in 0..=255u8 {
        icmp[0] = t;
        let want = match t {
            134 => Ipv6Control::RouterAdvertisement,
            137 => Ipv6Control::Redirect,
            _ => Ipv6Control::None,
        };
        assert_eq!(control(58, &icmp), want, "type {t}");
    }
    let udp = |sport: u16, dport: u16| {
        let mut u = [0u8; 12];
        u[..2].copy_from_slice(&sport.to_be_bytes());
        u[2..4].copy_from_slice(&dport.to_be_bytes());
        u
    };
    assert_eq!(control(17, &udp(547, 546)), Ipv6Control::DhcpServer);
    assert_eq!(control(17, &udp(9999, 546)), Ipv6Control::DhcpServer);
    assert_eq!(control(17, &udp(546, 547)), Ipv6Control::None);
    assert_eq!(control(6, &[0; 20]), Ipv6Control::None);
    assert_eq!(control(59, &[]), Ipv6Control::None);
}

#[test]
fn behind_extension_headers() {
    let ra = [134u8, 0, 0, 0, 0, 0, 0, 0];
    let chain = |headers: &[&[u8]]| [headers.concat(), ra.to_vec()].concat();
    let long: Vec<u8> = [&[43, 1][..], &[0; 14]].concat();
    // hop-by-hop (16 bytes), routing, destination options
    let all = chain(&[
        &long,
        &[60, 0, 0, 0, 0, 0, 0, 0],
        &[58, 0, 0, 0, 0, 0, 0, 0],
    ]);
    assert_eq!(control(0, &all), Ipv6Control::RouterAdvertisement);
    // AH counts in units of 4 bytes
    let ah = chain(&[&[58, 4], &[0; 22]]);
    assert_eq!(control(51, &ah), Ipv6Control::RouterAdvertisement);
    // First fragment, atomic fragment, later fragment
    for (field, want) in [
        (1u16, Ipv6Control::RouterAdvertisement),
        (0, Ipv6Control::RouterAdvertisement),
        (8, Ipv6Control::None),
    ] {
        let b = field.to_be_bytes();
        let f = chain(&[&[58, 0xff, b[0], b[1], 0, 0, 0, 1]]);
        assert_eq!(control(44, &f), want, "{field}");
    }
    // The chain ends before its end: a hidden message (RFC 7113 section 2).
    assert_eq!(control(60, &[58, 9, 0, 0, 0, 0, 0, 0]), Ipv6Control::Opaque);
    assert_eq!(control(44, &[60, 0, 0, 1, 0, 0, 0, 1]), Ipv6Control::Opaque);
    assert_eq!(control(58, &[]), Ipv6Control::Opaque);
    assert_eq!(control(17, &[1, 2, 3]), Ipv6Control::Opaque);
    // Longer than any real chain.
    let one = [60u8, 0, 0, 0, 0, 0, 0, 0];
    let last = [58u8, 0, 0, 0, 0, 0, 0, 0];
    let n = |n: usize| [one.repeat(n - 1), last.to_vec(), ra.to_vec()].concat();
    assert_eq!(
        control(60, &n(MAX_EXTENSIONS)),
        Ipv6Control::RouterAdvertisement
    );
    assert_eq!(control(60, &n(MAX_EXTENSIONS + 1)), Ipv6Control::Opaque);
}

#[test]
fn not_ipv6_is_nothing() {
    let f = udp_frame(b"x");
    assert_eq!(ipv6_control(&f, &plain(&f).unwrap()), Ipv6Control::None);
    // Version 4 under the EtherType of IPv6: no host takes it.
    let mut f = six(58, &[134, 0, 0, 0]);
    f[14] = 0x45;
    assert_eq!(ipv6_control(&f, &plain(&f).unwrap()), Ipv6Control::None);
    // Padding behind the payload is not the packet: the chain ends before its end.
    let mut f = six(60, &[58, 0, 0, 0, 0, 0, 0, 0]);
    f.extend([134; 20]);
    assert_eq!(ipv6_control(&f, &plain(&f).unwrap()), Ipv6Control::Opaque);
    f[18..20].copy_from_slice(&16u16.to_be_bytes());
    assert_eq!(
        ipv6_control(&f, &plain(&f).unwrap()),
        Ipv6Control::RouterAdvertisement
    );
}

fn error_about(packet: &[u8]) -> Vec<u8> {
    icmp_frame(&[&[3, 4, 0, 0, 0, 0, 5, 220], packet].concat())
}

#[test]
fn embedded_packets() {
    let tcp = &tcp_frame(&[9; 50])[14..];
    for (keep, checksum_at) in [(28, None), (37, None), (38, Some(36)), (60, Some(36))] {
        let f = error_about(&tcp[..keep]);
        let p = plain(&f).unwrap();
        let bytes = embedded(&f, &p);
        assert_eq!(bytes, &tcp[..keep]);
        let i = inner(bytes).unwrap();
        assert_eq!((i.l4, i.l4_off, i.l4_checksum), (L4::Tcp, 20, checksum_at));
        assert_eq!((i.tuple.sport, i.tuple.dport), (40_000, 80));
        assert_eq!(i.tuple.src, Ipv4Addr::from(SRC));
        assert_eq!((i.seq, i.total_len), (0x0102_0304, tcp.len() as u16));
    }
    let udp = &udp_frame(&[9; 50])[14..];
    let i = inner(&udp[..28]).unwrap();
    assert_eq!((i.l4, i.l4_checksum, i.seq), (L4::Udp, Some(26), 0));
    assert_eq!((i.tuple.sport, i.tuple.dport), (1234, 53));

    let echo = &icmp_frame(&[8, 0, 1, 2, 0xab, 0xcd, 0, 1])[14..];
    let i = inner(echo).unwrap();
    assert_eq!(
        (i.l4, i.tuple.sport, i.tuple.dport),
        (L4::EchoRequest, 0xabcd, 0)
    );
    assert_eq!(i.l4_checksum, Some(22));
    let echo = &icmp_frame(&[0, 0, 1, 2, 0xab, 0xcd, 0, 1])[14..];
    let i = inner(echo).unwrap();
    assert_eq!(
        (i.l4, i.tuple.sport, i.tuple.dport),
        (L4::EchoReply, 0, 0xabcd)
    );
}

#[test]
fn embedded_packets_refused() {
    let bad = Err(Reason::IcmpInnerMalformed);
    let udp = udp_frame(&[9; 50])[14..].to_vec();
    for keep in 0..28 {
        assert_eq!(inner(&udp[..keep]), bad, "{keep}");
    }
    let mut wrong = udp.clone();
    wrong[8] ^= 1; // TTL, and the checksum is not right any more
    assert_eq!(inner(&wrong), bad);
    // Shorter by its own length than eight L4 bytes.
    let mut short = udp.clone();
    short[2..4].copy_from_slice(&27u16.to_be_bytes());
    fix_ipv4(&mut short, 0);
    assert_eq!(inner(&short), bad);
    // A later fragment has no ports, and needs none.
    let mut later = udp;
    later[6..8].copy_from_slice(&0x0010u16.to_be_bytes());
    fix_ipv4(&mut later, 0);
    let i = inner(&later[..20]).unwrap();
    assert_eq!((i.l4, i.tuple.sport), (L4::None, 0));
    assert_eq!(i.bits, bits::FRAGMENT | bits::LATER_FRAGMENT);
    // Only an ICMP error has an embedded packet.
    let f = icmp_frame(&[8, 0, 0, 0, 0, 0, 0, 0, 0x45]);
    assert!(embedded(&f, &plain(&f).unwrap()).is_empty());
}
