//! ARP.

use crate::lab::{Lab, Result, add_address, flap, settle, sysctl, udp};
use crate::packet;
use crate::wire::{DB, GATEWAY, OUTSIDE, UPLINK, WEB};
use dataplane::base::Mac;
use dataplane::frame::VnetHdr;
use std::net::Ipv4Addr;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// Who asks whom: a container for the gateway and for its neighbour, the host for a container, the
/// outside for the switch, and for one that nobody has; announcements; and what is refused.
pub fn exchange(lab: &Lab) -> Result<()> {
    let s = udp(&lab.web, ANY, 9)?;
    s.send_to(b"to the host", (GATEWAY, 9))?;
    settle();
    s.send_to(b"to db", (DB, 9))?;
    settle();
    let s = udp(&lab.host, ANY, 9)?;
    s.send_to(b"to db", (DB, 9))?;
    settle();
    let s = udp(&lab.out, ANY, 9)?;
    s.send_to(b"to the switch", (UPLINK, 9))?;
    settle();
    let s = udp(&lab.db, ANY, 9)?;
    s.send_to(b"to nobody", (Ipv4Addr::new(10, 0, 0, 77), 9))?;
    settle();
    // The kernel announces its address when the interface comes up.
    sysctl(&lab.db, "ipv4/conf/eth0/arp_notify", "1")?;
    flap(&lab.db)?;
    settle();

    let web = Mac::from_ip(WEB);
    let hand = |port, frame, note: &str| lab.wire.by_hand(port, frame, VnetHdr::PLAIN, note);
    hand(
        "web",
        packet::arp(1, web, ANY, Mac::ZERO, WEB),
        "probe for its own address (RFC 5227)",
    );
    hand(
        "web",
        packet::arp(1, web, ANY, Mac::ZERO, GATEWAY),
        "probe for the gateway's address (RFC 5227)",
    );
    hand(
        "web",
        packet::arp(1, web, WEB, Mac::ZERO, WEB),
        "announcement (RFC 5227)",
    );
    hand(
        "web",
        packet::arp(1, web, GATEWAY, Mac::ZERO, GATEWAY),
        "announcement for the gateway's address: refused",
    );
    hand(
        "web",
        packet::arp(2, web, GATEWAY, Mac::from_ip(DB), DB),
        "answer for the gateway's address: refused",
    );
    let mut other = packet::arp(1, web, WEB, Mac::ZERO, DB);
    other[22..28].copy_from_slice(&Mac::from_ip(DB).0);
    hand(
        "web",
        other,
        "sender hardware address is not the frame's source: refused",
    );
    hand(
        "uplink",
        packet::arp(1, Mac::from_ip(OUTSIDE), OUTSIDE, Mac::ZERO, WEB),
        "question from outside for a container",
    );
    Ok(())
}

/// Next hops that the switch has to ask for: one answers, one is not there.
pub fn resolve(lab: &Lab) -> Result<()> {
    let there = Ipv4Addr::new(192, 0, 2, 3);
    add_address(&lab.out, there)?;
    let server = udp(&lab.out, there, 7)?;
    let s = udp(&lab.web, ANY, 40_020)?;
    s.send_to(b"are you there?", (there, 7))?;
    let (_, from) = crate::lab::datagram(&server)?;
    server.send_to(b"yes", from)?;
    crate::lab::datagram(&s)?;
    for n in 1..=5 {
        s.send_to(
            format!("and you? {n}").as_bytes(),
            (Ipv4Addr::new(192, 0, 2, 99), 7),
        )?;
    }
    // Long enough for the switch to give up.
    std::thread::sleep(std::time::Duration::from_secs(4));
    s.send_to(b"still there?", (there, 7))?;
    settle();
    Ok(())
}
