//! TCP, UDP and ICMP: headers, flags, and a connection attacked from the side.

use super::{ACK, Hand, RST, SYN, introduce};
use crate::lab::{Lab, PUBLIC, Result};
use crate::packet::{Ip, fix_tcp, icmp, tcp, udp};
use crate::wire::{GATEWAY, OUTSIDE, PUBLISHED, UPLINK, WEB};

pub fn l4(lab: &Lab) -> Result<()> {
    introduce(lab);
    let h = Hand {
        lab,
        port: "uplink",
    };
    let client = (OUTSIDE, 40_080);
    let give = |p: &Ip, note: &str| h.give(p.frame(UPLINK), note);
    let seg = |flags: u8| tcp(client, PUBLIC, 1000, 0, flags, &[]);
    for (flags, name) in [
        (0x00, "no flags (null scan)"),
        (0x01, "FIN alone"),
        (0x03, "SYN and FIN"),
        (0x06, "SYN and RST"),
        (0x29, "FIN, PSH and URG (christmas tree)"),
        (0x3f, "all six flags"),
        (0x10, "ACK to no connection"),
        (0x12, "SYN and ACK to no connection"),
        (0x04, "RST to no connection"),
    ] {
        give(&seg(flags), name);
    }
    for offset in [0u8, 4, 15] {
        let mut p = seg(SYN);
        p.payload[12] = offset << 4;
        fix_tcp(&mut p);
        give(&p, &format!("TCP data offset {offset}"));
    }
    for n in [0, 1, 4, 13, 19] {
        let mut p = seg(SYN);
        p.payload.truncate(n);
        give(&p, &format!("TCP header cut to {n} bytes"));
    }
    let mut zero = tcp((OUTSIDE, 0), PUBLIC, 1, 0, SYN, &[]);
    give(&zero, "TCP from port 0");
    zero = tcp(client, (UPLINK, 0), 1, 0, SYN, &[]);
    give(&zero, "TCP to port 0");
    for (options, note) in [
        (
            vec![2, 4, 5, 0xb4, 3, 3, 14, 1],
            "TCP options: MSS, window scale 14",
        ),
        (vec![3, 3, 255, 1], "TCP options: window scale 255"),
        (vec![2, 0, 0, 0], "TCP options: a length of zero"),
        (vec![2, 40, 0, 0], "TCP options: a length beyond the header"),
    ] {
        let mut p = tcp((OUTSIDE, 40_081), PUBLIC, 1, 0, SYN, &options);
        p.payload[12] = (((20 + options.len()) / 4) << 4) as u8;
        fix_tcp(&mut p);
        give(&p, note);
    }
    session(lab);
    let data = |len: u16, note: &str| {
        let mut p = udp(client, PUBLIC, b"eight by");
        p.payload[4..6].copy_from_slice(&len.to_be_bytes());
        give(&p, note);
    };
    data(16, "UDP, checksum and length good");
    data(0, "UDP length 0");
    data(7, "UDP length 7");
    data(17, "UDP length beyond the packet");
    data(12, "UDP length below the packet's");
    let mut p = udp(client, PUBLIC, b"no checksum");
    p.payload[6..8].fill(0);
    give(&p, "UDP without a checksum");
    p.payload[6] = 0x5a;
    give(&p, "UDP checksum wrong: the receiver's business");
    for n in [0, 3, 7] {
        let mut p = udp(client, PUBLIC, b"");
        p.payload.truncate(n);
        give(&p, &format!("UDP header cut to {n} bytes"));
    }
    for n in [0, 3, 7] {
        let mut p = icmp(OUTSIDE, UPLINK, 8, 0, [0, 1, 0, 1], b"");
        p.payload.truncate(n);
        give(&p, &format!("ICMP header cut to {n} bytes"));
    }
    let mut p = icmp(OUTSIDE, UPLINK, 8, 0, [0, 1, 0, 1], b"ping");
    p.payload[3] ^= 1;
    give(&p, "ICMP checksum wrong");
    for kind in [6, 10, 13, 15, 17, 255] {
        give(
            &icmp(OUTSIDE, UPLINK, kind, 0, [0; 4], &[0; 12]),
            &format!("ICMP type {kind}"),
        );
    }
    Ok(())
}

/// A connection made by hand, attacked from the side, and alive at the end.
fn session(lab: &Lab) {
    let (h, inside) = (
        Hand {
            lab,
            port: "uplink",
        },
        Hand { lab, port: "web" },
    );
    let (client, server) = ((OUTSIDE, 40_082), (WEB, PUBLISHED));
    let from_client = |seq, ack, flags, data: &[u8], note: &str| {
        h.give(
            tcp(client, PUBLIC, seq, ack, flags, data).frame(UPLINK),
            note,
        );
    };
    let from_server = |seq, ack, flags, data: &[u8], note: &str| {
        inside.give(
            tcp(server, client, seq, ack, flags, data).frame(GATEWAY),
            note,
        );
    };
    from_client(1000, 0, SYN, &[], "a handshake: SYN");
    from_server(9000, 1001, SYN | ACK, &[], "SYN, ACK");
    from_client(1001, 9001, ACK, &[], "ACK");
    from_client(1001, 9001, ACK, b"request", "data in the window");
    from_server(9001, 1008, ACK, b"answer", "its answer");
    from_client(1008, 9007, ACK, &[], "acknowledged");
    from_client(
        900_001_000,
        9007,
        ACK,
        b"far",
        "data far outside the window",
    );
    from_client(
        1008,
        800_000_000,
        ACK,
        &[],
        "acknowledges what was never sent",
    );
    from_client(
        1500,
        0,
        RST,
        &[],
        "RST inside the window, not exact (RFC 5961)",
    );
    from_client(700_000_000, 0, RST, &[], "RST outside the window");
    from_client(5000, 0, SYN, &[], "SYN into the connection (RFC 5961)");
    from_client(1008, 9007, ACK, b"still here", "the connection lives");
    from_server(9007, 1018, ACK, &[], "and is acknowledged");
    from_client(1018, 0, RST, &[], "RST at the exact sequence number");
    from_server(9007, 1018, ACK, b"late", "data after the RST");
}
