//! Frames made by hand (with etherparse's builder, or byte by byte where it can't).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod arbitrary;
mod control;
mod malformed;

use super::*;
use crate::base::Proto;
use crate::frame::{Gso, checksum};
use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType, PacketBuilder, VlanId};
use std::net::Ipv4Addr;

const SRC_MAC: [u8; 6] = [2, 0x42, 10, 0, 0, 2];
const DST_MAC: [u8; 6] = [2, 0x42, 10, 0, 0, 1];
const SRC: [u8; 4] = [10, 0, 0, 2];
const DST: [u8; 4] = [192, 0, 2, 7];

fn plain(bytes: &[u8]) -> Result<Parsed, Reason> {
    parse(bytes, &VnetHdr::PLAIN)
}

fn udp_frame(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ethernet2(SRC_MAC, DST_MAC)
        .ipv4(SRC, DST, 63)
        .udp(1234, 53)
        .write(&mut out, payload)
        .unwrap();
    out
}

fn tcp_frame(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ethernet2(SRC_MAC, DST_MAC)
        .ipv4(SRC, DST, 64)
        .tcp(40_000, 80, 0x0102_0304, 0x1000)
        .ack(0x0a0b_0c0d)
        .psh()
        .options_raw(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2])
        .unwrap()
        .write(&mut out, payload)
        .unwrap();
    out
}

fn tcp6_frame(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ethernet2(SRC_MAC, DST_MAC)
        .ipv6([0xfd; 16], [0xfe; 16], 64)
        .tcp(1, 2, 3, 4)
        .ack(5)
        .write(&mut out, payload)
        .unwrap();
    out
}

/// Puts the right header checksum into the IPv4 header at `at`.
fn fix_ipv4(bytes: &mut [u8], at: usize) {
    let ihl = usize::from(bytes[at] & 15) * 4;
    bytes[at + 10..at + 12].fill(0);
    let sum = checksum::ipv4_header(&bytes[at..at + ihl]);
    bytes[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
}

/// Inserts tags behind the addresses, outermost first.
fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let mut out = frame[..12].to_vec();
    for (tpid, tci) in tags {
        out.extend(tpid.to_be_bytes());
        out.extend(tci.to_be_bytes());
    }
    out.extend(&frame[12..]);
    out
}

fn icmp_frame(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ethernet2(SRC_MAC, DST_MAC)
        .ipv4(SRC, DST, 64)
        .write(&mut out, etherparse::IpNumber::ICMP, message)
        .unwrap();
    out
}

#[test]
fn udp_every_field() {
    let mut f = udp_frame(b"hello");
    f[14 + 4..14 + 6].copy_from_slice(&0xbeefu16.to_be_bytes());
    fix_ipv4(&mut f, 14);
    f.extend([0; 13]); // padding to 60
    let p = plain(&f).unwrap();
    assert_eq!((p.dst, p.src), (Mac(DST_MAC), Mac(SRC_MAC)));
    assert_eq!((p.vid, p.ethertype), (0, 0x0800));
    assert_eq!((p.l3, p.l4), (L3::Ipv4, L4::Udp));
    assert_eq!((p.l3_off, p.l4_off, p.l3_len, p.wire_len), (14, 34, 33, 33));
    assert_eq!((p.ttl, p.ip_id, p.frag_off), (63, 0xbeef, 0));
    assert_eq!(p.bits, bits::DF); // etherparse's builder sets it
    assert_eq!(
        p.tuple,
        Tuple {
            src: Ipv4Addr::from(SRC),
            dst: Ipv4Addr::from(DST),
            sport: 1234,
            dport: 53,
            proto: Proto::UDP,
        }
    );
    assert_eq!((p.tcp, p.l4_error), (Tcp::default(), None));
}

#[test]
fn tcp_every_field() {
    let p = plain(&tcp_frame(&[7; 100])).unwrap();
    assert_eq!(
        p.tcp,
        Tcp {
            seq: 0x0102_0304,
            ack: 0x0a0b_0c0d,
            window: 0x1000,
            flags: tcp_flags::ACK | tcp_flags::PSH,
            header_len: 32,
            payload: 100,
        }
    );
    assert_eq!((p.l4, p.tuple.sport, p.tuple.dport), (L4::Tcp, 40_000, 80));
    assert_eq!((p.l3_len, p.wire_len), (152, 152));
}

#[test]
fn icmp_kinds_and_tuples() {
    for (kind, l4, ports) in [
        (8, L4::EchoRequest, (0x1234, 0)),
        (0, L4::EchoReply, (0, 0x1234)),
        (3, L4::IcmpError, (0, 0)),
        (4, L4::IcmpError, (0, 0)),
        (5, L4::IcmpError, (0, 0)),
        (11, L4::IcmpError, (0, 0)),
        (12, L4::IcmpError, (0, 0)),
        (13, L4::IcmpOther, (0, 0)),
    ] {
        let p = plain(&icmp_frame(&[kind, 0, 0, 0, 0x12, 0x34, 0, 1])).unwrap();
        assert_eq!((p.l4, (p.tuple.sport, p.tuple.dport)), (l4, ports));
        assert_eq!(p.l4_error, None);
        let p = plain(&icmp_frame(&[kind, 0, 0, 0, 0x12, 0x34, 0])).unwrap();
        assert_eq!((p.l4, p.l4_error), (l4, Some(Reason::L4Truncated)));
    }
}

#[test]
fn icmp_checksum_is_asked_for() {
    let mut message = vec![8, 0, 0, 0, 0, 1, 0, 1, 9, 9, 9];
    let sum = checksum::finish(checksum::sum(&message, 0));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut f = icmp_frame(&message);
    f.extend([0xff; 20]); // padding is not part of it
    let p = plain(&f).unwrap();
    assert!(icmp_checksum_ok(&f, &p));
    f[44] ^= 1;
    assert!(!icmp_checksum_ok(&f, &p));
}

#[test]
fn tcp_and_udp_checksums_are_asked_for() {
    let whole = VnetHdr::PLAIN;
    for mut f in [tcp_frame(b"odd"), udp_frame(b"odd"), udp_frame(b"")] {
        f.extend([0xff; 20]); // padding is not part of it
        let p = plain(&f).unwrap();
        assert!(l4_checksum_ok(&f, &whole, &p));
        f[35] ^= 1;
        let p = plain(&f).unwrap();
        assert!(!l4_checksum_ok(&f, &whole, &p));
        let left = VnetHdr {
            needs_csum: true,
            ..whole
        };
        assert!(l4_checksum_ok(&f, &left, &p));
        if p.l4 == L4::Udp {
            f[40..42].fill(0);
            assert!(l4_checksum_ok(&f, &whole, &p), "it has none");
        }
    }
}

#[test]
fn options_and_other_protocols() {
    let mut f = udp_frame(b"abcd");
    f[14] = 0x46;
    f.splice(34..34, [1, 1, 1, 0]);
    let total = (f.len() - 14) as u16;
    f[16..18].copy_from_slice(&total.to_be_bytes());
    f[23] = 47;
    fix_ipv4(&mut f, 14);
    let p = plain(&f).unwrap();
    assert!(p.has(bits::OPTIONS));
    assert_eq!((p.l4, p.l4_off, p.tuple.proto), (L4::Other, 38, Proto(47)));
    assert_eq!((p.tuple.sport, p.tuple.dport), (0, 0));
}

#[test]
fn arp_and_other_ethertypes() {
    let mut f = Vec::new();
    let arp = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REQUEST,
        &SRC_MAC,
        &SRC,
        &[0; 6],
        &DST,
    )
    .unwrap();
    PacketBuilder::ethernet2(SRC_MAC, [0xff; 6])
        .arp(arp)
        .write(&mut f)
        .unwrap();
    let p = plain(&f).unwrap();
    assert_eq!((p.l3, p.l3_off, p.l3_len), (L3::Arp, 14, 28));
    f.extend([0; 18]);
    assert_eq!(plain(&f).unwrap().l3, L3::Arp);

    // LLC: a length field, and an EtherType that nobody here knows.
    for (ethertype, l3) in [(0x0026u16, L3::Other), (0x88cc, L3::Other)] {
        f[12..14].copy_from_slice(&ethertype.to_be_bytes());
        let p = plain(&f).unwrap();
        assert_eq!((p.ethertype, p.l3, p.l4), (ethertype, l3, L4::None));
    }
}

#[test]
fn vlan_tags() {
    let f = udp_frame(b"x");
    let p = plain(&tagged(&f, &[(0x8100, 0x6064)])).unwrap();
    assert_eq!((p.vid, p.l3, p.l3_off, p.l4_off), (100, L3::Ipv4, 18, 38));
    assert!(p.has(bits::TAGGED));
    assert_eq!((p.tuple.sport, p.l3_len), (1234, 29));

    // Priority tag: VID 0, yet tagged.
    let p = plain(&tagged(&f, &[(0x8100, 0xe000)])).unwrap();
    assert!(p.vid == 0 && p.has(bits::TAGGED));

    // 802.1ad outside of 802.1Q: the outer VID counts, the payload is parsed all the same.
    let p = plain(&tagged(&f, &[(0x88a8, 7), (0x8100, 9)])).unwrap();
    assert_eq!((p.vid, p.l3, p.l3_off, p.l4), (7, L3::Ipv4, 22, L4::Udp));

    // Three tags: opaque.
    let p = plain(&tagged(&f, &[(0x88a8, 7), (0x8100, 9), (0x8100, 1)])).unwrap();
    assert_eq!((p.vid, p.l3, p.ethertype), (7, L3::Other, 0x8100));

    let mut out = Vec::new();
    PacketBuilder::ethernet2(SRC_MAC, DST_MAC)
        .single_vlan(VlanId::try_new(4094).unwrap())
        .ipv6([1; 16], [2; 16], 9)
        .udp(1, 2)
        .write(&mut out, &[])
        .unwrap();
    let p = plain(&out).unwrap();
    assert_eq!((p.vid, p.l3, p.l3_len), (4094, L3::Ipv6, 48));
}

#[test]
fn superframes() {
    let tso = VnetHdr {
        needs_csum: true,
        gso: Gso::TcpV4,
        gso_size: 1448,
        hdr_len: 0, // a hint, not believed
        csum_start: 34,
        csum_offset: 16,
        ..VnetHdr::PLAIN
    };
    let f = tcp_frame(&[1; 10_000]);
    let p = parse(&f, &tso).unwrap();
    assert_eq!((p.l3_len, p.wire_len), (10_052, 1500));
    assert_eq!(p.tcp.payload, 10_000);

    // The same behind a tag.
    let hdr = VnetHdr {
        csum_start: 38,
        ..tso
    };
    assert_eq!(
        parse(&tagged(&f, &[(0x8100, 5)]), &hdr).unwrap().wire_len,
        1500
    );

    // One that is shorter than a segment.
    assert_eq!(parse(&tcp_frame(&[1; 10]), &tso).unwrap().wire_len, 62);

    let uso = VnetHdr {
        gso: Gso::UdpL4,
        gso_size: 1000,
        csum_offset: 6,
        ..tso
    };
    let mut f = udp_frame(&[1; 3000]);
    assert_eq!(parse(&f, &uso).unwrap().wire_len, 1028);
    f[38..40].copy_from_slice(&1008u16.to_be_bytes()); // length of a segment
    assert_eq!(parse(&f, &uso).unwrap().l4_error, None);

    let tso6 = VnetHdr {
        gso: Gso::TcpV6,
        csum_start: 54,
        gso_size: 1440,
        ..tso
    };
    let p = parse(&tcp6_frame(&[0; 5000]), &tso6).unwrap();
    assert_eq!((p.l3, p.wire_len), (L3::Ipv6, 1500));

    let mut f = Vec::new();
    PacketBuilder::ethernet2(SRC_MAC, DST_MAC)
        .ipv6([1; 16], [2; 16], 9)
        .udp(1, 2)
        .write(&mut f, &[0; 4000])
        .unwrap();
    let uso6 = VnetHdr {
        csum_start: 54,
        ..uso
    };
    assert_eq!(parse(&f, &uso6).unwrap().wire_len, 1048);
}
