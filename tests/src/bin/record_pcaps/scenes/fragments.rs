//! Fragmented datagrams.

use crate::lab::{Lab, PUBLIC, Result, datagram, settle, udp};
use crate::packet;
use crate::wire::{DB, Gate, OUTSIDE, PUBLISHED, UPLINK, WEB};
use dataplane::frame::VnetHdr;
use std::net::Ipv4Addr;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn words(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 253) as u8).collect()
}

/// Datagrams of 4,000 bytes: bridged, published, answered, masqueraded.
pub fn in_order(lab: &Lab) -> Result<()> {
    let web = udp(&lab.web, ANY, PUBLISHED)?;
    let db = udp(&lab.db, ANY, 40_040)?;
    let out = udp(&lab.out, ANY, 40_041)?;
    db.send_to(&words(4000), (WEB, PUBLISHED))?;
    datagram(&web)?;
    settle();
    out.send_to(&words(4000), PUBLIC)?;
    let (n, from) = datagram(&web)?;
    web.send_to(&words(n), from)?;
    if datagram(&out)?.0 != 4000 {
        return Err("another length than was sent".into());
    }
    settle();
    let server = udp(&lab.out, ANY, 123)?;
    web.send_to(&words(3000), (OUTSIDE, 123))?;
    datagram(&server)?;
    Ok(())
}

/// The first of each datagram's three fragments comes second.
pub fn out_of_order(lab: &Lab) -> Result<()> {
    lab.wire.gate(|_, b| {
        let fragment = b.len() > 34 && b[12..14] == [8, 0] && b[20..22] == [0x20, 0];
        if fragment { Gate::Swap } else { Gate::Pass }
    });
    in_order(lab)
}

/// Overlaps, a hole, the "ping of death", a tiny first fragment, and one without a first.
pub fn hostile(lab: &Lab) -> Result<()> {
    let whole = packet::udp((OUTSIDE, 40_042), PUBLIC, &words(2000));
    let send = |id: u16, off: usize, len: usize, more: bool, note: &str| {
        let mut f = whole.clone();
        f.id = id;
        f.payload = whole
            .payload
            .iter()
            .copied()
            .cycle()
            .skip(off)
            .take(len)
            .collect();
        f.frag = (off / 8) as u16 | if more { 0x2000 } else { 0 };
        lab.wire
            .by_hand("uplink", f.frame(UPLINK), VnetHdr::PLAIN, note);
    };
    send(1, 0, 1480, true, "first fragment");
    send(1, 1400, 608, false, "overlaps the end of the first");
    send(2, 0, 1480, true, "first fragment");
    send(2, 0, 1480, true, "the same again");
    send(2, 1480, 528, false, "last fragment");
    send(3, 1480, 528, false, "last fragment, the first never comes");
    send(4, 0, 1480, true, "first fragment");
    send(4, 65_528, 1480, false, "reaches beyond 65,535 bytes");
    send(
        5,
        0,
        4,
        true,
        "not a multiple of eight bytes, and not all of the UDP header",
    );
    send(6, 0, 8, true, "only the UDP header");
    send(6, 8, 2000 - 1480, false, "the rest");
    send(
        7,
        0,
        1480,
        true,
        "first fragment with don't-fragment set too",
    );
    lab.wire.edit(|r| {
        if let Some(last) = r.last_mut() {
            last.bytes[20] |= 0x40;
            packet::fix_header(&mut last.bytes[14..]);
        }
    });
    // Twenty datagrams of which only the last fragment comes, then nothing for twenty seconds.
    for id in 100..120 {
        send(id, 1480, 528, false, "last fragment, the first never comes");
    }
    let mut late = packet::arp(
        1,
        dataplane::base::Mac::from_ip(DB),
        DB,
        dataplane::base::Mac::ZERO,
        WEB,
    );
    late.truncate(42);
    lab.wire
        .by_hand("db", late, VnetHdr::PLAIN, "twenty seconds later");
    lab.wire.edit(|r| {
        if let Some(last) = r.last_mut() {
            last.at += std::time::Duration::from_secs(20);
        }
    });
    Ok(())
}
