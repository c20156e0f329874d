//! Properties of the whole switch under random traffic and control changes. `PROPTEST_CASES`
//! sets how many sequences each is tried with.

use dataplane::base::{Proto, Reason};
use dataplane::frame::VnetHdr;
use dataplane::port::Caps;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;
use std::time::Duration;
use switchd_tests::memory::model::{ArpKind, Change, Form, Kind, Op, Said, Void, Way, World};
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{DB, FAR, Lab, UP, WEB, config, mac};

fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: cases.and_then(|c| c.parse().ok()).unwrap_or(default),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![3 => Just(Kind::Tcp), 3 => Just(Kind::Udp), 1 => Just(Kind::Echo)]
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        4 => kind().prop_map(Way::Masquerade),
        3 => kind().prop_map(Way::Published),
        2 => kind().prop_map(Way::Hairpin),
        1 => kind().prop_map(Way::ByGateway),
        1 => kind().prop_map(Way::Bridged),
        1 => kind().prop_map(Way::ToSwitch),
    ]
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![
        6 => Just(Form::Plain),
        1 => Just(Form::Partial),
        2 => (100u16..1_600).prop_map(Form::Super),
        2 => (0u8..40, any::<u8>()).prop_map(|(s, t)| Form::Fragments(s, t)),
        1 => prop_oneof![0u8..4, Just(255)].prop_map(Form::Ttl),
        1 => Just(Form::Options),
        1 => prop_oneof![Just(0u16), Just(7), any::<u16>()].prop_map(Form::Tagged),
        1 => Just(Form::MayFragment),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    let what = prop_oneof![4 => 0u8..3, 3 => Just(3), 2 => 4u8..10];
    (what, 0u16..12_000, form()).prop_map(|(what, len, form)| Said { what, len, form })
}

fn arp_kind() -> impl Strategy<Value = ArpKind> {
    prop_oneof![
        3 => Just(ArpKind::Request),
        3 => Just(ArpKind::Reply),
        1 => Just(ArpKind::Probe),
        1 => Just(ArpKind::Gratuitous),
        2 => Just(ArpKind::Claim),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        2 => any::<(u8, u8)>().prop_map(|(a, b)| Change::Publish(a, b)),
        1 => any::<u8>().prop_map(Change::Unpublish),
        1 => any::<u8>().prop_map(Change::Replug),
        2 => any::<(u8, u8)>().prop_map(|(a, b)| Change::Move(a, b)),
        1 => Just(Change::Silence),
        1 => any::<(u8, u8)>().prop_map(|(a, b)| Change::Caps(a, b)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (way(), any::<u8>()).prop_map(|(w, n)| Op::Open(w, n)),
        16 => (any::<u8>(), any::<bool>(), said()).prop_map(|(c, b, s)| Op::Say(c, b, s)),
        8 => (any::<u8>(), any::<u8>(), form()).prop_map(|(c, n, f)| Op::Talk(c, n, f)),
        2 => (any::<u8>(), any::<bool>(), any::<u8>()).prop_map(|(c, b, k)| Op::Error(c, b, k)),
        4 => (any::<u8>(), any::<u8>(), arp_kind()).prop_map(|(a, b, k)| Op::Arp(a, b, k)),
        2 => any::<(u8, u16, u8)>().prop_map(|(p, a, v)| Op::Damaged(p, a, v)),
        1 => any::<u16>().prop_map(Op::Truncated),
        1 => (any::<u8>(), prop::collection::vec(any::<u8>(), 0..80), any::<[u8; 10]>())
            .prop_map(|(p, b, h)| Op::Junk(p, b, h)),
        3 => prop_oneof![12 => 1u32..2_000, 3 => 1u32..70_000, 1 => 290_000u32..310_000].prop_map(Op::Wait),
        2 => change().prop_map(Op::Control),
    ]
}

/// Small tables, so that their bounds are met.
fn small() -> dataplane::base::Config {
    let mut cfg = config();
    cfg.limits.connections = 64;
    cfg.limits.half_open_per_port = 12;
    cfg.limits.fdb = 64;
    cfg.limits.fragments = 8;
    cfg
}

fn live(mut world: World, ops: &[Op]) {
    for op in ops {
        world.apply(op);
    }
    world.assert_bijection();
    world.end();
}

/// The properties below say little if their traffic meets nothing: the generator has to open
/// connections, hit the index and be refused for many reasons.
#[test]
fn the_generator_reaches_far() {
    let mut runner = TestRunner::deterministic();
    let (mut hits, mut established) = (0, 0);
    let mut reasons: BTreeSet<Reason> = BTreeSet::new();
    for _ in 0..12 {
        let ops = prop::collection::vec(op(), 150).new_tree(&mut runner);
        let mut world = World::new(vec![Lab::new(small())], &[Void::Nothing], 0);
        for op in ops.expect("a sequence").current() {
            world.apply(&op);
            let lab = &world.labs[0];
            let all = lab.sw.switch().conntrack.list(lab.now.tick());
            established += all.iter().filter(|c| c.state == "ESTABLISHED").count();
        }
        hits += world.labs[0].sw.totals().hits;
        reasons.extend(Reason::ALL.iter().filter(|r| world.labs[0].drops(**r) > 0));
        world.assert_bijection();
        world.end();
    }
    assert!(hits > 300, "{hits} hits");
    assert!(established > 300, "{established}");
    assert!(reasons.len() > 20, "{reasons:?}");
}

proptest! {
    #![proptest_config(cases(24))]

    /// A cached verdict is the uncached one: where every decision is made anew for every frame, or
    /// its next hop asked anew, the same comes out.
    #[test]
    fn a_cached_verdict_is_the_uncached_one(ops in prop::collection::vec(op(), 1..120)) {
        let labs = [(); 3].map(|()| Lab::new(small())).into();
        let void = [Void::Nothing, Void::NextHops, Void::All];
        live(World::new(labs, &void, 0), &ops);
    }

    /// It does not matter which worker gets a frame.
    #[test]
    fn workers_that_get_each_frame_at_random_do_what_one_does(
        ops in prop::collection::vec(op(), 1..120),
        seed: u64,
    ) {
        let labs = vec![
            Lab::new(small()),
            Lab::with(small(), 2, Caps::ALL),
            Lab::with(small(), 3, Caps::ALL),
        ];
        live(World::new(labs, &[Void::Nothing; 3], seed), &ops);
    }
}

proptest! {
    #![proptest_config(cases(24))]

    /// What becomes of a frame does not depend on the batch that it comes in.
    #[test]
    fn batches_do_what_single_frames_do(ops in prop::collection::vec(op(), 1..120)) {
        let lab = || Lab::with(small(), 1, Caps::NONE);
        let mut world = World::new(vec![lab()], &[Void::Nothing], 0);
        // A change of what ports take would show in the form of the frames.
        for op in ops.iter().filter(|o| !matches!(o, Op::Control(Change::Caps(..)))) {
            world.apply(op);
        }
        world.assert_same_in_batches(lab());
        world.end();
    }
}

proptest! {
    #![proptest_config(cases(128))]

    /// Whatever comes in by whatever port, nothing panics and every frame is accounted for.
    #[test]
    fn any_bytes_are_counted(
        frames in prop::collection::vec(
            (0usize..5, prop::collection::vec(any::<u8>(), 0..200), any::<[u8; 10]>(), any::<u8>()),
            1..20,
        ),
    ) {
        let mut lab = Lab::ready();
        for (port, mut bytes, hdr, look) in frames {
            // Half of them look like something up to their EtherType or IPv4 header.
            if look & 1 == 1 && bytes.len() >= 34 {
                let router = if port == 4 { mac(UP) } else { mac(switchd_tests::memory::GW) };
                bytes[..6].copy_from_slice(&router.0);
                bytes[6..12].copy_from_slice(&[2, 0, 0, 0, 0, look & 6]);
                let kind = [[8, 0], [8, 6], [0x86, 0xdd], [0x81, 0]][usize::from(look >> 3 & 3)];
                bytes[12..14].copy_from_slice(&kind);
                if kind == [8, 0] {
                    bytes[14] = 0x45;
                    let total = (bytes.len() - 14) as u16;
                    bytes[16..18].copy_from_slice(&total.to_be_bytes());
                    bytes[23] = [1, 6, 17, 50][usize::from(look >> 5 & 3)];
                    bytes[24..26].copy_from_slice(&[0, 0]);
                    let sum = !naive_sum(&[&bytes[14..34]]);
                    bytes[24..26].copy_from_slice(&sum.to_be_bytes());
                }
            }
            let hdr = if look & 128 == 0 { VnetHdr::PLAIN } else {
                VnetHdr::decode(&hdr).unwrap_or(VnetHdr::PLAIN)
            };
            let host = lab.hosts()[port].clone();
            lab.send_hdr(&host, &bytes, hdr);
        }
        let seen = lab.sw.totals();
        prop_assert!(seen.balance().is_ok());
        lab.wait(Duration::from_secs(7_500));
        lab.assert_empty();
    }

    /// Every prefix of a good frame, with its header or another, in any form.
    #[test]
    fn every_truncation_is_counted(len in 0u16..300, size in 1u16..2_000, proto in 0usize..3) {
        let mut lab = Lab::ready();
        let t = tuple([Proto::TCP, Proto::UDP, Proto::ICMP][proto], (WEB, 9), (FAR, 80));
        let data = vec![3; usize::from(len)];
        let l4 = match t.proto {
            Proto::TCP => tcp(&t, 1, 0, SYN, &data),
            Proto::UDP => udp(&t, &data),
            _ => ping(9, 1, &data),
        };
        let whole = lab.web.routed(&Ip { options: vec![148, 4, 0, 0], ..Ip::default() }, &t, &l4);
        let web = lab.web.clone();
        for cut in 0..=whole.len() {
            lab.send(&web, &whole[..cut]);
            lab.send(&web, &tagged(&whole, 7)[..cut]);
            if t.proto != Proto::ICMP {
                let (bytes, hdr) = superframe(&whole, &t, size);
                lab.send_hdr(&web, &bytes[..cut], hdr);
                let (bytes, hdr) = partial(&whole, &t);
                lab.send_hdr(&web, &bytes[..cut], hdr);
            }
        }
        prop_assert_eq!(lab.drops(Reason::Panic), 0);
    }

    /// A superframe reaches a port of any capabilities as frames that it takes, and as the same
    /// stream: bridged and masqueraded.
    #[test]
    fn superframes_reach_any_port_whole(
        size in 48u16..1_461,
        len in 1usize..60_000,
        which in 0u8..16,
        is_tcp: bool,
        bridged: bool,
    ) {
        let caps = Caps {
            csum: which & 1 != 0,
            tso4: which & 2 != 0,
            tso6: which & 4 != 0,
            uso: which & 8 != 0,
            big: false,
        };
        let mut lab = Lab::ready();
        let (web, to) = (lab.web.clone(), if bridged { lab.db.clone() } else { lab.up.clone() });
        to.port.set_caps(caps);
        let dst = if bridged { DB } else { FAR };
        let proto = if is_tcp { Proto::TCP } else { Proto::UDP };
        let len = if is_tcp { len } else { len.min(usize::from(size) * 64) };
        let t = tuple(proto, (WEB, 9), (dst, 80));
        if is_tcp && !bridged {
            lab.route(&web, &t, &tcp(&t, 99, 0, SYN, b""));
            let back = lab.only(&to).tuple().reversed();
            lab.route(&lab.up.clone(), &back, &tcp_with(&back, (9, 100), SYN | ACK, 65_535, &[], b""));
            lab.route(&web, &t, &tcp(&t, 100, 10, ACK, b""));
            lab.clear();
        }
        let data: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        let l4 = if is_tcp { tcp(&t, 100, 10, ACK | PSH, &data) } else { udp(&t, &data) };
        let router = if bridged { mac(DB) } else { mac(switchd_tests::memory::GW) };
        let frame = eth(router, mac(WEB), 0x0800, &ipv4(&Ip::default(), &t, &l4));
        let (bytes, hdr) = superframe(&frame, &t, size);
        lab.send_hdr(&web, &bytes, hdr);
        let got = lab.got(&to);
        let all: Vec<u8> = got.iter().flat_map(|s| s.data().to_vec()).collect();
        prop_assert_eq!(all, data);
        for s in &got {
            prop_assert!(dataplane::port::segment::takes(caps, &s.hdr));
            let most = if s.hdr.is_super() { s.hdr.gso_size } else { s.data().len() as u16 };
            prop_assert!(most <= size);
        }
        if is_tcp {
            let mut seq = 100;
            for s in &got {
                prop_assert_eq!(s.p.tcp.seq, seq);
                seq += s.p.tcp.payload;
            }
        }
    }
}
