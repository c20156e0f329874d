//! The bridge: learning, ageing, moves, flooding, VLANs, superframes, IPv6.

use dataplane::base::{Mac, PortId, Proto, Reason, Role};
use dataplane::frame::VnetHdr;
use dataplane::port::Caps;
use dataplane::port::memory::MemoryPort;
use std::net::Ipv4Addr;
use std::time::Duration;
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{DB, FAR, GW, Host, Lab, UP, WEB, config, mac, spec};

const ALICE: Mac = Mac([2, 0xa, 0xa, 0, 0, 1]);
const BOB: Mac = Mac([2, 0xb, 0xb, 0, 0, 1]);

fn plain(dst: Mac, src: Mac) -> Vec<u8> {
    eth(dst, src, 0x88b5, &[0; 46])
}

#[test]
fn unknown_broadcast_and_multicast_are_flooded_but_never_back_or_outside() {
    let mut lab = Lab::default();
    for dst in [BOB, Mac::BROADCAST, Mac([0x33, 0x33, 0, 0, 0, 1])] {
        lab.send(&lab.web.clone(), &plain(dst, ALICE));
        assert_eq!(lab.spread(), [1, 0, 1, 1, 0], "{dst}");
    }
    let t = lab.sw.totals();
    assert_eq!((t.flooded, t.copies), (3, 6));
}

#[test]
fn link_local_groups_are_never_forwarded() {
    let mut lab = Lab::default();
    for last in 0..16 {
        let dst = Mac([1, 0x80, 0xc2, 0, 0, last]);
        lab.send(&lab.web.clone(), &plain(dst, ALICE));
        lab.send(&lab.web.clone(), &tagged(&plain(dst, ALICE), 7));
    }
    lab.silence();
    assert_eq!(lab.drops(Reason::LinkLocalGroup), 32);
    lab.send(
        &lab.web.clone(),
        &plain(Mac([1, 0x80, 0xc2, 0, 0, 16]), ALICE),
    );
    assert_eq!(lab.spread(), [1, 0, 1, 1, 0]);
}

#[test]
fn an_address_is_forgotten_after_300_s_and_refreshed_by_its_frames() {
    let mut lab = Lab::default();
    let to_alice = plain(ALICE, BOB);
    lab.send(&lab.web.clone(), &plain(Mac::BROADCAST, ALICE));
    lab.clear();
    lab.wait(Duration::from_secs(298));
    lab.send(&lab.db.clone(), &to_alice);
    assert_eq!(lab.spread(), [0, 1, 0, 0, 0]);
    // A frame from it starts its time again.
    lab.send(&lab.web.clone(), &plain(BOB, ALICE));
    assert_eq!(lab.spread(), [0, 0, 1, 0, 0]);
    lab.wait(Duration::from_secs(299));
    lab.send(&lab.db.clone(), &to_alice);
    assert_eq!(lab.spread(), [0, 1, 0, 0, 0]);
    lab.wait(Duration::from_secs(1));
    lab.send(&lab.db.clone(), &to_alice);
    assert_eq!(lab.spread(), [1, 1, 0, 1, 0]);
    assert!(lab.sw.switch().fdb.counts().aged > 0);
}

#[test]
fn the_age_is_a_setting() {
    let mut cfg = config();
    cfg.timeouts.fdb = Duration::from_secs(10);
    let mut lab = Lab::new(cfg);
    lab.send(&lab.web.clone(), &plain(Mac::BROADCAST, ALICE));
    lab.clear();
    lab.wait(Duration::from_secs(10));
    lab.send(&lab.db.clone(), &plain(ALICE, BOB));
    assert_eq!(lab.spread(), [1, 1, 0, 1, 0]);
}

#[test]
fn an_address_that_moves_is_followed_at_once() {
    let mut lab = Lab::default();
    lab.send(&lab.web.clone(), &plain(Mac::BROADCAST, ALICE));
    lab.send(&lab.app.clone(), &plain(Mac::BROADCAST, ALICE));
    lab.clear();
    lab.send(&lab.db.clone(), &plain(ALICE, BOB));
    assert_eq!(lab.spread(), [0, 0, 0, 1, 0]);
    assert_eq!(lab.sw.switch().fdb.counts().moved, 1);
}

#[test]
fn nobody_takes_the_gateways_mac() {
    let mut lab = Lab::default();
    lab.send(&lab.web.clone(), &plain(Mac::BROADCAST, mac(GW)));
    assert_eq!(lab.drops(Reason::SrcMacGateway), 1);
    lab.silence();
    lab.send(&lab.db.clone(), &plain(mac(GW), BOB));
    assert_eq!(lab.spread(), [1, 0, 0, 0, 0]);
}

#[test]
fn a_full_table_throws_the_oldest_out_and_counts_it() {
    let mut cfg = config();
    cfg.limits.fdb = 32;
    let mut lab = Lab::new(cfg);
    let one = |n: u8| Mac([2, 0xcc, 0, 0, 0, n]);
    for n in 0..40 {
        lab.send(&lab.web.clone(), &plain(Mac::BROADCAST, one(n)));
        lab.wait(Duration::from_millis(5));
    }
    lab.clear();
    let fdb = &lab.sw.switch().fdb;
    assert!(fdb.len() <= 32, "{}", fdb.len());
    assert_eq!(
        fdb.counts().evicted,
        fdb.counts().learned + 1 - fdb.len() as u64
    );
    assert!(fdb.counts().evicted >= 8);
    let known = fdb.list(lab.now.tick());
    assert!(known.iter().any(|r| r.mac == one(39)), "the newest stays");
    assert!(!known.iter().any(|r| r.mac == one(0)), "the oldest goes");
    assert!(
        known.iter().any(|r| r.is_static && r.mac == mac(GW)),
        "sw0 is never thrown out"
    );
}

#[test]
fn vlans_are_learned_apart() {
    let mut lab = Lab::default();
    let frame = |dst, src, vid| tagged(&plain(dst, src), vid);
    lab.send(&lab.web.clone(), &frame(Mac::BROADCAST, ALICE, 7));
    lab.send(&lab.app.clone(), &frame(Mac::BROADCAST, ALICE, 8));
    lab.clear();
    let db = lab.db.clone();
    lab.send(&db, &frame(ALICE, BOB, 7));
    assert_eq!(lab.spread(), [0, 1, 0, 0, 0]);
    lab.send(&db, &frame(ALICE, BOB, 8));
    assert_eq!(lab.spread(), [0, 0, 0, 1, 0]);
    lab.send(&db, &plain(ALICE, BOB));
    assert_eq!(lab.spread(), [1, 1, 0, 1, 0], "not known untagged");
    // A tag of VLAN 0 is a priority only.
    lab.send(&lab.app.clone(), &plain(Mac::BROADCAST, ALICE));
    lab.clear();
    lab.send(&db, &frame(ALICE, BOB, 0));
    let got = lab.only(&lab.app);
    assert_eq!(got.bytes, frame(ALICE, BOB, 0), "tags pass as they are");
}

#[test]
fn tagged_frames_are_bridged_and_never_routed() {
    let mut lab = Lab::ready();
    let t = tuple(Proto::UDP, (WEB, 1), (FAR, 2));
    let f = lab.web.routed(&Ip::default(), &t, &udp(&t, b"x"));
    lab.send(&lab.web.clone(), &tagged(&f, 7));
    assert_eq!(lab.spread(), [1, 0, 1, 1, 0]);
    assert_eq!(lab.connections(), 0);
    // Priority-tagged ones are in the untagged network; the tag ends at the router.
    lab.send(&lab.web.clone(), &tagged(&f, 0));
    let out = lab.only(&lab.up);
    assert_eq!((out.p.l3_off, out.tuple().src), (14, UP));
}

#[test]
fn a_removed_port_is_forgotten() {
    let mut lab = Lab::default();
    lab.send(&lab.web.clone(), &plain(Mac::BROADCAST, ALICE));
    lab.clear();
    let before = lab.sw.switch().generation();
    assert!(lab.sw.remove_port(lab.web.id));
    assert_ne!(lab.sw.switch().generation(), before);
    lab.send(&lab.db.clone(), &plain(ALICE, BOB));
    assert_eq!(lab.spread(), [1, 0, 0, 1, 0]);
    // Whoever gets its number is another port.
    let (port, queues) = MemoryPort::new(1, Caps::ALL);
    let ip = Ipv4Addr::new(10, 0, 0, 8);
    let id = lab
        .sw
        .add_port(spec("new", Role::Access, ip, 1500), queues, lab.now)
        .unwrap();
    assert_eq!(id, lab.web.id);
    lab.send(&lab.db.clone(), &plain(mac(ip), BOB));
    assert_eq!((port.take().len(), lab.spread()), (1, [0; 5]));
    assert_eq!(PortId(id.0), id);
}

#[test]
fn frames_longer_than_the_egress_mtu_are_not_bridged() {
    let mut lab = Lab::default();
    let (small, queues) = MemoryPort::new(1, Caps::ALL);
    let ip = Ipv4Addr::new(10, 0, 0, 8);
    lab.sw
        .add_port(spec("small", Role::Access, ip, 1_000), queues, lab.now)
        .unwrap();
    let web = lab.web.clone();
    lab.send(&web, &eth(mac(ip), web.mac(), 0x88b5, &[1; 1_000]));
    lab.send(&web, &eth(mac(ip), web.mac(), 0x88b5, &[1; 1_001]));
    assert_eq!(small.take().len(), 1);
    assert_eq!(lab.drops(Reason::TxTooLong), 1);
    // The same where nobody knows whose it is.
    for (len, all) in [(1_500, [1, 0, 1, 1, 0]), (1_501, [0; 5])] {
        lab.clear();
        let unknown = Mac([2, 7, 7, 7, 7, 7]);
        lab.send(&web, &eth(unknown, web.mac(), 0x88b5, &vec![1; len]));
        assert_eq!(lab.spread(), all, "{len}");
    }
    small.take();
    assert_eq!(lab.drops(Reason::TxTooLong), 2);
    // A superframe is as long as its segments.
    let t = tuple(Proto::TCP, (WEB, 1), (ip, 2));
    let whole = eth(
        mac(ip),
        web.mac(),
        0x0800,
        &ipv4(&Ip::default(), &t, &tcp(&t, 1, 1, ACK, &[3; 5_000])),
    );
    for (size, passes) in [(960, 1), (961, 0)] {
        let (bytes, hdr) = superframe(&whole, &t, size);
        lab.send_hdr(&web, &bytes, hdr);
        assert_eq!(small.take().len(), passes, "segments of {size}");
    }
}

/// Everything that a port got as one TCP stream: starts at `seq`, has no hole.
fn stream(lab: &Lab, at: &Host, mut seq: u32) -> Vec<u8> {
    let mut all = Vec::new();
    for s in lab.got(at) {
        assert_eq!(s.p.tcp.seq, seq);
        all.extend_from_slice(s.data());
        seq = seq.wrapping_add(s.p.tcp.payload);
    }
    all
}

#[test]
fn superframes_are_finished_for_a_port_without_offloads_and_pass_whole_otherwise() {
    let mut lab = Lab::default();
    let t = tuple(Proto::TCP, (WEB, 1), (DB, 2));
    let data: Vec<u8> = (0..40_000u32).map(|n| (n * 7 % 251) as u8).collect();
    let l4 = tcp(&t, 1_000, 1, ACK | PSH, &data);
    let frame = eth(mac(DB), mac(WEB), 0x0800, &ipv4(&Ip::default(), &t, &l4));
    let (bytes, hdr) = superframe(&frame, &t, 1_448);
    let web = lab.web.clone();

    lab.send_hdr(&web, &bytes, hdr);
    let whole = lab.only(&lab.db);
    assert_eq!((&whole.bytes, whole.hdr.gso_size), (&bytes, 1_448));

    lab.db.port.set_caps(Caps::NONE);
    lab.send_hdr(&web, &bytes, hdr);
    let frames = lab.db.port.take();
    assert_eq!(frames.len(), data.len().div_ceil(1_448));
    assert!(
        frames
            .iter()
            .all(|f| f.hdr == VnetHdr::PLAIN && f.len() <= 1_514)
    );
    for f in &frames {
        switchd_tests::memory::check::verify(f).unwrap();
    }
    lab.send_hdr(&web, &bytes, hdr);
    assert_eq!(stream(&lab, &lab.db, 1_000), data);

    // The reverse: plain frames to a port that takes everything pass as they are or joined.
    let back = t.reversed();
    for (i, part) in data.chunks(1_448).enumerate() {
        let seq = 77 + (i * 1_448) as u32;
        let l4 = tcp(&back, seq, 1, ACK, part);
        let f = eth(mac(WEB), mac(DB), 0x0800, &ipv4(&Ip::default(), &back, &l4));
        lab.db.port.push(0, &f, VnetHdr::PLAIN);
    }
    lab.run();
    assert_eq!(stream(&lab, &lab.web, 77), data);

    // A partial checksum alone is finished too.
    let small = eth(
        mac(DB),
        mac(WEB),
        0x0800,
        &ipv4(&Ip::default(), &t, &tcp(&t, 5, 1, ACK, b"abc")),
    );
    let (bytes, hdr) = partial(&small, &t);
    lab.send_hdr(&web, &bytes, hdr);
    assert_eq!(lab.only(&lab.db).bytes, small);
}

#[test]
fn udp_superframes_become_their_datagrams() {
    let mut lab = Lab::default();
    lab.db.port.set_caps(Caps::NONE);
    let t = tuple(Proto::UDP, (WEB, 1), (DB, 2));
    let data: Vec<u8> = (0..5_050u32).map(|n| n as u8).collect();
    let frame = eth(
        mac(DB),
        mac(WEB),
        0x0800,
        &ipv4(&Ip::default(), &t, &udp(&t, &data)),
    );
    let (bytes, hdr) = superframe(&frame, &t, 1_000);
    lab.send_hdr(&lab.web.clone(), &bytes, hdr);
    let got = lab.got(&lab.db);
    let sizes: Vec<usize> = got.iter().map(|s| s.data().len()).collect();
    assert_eq!(sizes, [1_000, 1_000, 1_000, 1_000, 1_000, 50]);
    assert_eq!(
        got.iter()
            .flat_map(|s| s.data().to_vec())
            .collect::<Vec<_>>(),
        data
    );
}

#[test]
fn ipv6_is_bridged_but_containers_are_no_routers() {
    let mut lab = Lab::default();
    let web = lab.web.clone();
    let solicitation = ipv6(
        mac(WEB),
        58,
        "ff02::1",
        &[[135, 0, 0, 0], [0; 4], [0; 4], [0; 4]].concat(),
    );
    for f in [solicitation.clone(), tagged(&solicitation, 9)] {
        lab.send(&web, &f);
        assert_eq!(lab.spread(), [1, 0, 1, 1, 0]);
    }
    let hop_by_hop = [&[58, 0, 1, 4, 0, 0, 0, 0][..], &[134; 16]].concat();
    for (f, reason) in [
        (ipv6(mac(WEB), 58, "ff02::1", &[134; 16]), Reason::RogueRa),
        (ipv6(mac(WEB), 0, "ff02::1", &hop_by_hop), Reason::RogueRa),
        (
            ipv6(mac(WEB), 58, "ff02::1", &[137; 40]),
            Reason::RogueRedirect,
        ),
        (
            ipv6(mac(WEB), 17, "ff02::1", &[2, 35, 2, 34, 0, 8, 0, 0]),
            Reason::RogueDhcpv6,
        ),
    ] {
        let before = lab.drops(reason);
        lab.send(&web, &f);
        lab.send(&web, &tagged(&f, 9));
        assert_eq!(lab.drops(reason), before + 2, "{reason}");
        lab.silence();
    }
    // To the gateway's MAC it is sw0's, which has IPv6 off; outside it is not routed.
    let mut f = solicitation;
    f[..6].copy_from_slice(&mac(GW).0);
    lab.send(&web, &f);
    assert_eq!(lab.spread(), [1, 0, 0, 0, 0]);
}
