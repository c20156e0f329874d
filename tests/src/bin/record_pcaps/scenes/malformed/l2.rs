//! Ethernet: addresses, EtherTypes, LLC, VLAN tags, ARP.

use super::{Hand, good, mac};
use crate::lab::{Lab, Result};
use crate::packet::{self, eth, udp};
use crate::wire::{DB, GATEWAY, OUTSIDE, UPLINK, WEB};
use dataplane::base::Mac;

pub fn l2(lab: &Lab) -> Result<()> {
    let h = Hand { lab, port: "web" };
    let frame = good().frame(DB);
    h.give(frame.clone(), "a good frame");
    h.cut(&frame, (0..=14).chain([15, 20, 33]), "a good frame");
    let from = |src: Mac, dst: Mac| eth(dst, src, 0x0800, &good().bytes());
    h.give(
        from(Mac([1, 0, 0x5e, 0, 0, 1]), mac(DB)),
        "source MAC is a group address",
    );
    h.give(from(Mac::BROADCAST, mac(DB)), "source MAC is broadcast");
    h.give(from(Mac::ZERO, mac(DB)), "source MAC is zero");
    h.give(from(mac(GATEWAY), mac(DB)), "source MAC is the gateway's");
    h.give(from(mac(WEB), mac(WEB)), "to the port's own MAC");
    for last in [0u8, 1, 2, 3, 0x0e, 0x0f] {
        let dst = Mac([0x01, 0x80, 0xc2, 0, 0, last]);
        h.give(
            eth(dst, mac(WEB), 0x88cc, &[0; 46]),
            "to 01-80-C2-00-00-0X, never forwarded",
        );
    }
    let dst = Mac([0x01, 0x80, 0xc2, 0, 0, 0x10]);
    h.give(
        eth(dst, mac(WEB), 0x88cc, &[0; 46]),
        "to 01-80-C2-00-00-10, an ordinary group",
    );
    let mut llc = vec![0x42, 0x42, 3];
    llc.resize(46, 0);
    h.give(
        eth(mac(DB), mac(WEB), 3, &llc),
        "LLC: a length in place of the EtherType",
    );
    h.give(
        eth(mac(DB), mac(WEB), 1500, &llc),
        "LLC: a length longer than the frame",
    );
    h.give(
        eth(mac(DB), mac(WEB), 0x05ff, &llc),
        "neither a length nor an EtherType",
    );
    let mut snap = vec![0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
    snap.extend(good().bytes());
    let length = snap.len() as u16;
    h.give(
        eth(mac(DB), mac(WEB), length, &snap),
        "SNAP with IPv4 inside (RFC 1042)",
    );
    h.give(
        eth(mac(GATEWAY), mac(WEB), length, &snap),
        "SNAP to the gateway",
    );
    let tagged = |tags: &[(u16, u16)], inner: u16, payload: &[u8]| {
        let mut p = Vec::new();
        for (n, (_, tci)) in tags.iter().enumerate() {
            p.extend(tci.to_be_bytes());
            p.extend(tags.get(n + 1).map_or(inner, |t| t.0).to_be_bytes());
        }
        p.extend(payload);
        eth(mac(DB), mac(WEB), tags[0].0, &p)
    };
    let ip = good().bytes();
    let qinq = tagged(&[(0x88a8, 100), (0x8100, 200)], 0x0800, &ip);
    h.give(tagged(&[(0x8100, 7)], 0x0800, &ip), "802.1Q, VLAN 7");
    h.give(
        tagged(&[(0x8100, 0xe000)], 0x0800, &ip),
        "802.1Q priority tag (VLAN 0)",
    );
    h.give(
        tagged(&[(0x8100, 0x0fff)], 0x0800, &ip),
        "802.1Q, VLAN 4095 (reserved)",
    );
    h.give(qinq.clone(), "Q-in-Q (802.1ad), VLAN 100 and 200");
    h.give(
        tagged(&[(0x8100, 100), (0x8100, 200)], 0x0800, &ip),
        "two 802.1Q tags",
    );
    h.give(
        tagged(&[(0x8100, 1), (0x8100, 2), (0x8100, 3)], 0x0800, &ip),
        "three tags",
    );
    h.cut(&qinq, 15..23, "Q-in-Q");
    let mut jumbo = good();
    jumbo.payload = udp((WEB, 40_070), (DB, 9), &[0x4a; 8972]).payload;
    h.give(jumbo.frame(DB), "jumbo: 9,000 bytes of IP");
    let arp = packet::arp(1, mac(WEB), WEB, Mac::ZERO, GATEWAY);
    h.cut(
        &arp,
        [14, 15, 21, 27, 41].into_iter(),
        "ARP request for the gateway",
    );
    for (at, value, note) in [
        (14, 9, "ARP: hardware type is not Ethernet"),
        (16, 9, "ARP: protocol is not IPv4"),
        (18, 8, "ARP: hardware address of 8 bytes"),
        (19, 16, "ARP: protocol address of 16 bytes"),
        (21, 9, "ARP: unknown operation"),
    ] {
        let mut bad = arp.clone();
        bad[at] = value;
        h.give(bad, note);
    }
    let mut unicast = arp.clone();
    unicast[..6].copy_from_slice(&mac(GATEWAY).0);
    h.give(
        unicast,
        "ARP request sent to the gateway's own MAC (a refresh): answered",
    );
    h.give(
        eth(mac(GATEWAY), mac(WEB), 0x9000, &[0; 46]),
        "an unknown EtherType to the gateway",
    );
    let other = Hand {
        lab,
        port: "uplink",
    };
    other.give(
        eth(
            mac(DB),
            mac(OUTSIDE),
            0x0800,
            &udp((OUTSIDE, 1), (UPLINK, 1), b"x").bytes(),
        ),
        "from the uplink to another MAC",
    );
    other.give(
        eth(mac(UPLINK), mac(OUTSIDE), 0x9000, &[0; 46]),
        "from the uplink, an unknown EtherType",
    );
    h.give(frame, "a good frame at the end");
    Ok(())
}
