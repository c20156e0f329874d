//! Frames with a `virtio_net_hdr` from a hostile guest: any lengths, offsets and segment sizes
//! through parse, rewrite, segmentation and joining, and through a whole switch.

use super::repair_ipv4;
use crate::memory::check::verify;
use crate::memory::{APP, DB, FAR, GW, Lab, WEB, config, mac};
use dataplane::base::{Mac, PortId, Proto, Tuple};
use dataplane::flow::Forward;
use dataplane::frame::parse::{self, Parsed};
use dataplane::frame::{Frame, Gso, L3, L4, VnetHdr};
use dataplane::port::Caps;
use dataplane::port::coalesce::{Coalescer, MAX_BIG};
use dataplane::port::headers::{Headers, TCP};
use dataplane::port::memory::join;
use dataplane::port::segment::{MAX_SEGMENTS, SegmentError, segment, takes};
use dataplane::rewrite;

/// Three bytes (what the ports take, where the frame goes, how it comes), ten of header, the
/// frame.
pub fn vnet_hdr(data: &[u8]) {
    let Some((caps, to, frame)) = read(data) else {
        return;
    };
    through_a_switch(&frame, caps, to);
    if let Ok(p) = parse::parse(frame.bytes(), &frame.hdr) {
        rewritten(&frame, &p);
        cut_and_joined(&frame, &p, caps);
    }
    joined_beyond_64_kib(&frame);
}

/// What the ports take, where the frame goes, and the frame.
fn read(data: &[u8]) -> Option<(Caps, u8, Frame)> {
    let (&[caps, to, how], rest) = data.split_first_chunk::<3>()?;
    let (hdr, rest) = rest.split_at_checked(VnetHdr::LEN)?;
    let hdr = VnetHdr::decode(hdr).ok()?;
    let mut bytes = rest.to_vec();
    // Large frames from few bytes.
    if how & 1 != 0 {
        let n = usize::from(how >> 2) * 1_024;
        bytes.resize((bytes.len() + n).min(65_535 + 14), how);
        set_length(&mut bytes);
    }
    if how & 2 != 0 {
        repair_ipv4(&mut bytes);
    }
    Some((capabilities(caps), to, Frame::with_hdr(&bytes, hdr)))
}

fn capabilities(which: u8) -> Caps {
    Caps {
        csum: which & 1 != 0,
        tso4: which & 2 != 0,
        tso6: which & 4 != 0,
        uso: which & 8 != 0,
        big: false,
    }
}

/// Makes the total length of an untagged IPv4 packet that of the frame.
fn set_length(b: &mut [u8]) {
    if b.len() >= 34 && b[12..14] == [8, 0] {
        let total = u16::try_from(b.len() - 14).unwrap_or(u16::MAX);
        b[16..18].copy_from_slice(&total.to_be_bytes());
    }
}

/// A frame that was right is right after it got other addresses and ports, and as long.
fn rewritten(frame: &Frame, p: &Parsed) {
    if p.l3 != L3::Ipv4 || p.l4_error.is_some() || p.ttl < 2 {
        return;
    }
    let new = Tuple {
        src: FAR,
        dst: APP,
        sport: p.tuple.sport ^ 0x5aa5,
        dport: p.tuple.dport.wrapping_add(1),
        ..p.tuple
    };
    let (ip_delta, l4_delta) = rewrite::deltas(&p.tuple, &new);
    let f = Forward {
        egress: PortId(1),
        dst_mac: Mac([2, 1, 1, 1, 1, 1]),
        header_delta: rewrite::header_delta(ip_delta),
        l4_delta,
        mtu: 1500,
        until: 0,
    };
    let mut out = frame.clone();
    rewrite::apply_forward(&mut out, p, &f, &new, mac(GW));
    assert_eq!(out.len(), frame.len());
    if verify(frame).is_ok() {
        assert_eq!(verify(&out), Ok(()));
    }
    let q = parse::parse(out.bytes(), &out.hdr).expect("still a frame");
    assert_eq!(
        (q.l4, q.l3_len, q.tcp, q.ttl),
        (p.l4, p.l3_len, p.tcp, p.ttl - 1)
    );
    assert_eq!((q.tuple.src, q.tuple.dst), (new.src, new.dst));
    if matches!(p.l4, L4::Tcp | L4::Udp) {
        assert_eq!(q.tuple, new);
    }
}

fn segments(f: &Frame, caps: Caps) -> Option<Vec<Frame>> {
    let mut out = Vec::new();
    let done = segment(f.bytes(), &f.hdr, caps, |h, parts| {
        out.push(Frame::with_hdr(&join(parts), *h));
        Ok::<(), SegmentError>(())
    });
    match done {
        Ok(n) => assert_eq!(n, out.len()),
        Err(_) => {
            assert!(out.is_empty(), "refused half-way");
            return None;
        }
    }
    Some(out)
}

/// A frame becomes frames that the port takes, none longer than it may be; joined and cut again
/// they are the same.
fn cut_and_joined(frame: &Frame, p: &Parsed, caps: Caps) {
    // What is left to others is judged for TCP and UDP alone: elsewhere its place and the field may be
    // anything, and it is finished as it was asked for.
    let judged = !frame.hdr.needs_csum || matches!(p.l4, L4::Tcp | L4::Udp);
    let good = judged && p.l4_error.is_none() && verify(frame).is_ok();
    let Some(parts) = segments(frame, caps) else {
        return;
    };
    assert!(!parts.is_empty() && parts.len() <= MAX_SEGMENTS);
    for f in &parts {
        assert!(takes(caps, &f.hdr));
        if good {
            assert_eq!(verify(f), Ok(()));
        }
        let q = parse::parse(f.bytes(), &f.hdr).expect("a frame of our own");
        assert!(q.l3_len <= p.wire_len || takes(caps, &frame.hdr), "{q:?}");
        assert_eq!(q.tuple, p.tuple);
    }
    if parts.len() > 64 {
        return;
    }
    let mut seen = vec![0; parts.len()];
    let mut again: Vec<Frame> = Vec::new();
    Coalescer::new().flush(
        Caps::ALL,
        parts.len(),
        |i| &parts[i],
        |w| {
            w.members.iter().for_each(|m| seen[usize::from(*m)] += 1);
            let joined = Frame::with_hdr(&join(w.parts), w.hdr);
            if w.members.len() == 1 {
                again.push(joined);
            } else {
                again.extend(segments(&joined, Caps::NONE).expect("our own superframe"));
            }
        },
    );
    assert!(seen.iter().all(|n| *n == 1));
    let finish = |all: &[Frame]| -> Vec<Vec<u8>> {
        all.iter()
            .flat_map(|f| segments(f, Caps::NONE).unwrap_or_default())
            .map(|f| f.bytes().to_vec())
            .collect()
    };
    if good {
        assert_eq!(finish(&again), finish(&parts));
    }
}

/// What would follow the frame in its stream goes to a stack that takes more than a packet's length
/// can say: every frame in one write, whose bytes are the frames' payloads, and whose length is said
/// or 0. Returns the bytes of the longest packet that several became.
fn joined_beyond_64_kib(frame: &Frame) -> usize {
    let Some(at) = Headers::find(frame.bytes()) else {
        return 0;
    };
    let mut longest = 0;
    let payload = |f: &Frame| f.bytes()[at.payload..at.end].to_vec();
    let frames: Vec<Frame> = (0..12u32)
        .map(|n| {
            let mut f = frame.clone();
            if at.proto == TCP {
                let b = &mut f.bytes_mut()[at.l4 + 4..at.l4 + 8];
                let seq = u32::from_be_bytes([b[0], b[1], b[2], b[3]]);
                let on = seq.wrapping_add(n * (at.end - at.payload) as u32);
                b.copy_from_slice(&on.to_be_bytes());
            }
            f
        })
        .collect();
    let caps = Caps {
        big: true,
        ..Caps::ALL
    };
    let mut seen = vec![0; frames.len()];
    Coalescer::new().flush(
        caps,
        frames.len(),
        |i| &frames[i],
        |w| {
            let members = || w.members.iter().map(|m| usize::from(*m));
            members().for_each(|m| seen[m] += 1);
            if w.members.len() == 1 {
                return;
            }
            let bytes = join(w.parts);
            let all: Vec<u8> = members().flat_map(|m| payload(&frames[m])).collect();
            assert_eq!(bytes[at.payload..], all);
            let packet = bytes.len() - at.l3;
            longest = longest.max(packet);
            assert!(packet <= MAX_BIG && w.hdr.is_super(), "{:?}", w.hdr);
            if !at.v6 {
                let said = usize::from(u16::from_be_bytes([bytes[at.l3 + 2], bytes[at.l3 + 3]]));
                let tcp = w.hdr.gso == Gso::TcpV4;
                assert!(said == packet || (said == 0 && packet > 65_535 && tcp));
            }
        },
    );
    assert!(seen.iter().all(|n| *n == 1), "{seen:?}");
    longest
}

/// The frame comes in by `web`, bridged or routed, to known and unknown places.
fn through_a_switch(frame: &Frame, caps: Caps, to: u8) {
    let mut cfg = config();
    cfg.limits.connections = 64;
    cfg.limits.fdb = 64;
    let mut lab = Lab::ready_with(cfg);
    lab.clear();
    for h in lab.hosts() {
        h.port.set_caps(caps);
    }
    let mut bytes = frame.bytes().to_vec();
    let ends = (to & 1 != 0).then_some(([mac(GW), mac(DB)][usize::from(to >> 1 & 1)], mac(WEB)));
    if let (Some((dst, src)), true) = (ends, bytes.len() >= 14) {
        bytes[..6].copy_from_slice(&dst.0);
        bytes[6..12].copy_from_slice(&src.0);
    }
    if to & 4 != 0 && bytes.len() >= 34 && bytes[12..14] == [8, 0] {
        bytes[26..30].copy_from_slice(&WEB.octets());
        let dst = if to & 8 != 0 { FAR } else { DB };
        bytes[30..34].copy_from_slice(&dst.octets());
        repair_ipv4(&mut bytes);
    }
    let by = if to & 16 != 0 {
        lab.up.clone()
    } else {
        lab.web.clone()
    };
    for _ in 0..2 {
        lab.send_hdr(&by, &bytes, frame.hdr);
    }
    lab.wait(std::time::Duration::from_secs(20));
    for h in lab.hosts() {
        for f in h.port.take() {
            assert!(takes(caps, &f.hdr), "{:?} with {caps:?}", f.hdr);
            let p = parse::parse(f.bytes(), &f.hdr).expect("a frame that the switch itself takes");
            if h.id == lab.up.id {
                assert!(p.wire_len <= 1_500, "{p:?}");
                assert!(p.l3 != L3::Ipv4 || p.tuple.proto == Proto::ICMP || p.tuple.src != WEB);
            }
        }
    }
}

/// Seeds: good superframes and partial checksums of both protocols.
pub fn seeds() -> Vec<Vec<u8>> {
    use crate::memory::packet::*;
    let mut all = Vec::new();
    for proto in [Proto::TCP, Proto::UDP] {
        let t = tuple(proto, (WEB, 9), (FAR, 80));
        let l4 = match proto {
            Proto::TCP => tcp(&t, 1, 2, ACK, &[7; 300]),
            _ => udp(&t, &[7; 300]),
        };
        let frame = eth(mac(GW), mac(WEB), 0x0800, &ipv4(&Ip::default(), &t, &l4));
        for (i, (bytes, hdr)) in [superframe(&frame, &t, 100), partial(&frame, &t)]
            .into_iter()
            .enumerate()
        {
            let head = [[15, 7, 6][i] * (i as u8), 13, 2];
            all.push([&head[..], &hdr.encode(), &bytes].concat());
        }
    }
    all.push(verified_and_long());
    all
}

/// A superframe of 413 whole segments whose checksum the sender's kernel verified, so that it may be
/// joined whatever its payload is.
fn verified_and_long() -> Vec<u8> {
    use crate::memory::packet::*;
    let t = tuple(Proto::TCP, (WEB, 9), (DB, 80));
    let l4 = tcp(&t, 1, 2, ACK, &[7; 340]);
    let frame = eth(mac(DB), mac(WEB), 0x0800, &ipv4(&Ip::default(), &t, &l4));
    let (bytes, hdr) = superframe(&frame, &t, 100);
    let hdr = VnetHdr {
        needs_csum: false,
        data_valid: true,
        ..hdr
    };
    [&[15, 1, 1 | 2 | 40 << 2], &hdr.encode()[..], &bytes].concat()
}

#[test]
fn a_seed_leads_beyond_64_kib() {
    let (_, _, frame) = read(&verified_and_long()).expect("a frame");
    let longest = joined_beyond_64_kib(&frame);
    assert!(longest > 8 * frame.len(), "{longest}");
}
