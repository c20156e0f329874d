//! IPv4: headers, options, addresses that nobody may use, and sizes.

use super::{Hand, good, introduce, mac};
use crate::lab::{FAR, Lab, Result};
use crate::packet::{Ip, eth, fix_header, udp};
use crate::wire::{DB, GATEWAY, OUTSIDE, UPLINK, WEB};
use std::net::Ipv4Addr;

pub fn ipv4(lab: &Lab) -> Result<()> {
    let h = Hand { lab, port: "web" };
    introduce(lab);
    let out = udp((WEB, 40_071), (OUTSIDE, 9), b"good, to the outside");
    h.give(out.frame(GATEWAY), "a good frame, routed");
    h.give(good().frame(DB), "a good frame, bridged");
    for (via, base) in [(DB, good()), (GATEWAY, out.clone())] {
        let bytes = base.bytes();
        let send = |ip: Vec<u8>, note: &str| h.give(eth(mac(via), mac(WEB), 0x0800, &ip), note);
        let with = |f: &dyn Fn(&mut Vec<u8>)| {
            let mut b = bytes.clone();
            f(&mut b);
            b
        };
        send(with(&|b| b[0] = 0x65), "version 6 in an IPv4 frame");
        send(with(&|b| b[0] = 0x05), "version 0");
        for ihl in [0, 4, 15] {
            send(with(&|b| b[0] = 0x40 | ihl), &format!("IHL {ihl}"));
        }
        for total in [0u16, 19, 20, 24, bytes.len() as u16 + 1, 65_535] {
            let b = with(&|b| {
                b[2..4].copy_from_slice(&total.to_be_bytes());
                fix_header(b);
            });
            send(b, &format!("total length {total} of {}", bytes.len()));
        }
        send(with(&|b| b[10] ^= 1), "header checksum wrong");
        send(with(&|b| b[10..12].fill(0)), "header checksum zero");
        send(
            with(&|b| {
                b[6] |= 0x80;
                fix_header(b);
            }),
            "the reserved flag (RFC 3514's evil bit)",
        );
        send(with(&|b| b.extend([0xee; 26])), "padding behind the packet");
    }
    let options = |o: &[u8], note: &str| {
        let mut p = out.clone();
        p.options = o.to_vec();
        h.give(p.frame(GATEWAY), note);
        p = good();
        p.options = o.to_vec();
        h.give(p.frame(DB), &format!("{note}, bridged"));
    };
    options(&[1, 1, 1, 0], "options: no operation, end");
    options(&[7, 7, 4, 0, 0, 0, 0, 0], "options: record route");
    options(&[0x94, 4, 0, 0], "options: router alert");
    options(
        &[0x83, 7, 4, 192, 0, 2, 9, 0],
        "options: loose source route",
    );
    options(
        &[0x89, 7, 4, 192, 0, 2, 9, 0],
        "options: strict source route",
    );
    options(&[7, 1, 0, 0], "options: a length of one");
    options(&[7, 40, 4, 0], "options: a length beyond the header");
    options(&[7, 0, 0, 0], "options: a length of zero");
    addresses(lab);
    for (dst, note) in [
        (FAR, "time to live 0, routed"),
        (GATEWAY, "time to live 0, to the gateway"),
    ] {
        let mut p = udp((WEB, 40_071), (dst, 9), b"ttl");
        p.ttl = 0;
        h.give(p.frame(GATEWAY), note);
    }
    for proto in [2, 41, 47, 50, 89, 132, 255] {
        let p = Ip::new(WEB, OUTSIDE, proto, vec![0; 24]);
        h.give(p.frame(GATEWAY), &format!("IP protocol {proto}, routed"));
    }
    let mut long = udp((WEB, 40_071), (OUTSIDE, 9), &[0x4d; 1600]);
    long.frag = 0x4000;
    h.give(
        long.frame(GATEWAY),
        "1,628 bytes with don't-fragment to a link of 1,500",
    );
    long.frag = 0;
    h.give(
        long.frame(GATEWAY),
        "1,628 bytes without don't-fragment to a link of 1,500",
    );
    h.give(out.frame(GATEWAY), "a good frame at the end");
    Ok(())
}

fn addresses(lab: &Lab) {
    let ip = |s: &str| s.parse::<Ipv4Addr>().unwrap_or(Ipv4Addr::UNSPECIFIED);
    let web = Hand { lab, port: "web" };
    for (src, dst, note) in [
        (
            "10.0.0.2",
            "10.0.0.2",
            "land: source and destination are the same",
        ),
        ("127.0.0.1", "192.0.2.2", "from loopback"),
        ("10.0.0.2", "127.0.0.1", "to loopback"),
        ("0.0.0.0", "192.0.2.2", "from 0.0.0.0"),
        ("10.0.0.2", "0.0.0.0", "to 0.0.0.0"),
        ("224.0.0.5", "192.0.2.2", "from a multicast address"),
        ("255.255.255.255", "192.0.2.2", "from broadcast"),
        ("240.1.2.3", "192.0.2.2", "from class E"),
        ("10.0.0.2", "240.1.2.3", "to class E"),
        ("10.0.0.1", "192.0.2.2", "from the gateway's own address"),
        ("192.0.2.1", "192.0.2.2", "from the uplink address"),
        ("172.16.0.9", "192.0.2.2", "from outside the subnet"),
        ("169.254.1.1", "192.0.2.2", "from link-local"),
        ("10.0.0.2", "169.254.169.254", "to link-local"),
        (
            "10.0.0.2",
            "224.0.0.251",
            "to multicast by the gateway's MAC",
        ),
        (
            "10.0.0.2",
            "10.0.0.255",
            "to the subnet's broadcast by the gateway's MAC",
        ),
        (
            "10.0.0.2",
            "255.255.255.255",
            "to broadcast by the gateway's MAC",
        ),
        (
            "10.0.0.2",
            "192.0.2.255",
            "to the outside's directed broadcast",
        ),
        (
            "10.0.0.2",
            "192.0.2.1",
            "to the uplink address, a port that is not published",
        ),
    ] {
        let p = udp((ip(src), 40_072), (ip(dst), 7), b"martian");
        web.give(eth(mac(GATEWAY), mac(WEB), 0x0800, &p.bytes()), note);
    }
    let uplink = Hand {
        lab,
        port: "uplink",
    };
    for (src, dst, note) in [
        (
            "10.0.0.2",
            "192.0.2.1",
            "from outside with an inside source",
        ),
        ("192.0.2.1", "192.0.2.1", "land at the uplink"),
        (
            "192.0.2.2",
            "10.0.0.2",
            "from outside straight to a container",
        ),
        ("192.0.2.2", "198.51.100.2", "from outside to the outside"),
        ("192.0.2.2", "192.0.2.1", "to a port that is not published"),
    ] {
        let p = udp((ip(src), 40_073), (ip(dst), 7), b"martian");
        uplink.give(eth(mac(UPLINK), mac(OUTSIDE), 0x0800, &p.bytes()), note);
    }
}
