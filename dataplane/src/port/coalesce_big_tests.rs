//! Runs beyond 64 KiB.

use super::tests::{members, run};
use super::*;
use crate::base::bytes::put16;
use crate::frame::Batch;
use crate::frame::checksum::{fold, sum};
use crate::port::egress::Egress;
use crate::port::memory::join;
use crate::port::segment::{SegmentError, segment, set_ipv4};
use crate::port::testing::{Spec, judge};
use crate::port::{PortQueue, RecvError, SendError};
use proptest::prelude::*;
use std::os::fd::RawFd;

const BIG: Caps = Caps {
    big: true,
    ..Caps::ALL
};
/// What a segment carries, and a whole superframe of Linux.
const MSS: usize = 1448;
const FULL: usize = 45 * MSS;

/// A superframe, or an ordinary frame where one segment carries all of the payload.
fn frame(s: &Spec, size: usize) -> Frame {
    let (bytes, mut hdr) = s.partial();
    if s.payload.len() > size {
        hdr.gso = match (s.tcp, s.v6) {
            (false, _) => Gso::UdpL4,
            (true, false) => Gso::TcpV4,
            (true, true) => Gso::TcpV6,
        };
        hdr.gso_size = size as u16;
        hdr.hdr_len = (bytes.len() - s.payload.len()) as u16;
    }
    Frame::with_hdr(&bytes, hdr)
}

/// Frames that follow each other with so much payload each.
fn stream(base: &Spec, lens: &[usize]) -> Vec<Spec> {
    let mut next = base.clone();
    let mut out = Vec::new();
    for (n, len) in lens.iter().enumerate() {
        next.payload = (0..*len).map(|i| (i * 7 + n) as u8).collect();
        out.push(next.clone());
        next.seq = next.seq.wrapping_add(*len as u32);
        next.id = next.id.wrapping_add(len.div_ceil(MSS) as u16);
    }
    out
}

fn frames(specs: &[Spec]) -> Vec<Frame> {
    specs.iter().map(|s| frame(s, MSS)).collect()
}

/// What a stack makes of a write: the segments, finished. One whose length says nothing is taken
/// apart first into superframes whose length does.
fn cut(hdr: &VnetHdr, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut finish = |bytes: &[u8], hdr: &VnetHdr| {
        segment(bytes, hdr, Caps::NONE, |_, parts| {
            out.push(join(parts));
            Ok::<_, SegmentError>(())
        })
        .unwrap();
    };
    if be16(bytes, 16) != 0 {
        finish(bytes, hdr);
        return out;
    }
    assert_eq!((be16(bytes, 12), hdr.gso), (0x0800, Gso::TcpV4));
    assert_eq!(fold(sum(&bytes[14..34], 0)), 0xffff, "the IPv4 header's");
    let (headers, payload) = bytes.split_at(hdr.hdr_len.into());
    assert!(20 + headers.len() - 34 + payload.len() > 65_535);
    let pseudo =
        |len: usize| fold(sum(&bytes[26..34], 0) + 6 + (len >> 16) as u32 + (len & 0xffff) as u32);
    assert_eq!(be16(bytes, 50), pseudo(bytes.len() - 34));
    let size = usize::from(hdr.gso_size);
    let chunk = 40 * size;
    let last = payload.len().div_ceil(chunk) - 1;
    for (n, part) in payload.chunks(chunk).enumerate() {
        let mut b = [headers, part].concat();
        let len = b.len() - 34;
        set_ipv4(&mut b, 16, 14, (len + 20) as u16);
        set_ipv4(
            &mut b,
            18,
            14,
            be16(bytes, 18).wrapping_add((n * 40) as u16),
        );
        let seq = be32(bytes, 38).wrapping_add((n * chunk) as u32);
        b[38..42].copy_from_slice(&seq.to_be_bytes());
        if n < last {
            b[47] &= !(PSH | FIN);
        }
        put16(&mut b, 50, pseudo(len));
        let hdr = match part.len() > size {
            true => *hdr,
            false => VnetHdr {
                gso: Gso::None,
                gso_size: 0,
                ..*hdr
            },
        };
        finish(&b, &hdr);
    }
    out
}

/// A segment whose PSH may have moved, and whose identification means nothing under DF: without
/// them, and whether its checksums were right.
fn comparable(mut b: Vec<u8>) -> (bool, Vec<u8>) {
    let right = judge(&b).is_ok();
    if b[20] & 0x40 != 0 {
        b[18..20].fill(0);
    }
    b[24..26].fill(0);
    b[47] &= !PSH;
    b[50..52].fill(0);
    (right, b)
}

#[test]
fn superframes_of_a_stream_become_one_write_of_up_to_512_kib() {
    for df in [true, false] {
        let base = Spec {
            df,
            timestamp: Some(3),
            seq: u32::MAX - 100_000,
            id: 65_000,
            ..Spec::default()
        };
        let specs = stream(&base, &[FULL; 9]);
        let f = frames(&specs);
        let out = run(BIG, &f);
        let took: Vec<usize> = out.iter().map(|w| w.2.len()).collect();
        assert_eq!(took, [8, 1]);
        let (hdr, bytes, _) = &out[0];
        assert_eq!(be16(bytes, 16), 0, "no length can say it");
        assert_eq!((hdr.gso, hdr.gso_size), (Gso::TcpV4, MSS as u16));
        assert_eq!((hdr.hdr_len, bytes.len()), (66, 66 + 8 * FULL));
        let got = out.iter().flat_map(|(h, b, _)| cut(h, b));
        let want = f.iter().flat_map(|f| cut(&f.hdr, f.bytes()));
        let both: Vec<_> = got.map(comparable).zip(want.map(comparable)).collect();
        assert_eq!(both.len(), 9 * 45);
        assert!(both.iter().all(|(a, b)| a.0 && a == b));
        assert_eq!(
            members(Caps::ALL, &f),
            (0..9).map(|i| vec![i]).collect::<Vec<_>>()
        );
    }
}

#[test]
fn small_segments_go_beyond_64_kib_too_and_stay_below_where_they_must() {
    let f = frames(&stream(&Spec::default(), &[MSS; 64]));
    assert_eq!(members(BIG, &f).len(), 1);
    assert_eq!(members(Caps::ALL, &f).len(), 2);
    let v6 = Spec {
        v6: true,
        ..Spec::default()
    };
    let f = frames(&stream(&v6, &[MSS; 64]));
    assert_eq!(
        members(BIG, &f).len(),
        2,
        "IPv6 needs a jumbo option for that"
    );
}

#[test]
fn a_short_segment_ends_the_run() {
    let f = frames(&stream(
        &Spec::default(),
        &[FULL, MSS, FULL - 1, FULL, 10, FULL],
    ));
    assert_eq!(members(BIG, &f), [vec![0, 1, 2], vec![3, 4], vec![5]]);
}

#[test]
fn a_push_moves_to_the_end_and_a_fin_ends() {
    for pushed in 0..3 {
        let mut specs = stream(&Spec::default(), &[FULL; 4]);
        specs[pushed].flags |= PSH;
        specs[2].flags |= FIN;
        let out = run(BIG, &frames(&specs));
        assert_eq!(out.iter().map(|w| w.2.len()).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(out[0].1[47], ACK | PSH | FIN);
        assert_eq!(out[1].1[47], ACK);
    }
    // Without a stack behind the port it stays where it is.
    let mut specs = stream(&Spec::default(), &[MSS; 3]);
    specs[0].flags |= PSH;
    assert_eq!(members(Caps::ALL, &frames(&specs)), [vec![0], vec![1, 2]]);
}

#[test]
fn superframes_that_differ_are_not_joined() {
    let specs = stream(&Spec::default(), &[FULL; 2]);
    let apart = |change: fn(&mut Frame)| {
        let mut f = frames(&specs);
        change(&mut f[1]);
        assert_eq!(members(BIG, &f).len(), 2);
    };
    assert_eq!(members(BIG, &frames(&specs)).len(), 1);
    apart(|f| f.hdr.gso_size = 1400);
    apart(|f| f.hdr.gso_size = 0);
    let mut tiny = frames(&specs);
    tiny.iter_mut().for_each(|f| f.hdr.gso_size = 5);
    assert_eq!(members(BIG, &tiny).len(), 2, "{FULL} is a multiple of 5");
    apart(|f| f.hdr.gso = Gso::TcpV6);
    apart(|f| f.hdr.gso = Gso::UdpL4);
    apart(|f| f.hdr.ecn = true);
    apart(|f| f.bytes_mut()[50] ^= 1);
    apart(|f| f.bytes_mut()[47] |= 0x80);
    for base in [
        Spec {
            v6: true,
            ..Spec::default()
        },
        Spec {
            tcp: false,
            ..Spec::default()
        },
    ] {
        let f = frames(&stream(&base, &[10 * MSS; 2]));
        assert!(f.iter().all(|f| f.hdr.is_super()));
        assert_eq!(members(BIG, &f).len(), 2);
    }
}

/// A port that says it takes them and does not.
struct Refuses {
    answer: fn() -> SendError,
    /// Whether whoever reads it passes on what it gets.
    passes_on: bool,
    /// Bytes of each frame that it took.
    took: Vec<usize>,
    /// How often it was asked to take one.
    asked: usize,
}

impl Refuses {
    fn new(answer: fn() -> SendError, passes_on: bool) -> Refuses {
        Refuses {
            answer,
            passes_on,
            took: Vec::new(),
            asked: 0,
        }
    }
}

impl PortQueue for Refuses {
    fn caps(&self) -> Caps {
        BIG
    }
    fn passes_on(&self) -> bool {
        self.passes_on
    }
    fn recv(&mut self, _: &mut Batch, _: usize) -> Result<bool, RecvError> {
        Ok(false)
    }
    fn send(&mut self, _: &VnetHdr, parts: &[IoSlice<'_>]) -> Result<(), SendError> {
        let bytes = join(parts);
        self.asked += 1;
        if be16(&bytes, 16) == 0 {
            return Err((self.answer)());
        }
        self.took.push(bytes.len());
        Ok(())
    }
    fn poll_fd(&self) -> Option<RawFd> {
        None
    }
}

#[test]
fn where_it_is_refused_each_superframe_goes_alone() {
    let f = frames(&stream(&Spec::default(), &[FULL; 3]));
    // The kernel does not know them, or has no memory for so many bytes.
    let answers: [fn() -> SendError; 2] = [|| SendError::Refused, || SendError::Full];
    for answer in answers {
        let mut port = Refuses::new(answer, false);
        let mut told = Vec::new();
        Egress::default().write(
            &mut port,
            3,
            |i| &f[i],
            |w| {
                told.push((w.frames, w.bytes, w.segments, w.result));
            },
        );
        assert_eq!(port.took, [54 + FULL; 3]);
        assert_eq!(told, [(1, 54 + FULL as u64, 0, Ok(())); 3]);
    }
}

#[test]
fn where_there_is_no_room_it_is_tried_again_later() {
    let f = frames(&stream(&Spec::default(), &[FULL; 3]));
    let mut port = Refuses::new(|| SendError::Full, false);
    let mut egress = Egress::default();
    let mut tries = || {
        let before = port.asked;
        egress.write(&mut port, 3, |i| &f[i], |w| assert!(w.result.is_ok()));
        port.asked - before
    };
    let first = [tries(), tries()];
    assert_eq!(first, [4, 3], "joined, then alone");
    let later: Vec<usize> = (0..200).map(|_| tries()).collect();
    let again = later.iter().filter(|n| **n == 4).count();
    assert!((2..=4).contains(&again), "{again} of 200");
}

#[test]
fn whoever_passes_them_on_gets_none() {
    let f = frames(&stream(&Spec::default(), &[FULL; 3]));
    let mut port = Refuses::new(|| SendError::Full, true);
    let mut frames = 0;
    Egress::default().write(&mut port, 3, |i| &f[i], |w| frames += w.frames);
    assert_eq!((port.asked, frames), (3, 3), "not even tried");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever three flows send in whatever portions, their stacks see the same segments.
    #[test]
    fn a_stack_sees_the_segments_that_were_sent(
        steps in prop::collection::vec((0usize..3, 0usize..46, 0usize..4, 0u8..20), 1..30),
    ) {
        let mut flows: Vec<Spec> = (0..3u8)
            .map(|flow| Spec { flow, df: flow != 1, ..Spec::default() })
            .collect();
        let mut sent = Vec::new();
        for (flow, whole, tail, event) in steps {
            let s = &mut flows[flow];
            // Mostly whole segments, so that runs go on.
            let len = whole * MSS + if tail == 0 { event as usize } else { 0 };
            s.payload = vec![event; len.min(FULL)];
            s.flags = ACK;
            match event {
                0..4 => s.flags |= PSH,
                4 => s.flags |= FIN,
                5 => s.window += 1,
                _ => {}
            }
            let mut f = frame(s, MSS);
            if event == 6 {
                f.bytes_mut()[50] ^= 1;
            }
            sent.push(f);
            s.seq = s.seq.wrapping_add(s.payload.len() as u32);
            s.id = s.id.wrapping_add(s.payload.len().div_ceil(MSS).max(1) as u16);
        }
        let writes = run(BIG, &sent);
        let mut seen: Vec<u16> = writes.iter().flat_map(|w| w.2.clone()).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..sent.len() as u16).collect::<Vec<_>>());
        for flow in 0..3u8 {
            let of = |all: Vec<Vec<u8>>| -> Vec<_> {
                all.into_iter().filter(|b| b[29] == flow).map(comparable).collect()
            };
            let want = of(sent.iter().flat_map(|f| cut(&f.hdr, f.bytes())).collect());
            let got = of(writes.iter().flat_map(|(h, b, _)| cut(h, b)).collect());
            prop_assert_eq!(got, want);
        }
        prop_assert!(writes.iter().all(|w| w.1.len() - 14 <= MAX_BIG));
    }
}
