//! Frames that no stack sends. Each carries what is wrong with it as its comment; between them
//! stand good ones, which have to pass all the same.

use crate::lab::{FAR, Lab, PUBLIC, Result};
use crate::nat::checksum;
use crate::packet::{self, Ip, eth, fix_header, fix_tcp, icmp, tcp, udp};
use crate::wire::{DB, GATEWAY, OUTSIDE, PUBLISHED, UPLINK, WEB};
use dataplane::base::Mac;
use dataplane::frame::VnetHdr;
use std::net::Ipv4Addr;

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Hands frames to one port, a millisecond apart.
struct Hand<'a> {
    lab: &'a Lab,
    port: &'static str,
}

impl Hand<'_> {
    fn give(&self, frame: Vec<u8>, note: &str) {
        self.give_with(frame, VnetHdr::PLAIN.encode(), note);
    }

    fn give_with(&self, frame: Vec<u8>, vnet: [u8; 10], note: &str) {
        std::thread::sleep(std::time::Duration::from_millis(1));
        self.lab.wire.by_hand_raw(self.port, frame, vnet, note);
    }

    /// The frame cut at every one of `lengths`.
    fn cut(&self, frame: &[u8], lengths: impl Iterator<Item = usize>, what: &str) {
        for n in lengths {
            self.give(frame[..n].to_vec(), &format!("{what} cut to {n} bytes"));
        }
    }
}

fn mac(ip: Ipv4Addr) -> Mac {
    Mac::from_ip(ip)
}

/// The outside asks for the switch, which learns from it where to send.
fn introduce(lab: &Lab) {
    let ask = packet::arp(1, mac(OUTSIDE), OUTSIDE, Mac::ZERO, UPLINK);
    Hand {
        lab,
        port: "uplink",
    }
    .give(ask, "the outside asks for the switch");
}

/// From web to db, the usual good frame.
fn good() -> Ip {
    udp((WEB, 40_070), (DB, 9), b"good")
}

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

/// The frame with its L4 checksum, `at` that offset, taken back to the pseudo-header's sum.
fn partial(frame: &[u8], at: usize) -> Vec<u8> {
    let mut b = frame.to_vec();
    let mut pseudo = b[26..34].to_vec();
    pseudo.extend([0, b[23]]);
    pseudo.extend((b.len() as u16 - 34).to_be_bytes());
    let sum = !checksum(&pseudo);
    b[34 + at..36 + at].copy_from_slice(&sum.to_be_bytes());
    b
}

pub fn vnet_hdr(lab: &Lab) -> Result<()> {
    let h = Hand { lab, port: "web" };
    introduce(lab);
    let data = vec![0x64; 900];
    let bridged = tcp((WEB, 40_090), (DB, 80), 1, 1, ACK, &data).frame(DB);
    let routed = tcp((WEB, 40_091), (OUTSIDE, 80), 1, 0, SYN, &[]).frame(GATEWAY);
    // flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
    let hdr = |flags: u8, gso: u8, len: u16, size: u16, start: u16, off: u16| {
        let mut b = [flags, gso, 0, 0, 0, 0, 0, 0, 0, 0];
        for (n, v) in [len, size, start, off].into_iter().enumerate() {
            b[2 + 2 * n..4 + 2 * n].copy_from_slice(&v.to_le_bytes());
        }
        b
    };
    let each = |vnet: [u8; 10], note: &str| {
        h.give_with(bridged.clone(), vnet, note);
        h.give_with(routed.clone(), vnet, &format!("{note}; routed"));
    };
    h.give_with(
        partial(&bridged, 16),
        hdr(1, 1, 54, 400, 34, 16),
        "a good TCP superframe",
    );
    each(
        hdr(1, 0, 0, 0, 65_535, 16),
        "checksum starts behind the frame",
    );
    each(
        hdr(1, 0, 0, 0, 34, 65_535),
        "checksum is stored behind the frame",
    );
    each(
        hdr(1, 0, 0, 0, 65_535, 65_535),
        "start plus offset overflow sixteen bits",
    );
    each(hdr(1, 0, 0, 0, 0, 0), "checksum over the Ethernet header");
    each(hdr(1, 0, 0, 0, 14, 10), "checksum of the IP header");
    each(hdr(1, 0, 0, 0, 34, 17), "checksum at an odd offset");
    each(hdr(1, 0, 0, 0, 34, 6), "TCP with UDP's checksum offset");
    each(
        hdr(1, 1, 54, 0, 34, 16),
        "superframe of segments of no bytes",
    );
    each(
        hdr(1, 1, 54, 1, 34, 16),
        "superframe of segments of one byte",
    );
    each(
        hdr(0, 1, 54, 400, 34, 16),
        "superframe without a partial checksum",
    );
    each(hdr(1, 1, 0, 400, 34, 16), "header length 0: only a hint");
    each(
        hdr(1, 1, 65_535, 400, 34, 16),
        "header length 65,535: only a hint",
    );
    each(
        hdr(1, 1, 54, 65_535, 34, 16),
        "segments longer than the frame",
    );
    each(
        hdr(1, 4, 54, 400, 34, 16),
        "IPv6 superframe, but the frame is IPv4",
    );
    each(
        hdr(1, 5, 42, 400, 34, 6),
        "UDP superframe, but the frame is TCP",
    );
    each(
        hdr(1, 3, 42, 400, 34, 6),
        "UDP fragmentation offload (UFO), never negotiated",
    );
    each(hdr(1, 9, 54, 400, 34, 16), "unknown gso_type 9");
    each(hdr(1, 0x81, 54, 400, 34, 16), "superframe with ECN");
    each(hdr(1, 0x80, 54, 400, 34, 16), "ECN without a kind");
    each(hdr(0xff, 0, 0, 0, 34, 16), "all flags");
    each(hdr(2, 0, 0, 0, 0, 0), "checksum verified (DATA_VALID)");
    let many = udp((WEB, 40_092), (DB, 9), &[0x75; 1000]).frame(DB);
    h.give_with(
        partial(&many, 6),
        hdr(1, 5, 42, 300, 34, 6),
        "a good UDP superframe",
    );
    h.give_with(
        many,
        hdr(1, 5, 42, 1, 34, 6),
        "a UDP superframe of 1,000 datagrams",
    );
    let fragment = Ip {
        frag: 0x2000,
        ..udp((WEB, 40_093), (DB, 9), &[0x66; 1000])
    };
    h.give_with(
        fragment.frame(DB),
        hdr(1, 5, 42, 500, 34, 6),
        "a UDP superframe that is a fragment",
    );
    let arp = packet::arp(1, mac(WEB), WEB, Mac::ZERO, DB);
    h.give_with(
        arp,
        hdr(1, 1, 54, 400, 34, 16),
        "an ARP packet as a TCP superframe",
    );
    h.give(good().frame(DB), "a good frame at the end");
    Ok(())
}

pub fn ipv6(lab: &Lab) -> Result<()> {
    let h = Hand { lab, port: "web" };
    let all = Mac([0x33, 0x33, 0, 0, 0, 1]);
    let packet6 = |next: u8, hop: u8, payload: &[u8]| {
        let mut p = vec![0x60, 0, 0, 0];
        p.extend((payload.len() as u16).to_be_bytes());
        p.extend([next, hop]);
        p.extend([
            0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x42, 0x0a, 0xff, 0xfe, 0, 0, 2,
        ]);
        p.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        p.extend(payload);
        p
    };
    let six = |next: u8, payload: &[u8], note: &str| {
        h.give(
            eth(all, mac(WEB), 0x86dd, &packet6(next, 255, payload)),
            note,
        );
    };
    let message = |kind: u8| {
        let mut m = vec![kind, 0, 0, 0];
        m.resize(32, 0);
        m
    };
    let chain = |next: u8, inner: &[u8]| {
        let mut p = vec![next, 0, 1, 4, 0, 0, 0, 0];
        p.extend(inner);
        p
    };
    six(58, &message(135), "neighbour solicitation");
    six(58, &message(136), "neighbour advertisement");
    six(58, &message(133), "router solicitation");
    six(58, &message(134), "router advertisement: refused");
    six(58, &message(137), "redirect: refused");
    six(
        60,
        &chain(58, &message(134)),
        "router advertisement behind destination options: refused",
    );
    six(
        44,
        &[58, 0, 0, 1, 0, 0, 0, 9],
        "first fragment without what follows: refused (RFC 7113)",
    );
    let mut dhcp = vec![0x02, 0x23, 0x02, 0x22, 0, 20, 0, 0];
    dhcp.extend([2; 12]);
    six(17, &dhcp, "DHCPv6 server's advertisement: refused");
    dhcp[..4].copy_from_slice(&[0x02, 0x22, 0x02, 0x23]);
    six(17, &dhcp, "DHCPv6 client's solicitation");
    let whole = eth(all, mac(WEB), 0x86dd, &packet6(58, 255, &message(135)));
    h.cut(&whole, [14, 15, 20, 53, 54, 55, 57].into_iter(), "IPv6");
    let mut tagged = whole.clone();
    tagged.splice(12..12, [0x81, 0, 0, 7]);
    tagged[58] = 134;
    h.give(tagged, "router advertisement in VLAN 7: refused");
    let mut version = whole.clone();
    version[14] = 0x40;
    h.give(version, "version 4 in an IPv6 frame");
    h.give(
        eth(mac(GATEWAY), mac(WEB), 0x86dd, &packet6(17, 64, &dhcp)),
        "IPv6 to the gateway: not routed",
    );
    Ok(())
}
