//! RFC 6864: the IPv4 identification behind a NAT.

use crate::common::narrow_uplink;
use dataplane::base::{Proto, Tuple};
use std::collections::{BTreeSet, HashMap, HashSet};
use switchd_tests::memory::packet::*;
use switchd_tests::memory::{APP, DB, FAR, Lab, UP, WEB, config};

/// Two hosts that use the same identifications towards the same destination, in fragments.
#[test]
fn section_5_3_fragments_of_two_hosts_do_not_collide_outside() {
    let mut lab = Lab::ready();
    let up = lab.up.clone();
    let mut by_id: HashMap<u16, Vec<Vec<u8>>> = HashMap::new();
    for id in 0..50 {
        let mut parts: Vec<_> = [lab.web.clone(), lab.db.clone(), lab.app.clone()]
            .into_iter()
            .map(|h| {
                let t = udp_tuple(h.ip, 4_000, FAR, 53);
                let data = vec![h.ip.octets()[3]; 100];
                let whole = h.routed(&Ip::may_fragment(id), &t, &udp(&t, &data));
                (h, fragments(&whole, 56).into_iter())
            })
            .collect();
        // Interleaved, as three wires would have them.
        for _ in 0..2 {
            for (h, fragments) in &mut parts {
                lab.send(&h.clone(), &fragments.next().unwrap());
            }
        }
    }
    for g in lab.got(&up) {
        assert_eq!((g.tuple().src, g.tuple().dst), (UP, FAR));
        by_id.entry(g.p.ip_id).or_default().push(g.bytes);
    }
    assert_eq!(
        by_id.len(),
        150,
        "every datagram has an identification of its own"
    );
    let mut payloads = HashMap::new();
    for parts in by_id.values() {
        let whole = reassemble(parts).expect("two halves of one");
        let data: BTreeSet<u8> = whole[42..].iter().copied().collect();
        assert_eq!(data.len(), 1, "not of two");
        *payloads.entry(data).or_insert(0) += 1;
    }
    assert_eq!(payloads.len(), 3);
    assert!([WEB, DB, APP].iter().all(|h| h.octets()[0] == 10));
}

/// Datagrams that the switch cuts itself: the sender's identification may repeat, ours not.
#[test]
fn section_4_2_what_we_fragment_gets_an_identification_that_does_not_repeat() {
    let mut lab = Lab::ready_with(narrow_uplink(600));
    let up = lab.up.clone();
    let mut ids = Vec::new();
    for _ in 0..100 {
        for h in [lab.web.clone(), lab.db.clone()] {
            let t = udp_tuple(h.ip, 4_000, FAR, 53);
            lab.send(
                &h,
                &h.routed(&Ip::may_fragment(7), &t, &udp(&t, &[1; 1_000])),
            );
            let got = lab.got(&up);
            let of_one: HashSet<u16> = got.iter().map(|g| g.p.ip_id).collect();
            assert_eq!((got.len(), of_one.len()), (2, 1));
            ids.extend(of_one);
        }
    }
    let different: HashSet<u16> = ids.iter().copied().collect();
    assert_eq!(different.len(), 200);
}

/// An atomic datagram (DF, no fragment) may have any: it is left alone.
#[test]
fn section_4_1_the_identification_of_an_atomic_datagram_is_not_changed() {
    let mut lab = Lab::ready();
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t: Tuple = udp_tuple(WEB, 4_000, FAR, 53);
    for id in [0, 7, 0xffff] {
        let ip = Ip {
            id,
            ..Ip::default()
        };
        lab.send(&web, &web.routed(&ip, &t, &udp(&t, b"x")));
        assert_eq!(lab.only(&up).p.ip_id, id);
    }
}

/// One receiver behind one address: what comes in keeps the identification of its sender, in
/// fragments and where the switch cuts it.
#[test]
fn section_4_what_comes_in_keeps_its_identification() {
    let mut cfg = config();
    cfg.mtu = 600;
    let mut lab = Lab::ready_with(cfg);
    lab.publish(Proto::UDP, (53, 53), (DB, 53));
    let (web, db, up) = (lab.web.clone(), lab.db.clone(), lab.up.clone());
    let asks = udp_tuple(WEB, 4_000, FAR, 53);
    lab.route(&web, &asks, &udp(&asks, b"?"));
    let answers = lab.only(&up).tuple().reversed();
    let first = udp_tuple(FAR, 4_000, UP, 53);
    for (n, (t, to)) in [(answers, &web), (first, &db)].into_iter().enumerate() {
        for (id, sent_in) in [(7, 1_000), (8, 480), (9, 800)] {
            let id = id + 10 * n as u16;
            let whole = up.routed(&Ip::may_fragment(id), &t, &udp(&t, &[id as u8; 900]));
            for part in fragments(&whole, sent_in) {
                lab.send(&up, &part);
            }
            let got = lab.got(to);
            assert!(got.len() > 1 && got.iter().all(|g| g.p.l3_len <= 600 && g.p.ip_id == id));
            let parts: Vec<Vec<u8>> = got.into_iter().map(|g| g.bytes).collect();
            assert_eq!(reassemble(&parts).expect("no hole").len(), 34 + 8 + 900);
        }
    }
}

/// Fragments that are too long for the way out are cut once more, and stay of one datagram.
#[test]
fn section_5_3_fragments_that_are_cut_again_stay_together() {
    let mut lab = Lab::ready_with(narrow_uplink(600));
    let (web, up) = (lab.web.clone(), lab.up.clone());
    let t = udp_tuple(WEB, 4_000, FAR, 53);
    let mut ids = HashSet::new();
    for _ in 0..20 {
        let whole = web.routed(&Ip::may_fragment(7), &t, &udp(&t, &[3; 2_500]));
        for part in fragments(&whole, 1_200) {
            lab.send(&web, &part);
        }
        let got = lab.got(&up);
        let of_one: HashSet<u16> = got.iter().map(|g| g.p.ip_id).collect();
        assert_eq!(of_one.len(), 1);
        ids.extend(of_one);
        let parts: Vec<Vec<u8>> = got.into_iter().map(|g| g.bytes).collect();
        assert_eq!(reassemble(&parts).expect("no hole").len(), 34 + 8 + 2_500);
    }
    assert_eq!(ids.len(), 20);
}
