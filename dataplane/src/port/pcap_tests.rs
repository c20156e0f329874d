use super::*;
use crate::frame::Gso;
use crate::port::pcap_hdr::infer_hdr;
use crate::port::testing::Spec;
use proptest::prelude::*;
use std::io::IoSlice;

fn read(file: &[u8]) -> Result<Vec<Record>, CaptureError> {
    Reader::new(file)?.collect()
}

/// A pcap with one packet of 10 bytes, of which `captured` are there.
fn pcap(magic: [u8; 4], link: u32, captured: u8) -> Vec<u8> {
    let mut f = magic.to_vec();
    f.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0]);
    f.extend(link.to_le_bytes());
    f.extend([3, 0, 0, 0, 7, 0, 0, 0, captured, 0, 0, 0, 10, 0, 0, 0]);
    f.extend(vec![9; usize::from(captured)]);
    f
}

const MICROS: [u8; 4] = [0xd4, 0xc3, 0xb2, 0xa1];
const NANOS: [u8; 4] = [0x4d, 0x3c, 0xb2, 0xa1];

#[test]
fn pcap_times_and_cut_packets() {
    for (magic, nanos) in [(MICROS, 3_000_007_000), (NANOS, 3_000_000_007)] {
        let r = read(&pcap(magic, 1, 8)).unwrap();
        assert_eq!(r.len(), 1);
        assert_eq!((r[0].at.0, r[0].bytes.len()), (nanos, 8));
        assert!(r[0].is_cut());
    }
}

#[test]
fn refusals_are_typed() {
    assert!(matches!(read(b"#!/bin/sh"), Err(CaptureError::NotACapture)));
    assert!(matches!(read(b""), Err(CaptureError::NotACapture)));
    let cooked = read(&pcap(MICROS, 113, 8)).unwrap_err();
    assert!(matches!(cooked, CaptureError::LinkType(113)));
    assert!(cooked.to_string().contains("one interface"));
    let whole = pcap(MICROS, 1, 8);
    let cut = read(&whole[..whole.len() - 1]).unwrap_err();
    assert!(matches!(cut, CaptureError::Truncated), "{cut:?}");
    let unknown = {
        let mut w = Writer::new(Vec::new()).unwrap();
        w.write(0, Instant::ZERO, &VnetHdr::PLAIN, &[]).unwrap_err()
    };
    assert!(matches!(unknown, CaptureError::Malformed(_)));
}

/// A pcapng by hand: big-endian, `resolution` as if_tsresol or none, one packet at tick `ticks`.
fn pcapng(resolution: Option<u8>, ticks: u64) -> Vec<u8> {
    let be = u32::to_be_bytes;
    let mut f = Vec::new();
    let mut block = |kind: u32, body: &[u8]| {
        f.extend(be(kind));
        f.extend(be(body.len() as u32 + 12));
        f.extend(body);
        f.extend(be(body.len() as u32 + 12));
    };
    let mut section = vec![0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0];
    section.extend([0xff; 8]);
    block(0x0a0d_0d0a, &section);
    let mut interface = vec![0, 1, 0, 0, 0, 0, 0, 0];
    if let Some(r) = resolution {
        interface.extend([0, 9, 0, 1, r, 0, 0, 0, 0, 0, 0, 0]);
    }
    block(1, &interface);
    let mut packet = be(0).to_vec();
    packet.extend(ticks.to_be_bytes());
    packet.extend(be(4));
    packet.extend(be(4));
    packet.extend([1, 2, 3, 4]);
    block(6, &packet);
    f
}

#[test]
fn pcapng_resolutions() {
    let cases = [
        (None, 7_000_001, 7_000_001_000),
        (Some(6), 7, 7_000),
        (Some(9), 7, 7),
        (Some(3), 7, 7_000_000),
        (Some(0x80 | 10), 1 << 11, 2_000_000_000),
        (Some(0x7f), 7, 0),
    ];
    for (resolution, ticks, nanos) in cases {
        let r = read(&pcapng(resolution, ticks)).unwrap();
        assert_eq!((r.len(), r[0].at.0), (1, nanos), "{resolution:?}");
        assert_eq!(r[0].bytes, [1, 2, 3, 4]);
    }
}

#[test]
fn headers_are_inferred_from_bytes() {
    let spec = Spec {
        payload: vec![5; 4000],
        ..Spec::default()
    };
    let (b, partial) = spec.partial();
    let h = infer_hdr(&b, 1500);
    assert_eq!((h.gso, h.gso_size), (Gso::TcpV4, 1460));
    assert_eq!((h.needs_csum, h.csum_start), (true, partial.csum_start));
    assert_eq!(infer_hdr(&b, 9000), partial);
    assert_eq!(infer_hdr(&spec.finished(), 9000), VnetHdr::PLAIN);
    let udp = Spec { tcp: false, ..spec };
    assert_eq!(infer_hdr(&udp.partial().0, 1500), udp.partial().1);
    assert_eq!(infer_hdr(&[0; 60], 1500), VnetHdr::PLAIN);
}

fn any_hdr() -> impl Strategy<Value = VnetHdr> {
    let kinds = vec![Gso::None, Gso::TcpV4, Gso::TcpV6, Gso::UdpL4];
    let gso = prop::sample::select(kinds);
    (any::<[bool; 3]>(), gso, any::<[u16; 4]>()).prop_map(|(b, gso, n)| VnetHdr {
        needs_csum: b[0],
        data_valid: b[1],
        ecn: b[2],
        gso,
        hdr_len: n[0],
        gso_size: n[1],
        csum_start: n[2],
        csum_offset: n[3],
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_is_written_is_read(
        frames in prop::collection::vec(
            (0u32..3, any::<u64>(), any_hdr(), prop::collection::vec(any::<u8>(), 0..200)),
            0..20,
        ),
    ) {
        let mut w = Writer::new(Vec::new()).unwrap();
        for name in ["eth0", "", "a name"] {
            w.add_interface(name).unwrap();
        }
        for (i, at, hdr, bytes) in &frames {
            let (a, b) = bytes.split_at(bytes.len() / 2);
            w.write(*i, Instant(*at), hdr, &[IoSlice::new(a), IoSlice::new(b)]).unwrap();
        }
        let file = w.into_inner();
        let mut reader = Reader::new(&file[..]).unwrap();
        for (i, at, hdr, bytes) in frames {
            let r = reader.next().unwrap().unwrap();
            prop_assert!(!r.is_cut());
            prop_assert_eq!((r.interface, r.at, r.bytes), (i, Instant(at), bytes));
            prop_assert_eq!(r.hdr.unwrap_or(VnetHdr::PLAIN), hdr);
        }
        prop_assert!(reader.next().is_none());
        let names = reader.interface_names();
        prop_assert!(names.is_empty() || names == ["eth0", "", "a name"]);
    }

    #[test]
    fn damaged_captures_never_panic(
        which in 0usize..3,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        cut_it: bool,
    ) {
        let mut f = match which {
            0 => pcap(MICROS, 1, 10),
            1 => pcapng(Some(9), 5),
            _ => {
                let mut w = Writer::new(Vec::new()).unwrap();
                let i = w.add_interface("x").unwrap();
                let (b, hdr) = Spec { payload: vec![1; 50], ..Spec::default() }.partial();
                w.write(i, Instant(1), &hdr, &[IoSlice::new(&b)]).unwrap();
                w.into_inner()
            }
        };
        for (at, v) in flips {
            let n = f.len();
            f[at.index(n)] = v;
        }
        if cut_it {
            f.truncate(cut.index(f.len()));
        }
        if let Ok(r) = Reader::new(&f[..]) {
            // Bounded: each record consumes bytes, and an error ends it.
            prop_assert!(r.count() <= f.len());
        }
    }
}
