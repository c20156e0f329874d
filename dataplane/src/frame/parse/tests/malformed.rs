use super::*;
use proptest::prelude::*;

#[test]
fn ipv4_reasons() {
    let good = udp_frame(b"payload");
    let with = |at: usize, value: u8| {
        let mut f = good.clone();
        f[at] = value;
        f
    };
    let fixed = |at: usize, value: u8| {
        let mut f = with(at, value);
        fix_ipv4(&mut f, 14);
        plain(&f).map(|_| ())
    };
    assert_eq!(fixed(14, 0x65), Err(Reason::Ipv4Version));
    assert_eq!(plain(&with(14, 0x44)).err(), Some(Reason::Ipv4HeaderLength));
    assert_eq!(fixed(17, 19), Err(Reason::Ipv4TotalLength));
    assert_eq!(fixed(17, 36), Err(Reason::Ipv4Truncated));
    assert_eq!(fixed(17, 35), Ok(()));
    assert_eq!(plain(&with(22, 1)).err(), Some(Reason::Ipv4Checksum));
    assert_eq!(plain(&good[..33]).err(), Some(Reason::Ipv4Truncated));
    // A header length that reaches past the frame.
    assert_eq!(
        plain(&with(14, 0x4f)[..60.min(good.len())]).err(),
        Some(Reason::Ipv4Truncated)
    );
    assert_eq!(plain(&good[..13]).err(), Some(Reason::EthTruncated));
    assert_eq!(
        plain(&tagged(&good, &[(0x8100, 1)])[..17]).err(),
        Some(Reason::EthTruncated)
    );
    assert_eq!(
        plain(&vec![0; MAX_FRAME + 1]).err(),
        Some(Reason::EthTooLong)
    );
}

#[test]
fn arp_reasons() {
    let mut f = vec![0xff; 12];
    f.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    f.extend([0; 20]);
    assert_eq!(plain(&f).map(|p| p.l3), Ok(L3::Arp));
    for len in 14..f.len() {
        assert_eq!(plain(&f[..len]).err(), Some(Reason::ArpMalformed), "{len}");
    }
    for at in [14, 15, 16, 17, 18, 19] {
        let mut g = f.clone();
        g[at] ^= 2;
        g.extend([0; 600]);
        assert_eq!(plain(&g).err(), Some(Reason::ArpMalformed), "{at}");
    }
}

#[test]
fn l4_errors_are_carried() {
    let error = |f: &[u8]| plain(f).unwrap().l4_error;
    let cut = |mut f: Vec<u8>, l4: usize| {
        f.truncate(34 + l4);
        f[16..18].copy_from_slice(&(20 + l4 as u16).to_be_bytes());
        fix_ipv4(&mut f, 14);
        f
    };
    for l4 in 0..32 {
        assert_eq!(
            error(&cut(tcp_frame(&[]), l4)),
            Some(Reason::L4Truncated),
            "{l4}"
        );
    }
    assert_eq!(error(&cut(tcp_frame(&[]), 32)), None);
    for l4 in 0..8 {
        assert_eq!(
            error(&cut(udp_frame(&[]), l4)),
            Some(Reason::L4Truncated),
            "{l4}"
        );
    }
    let mut f = tcp_frame(&[]);
    f[34 + 12] = 0x40;
    assert_eq!(error(&f), Some(Reason::TcpMalformed));

    let mut f = udp_frame(b"1234");
    for (len, want) in [
        (0, Some(Reason::UdpLength)),
        (7, Some(Reason::UdpLength)),
        (8, None),
        (12, None),
        (13, Some(Reason::UdpLength)),
    ] {
        f[39] = len;
        assert_eq!(error(&f), want, "{len}");
    }
}

#[test]
fn tcp_flag_combinations() {
    use tcp_flags::{ACK, FIN, PSH, RST, SYN, URG};
    let mut f = tcp_frame(&[]);
    let allowed = [
        SYN,
        SYN | ACK,
        SYN | URG,
        SYN | ACK | URG,
        RST,
        RST | ACK,
        RST | URG,
        RST | ACK | URG,
        ACK,
        ACK | URG,
        FIN | ACK,
        FIN | ACK | URG,
    ];
    for flags in 0..=255u8 {
        f[47] = flags;
        let p = plain(&f).unwrap();
        assert_eq!(p.tcp.flags, flags);
        let masked = flags & (SYN | ACK | FIN | RST | URG);
        assert_eq!(
            p.l4_error,
            (!allowed.contains(&masked)).then_some(Reason::TcpMalformed),
            "{flags:08b} {PSH}"
        );
    }
}

#[test]
fn fragments() {
    let fragment = |mut f: Vec<u8>, field: u16| {
        f[20..22].copy_from_slice(&field.to_be_bytes());
        fix_ipv4(&mut f, 14);
        plain(&f).unwrap()
    };
    // First fragment: L4 header there, UDP length that of the whole.
    let mut f = udp_frame(&[0; 8]);
    f[38..40].copy_from_slice(&3000u16.to_be_bytes());
    let p = fragment(f.clone(), 0x2000);
    assert_eq!(p.bits, bits::MF | bits::FRAGMENT);
    assert_eq!((p.l4, p.tuple.sport, p.l4_error), (L4::Udp, 1234, None));

    let p = fragment(f.clone(), 0x2000 | 185);
    assert_eq!(
        p.bits,
        bits::MF | bits::FRAGMENT | bits::LATER_FRAGMENT,
        "middle"
    );
    assert_eq!((p.frag_off, p.l4, p.tuple.sport), (1480, L4::None, 0));
    assert_eq!(p.l4_error, None);

    let p = fragment(f.clone(), 0x4000 | 1);
    assert_eq!(p.bits, bits::DF | bits::FRAGMENT | bits::LATER_FRAGMENT);

    // Past 64 KiB (ping of death), no payload, not a multiple of 8 with more to come.
    assert_eq!(
        fragment(f.clone(), 0x1fff).l4_error,
        Some(Reason::FragMalformed)
    );
    let mut empty = f[..34].to_vec();
    empty[16..18].copy_from_slice(&20u16.to_be_bytes());
    assert_eq!(
        fragment(empty, 0x0001).l4_error,
        Some(Reason::FragMalformed)
    );
    let odd = fragment(udp_frame(&[0; 9]), 0x2000 | 4);
    assert_eq!(odd.l4_error, Some(Reason::FragMalformed));
    assert_eq!(fragment(udp_frame(&[0; 9]), 4).l4_error, None);

    // A first fragment too small for its L4 header (RFC 1858).
    let mut tiny = tcp_frame(&[])[..42].to_vec();
    tiny[16..18].copy_from_slice(&28u16.to_be_bytes());
    let p = fragment(tiny, 0x2000);
    assert_eq!((p.l4, p.l4_error), (L4::Tcp, Some(Reason::L4Truncated)));
}

#[test]
fn vnet_hdr_contradictions() {
    let tcp = tcp_frame(&[1; 3000]);
    let good = VnetHdr {
        needs_csum: true,
        gso: Gso::TcpV4,
        gso_size: 1448,
        csum_start: 34,
        csum_offset: 16,
        ..VnetHdr::PLAIN
    };
    assert!(parse(&tcp, &good).is_ok());
    let bad = [
        VnetHdr {
            needs_csum: false,
            ..good
        },
        VnetHdr {
            gso_size: 0,
            ..good
        },
        VnetHdr {
            csum_start: 36,
            ..good
        },
        VnetHdr {
            csum_start: 13,
            ..good
        },
        VnetHdr {
            csum_start: u16::MAX,
            ..good
        },
        VnetHdr {
            csum_offset: u16::MAX,
            ..good
        },
        VnetHdr {
            csum_offset: 6,
            ..good
        },
        VnetHdr {
            gso: Gso::UdpL4,
            ..good
        },
        VnetHdr {
            gso: Gso::TcpV6,
            ..good
        },
    ];
    for hdr in bad {
        assert_eq!(parse(&tcp, &hdr).err(), Some(Reason::VnetHdrBad), "{hdr:?}");
    }
    // No payload to segment.
    assert_eq!(
        parse(&tcp_frame(&[]), &good).err(),
        Some(Reason::VnetHdrBad)
    );
    // IPv6: the checksum must begin at the L4 header that the chain leads to.
    let tcp6 = tcp6_frame(&[0; 3000]);
    let hdr6 = VnetHdr {
        gso: Gso::TcpV6,
        csum_start: 54,
        ..good
    };
    assert!(parse(&tcp6, &hdr6).is_ok());
    for hdr in [
        VnetHdr {
            csum_start: 58,
            ..hdr6
        },
        VnetHdr {
            csum_offset: 6,
            ..hdr6
        },
        VnetHdr {
            gso: Gso::TcpV4,
            ..hdr6
        },
        VnetHdr {
            gso: Gso::UdpL4,
            ..hdr6
        },
    ] {
        assert_eq!(
            parse(&tcp6, &hdr).err(),
            Some(Reason::VnetHdrBad),
            "{hdr:?}"
        );
    }
}

#[test]
fn partial_checksum_of_something_else_is_bridged_only() {
    let partial = |csum_start, csum_offset| VnetHdr {
        needs_csum: true,
        csum_start,
        csum_offset,
        ..VnetHdr::PLAIN
    };
    let f = udp_frame(&[0; 200]);
    assert_eq!(parse(&f, &partial(34, 6)).unwrap().l4_error, None);
    for hdr in [partial(100, 16), partial(34, 16)] {
        assert_eq!(
            parse(&f, &hdr).unwrap().l4_error,
            Some(Reason::VnetHdrBad),
            "{hdr:?}"
        );
    }
    // The field must lie inside of the frame, to the last byte.
    let last = f.len() as u16 - 2;
    assert!(parse(&f, &partial(last, 0)).is_ok());
    assert_eq!(parse(&f, &partial(last, 1)).err(), Some(Reason::VnetHdrBad));
    // IPv6 and tagged frames.
    let p = parse(&tcp6_frame(&[]), &partial(54, 16)).unwrap();
    assert_eq!(p.l4_error, None);
    let p = parse(&tagged(&f, &[(0x8100, 3)]), &partial(38, 6)).unwrap();
    assert_eq!(p.l4_error, None);
    // A fragment can't carry one.
    let mut frag = f;
    frag[20..22].copy_from_slice(&0x2000u16.to_be_bytes());
    fix_ipv4(&mut frag, 14);
    let p = parse(&frag, &partial(34, 6)).unwrap();
    assert_eq!(p.l4_error, Some(Reason::VnetHdrBad));
}

proptest! {
    /// Each valid frame, cut at each byte.
    #[test]
    fn truncation_is_an_error_or_padding(payload in 0usize..64, tags in 0usize..3) {
        for whole in [udp_frame(&vec![1; payload]), tcp_frame(&vec![1; payload]), tcp6_frame(&vec![1; payload])] {
            let f = tagged(&whole, &[(0x88a8, 1), (0x8100, 2)][..tags]);
            for len in 0..f.len() {
                let r = plain(&f[..len]);
                super::arbitrary::inside(&f[..len], &r);
                if f[12 + 4 * tags] == 0x08 {
                    prop_assert!(r.is_err(), "IPv4 frame cut at {} of {}", len, f.len());
                }
            }
        }
    }
}

/// What is finished on the way may not alter what was judged before.
#[test]
fn a_checksum_that_would_be_written_over_what_is_judged() {
    let at = |start: usize, offset: u16| VnetHdr {
        needs_csum: true,
        csum_start: start as u16,
        csum_offset: offset,
        ..VnetHdr::PLAIN
    };
    let refused = |f: &[u8], hdr: VnetHdr| parse(f, &hdr) == Err(Reason::VnetHdrBad);
    let v4 = udp_frame(&[1; 100]);
    // From the source address to the end of the header; at the L4 header; of an inner packet.
    assert!((16..34).all(|start| refused(&v4, at(start, 0)) && refused(&v4, at(start, 20))));
    assert!(!refused(&v4, at(34, 6)) && !refused(&v4, at(34, 0)) && !refused(&v4, at(90, 16)));
    let mut arp = vec![0; 60];
    arp[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    assert!(parse(&arp, &VnetHdr::PLAIN).is_ok());
    assert!((14..40).all(|start| refused(&arp, at(start, 0))));
    let v6 = |proto: u8| {
        let mut f = vec![0; 54 + 40];
        f[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
        (f[19], f[20]) = (40, proto);
        f
    };
    for (proto, judged, own) in [(58, 4, Some(2)), (17, 4, None), (6, 0, None)] {
        let f = v6(proto);
        assert!((14..54).all(|start| refused(&f, at(start, 0)) && refused(&f, at(start, 45))));
        for offset in 0..20 {
            let bad = offset < judged && Some(offset) != own;
            assert_eq!(refused(&f, at(54, offset)), bad, "{proto}, {offset}");
        }
    }
}
