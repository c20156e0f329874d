//! Properties over any bytes, and agreement with etherparse's own slicing.

use super::*;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

/// Every offset and length that a `Parsed` names lies inside of the frame.
pub(super) fn inside(bytes: &[u8], r: &Result<Parsed, Reason>) {
    let Ok(p) = r else { return };
    let len = bytes.len();
    assert!(usize::from(p.l3_off) <= len);
    assert!(usize::from(p.l3_off) + p.l3_len as usize <= len);
    assert!(p.wire_len <= p.l3_len);
    if p.l3 == L3::Ipv4 {
        assert!(p.l4_off >= p.l3_off + 20);
        let l4_end = usize::from(p.l3_off) + p.l3_len as usize;
        assert!(usize::from(p.l4_off) <= l4_end);
        let tcp = usize::from(p.tcp.header_len) + p.tcp.payload as usize;
        assert!(usize::from(p.l4_off) + tcp <= l4_end);
        if p.l4 == L4::Udp && p.l4_error.is_none() {
            assert!(usize::from(p.l4_off) + 8 <= l4_end);
        }
    }
    let _ = ipv6_control(bytes, p);
    let _ = icmp_checksum_ok(bytes, p);
    let _ = l4_checksum_ok(bytes, &VnetHdr::PLAIN, p);
    let _ = inner(embedded(bytes, p));
}

fn any_hdr() -> impl Strategy<Value = VnetHdr> {
    let start = prop_oneof![Just(34u16), Just(38), Just(54), 0u16..100, any::<u16>()];
    let offset = prop_oneof![Just(16u16), Just(6), any::<u16>()];
    let gso = prop_oneof![
        Just(Gso::None),
        Just(Gso::TcpV4),
        Just(Gso::TcpV6),
        Just(Gso::UdpL4)
    ];
    (
        any::<bool>(),
        gso,
        any::<u16>(),
        any::<u16>(),
        start,
        offset,
    )
        .prop_map(
            |(needs_csum, gso, hdr_len, gso_size, csum_start, csum_offset)| VnetHdr {
                needs_csum,
                gso,
                hdr_len,
                gso_size,
                csum_start,
                csum_offset,
                ..VnetHdr::PLAIN
            },
        )
}

/// Bytes that look like a frame far enough to get into the deeper branches.
fn shaped() -> impl Strategy<Value = Vec<u8>> {
    let ethertype = prop_oneof![
        Just(0x0800u16),
        Just(0x86dd),
        Just(0x0806),
        Just(0x8100),
        Just(0x88a8),
        any::<u16>()
    ];
    let proto = prop_oneof![Just(6u8), Just(17), Just(1), any::<u8>()];
    (
        proptest::collection::vec(any::<u8>(), 34..200),
        ethertype,
        proto,
        5u8..8,
        any::<bool>(),
        prop_oneof![Just(0u16), Just(0x4000), Just(0x2000), any::<u16>()],
    )
        .prop_map(|(mut f, ethertype, proto, ihl, six, frag)| {
            f[12..14].copy_from_slice(&ethertype.to_be_bytes());
            if ethertype == 0x0800 {
                f[14] = 0x40 | ihl;
                let total = (f.len() - 14) as u16;
                f[16..18].copy_from_slice(&total.to_be_bytes());
                f[20..22].copy_from_slice(&frag.to_be_bytes());
                f[23] = proto;
                if f.len() >= 14 + usize::from(ihl) * 4 {
                    fix_ipv4(&mut f, 14);
                }
            } else if ethertype == 0x86dd && six {
                f[14] = 0x60;
                f[20] = [0, 43, 44, 51, 58, 60, 17, 6][usize::from(proto & 7)];
            }
            f
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn any_bytes(f in proptest::collection::vec(any::<u8>(), 0..120), hdr in any_hdr()) {
        inside(&f, &parse(&f, &hdr));
        let _ = inner(&f);
    }

    #[test]
    fn shaped_bytes(f in shaped(), hdr in any_hdr(), cut in 0usize..200) {
        inside(&f, &parse(&f, &hdr));
        inside(&f, &plain(&f));
        let cut = &f[..cut.min(f.len())];
        inside(cut, &parse(cut, &hdr));
        let _ = inner(&cut[14.min(cut.len())..]);
    }

    /// Where the short cut answers at all, it says what the long way says.
    #[test]
    fn the_short_cut_changes_nothing(
        mut f in shaped(), hdr in any_hdr(), mend in any::<bool>(), pad in 0usize..3,
    ) {
        if mend && f.len() >= 54 {
            let udp_len = (f.len() - 34) as u16;
            match f[23] {
                6 => f[46..48].copy_from_slice(&[0x50, 0x10]),
                17 => f[38..40].copy_from_slice(&udp_len.to_be_bytes()),
                _ => {}
            }
        }
        f.resize(f.len() + pad, 0);
        for hdr in [hdr, VnetHdr::PLAIN] {
            if let Some(short) = ordinary(&f, &hdr) {
                prop_assert_eq!(Ok(short), parse_any(&f, &hdr));
            }
        }
    }

    /// What etherparse finds in a frame is what we find.
    #[test]
    fn agrees_with_etherparse(f in shaped()) {
        let (Ok(p), Ok(s)) = (plain(&f), SlicedPacket::from_ethernet(&f)) else {
            return Ok(());
        };
        let (Some(NetSlice::Ipv4(ip)), L3::Ipv4) = (&s.net, p.l3) else {
            return Ok(());
        };
        let h = ip.header();
        prop_assert_eq!(h.source_addr(), p.tuple.src);
        prop_assert_eq!(h.destination_addr(), p.tuple.dst);
        prop_assert_eq!(u32::from(h.total_len()), p.l3_len);
        prop_assert_eq!((h.ttl(), h.protocol().0), (p.ttl, p.tuple.proto.0));
        prop_assert_eq!(h.identification(), p.ip_id);
        prop_assert_eq!(h.dont_fragment(), p.has(bits::DF));
        prop_assert_eq!(h.more_fragments(), p.has(bits::MF));
        prop_assert_eq!(h.is_fragmenting_payload(), p.has(bits::FRAGMENT));
        prop_assert_eq!(h.fragments_offset().value() * 8, p.frag_off);
        match &s.transport {
            Some(TransportSlice::Tcp(t)) => {
                prop_assert_eq!(p.l4, L4::Tcp);
                prop_assert_eq!((t.source_port(), t.destination_port()), (p.tuple.sport, p.tuple.dport));
                prop_assert_eq!((t.sequence_number(), t.acknowledgment_number()), (p.tcp.seq, p.tcp.ack));
                prop_assert_eq!(t.payload().len(), p.tcp.payload as usize);
                prop_assert_eq!((t.syn(), t.fin()), (p.tcp.flags & tcp_flags::SYN != 0, p.tcp.flags & tcp_flags::FIN != 0));
            }
            Some(TransportSlice::Udp(u)) => {
                prop_assert_eq!((p.l4, p.l4_error), (L4::Udp, None));
                prop_assert_eq!((u.source_port(), u.destination_port()), (p.tuple.sport, p.tuple.dport));
            }
            _ => {}
        }
    }
}
