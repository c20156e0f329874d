use super::*;
use crate::frame::Gso;
use crate::frame::checksum::{fold, sum};
use crate::port::coalesce_run::MAX_PACKET;
use crate::port::memory::join;
use crate::port::segment::{SegmentError, segment, set_ipv4};
use crate::port::testing::{Spec, trimmed};
use proptest::prelude::*;

/// Each write: header, bytes, members.
pub(super) fn run(caps: Caps, frames: &[Frame]) -> Vec<(VnetHdr, Vec<u8>, Vec<u16>)> {
    let mut out = Vec::new();
    Coalescer::new().flush(
        caps,
        frames.len(),
        |i| &frames[i],
        |w| {
            out.push((w.hdr, join(w.parts), w.members.to_vec()));
        },
    );
    out
}

pub(super) fn members(caps: Caps, frames: &[Frame]) -> Vec<Vec<u16>> {
    run(caps, frames).into_iter().map(|w| w.2).collect()
}

fn finish(bytes: &[u8], hdr: &VnetHdr) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    segment(bytes, hdr, Caps::NONE, |_, parts| {
        out.push(trimmed(&join(parts)).to_vec());
        Ok::<_, SegmentError>(())
    })
    .unwrap();
    out
}

fn partial(s: &Spec) -> Frame {
    let (b, h) = s.partial();
    Frame::with_hdr(&b, h)
}

/// `n` segments of `size` bytes that follow each other.
fn stream(spec: &Spec, n: usize, size: usize) -> Vec<Spec> {
    (0..n)
        .map(|i| Spec {
            seq: spec.seq.wrapping_add((i * size) as u32),
            id: spec.id.wrapping_add(i as u16),
            payload: vec![i as u8; size],
            ..spec.clone()
        })
        .collect()
}

fn frames(specs: &[Spec]) -> Vec<Frame> {
    specs.iter().map(partial).collect()
}

#[test]
fn a_stream_becomes_one_write() {
    for v6 in [false, true] {
        let base = Spec {
            v6,
            timestamp: Some(3),
            ..Spec::default()
        };
        let mut specs = stream(&base, 5, 1000);
        specs[4].payload.truncate(10);
        specs[4].flags |= PSH;
        let f = frames(&specs);
        let out = run(Caps::ALL, &f);
        assert_eq!(out.len(), 1);
        let (hdr, bytes, m) = &out[0];
        assert_eq!(m, &[0, 1, 2, 3, 4]);
        assert_eq!(hdr.gso, if v6 { Gso::TcpV6 } else { Gso::TcpV4 });
        assert_eq!(hdr.gso_size, 1000);
        assert_eq!(bytes.len(), f[0].len() + 3 * 1000 + 10);
        let want: Vec<_> = specs.iter().map(Spec::finished).collect();
        assert_eq!(finish(bytes, hdr), want);
    }
}

#[test]
fn datagrams_become_one_write_of_at_most_64() {
    let base = Spec {
        tcp: false,
        df: false,
        ..Spec::default()
    };
    let f = frames(&stream(&base, 70, 64));
    let out = run(Caps::ALL, &f);
    assert_eq!(out.iter().map(|w| w.2.len()).collect::<Vec<_>>(), [64, 6]);
    assert_eq!(out[0].0.gso, Gso::UdpL4);
    let none = Caps {
        uso: false,
        ..Caps::ALL
    };
    assert_eq!(members(none, &f).len(), 70);
    assert_eq!(members(Caps::NONE, &f).len(), 70);
}

#[test]
fn never_longer_than_an_ip_packet() {
    let f = frames(&stream(&Spec::default(), 10, 9000));
    let n: Vec<_> = members(Caps::ALL, &f).iter().map(Vec::len).collect();
    assert_eq!(n, [7, 3]);
}

#[test]
fn what_differs_is_not_joined() {
    let base = Spec::default();
    type Change = (&'static str, fn(&mut Spec));
    let changes: [Change; 15] = [
        ("hole", |s| s.seq += 1),
        ("ack", |s| s.ack += 1),
        ("window", |s| s.window += 1),
        ("tos", |s| s.tos ^= 4),
        ("ttl", |s| s.ttl -= 1),
        ("df", |s| s.df = false),
        ("timestamp", |s| s.timestamp = Some(1)),
        ("larger", |s| s.payload.push(0)),
        ("empty", |s| s.payload.clear()),
        ("syn", |s| s.flags |= 2),
        ("rst", |s| s.flags |= 4),
        ("urg", |s| s.flags |= 0x20),
        ("ece", |s| s.flags |= 0x40),
        ("cwr", |s| s.flags |= 0x80),
        ("tag", |s| s.tags.push((0x8100, 5))),
    ];
    for (what, change) in changes {
        // IPv6 has no such bit.
        for v6 in [false, true].into_iter().filter(|v6| !v6 || what != "df") {
            let base = Spec { v6, ..base.clone() };
            let mut specs = stream(&base, 2, 100);
            change(&mut specs[1]);
            let one_each = [vec![0], vec![1]];
            assert_eq!(members(Caps::ALL, &frames(&specs)), one_each, "{what} {v6}");
        }
    }
    // Without DF the identification has to count up.
    let base = Spec { df: false, ..base };
    let mut specs = stream(&base, 2, 100);
    assert_eq!(members(Caps::ALL, &frames(&specs)), [vec![0, 1]]);
    specs[1].id += 1;
    assert_eq!(members(Caps::ALL, &frames(&specs)).len(), 2);
}

#[test]
fn push_and_fin_end_a_run() {
    let mut specs = stream(&Spec::default(), 4, 100);
    specs[1].flags |= PSH;
    specs[3].flags |= FIN;
    assert_eq!(
        members(Caps::ALL, &frames(&specs)),
        [vec![0, 1], vec![2, 3]]
    );
}

#[test]
fn wrong_checksums_stay_wrong() {
    for tcp in [true, false] {
        let specs = stream(
            &Spec {
                tcp,
                ..Spec::default()
            },
            3,
            100,
        );
        let good: Vec<_> = specs
            .iter()
            .map(|s| Frame::from_bytes(&s.finished()))
            .collect();
        assert_eq!(members(Caps::ALL, &good), [vec![0, 1, 2]]);
        // A bit of the payload, of the IPv4 header's TTL, and of the L4 checksum.
        for at in [90, 22, specs[0].l4() + if tcp { 16 } else { 6 }] {
            for victim in 0..3 {
                let mut f = good.clone();
                f[victim].bytes_mut()[at] ^= 1;
                let bad = f[victim].bytes().to_vec();
                let out = run(Caps::ALL, &f);
                let own = out.iter().find(|w| w.2 == [victim as u16]).expect("alone");
                assert_eq!(own.1, bad);
            }
        }
        // A wrong pseudo-header sum is as wrong.
        let mut f = frames(&specs);
        f[1].bytes_mut()[specs[0].l4() + if tcp { 17 } else { 7 }] ^= 1;
        assert!(members(Caps::ALL, &f).contains(&vec![1]));
    }
}

#[test]
fn udp_without_checksum_stays_without() {
    let base = Spec {
        tcp: false,
        ..Spec::default()
    };
    let l4 = base.l4();
    let f: Vec<_> = stream(&base, 3, 100)
        .iter()
        .map(|s| {
            let mut f = Frame::from_bytes(&s.finished());
            f.bytes_mut()[l4 + 6..l4 + 8].fill(0);
            f
        })
        .collect();
    assert_eq!(members(Caps::ALL, &f).len(), 3);
}

#[test]
fn superframes_and_groups_pass_as_they_are() {
    let specs = stream(&Spec::default(), 3, 100);
    let mut f = frames(&specs);
    f[1].hdr.gso = Gso::TcpV4;
    f[1].hdr.gso_size = 50;
    assert_eq!(members(Caps::ALL, &f), [vec![0], vec![1], vec![2]]);
    let mut f = frames(&specs);
    f.iter_mut().for_each(|f| f.bytes_mut()[0] |= 1);
    assert_eq!(members(Caps::ALL, &f).len(), 3);
}

#[test]
fn flows_interleave_and_strangers_keep_their_place() {
    let a = stream(&Spec::default(), 3, 100);
    let b = stream(
        &Spec {
            flow: 2,
            ..Spec::default()
        },
        3,
        100,
    );
    let mixed: Vec<_> = a
        .iter()
        .zip(&b)
        .flat_map(|(x, y)| [partial(x), partial(y)])
        .collect();
    assert_eq!(members(Caps::ALL, &mixed), [vec![0, 2, 4], vec![1, 3, 5]]);
    let mut with_arp = mixed;
    let mut arp = vec![0xff; 60];
    arp[12..14].copy_from_slice(&[8, 6]);
    with_arp.insert(4, Frame::from_bytes(&arp));
    assert_eq!(
        members(Caps::ALL, &with_arp),
        [vec![0, 2], vec![1, 3], vec![4], vec![5], vec![6]]
    );
    // More flows than runs: everything still comes out, once.
    let many: Vec<_> = (0..60u8)
        .map(|i| {
            partial(&Spec {
                flow: i % 20,
                payload: vec![1; 10],
                ..Spec::default()
            })
        })
        .collect();
    let mut all: Vec<u16> = members(Caps::ALL, &many).concat();
    all.sort_unstable();
    assert_eq!(all, (0..60).collect::<Vec<_>>());
}

/// One step of a random mix: a flow goes on, or something happens to it.
fn step() -> impl Strategy<Value = (u8, u8, usize, u8, bool)> {
    (0u8..12, 0u8..14, 1usize..4, any::<u8>(), any::<bool>())
}

/// Frames of up to 12 flows that mostly continue, as a batch would hold them.
fn mix(steps: &[(u8, u8, usize, u8, bool)]) -> Vec<Frame> {
    let mut flows: Vec<Spec> = (0..12u8)
        .map(|flow| Spec {
            flow,
            tcp: flow % 3 != 0,
            v6: flow % 4 == 1,
            df: flow % 2 == 0,
            ..Spec::default()
        })
        .collect();
    let mut out = Vec::new();
    for &(flow, event, size, fill, finished) in steps {
        // Few flows get most of the frames, so that runs happen.
        let s = &mut flows[usize::from(if flow > 8 { flow } else { flow % 3 })];
        s.flags = 0x10;
        s.payload = vec![fill; 40 * if event < 8 { 2 } else { size }];
        match event {
            8 => s.flags |= PSH,
            9 => s.flags |= FIN,
            10 => s.ack += 1,
            11 => s.payload.clear(),
            12 => s.padding = 6,
            13 => s.id = s.id.wrapping_add(1),
            _ => {}
        }
        let mut f = if finished {
            Frame::from_bytes(&s.finished())
        } else {
            partial(s)
        };
        if event == 10 && fill < 64 {
            // Damage anywhere behind the Ethernet header.
            let at = 14 + usize::from(fill) % (f.len() - 14);
            f.bytes_mut()[at] ^= 0x10;
        }
        out.push(f);
        s.padding = 0;
        s.seq = s.seq.wrapping_add(s.payload.len() as u32);
        s.id = s.id.wrapping_add(1);
    }
    out
}

/// The flow of a finished frame, and the frame with the identification blanked where it means
/// nothing.
fn comparable(b: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let Some(at) = Headers::find(b) else {
        return (vec![], b.to_vec());
    };
    let mut flow = b[at.addresses()].to_vec();
    flow.extend(&b[at.l4..at.l4 + 4]);
    let mut b = b.to_vec();
    let valid = fold(sum(&b[at.l3..at.l4], 0)) == 0xffff;
    if !at.v6 && b[at.l3 + 6] & 0x40 != 0 && valid {
        set_ipv4(&mut b, at.l3 + 4, at.l3, 0);
    }
    (flow, b)
}

type ByFlow = std::collections::BTreeMap<Vec<u8>, Vec<Vec<u8>>>;

fn by_flow(frames: impl Iterator<Item = Vec<u8>>) -> ByFlow {
    let mut map = ByFlow::new();
    for f in frames {
        let (flow, b) = comparable(&f);
        map.entry(flow).or_default().push(b);
    }
    map
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn segmenting_gives_back_what_was_joined(
        steps in prop::collection::vec(step(), 1..100),
        caps in prop::sample::select(vec![
            Caps::ALL,
            Caps { uso: false, ..Caps::ALL },
            Caps { tso4: false, tso6: false, ..Caps::ALL },
            Caps::NONE,
        ]),
    ) {
        let frames = mix(&steps);
        let writes = run(caps, &frames);
        let mut seen: Vec<u16> = writes.iter().flat_map(|w| w.2.clone()).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..frames.len() as u16).collect::<Vec<_>>());
        for (hdr, bytes, members) in &writes {
            prop_assert!(members.len() == 1 || bytes.len() - 14 <= MAX_PACKET);
            prop_assert_eq!(hdr.is_super(), members.len() > 1);
        }
        let want = by_flow(frames.iter().flat_map(|f| finish(f.bytes(), &f.hdr)));
        let got = by_flow(writes.iter().flat_map(|(hdr, bytes, _)| finish(bytes, hdr)));
        prop_assert_eq!(got, want);
    }
}
