use super::*;
use crate::base::Proto;
use crate::base::bytes::put16;
use crate::frame::L3;
use proptest::prelude::*;

const ETH: usize = 14;
const QUOTED: usize = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;

/// An IPv4 packet with right checksums. `options` are whole words of no-operation.
fn packet(t: &Tuple, options: usize, kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut l4 = match t.proto {
        Proto::TCP => {
            let mut h = vec![0; 20];
            h[12] = 0x50;
            h
        }
        Proto::UDP => vec![0; 8],
        Proto::ICMP => vec![kind, 0, 0, 0, 0, 0, 0, 7],
        _ => vec![0x55; 8],
    };
    match t.proto {
        Proto::ICMP => put16(&mut l4, 4, t.sport | t.dport),
        Proto::TCP | Proto::UDP => {
            put(&mut l4, 0, t.sport.to_be_bytes());
            put(&mut l4, 2, t.dport.to_be_bytes());
        }
        _ => {}
    }
    l4.extend_from_slice(payload);
    let len = l4.len();
    let pseudo = checksum::pseudo_header_v4(t.src, t.dst, t.proto.0, len as u32);
    match t.proto {
        Proto::TCP => {
            let c = checksum::finish(checksum::sum(&l4, pseudo));
            put(&mut l4, 16, c.to_be_bytes());
        }
        Proto::UDP => {
            put(&mut l4, 4, (len as u16).to_be_bytes());
            let c = checksum::udp_field(checksum::finish(checksum::sum(&l4, pseudo)));
            put(&mut l4, 6, c.to_be_bytes());
        }
        Proto::ICMP => {
            let c = checksum::finish(checksum::sum(&l4, 0));
            put(&mut l4, 2, c.to_be_bytes());
        }
        _ => {}
    }
    let header = 20 + 4 * options;
    let mut ip = vec![1u8; header];
    ip[..20].fill(0);
    ip[0] = 0x40 | (header / 4) as u8;
    put(&mut ip, 2, ((header + len) as u16).to_be_bytes());
    ip[8] = 64;
    ip[9] = t.proto.0;
    put(&mut ip, 12, t.src.octets());
    put(&mut ip, 16, t.dst.octets());
    let c = checksum::ipv4_header(&ip);
    put(&mut ip, 10, c.to_be_bytes());
    ip.extend(l4);
    ip
}

/// A frame with an ICMP error from `from` to `to` that quotes `quoted`, and its parse.
fn error(from: Ipv4Addr, to: Ipv4Addr, options: usize, quoted: &[u8]) -> (Vec<u8>, Parsed) {
    let t = Tuple {
        src: from,
        dst: to,
        sport: 0,
        dport: 0,
        proto: Proto::ICMP,
    };
    let ip = packet(&t, options, 3, quoted);
    let p = Parsed {
        l3_off: ETH as u16,
        l4_off: (ETH + 20 + 4 * options) as u16,
        l3_len: ip.len() as u32,
        tuple: t,
        l3: L3::Ipv4,
        l4: L4::IcmpError,
        ..Parsed::default()
    };
    let mut frame = vec![0xee; ETH];
    frame.extend(ip);
    // Ethernet padding is not part of the packet.
    frame.extend([0xaa; 3]);
    (frame, p)
}

fn ip(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(n)
}

fn with_ports(t: &Tuple, proto: Proto, kind: u8, id: u16) -> Tuple {
    let mut t = Tuple { proto, ..*t };
    match proto {
        Proto::ICMP if kind == ECHO_REPLY => (t.sport, t.dport) = (0, id),
        Proto::ICMP => (t.sport, t.dport) = (id, 0),
        Proto::TCP | Proto::UDP => {}
        _ => (t.sport, t.dport) = (0, 0),
    }
    t
}

fn tuples() -> impl Strategy<Value = Tuple> {
    (any::<u32>(), any::<u32>(), any::<u16>(), any::<u16>()).prop_map(|(s, d, sport, dport)| {
        Tuple {
            src: ip(s),
            dst: ip(d),
            sport,
            dport,
            proto: Proto::TCP,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Equal to the error that would quote the translated packet, and back again.
    #[test]
    fn equals_an_error_about_the_translated_packet(
        a in tuples(), b in tuples(), proto in 0..4usize, reply in any::<bool>(),
        outer_options in 0usize..10, options in 0usize..10,
        payload in proptest::collection::vec(any::<u8>(), 0..60), cut in 0usize..80,
        src in any::<u32>(), dst in any::<u32>(), to in any::<u32>(),
        via in proptest::option::of(any::<u32>()),
    ) {
        let proto = [Proto::TCP, Proto::UDP, Proto::ICMP, Proto(47)][proto];
        let kind = if reply { ECHO_REPLY } else { ECHO_REQUEST };
        let old = with_ports(&a, proto, kind, a.sport);
        let new = with_ports(&b, proto, kind, b.sport);
        let whole = packet(&old, options, kind, &payload);
        let quoted = whole.len().min(20 + 4 * options + QUOTED + cut);
        let (mut frame, p) = error(ip(src), ip(dst), outer_options, &whole[..quoted]);
        let original = frame.clone();
        prop_assert_eq!(inner(&frame, &p).map(|i| i.tuple), Ok(old));

        prop_assert_eq!(rewrite_error(&mut frame, &p, via.map(ip), ip(to), new), Ok(()));
        let mut translated = packet(&new, options, kind, &payload);
        translated.truncate(quoted);
        if proto == Proto::TCP && cut == 9 {
            // Half of the checksum says nothing to anybody, and stays.
            translated[quoted - 1] = whole[quoted - 1];
        }
        let (want, q) = error(ip(via.unwrap_or(src)), ip(to), outer_options, &translated);
        prop_assert_eq!(&frame, &want);

        prop_assert_eq!(rewrite_error(&mut frame, &q, Some(ip(src)), ip(dst), old), Ok(()));
        prop_assert_eq!(frame, original);
    }

    /// Whatever the bytes and the lengths claimed: no panic, and an error changes nothing.
    #[test]
    fn takes_any_bytes(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..120), t in tuples(),
        l3_off in 0u16..40, header in 0u16..70, l3_len in 0u32..200, fix in any::<bool>(),
    ) {
        let p = Parsed { l3_off, l4_off: l3_off + header, l3_len, tuple: t, l3: L3::Ipv4, l4: L4::IcmpError, ..Parsed::default() };
        if fix && let Some(m) = bytes.get_mut(usize::from(p.l4_off)..usize::from(l3_off) + l3_len as usize) && m.len() > 9 {
            m[8] = 0x40 | (m[8] & 0x0f);
            put(m, 2, [0, 0]);
            let c = checksum::finish(checksum::sum(m, 0));
            put(m, 2, c.to_be_bytes());
        }
        let before = bytes.clone();
        if rewrite_error(&mut bytes, &p, None, ip(1), t).is_err() {
            prop_assert_eq!(bytes, before);
        }
    }
}

fn udp() -> Tuple {
    Tuple {
        src: ip(0xc000_0201),
        dst: ip(0xc633_6409),
        sport: 40_000,
        dport: 53,
        proto: Proto::UDP,
    }
}

#[test]
fn wrong_checksums_are_refused() {
    let whole = packet(&udp(), 0, 0, b"abcd");
    let (mut frame, p) = error(ip(9), ip(0xc000_0201), 0, &whole);
    frame[ETH + 20 + 5] ^= 1;
    let r = rewrite_error(&mut frame, &p, None, ip(7), udp());
    assert_eq!(r, Err(Reason::IcmpChecksum));

    for (at, bit) in [(0, 0x10), (0, 0x01), (8, 1), (10, 1), (12, 1)] {
        let mut bad = whole.clone();
        bad[at] ^= bit;
        let (mut frame, p) = error(ip(9), ip(0xc000_0201), 0, &bad);
        let r = rewrite_error(&mut frame, &p, None, ip(7), udp());
        assert_eq!(r, Err(Reason::IcmpInnerMalformed), "byte {at}");
    }
}

#[test]
fn too_little_inside_is_refused() {
    let whole = packet(&udp(), 0, 0, b"abcd");
    for n in 0..28 {
        let (mut frame, p) = error(ip(9), ip(0xc000_0201), 0, &whole[..n]);
        let r = rewrite_error(&mut frame, &p, None, ip(7), udp());
        assert_eq!(r, Err(Reason::IcmpInnerMalformed), "{n} bytes");
    }
}

#[test]
fn an_error_about_a_later_fragment_has_no_ports() {
    let mut whole = packet(&udp(), 0, 0, b"abcd");
    put(&mut whole, 6, 1u16.to_be_bytes());
    put(&mut whole, 10, [0, 0]);
    let c = checksum::ipv4_header(&whole[..20]);
    put(&mut whole, 10, c.to_be_bytes());
    let (frame, p) = error(ip(9), ip(0xc000_0201), 0, &whole);
    assert_eq!(inner(&frame, &p), Err(Reason::IcmpNoMatch));
}

#[test]
fn no_udp_checksum_stays_none() {
    let mut whole = packet(&udp(), 0, 0, b"abcd");
    put(&mut whole, 26, [0, 0]);
    let (mut frame, p) = error(ip(9), ip(0xc000_0201), 0, &whole);
    let new = Tuple {
        src: ip(0x0a00_0002),
        sport: 5353,
        ..udp()
    };
    rewrite_error(&mut frame, &p, None, ip(0x0a00_0002), new).unwrap();
    let at = ETH + 28;
    assert_eq!(get16(&frame, at + 26), Some(0));
    assert_eq!(get_ip(&frame, at + 12), Some(ip(0x0a00_0002)));
    assert_eq!(get16(&frame, at + 20), Some(5353));
}

/// RFC 4884: what stands behind the quoted packet is not its checksum.
#[test]
fn bytes_behind_the_inner_packet_are_not_touched() {
    let t = Tuple {
        proto: Proto::TCP,
        ..udp()
    };
    let mut quoted = packet(&t, 0, 0, b"");
    quoted.truncate(28);
    put(&mut quoted, 2, 28u16.to_be_bytes());
    put(&mut quoted, 10, [0, 0]);
    let c = checksum::ipv4_header(&quoted[..20]);
    put(&mut quoted, 10, c.to_be_bytes());
    quoted.extend([0x77; 12]);
    let (mut frame, p) = error(ip(9), ip(0xc000_0201), 0, &quoted);
    let new = Tuple { sport: 1, ..t };
    rewrite_error(&mut frame, &p, None, ip(7), new).unwrap();
    assert_eq!(frame[ETH + 28 + 28..][..12], [0x77; 12]);
    assert_eq!(
        rewrite_error(&mut frame, &p, None, ip(7), udp()),
        Err(Reason::IcmpNoMatch)
    );
}
