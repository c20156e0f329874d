use super::*;
use dataplane::frame::{L4, parse};

const A: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 0, 2), 5000);
const B: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 7), 443);
const LINK: Link = Link {
    own: Mac([2, 0, 0, 0, 0, 1]),
    to: Mac([2, 0, 0, 0, 0, 2]),
};

#[test]
fn what_is_written_is_read_again() {
    let out = TcpOut {
        from: B,
        to: A,
        seq: 0xdead_beef,
        ack: 17,
        flags: flag::SYN | flag::ACK,
        window: 4_000,
        options: Some((1_460, Some(7))),
        mss: 1_460,
    };
    let mut b = vec![0; out.headers()];
    let hdr = out.write(&mut b, LINK, 0);
    let p = Packet::read(&b, b.len()).unwrap();
    assert_eq!(
        (p.src, p.dst, p.proto, p.mac),
        (*B.ip(), *A.ip(), 6, LINK.own)
    );
    let s = Segment::read(&b, &p).unwrap();
    assert_eq!(
        (s.sport, s.dport, s.seq, s.ack),
        (443, 5000, 0xdead_beef, 17)
    );
    assert_eq!((s.mss, s.scale, s.window), (Some(1_460), Some(7), 4_000));
    assert_eq!(parse::parse(&b, &hdr).unwrap().l4, L4::Tcp);
}

#[test]
fn the_switch_takes_superframes_datagrams_and_errors() {
    let out = TcpOut {
        from: B,
        to: A,
        seq: 1,
        ack: 1,
        flags: flag::ACK,
        window: 100,
        options: None,
        mss: 1_460,
    };
    let mut b = vec![0; out.headers() + 4_000];
    let hdr = out.write(&mut b, LINK, 4_000);
    assert_eq!(
        (hdr.gso, hdr.gso_size, hdr.hdr_len),
        (Gso::TcpV4, 1_460, 54)
    );
    assert_eq!(parse::parse(&b, &hdr).unwrap().l4_error, None);
    let mut b = vec![7; ETH + IP + UDP + 11];
    let hdr = udp(&mut b, LINK, B, A, 11);
    assert_eq!(parse::parse(&b, &hdr).unwrap().l4, L4::Udp);
    let quoted = quote(A, B, proto::UDP, 19, 19 << 16);
    let e = icmp_error(LINK, *B.ip(), *A.ip(), (3, 3, 0), &quoted);
    let p = parse::parse(&e, &VnetHdr::PLAIN).unwrap();
    assert_eq!((p.l4, p.l4_error), (L4::IcmpError, None));
    assert!(parse::icmp_checksum_ok(&e, &p));
}

#[test]
fn sums_do_not_depend_on_the_parts() {
    let bytes: Vec<u8> = (0..=255).collect();
    let whole = sum_parts(&[IoSlice::new(&bytes)], 3, 250);
    let (a, b) = bytes.split_at(100);
    assert_eq!(
        sum_parts(&[IoSlice::new(a), IoSlice::new(b)], 3, 250),
        whole
    );
    let cut: Vec<u8> = payload(&[IoSlice::new(a), IoSlice::new(b)], 90, 110)
        .iter()
        .flat_map(|s| s.to_vec())
        .collect();
    assert_eq!(cut, bytes[90..110]);
}

#[test]
fn broken_options_end_the_reading() {
    let read = |options: &[u8]| {
        let mut s = Segment::default();
        s.options(options);
        (s.mss, s.scale)
    };
    for broken in [
        &[2][..],
        &[2, 0],
        &[3, 3],
        &[9, 200, 1],
        &[1, 0, 2, 4, 5, 6],
    ] {
        assert_eq!(read(broken).0, None, "{broken:?}");
    }
    assert_eq!(
        read(&[8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 2, 4, 5, 180]).0,
        Some(1460)
    );
    assert_eq!(read(&[1, 3, 3, 99]), (None, Some(14)));
}
