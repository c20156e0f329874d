//! Any bytes as a frame: what the parser says lies inside of it and is what the bytes say.

use super::repair_ipv4;
use crate::memory::packet::naive_sum;
use crate::memory::{GW, PEER, config, mac};
use dataplane::base::{Proto, Role};
use dataplane::frame::parse::{self, Parsed, bits};
use dataplane::frame::{Arp, L3, L4, VnetHdr};
use dataplane::guard;

/// The first byte says whether ten bytes of `virtio_net_hdr` follow (bit 0) and whether the IPv4
/// header checksum is made right (bit 1); the rest is the frame.
pub fn parse(data: &[u8]) {
    let Some((&how, rest)) = data.split_first() else {
        return;
    };
    let (hdr, rest) = match rest.split_at_checked(VnetHdr::LEN) {
        Some((h, f)) if how & 1 != 0 => (VnetHdr::decode(h).unwrap_or(VnetHdr::PLAIN), f),
        _ => (VnetHdr::PLAIN, rest),
    };
    let mut frame = rest.to_vec();
    if how & 2 != 0 {
        repair_ipv4(&mut frame);
    }
    let _ = parse::inner(&frame);
    let Ok(p) = parse::parse(&frame, &hdr) else {
        return;
    };
    inside(&frame, &p);
    as_read(&frame, &p);
    padding_says_nothing(&frame, &p, &hdr);
    let cfg = config();
    for role in [Role::Access, Role::Host, Role::Uplink] {
        if guard::check(&cfg, role, &p, &frame).is_ok() {
            assert!(!p.src.is_group());
            let _ = guard::routed(&cfg, role, &p);
        }
    }
    let _ = parse::ipv6_control(&frame, &p);
    let _ = parse::icmp_checksum_ok(&frame, &p);
    let _ = parse::inner(parse::embedded(&frame, &p));
    // Other operations (RARP, inverse ARP) are well-formed, but nothing that the switch reads.
    let at = usize::from(p.l3_off) + 6;
    let known = p.l3 == L3::Arp && matches!(frame[at..at + 2], [0, 1 | 2]);
    assert_eq!(
        known,
        p.l3 == L3::Arp && Arp::decode(&frame, p.l3_off).is_ok()
    );
}

/// Every offset and length lies inside of the frame.
fn inside(frame: &[u8], p: &Parsed) {
    let l3_end = usize::from(p.l3_off) + p.l3_len as usize;
    assert!(l3_end <= frame.len());
    assert!(p.wire_len <= p.l3_len);
    if p.l3 == L3::Ipv4 {
        assert!(p.l4_off >= p.l3_off + 20 && usize::from(p.l4_off) <= l3_end);
        let tcp = usize::from(p.tcp.header_len) + p.tcp.payload as usize;
        assert!(usize::from(p.l4_off) + tcp <= l3_end);
    }
}

/// Every field is the one that stands in its place.
fn as_read(f: &[u8], p: &Parsed) {
    let be16 = |at: usize| u16::from_be_bytes([f[at], f[at + 1]]);
    let be32 = |at: usize| u32::from(be16(at)) << 16 | u32::from(be16(at + 2));
    assert_eq!((&p.dst.0[..], &p.src.0[..]), (&f[..6], &f[6..12]));
    assert_eq!(p.ethertype, be16(usize::from(p.l3_off) - 2));
    if p.l3 != L3::Ipv4 {
        assert_eq!(p.l4, L4::None);
        return;
    }
    let (ip, l4) = (usize::from(p.l3_off), usize::from(p.l4_off));
    let header = usize::from(f[ip] & 15) * 4;
    assert_eq!((f[ip] >> 4, ip + header), (4, l4));
    assert_eq!(naive_sum(&[&f[ip..l4]]), 0xffff);
    assert_eq!(u32::from(be16(ip + 2)), p.l3_len);
    assert_eq!((p.ttl, p.tuple.proto), (f[ip + 8], Proto(f[ip + 9])));
    assert_eq!(p.tuple.src.to_bits(), be32(ip + 12));
    assert_eq!(p.tuple.dst.to_bits(), be32(ip + 16));
    assert_eq!(p.has(bits::OPTIONS), header > 20);
    let frag = be16(ip + 6);
    assert_eq!(p.has(bits::FRAGMENT), frag & 0x3fff != 0);
    assert_eq!(p.has(bits::LATER_FRAGMENT), frag & 0x1fff != 0);
    assert_eq!(p.frag_off, (frag & 0x1fff) * 8);
    assert_eq!(p.ip_id, be16(ip + 4));
    let there = ip + p.l3_len as usize - l4;
    match p.l4 {
        L4::Tcp if p.tcp.header_len > 0 => {
            assert!(there >= 20);
            assert_eq!((p.tuple.sport, p.tuple.dport), (be16(l4), be16(l4 + 2)));
            assert_eq!((p.tcp.seq, p.tcp.ack), (be32(l4 + 4), be32(l4 + 8)));
            assert_eq!((p.tcp.flags, p.tcp.window), (f[l4 + 13], be16(l4 + 14)));
        }
        L4::Udp if p.l4_error.is_none() => {
            assert!(there >= 8);
            assert_eq!((p.tuple.sport, p.tuple.dport), (be16(l4), be16(l4 + 2)));
        }
        L4::EchoRequest if p.l4_error.is_none() => {
            assert_eq!((f[l4], p.tuple.sport), (8, be16(l4 + 4)))
        }
        L4::EchoReply if p.l4_error.is_none() => {
            assert_eq!((f[l4], p.tuple.dport), (0, be16(l4 + 4)))
        }
        _ => {}
    }
}

/// What stands behind an IPv4 packet changes nothing.
fn padding_says_nothing(frame: &[u8], p: &Parsed, hdr: &VnetHdr) {
    if p.l3 != L3::Ipv4 {
        return;
    }
    let end = usize::from(p.l3_off) + p.l3_len as usize;
    for longer in [&frame[..end], &[frame, &[0xa5; 7]].concat()] {
        if let Ok(q) = parse::parse(longer, hdr) {
            assert_eq!(format!("{p:?}"), format!("{q:?}"));
        } else {
            // A checksum may have been asked for behind the packet, or the frame became too long.
            assert!(hdr.needs_csum || longer.len() > dataplane::frame::batch::MAX_FRAME);
        }
    }
}

/// Seeds: one frame of each kind that the switch knows.
pub fn seeds() -> Vec<Vec<u8>> {
    use crate::memory::packet::*;
    let t = tcp_tuple(GW, 80, PEER, 4_000);
    let u = udp_tuple(GW, 80, PEER, 4_000);
    let frame = |t: &dataplane::base::Tuple, l4: &[u8]| {
        eth(mac(GW), mac(PEER), 0x0800, &ipv4(&Ip::default(), t, l4))
    };
    let plain = [
        frame(
            &t,
            &tcp_with(&t, (1, 2), SYN, 64_000, &[2, 4, 5, 180, 3, 3, 7], b""),
        ),
        frame(&u, &udp(&u, b"datagram")),
        frame(
            &tuple(Proto::ICMP, (GW, 7), (PEER, 0)),
            &ping(7, 1, b"ping"),
        ),
        arp(mac(GW), 1, (mac(PEER), PEER), (mac(GW), GW)),
        tagged(&frame(&u, &udp(&u, b"tagged")), 7),
        ipv6(mac(GW), 58, "ff02::1", &[134, 0, 0, 0, 64, 0, 0, 0]),
    ];
    let mut all: Vec<Vec<u8>> = plain.iter().map(|f| [&[2], &f[..]].concat()).collect();
    let (bytes, hdr) = superframe(&frame(&t, &tcp(&t, 1, 2, ACK, &[7; 400])), &t, 100);
    all.push([&[3], &hdr.encode()[..], &bytes].concat());
    all
}
