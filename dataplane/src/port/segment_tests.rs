use super::*;
use crate::frame::batch::MAX_FRAME;
use crate::port::headers::UDP;
use crate::port::memory::{MemoryPort, join};
use crate::port::testing::{Spec, judge};
use proptest::prelude::*;

type Out = Vec<(VnetHdr, Vec<u8>)>;

fn run(bytes: &[u8], hdr: &VnetHdr, caps: Caps) -> Result<Out, SegmentError> {
    let mut out = Out::new();
    let n = segment(bytes, hdr, caps, |h, parts| {
        out.push((*h, join(parts)));
        Ok(())
    })?;
    assert_eq!(n, out.len());
    Ok(out)
}

fn superframe(spec: &Spec, size: u16) -> (Vec<u8>, VnetHdr) {
    let (b, mut hdr) = spec.partial();
    hdr.gso_size = size;
    hdr.gso = match (spec.tcp, spec.v6) {
        (true, false) => Gso::TcpV4,
        (true, true) => Gso::TcpV6,
        (false, _) => Gso::UdpL4,
    };
    (b, hdr)
}

#[test]
fn a_capable_port_gets_the_frame_as_it_is() {
    let spec = Spec {
        payload: vec![1; 3000],
        ..Spec::default()
    };
    let (b, hdr) = superframe(&spec, 1000);
    assert_eq!(run(&b, &hdr, Caps::ALL).unwrap(), vec![(hdr, b)]);
    let b = spec.finished();
    let out = run(&b, &VnetHdr::PLAIN, Caps::NONE).unwrap();
    assert_eq!(out, vec![(VnetHdr::PLAIN, b)]);
}

#[test]
fn flags_sequence_and_identification() {
    let spec = Spec {
        flags: PSH | FIN | CWR | 0x10,
        seq: u32::MAX - 999,
        id: u16::MAX,
        timestamp: Some(7),
        payload: (0..2500u32).map(|i| i as u8).collect(),
        ..Spec::default()
    };
    let (b, mut hdr) = superframe(&spec, 1000);
    hdr.ecn = true;
    let out = run(&b, &hdr, Caps::NONE).unwrap();
    let l4 = spec.l4();
    let view: Vec<_> = out
        .iter()
        .map(|(_, f)| (be32(f, l4 + 4), byte(f, l4 + 13), be16(f, 18)))
        .collect();
    assert_eq!(
        view,
        vec![
            (u32::MAX - 999, CWR | 0x10, u16::MAX),
            (0, 0x10, 0),
            (1000, 0x10 | PSH | FIN, 1)
        ]
    );
}

#[test]
fn udp_zero_becomes_ffff() {
    // Search for a payload whose finished checksum computes to 0.
    let mut spec = Spec {
        tcp: false,
        payload: vec![0, 0],
        ..Spec::default()
    };
    let (b, hdr) = spec.partial();
    let s = sum(&b[spec.l4()..], 0);
    spec.payload = (!fold(s)).to_be_bytes().to_vec();
    let (b, _) = spec.partial();
    let out = run(&b, &hdr, Caps::NONE).unwrap();
    assert_eq!(be16(&out[0].1, spec.l4() + 6), 0xffff);
    judge(&out[0].1).unwrap();
}

#[test]
fn bad_headers_are_typed_errors() {
    let spec = Spec {
        payload: vec![1; 3000],
        ..Spec::default()
    };
    let (b, hdr) = superframe(&spec, 1000);
    let err = |h: VnetHdr, b: &[u8]| run(b, &h, Caps::NONE).unwrap_err();
    let with = |f: fn(&mut VnetHdr)| {
        let mut h = hdr;
        f(&mut h);
        h
    };
    assert_eq!(err(with(|h| h.gso_size = 0), &b), SegmentError::Size(0));
    assert_eq!(err(with(|h| h.gso_size = 1), &b), SegmentError::Size(1));
    assert_eq!(err(with(|h| h.gso = Gso::UdpL4), &b), SegmentError::Headers);
    assert_eq!(err(with(|h| h.gso = Gso::TcpV6), &b), SegmentError::Headers);
    assert_eq!(err(hdr, &b[..40]), SegmentError::Headers);
    let plain = |start, offset| VnetHdr {
        needs_csum: true,
        csum_start: start,
        csum_offset: offset,
        ..VnetHdr::PLAIN
    };
    for (start, offset) in [(3054, 0), (3053, 0), (34, 3020), (65_535, 65_535)] {
        let e = err(plain(start, offset), &b);
        assert_eq!(e, SegmentError::ChecksumRange);
        let mut copy = b.clone();
        assert!(finish_in_place(&mut copy, &mut plain(start, offset)).is_err());
        assert_eq!(copy, b);
    }
    assert_eq!(SegmentError::Size(0).reason(), Reason::VnetHdrBad);
    assert_eq!(SegmentError::Headers.reason(), Reason::SegmentFailed);
}

#[test]
fn only_a_partial_checksum_is_finished_in_place() {
    let spec = Spec::default();
    let (good, part) = (spec.finished(), spec.partial());
    let (_, long) = superframe(&spec, 100);
    let without = VnetHdr {
        needs_csum: false,
        ..long
    };
    for mut hdr in [VnetHdr::PLAIN, long, without] {
        let (mut b, before) = (good.clone(), hdr);
        assert_eq!(finish_in_place(&mut b, &mut hdr), Ok(()));
        assert_eq!((b, hdr), (good.clone(), before), "left alone");
    }
    let (mut b, mut hdr) = part;
    assert_eq!(finish_in_place(&mut b, &mut hdr), Ok(()));
    assert_eq!((b, hdr), (good, VnetHdr::PLAIN));
}

#[test]
fn datagrams_without_a_checksum_stay_without() {
    let spec = Spec {
        tcp: false,
        payload: vec![7; 1000],
        ..Spec::default()
    };
    let (mut b, mut hdr) = superframe(&spec, 100);
    let field = Headers::find(&b).unwrap().l4 + 6;
    put16(&mut b, field, 0);
    for needs_csum in [true, false] {
        hdr.needs_csum = needs_csum;
        let out = run(&b, &hdr, Caps::NONE).unwrap();
        assert_eq!(out.len(), 10);
        assert!(out.iter().all(|(_, f)| (be16(f, field) == 0) != needs_csum));
    }
}

/// The field of a UDP checksum is where the lower half of TCP's sequence number stands.
#[test]
fn a_sequence_number_is_no_checksum() {
    let spec = Spec {
        seq: 0x0003_0000,
        payload: vec![7; 1000],
        ..Spec::default()
    };
    let (b, mut hdr) = superframe(&spec, 100);
    for needs_csum in [true, false] {
        hdr.needs_csum = needs_csum;
        let out = run(&b, &hdr, Caps::NONE).unwrap();
        assert_eq!(out.len(), 10);
        assert!(out.iter().all(|(_, f)| judge(f) == Ok(())));
    }
}

#[test]
fn as_many_segments_as_there_may_be_and_no_more() {
    let spec = Spec {
        payload: vec![7; MAX_SEGMENTS],
        ..Spec::default()
    };
    let (b, hdr) = superframe(&spec, 1);
    assert_eq!(run(&b, &hdr, Caps::NONE).unwrap().len(), MAX_SEGMENTS);
    let spec = Spec {
        payload: vec![7; MAX_SEGMENTS + 1],
        ..spec
    };
    let (b, hdr) = superframe(&spec, 1);
    let refused = run(&b, &hdr, Caps::NONE).unwrap_err();
    assert_eq!(refused, SegmentError::Size(1));
}

#[test]
fn sending_stops_at_a_full_port() {
    let (port, mut q) = MemoryPort::new(1, Caps::NONE);
    port.set_capacity(2);
    let spec = Spec {
        payload: vec![1; 3000],
        ..Spec::default()
    };
    let (b, hdr) = superframe(&spec, 1000);
    let e = send(q[0].as_mut(), Caps::NONE, &b, &hdr).unwrap_err();
    assert_eq!(e.reason(), Reason::TxFull);
    assert_eq!(port.take().len(), 2);
    assert_eq!(
        send(q[0].as_mut(), Caps::NONE, &b[..1054], &VnetHdr::PLAIN).unwrap(),
        1
    );
}

pub fn any_spec(max_payload: usize) -> impl Strategy<Value = Spec> {
    let tags = prop::collection::vec(
        (prop::sample::select(vec![0x8100u16, 0x88a8]), 1u16..4000),
        0..3,
    );
    let bits = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<u8>(),
        any::<u16>(),
    );
    let tcp = (
        any::<u32>(),
        any::<u32>(),
        any::<u8>(),
        prop::option::of(any::<u32>()),
    );
    let payload = prop::collection::vec(any::<u8>(), 1..max_payload);
    (tags, bits, tcp, payload, 0usize..20).prop_map(
        |(tags, (v6, tcp, df, tos, id), (seq, ack, flags, timestamp), payload, padding)| Spec {
            tags,
            v6,
            tcp,
            df,
            tos,
            id,
            seq,
            ack,
            flags,
            timestamp,
            payload,
            padding,
            ..Spec::default()
        },
    )
}

/// TCP over IPv4, longer than its length can say.
fn any_long() -> impl Strategy<Value = Spec> {
    let shape = (any_spec(100), 65_600usize..524_000, any::<u8>());
    shape.prop_map(|(spec, len, salt)| Spec {
        tags: vec![],
        v6: false,
        tcp: true,
        padding: 0,
        payload: (0..len).map(|i| (i * 7 / 3) as u8 ^ salt).collect(),
        ..spec
    })
}

#[test]
fn none_but_long_tcp_is_cut_as_such() {
    let long = Spec {
        payload: vec![1; 70_000],
        ..Spec::default()
    };
    let (mut good, hdr) = superframe(&long, 1000);
    set_ipv4(&mut good, 16, 14, 0);
    let refused = |mut b: Vec<u8>, hdr: VnetHdr| {
        let done = cut_long(&mut b, &hdr, |_, _| -> Result<(), SegmentError> {
            panic!("something came out")
        });
        done.unwrap_err()
    };
    for gso_size in [0, u16::MAX, 1] {
        let hdr = VnetHdr { gso_size, ..hdr };
        assert_eq!(refused(good.clone(), hdr), SegmentError::Size(gso_size));
    }
    let (udp, no_sum) = (Gso::UdpL4, false);
    for hdr in [
        VnetHdr { gso: udp, ..hdr },
        VnetHdr::PLAIN,
        VnetHdr {
            needs_csum: no_sum,
            ..hdr
        },
    ] {
        assert_eq!(refused(good.clone(), hdr), SegmentError::Headers);
    }
    let mut told = good.clone();
    set_ipv4(&mut told, 16, 14, 1000);
    let mut v6 = good.clone();
    v6[12..14].copy_from_slice(&[0x86, 0xdd]);
    let mut fragment = good.clone();
    fragment[20] |= 0x20;
    let short = good[..65_549].to_vec();
    for b in [told, v6, fragment, short, vec![]] {
        assert_eq!(refused(b, hdr), SegmentError::Headers);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn segments_carry_the_payload_and_verify(spec in any_spec(6000), size in 48u16..3000) {
        let (b, hdr) = superframe(&spec, size);
        let out = run(&b, &hdr, Caps::NONE).unwrap();
        let mut payload: Vec<u8> = Vec::new();
        for (i, (h, f)) in out.iter().enumerate() {
            prop_assert_eq!(*h, VnetHdr::PLAIN);
            prop_assert_eq!(judge(f), Ok(()));
            let at = Headers::find(f).unwrap();
            prop_assert_eq!(at.end, f.len());
            let full = i + 1 < out.len();
            prop_assert!(!full || at.payload_len() == usize::from(size));
            if spec.tcp {
                prop_assert_eq!(be32(f, at.l4 + 4), spec.seq.wrapping_add(payload.len() as u32));
            }
            payload.extend(&f[at.payload..at.end]);
        }
        prop_assert_eq!(&payload, &spec.payload);

        // With checksum offload: the same frames once finished.
        let csum = Caps { csum: true, ..Caps::NONE };
        let partial = run(&b, &hdr, csum).unwrap();
        prop_assert_eq!(partial.len(), out.len());
        for ((mut h, mut f), (_, want)) in partial.into_iter().zip(out) {
            prop_assert!(h.needs_csum && !h.is_super());
            finish_in_place(&mut f, &mut h).unwrap();
            prop_assert_eq!(f, want);
        }
    }

    #[test]
    fn a_long_one_becomes_the_same_segments(spec in any_long(), size in 48u16..30_000, ecn in any::<bool>()) {
        let (mut b, mut hdr) = superframe(&spec, size);
        hdr.ecn = ecn;
        set_ipv4(&mut b, 16, 14, 0);
        let mut pieces = Out::new();
        let n = cut_long(&mut b, &hdr, |h, parts| {
            pieces.push((*h, join(parts)));
            Ok::<_, SegmentError>(())
        });
        prop_assert_eq!(n, Ok(pieces.len()));
        let (mut payload, mut segments) = (Vec::<u8>::new(), 0u16);
        for (i, (h, f)) in pieces.iter().enumerate() {
            prop_assert!(f.len() <= MAX_FRAME);
            prop_assert_eq!(h.ecn, ecn && i == 0);
            let headers = Headers::find(f).unwrap().payload;
            prop_assert!(!h.is_super() || usize::from(h.hdr_len) == headers);
            for (_, f) in run(f, h, Caps::NONE).unwrap() {
                prop_assert_eq!(judge(&f), Ok(()));
                let at = Headers::find(&f).unwrap();
                let last = payload.len() + at.payload_len() == spec.payload.len();
                prop_assert_eq!(last || at.payload_len() == usize::from(size), true);
                prop_assert_eq!(be32(&f, at.l4 + 4), spec.seq.wrapping_add(payload.len() as u32));
                prop_assert_eq!(be16(&f, 18), spec.id.wrapping_add(segments));
                let mut flags = spec.flags;
                if segments > 0 { flags &= !CWR; }
                if !last { flags &= !(PSH | FIN); }
                prop_assert_eq!(byte(&f, at.l4 + 13), flags);
                payload.extend(&f[at.payload..at.end]);
                segments += 1;
            }
        }
        prop_assert!(payload == spec.payload);
    }

    #[test]
    fn a_finished_checksum_is_the_right_one(spec in any_spec(2000)) {
        let (b, hdr) = spec.partial();
        let out = run(&b, &hdr, Caps::NONE).unwrap();
        prop_assert_eq!(&out[0].1, &spec.finished());
        prop_assert_eq!(judge(&out[0].1), Ok(()));
    }

    #[test]
    fn nonsense_never_panics(
        mut spec in any_spec(300),
        cut in 0usize..400,
        flips in prop::collection::vec((0usize..80, any::<u8>()), 0..6),
        hdr in prop::array::uniform10(any::<u8>()),
        gso in 0u8..6,
    ) {
        spec.padding = 0;
        let mut b = spec.finished();
        b.truncate(cut);
        for (at, v) in flips {
            if let Some(x) = b.get_mut(at) { *x = v; }
        }
        let mut raw = hdr;
        raw[1] = gso;
        if let Ok(h) = VnetHdr::decode(&raw) {
            for caps in [Caps::NONE, Caps { csum: true, ..Caps::NONE }] {
                if let Ok(out) = run(&b, &h, caps) {
                    prop_assert!(out.len() <= MAX_SEGMENTS);
                }
            }
        }
        if let Some(h) = Headers::find(&b) {
            prop_assert!(h.l3 < h.l4 && h.l4 < h.payload && h.payload <= h.end && h.end <= b.len());
            prop_assert!(h.proto == TCP || h.proto == UDP);
        }
    }
}
