//! The parser against etherparse and smoltcp's wire module: the same frames accepted and refused,
//! at the same layer, and the same fields, or a reason that is listed here.

mod others;

use control::replay::load;
use dataplane::base::Reason;
use dataplane::frame::parse::{self, bits};
use dataplane::frame::{L3, L4, VnetHdr};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{UP, WEB, mac};

/// Which layer a parser refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Layer {
    /// Ethernet and VLAN tags.
    Link,
    /// IPv4 or ARP.
    Net,
    /// TCP, UDP or ICMP.
    Transport,
}

/// What a parser read, as far as all three do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fields {
    /// Destination, source.
    pub macs: ([u8; 6], [u8; 6]),
    /// Behind the tags.
    pub ethertype: u16,
    /// Of the outer tag.
    pub vid: Option<u16>,
    /// Header length, total length, TTL, protocol, identification.
    pub ip: Option<(usize, usize, u8, u8, u16)>,
    /// Source, destination.
    pub addresses: Option<([u8; 4], [u8; 4])>,
    /// Don't-fragment, more-fragments, offset in bytes.
    pub fragment: (bool, bool, u16),
    /// Of TCP and UDP.
    pub ports: Option<(u16, u16)>,
    /// Sequence, acknowledgement, window, flags, header length.
    pub tcp: Option<(u32, u32, u16, u8, usize)>,
    /// Of ICMP.
    pub icmp: Option<u8>,
}

/// A parser's answer: what it read down to where it refused.
pub type Answer = (Fields, Option<Layer>);

fn ours(b: &[u8]) -> (Answer, Option<Reason>) {
    let mut f = Fields::default();
    let p = match parse::parse(b, &VnetHdr::PLAIN) {
        Ok(p) => p,
        Err(r) => {
            let link = matches!(r, Reason::EthTruncated | Reason::EthTooLong);
            let layer = if link { Layer::Link } else { Layer::Net };
            return ((f, Some(layer)), Some(r));
        }
    };
    f.macs = (p.dst.0, p.src.0);
    f.ethertype = p.ethertype;
    f.vid = p.has(bits::TAGGED).then_some(p.vid);
    if p.l3 != L3::Ipv4 {
        return ((f, None), None);
    }
    let t = &p.tuple;
    let header = usize::from(p.l4_off - p.l3_off);
    f.ip = Some((header, p.l3_len as usize, p.ttl, t.proto.0, p.ip_id));
    f.addresses = Some((t.src.octets(), t.dst.octets()));
    f.fragment = (p.has(bits::DF), p.has(bits::MF), p.frag_off);
    if let Some(r) = p.l4_error {
        return ((f, Some(Layer::Transport)), Some(r));
    }
    match p.l4 {
        L4::Tcp => {
            let s = &p.tcp;
            f.ports = Some((t.sport, t.dport));
            f.tcp = Some((s.seq, s.ack, s.window, s.flags, usize::from(s.header_len)));
        }
        L4::Udp => f.ports = Some((t.sport, t.dport)),
        L4::EchoRequest | L4::EchoReply | L4::IcmpError | L4::IcmpOther => {
            f.icmp = b.get(usize::from(p.l4_off)).copied();
        }
        _ => {}
    }
    ((f, None), None)
}

/// Why another parser may answer otherwise.
struct Excuse {
    name: &'static str,
    /// Frame, our reason, ours, theirs.
    holds: fn(&[u8], Option<Reason>, &Answer, &Answer) -> bool,
}

const EXCUSES: &[Excuse] = &[
    Excuse {
        name: "we judge the IPv4 header checksum (RFC 1812 section 5.2.2), etherparse does not",
        holds: |_, r, _, _| r == Some(Reason::Ipv4Checksum),
    },
    Excuse {
        name: "we refuse TCP flags that no stack sends, others only read them",
        holds: |_, r, ours, theirs| {
            r == Some(Reason::TcpMalformed) && theirs.0.tcp.is_some() && ours.0.ip == theirs.0.ip
        },
    },
    Excuse {
        name: "we refuse a fragment that is empty, unaligned or beyond 65,535 bytes",
        holds: |_, r, ours, theirs| r == Some(Reason::FragMalformed) && ours.0.ip == theirs.0.ip,
    },
    Excuse {
        name: "a first fragment is judged by its header only, others want all of a datagram",
        holds: |_, _, ours, theirs| {
            ours.0.fragment.1 && ours.0.ip == theirs.0.ip && theirs.1 != Some(Layer::Net)
        },
    },
    Excuse {
        name: "we take ARP for Ethernet and IPv4 only",
        holds: |_, r, _, _| r == Some(Reason::ArpMalformed),
    },
    Excuse {
        name: "every ICMP message has eight bytes (RFC 792); smoltcp takes four for unknown types",
        holds: |_, r, ours, theirs| {
            let icmp = matches!(ours.0.ip, Some((_, _, _, 1, _)));
            icmp && r == Some(Reason::L4Truncated) && ours.0.ip == theirs.0.ip
        },
    },
    Excuse {
        name: "etherparse wants more than eight bytes of some ICMP types; the switch passes them on",
        holds: |_, r, ours, theirs| {
            let icmp = matches!(ours.0.ip, Some((_, _, _, 1, _)));
            icmp && r.is_none() && theirs.1 == Some(Layer::Transport)
        },
    },
    Excuse {
        name: "etherparse reads IPv4's authentication header (51) as part of IP",
        holds: |_, _, ours, theirs| {
            matches!(ours.0.ip, Some((_, _, _, 51, _))) && theirs.1.is_some()
        },
    },
    Excuse {
        name: "a UDP length below eight is refused; etherparse takes 0 for a jumbogram's",
        holds: |_, r, ours, theirs| {
            r == Some(Reason::UdpLength) && theirs.1.is_none() && ours.0.ip == theirs.0.ip
        },
    },
    Excuse {
        name: "0x9100 is no tag that a standard knows; etherparse walks it",
        holds: |b, _, _, _| {
            [12, 16]
                .iter()
                .any(|at| b.get(*at..at + 2) == Some(&[0x91, 0]))
        },
    },
    Excuse {
        name: "we walk two VLAN tags",
        holds: |b, _, ours, _| {
            let tag =
                |at: usize| matches!(b.get(at..at + 2), Some([0x81 | 0x91, 0] | [0x88, 0xa8]));
            tag(12) && tag(16) && ours.0.vid.is_some()
        },
    },
];

/// Compares with one other parser; the excuse that was used, or what differs.
fn compare(b: &[u8], theirs: &Answer) -> Result<Option<&'static str>, String> {
    let (mine, reason) = ours(b);
    let same = match (mine.1, theirs.1) {
        (None, None) => mine.0 == theirs.0,
        (Some(a), Some(b)) => a == b,
        _ => false,
    };
    if same {
        return Ok(None);
    }
    match EXCUSES.iter().find(|e| (e.holds)(b, reason, &mine, theirs)) {
        Some(e) => Ok(Some(e.name)),
        None => Err(format!(
            "{b:02x?}\n  ours   {mine:?} {reason:?}\n  theirs {theirs:?}"
        )),
    }
}

fn check(b: &[u8]) -> Vec<&'static str> {
    let mut used = Vec::new();
    let all = [
        ("etherparse", others::etherparse(b)),
        ("smoltcp", others::smoltcp(b)),
    ];
    for (name, theirs) in all {
        let Some(theirs) = theirs else { continue };
        match compare(b, &theirs) {
            Ok(excuse) => used.extend(excuse),
            Err(e) => panic!("{name}: {e}"),
        }
    }
    used
}

#[test]
fn every_capture_is_read_the_same() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcaps");
    let (mut frames, mut used) = (0, BTreeMap::new());
    for e in std::fs::read_dir(dir).unwrap() {
        let path = e.unwrap().path();
        if path.extension().is_none_or(|e| e != "pcapng") {
            continue;
        }
        for p in &load(&path).unwrap().packets {
            // A superframe's lengths are those of its header.
            if p.hdr() != VnetHdr::PLAIN {
                continue;
            }
            frames += 1;
            for excuse in check(&p.bytes) {
                *used.entry(excuse).or_insert(0) += 1;
            }
        }
    }
    println!("{frames} frames; {used:#?}");
    assert!(frames > 500, "only {frames} frames");
}

/// Frames as hosts send them.
fn whole() -> impl Strategy<Value = Vec<u8>> {
    let t = |p| tuple(p, (WEB, 40_000), (UP, 5_000));
    let l4 = prop_oneof![
        (any::<u32>(), any::<u32>(), 0u8..64, 0usize..40).prop_map(move |(s, a, f, n)| {
            let t = t(dataplane::base::Proto::TCP);
            (
                t,
                tcp_with(
                    &t,
                    (s, a),
                    f,
                    1_000,
                    &[2, 4, 5, 0xb4][..n % 2 * 4],
                    &vec![7; n],
                ),
            )
        }),
        (0usize..40).prop_map(move |n| {
            let t = t(dataplane::base::Proto::UDP);
            (t, udp(&t, &vec![7; n]))
        }),
        (0u8..20, 0u8..4, 0usize..40).prop_map(move |(k, c, n)| {
            (
                t(dataplane::base::Proto::ICMP),
                icmp(k, c, [0; 4], &vec![7; n]),
            )
        }),
        (any::<u8>(), 0usize..40)
            .prop_map(move |(p, n)| (t(dataplane::base::Proto(p)), vec![9; n])),
    ];
    let ip = (any::<u8>(), any::<u16>(), any::<bool>(), 0u8..12, 0usize..9);
    let ipv4_frame = (l4, ip).prop_map(|((t, l4), (ttl, id, df, place, options))| {
        let ip = Ip {
            ttl,
            id,
            df,
            mf: place == 1,
            offset: if place == 2 { 64 } else { 0 },
            options: vec![1; options],
            ..Ip::default()
        };
        eth(mac(UP), mac(WEB), 0x0800, &ipv4(&ip, &t, &l4))
    });
    prop_oneof![
        12 => ipv4_frame,
        1 => Just(arp(mac(UP), 1, (mac(WEB), WEB), (mac(UP), UP))),
        1 => any::<u16>().prop_map(|e| eth(mac(UP), mac(WEB), e, &[0; 50])),
    ]
}

/// What happens to one on its way: bytes changed, cut, padded, tagged, the header's sum mended.
fn mangled() -> impl Strategy<Value = Vec<u8>> {
    let change = (0usize..60, any::<u8>());
    let changes = proptest::collection::vec(change, 0..4);
    let tag = prop_oneof![4 => Just(None), 1 => (0u16..4096).prop_map(Some)];
    let cut = prop_oneof![4 => Just(None), 1 => (0usize..90).prop_map(Some)];
    (whole(), changes, tag, cut, 0usize..20, any::<bool>()).prop_map(
        |(mut f, changes, tag, cut, padding, mend)| {
            for (at, value) in changes {
                if let Some(b) = f.get_mut(at) {
                    *b = value;
                }
            }
            if mend && f.len() >= 34 {
                let header = (usize::from(f[14] & 15) * 4).clamp(20, f.len() - 14);
                f[24..26].fill(0);
                let sum = !naive_sum(&[&f[14..14 + header]]);
                f[24..26].copy_from_slice(&sum.to_be_bytes());
            }
            if let Some(vid) = tag {
                f = tagged(&f, vid);
            }
            f.extend(vec![0; padding]);
            f.truncate(cut.unwrap_or(usize::MAX));
            f
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(20_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn mangled_frames_are_read_the_same(f in mangled()) {
        check(&f);
    }
}
