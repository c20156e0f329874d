//! Every reason for which a frame can be dropped, reached through the whole switch.
//!
//! The match in [`reach`] has no default arm: a reason without a case does not compile.

mod frames;

use dataplane::base::{Mac, Proto, Reason};
use dataplane::frame::batch::MAX_FRAME;
use dataplane::frame::{Frame, Gso, VnetHdr};
use dataplane::port::Caps;
use frames::{after, after_routed, bad_ipv4, bridged, from_outside, send_all};
use std::net::Ipv4Addr;
use std::time::Duration;
use switchd_tests::memory::odd::{add_odd, add_odd_that_lost};
use switchd_tests::memory::packet::*;
use switchd_tests::memory::scenes::{established, pieces};
use switchd_tests::memory::{DB, FAR, GW, Lab, PEER, UP, WEB, config, mac, shared};

const OUT_OF_SUBNET: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 9);
const OTHER_OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

/// What a case comes to.
enum Case {
    /// This switch has dropped frames under the reason, and under no other.
    Reached(Box<Lab>),
    /// The reason can't be reached by a frame in one thread, because of this.
    Unreachable(&'static str),
}

fn reached(lab: Lab) -> Case {
    Case::Reached(Box::new(lab))
}

fn reach(reason: Reason) -> Case {
    let ip = Ip::default();
    match reason {
        Reason::EthTruncated => reached(after(&[2; 13])),
        Reason::EthTooLong => {
            // A device that delivers more than a slot holds.
            let mut lab = Lab::ready();
            let mut long = bridged(0x88b5, &[]);
            long.resize(MAX_FRAME + 1, 0);
            add_odd(&mut lab, Some(Frame::from_bytes(&long)));
            lab.run();
            reached(lab)
        }
        Reason::VnetHdrBad => {
            let mut lab = Lab::ready();
            let hdr = VnetHdr {
                needs_csum: true,
                csum_start: 60,
                csum_offset: 16,
                ..VnetHdr::PLAIN
            };
            lab.send_hdr(&lab.web.clone(), &bridged(0x88b5, &[0; 46]), hdr);
            reached(lab)
        }
        Reason::Ipv4Truncated => reached(bad_ipv4(|b| b[3] = 200, true)),
        Reason::Ipv4Version => reached(bad_ipv4(|b| b[0] = 0x55, true)),
        Reason::Ipv4HeaderLength => reached(bad_ipv4(|b| b[0] = 0x44, true)),
        Reason::Ipv4TotalLength => reached(bad_ipv4(|b| b[3] = 19, true)),
        Reason::Ipv4Checksum => reached(bad_ipv4(|b| b[8] ^= 1, false)),
        Reason::ArpMalformed => reached(after(&bridged(0x0806, &[0, 1, 8, 0, 6, 4, 0]))),
        Reason::L4Truncated => {
            let t = tcp_tuple(WEB, 1, FAR, 2);
            reached(after_routed(&ip, &t, &tcp(&t, 1, 0, SYN, b"")[..12]))
        }
        Reason::TcpMalformed => {
            let t = tcp_tuple(WEB, 1, FAR, 2);
            reached(after_routed(&ip, &t, &tcp(&t, 1, 0, SYN | FIN, b"")))
        }
        Reason::UdpLength => {
            let t = udp_tuple(WEB, 1, FAR, 2);
            let mut l4 = udp(&t, b"data");
            l4[5] += 1;
            reached(after_routed(&ip, &t, &l4))
        }
        Reason::IcmpChecksum => {
            let t = tuple(Proto::ICMP, (WEB, 3), (GW, 0));
            let mut l4 = ping(3, 1, b"data");
            l4[2] ^= 1;
            reached(after_routed(&ip, &t, &l4))
        }
        Reason::SrcMacGroup => reached(after(&eth(mac(DB), Mac([1; 6]), 0x88b5, &[0; 46]))),
        Reason::SrcMacZero => reached(after(&eth(mac(DB), Mac::ZERO, 0x88b5, &[0; 46]))),
        Reason::SrcMacGateway => reached(after(&eth(mac(DB), mac(GW), 0x88b5, &[0; 46]))),
        Reason::Land => {
            let t = udp_tuple(WEB, 1, WEB, 1);
            reached(after_routed(&ip, &t, &udp(&t, b"")))
        }
        Reason::Martian => {
            let t = udp_tuple(Ipv4Addr::LOCALHOST, 1, DB, 1);
            reached(after_routed(&ip, &t, &udp(&t, b"")))
        }
        Reason::SourceNotInSubnet => {
            let t = udp_tuple(OUT_OF_SUBNET, 1, FAR, 1);
            reached(after_routed(&ip, &t, &udp(&t, b"")))
        }
        Reason::ArpSpoof => {
            let claim = (mac(WEB), GW);
            reached(after(&arp(Mac::BROADCAST, 1, claim, (Mac::ZERO, GW))))
        }
        Reason::RogueRa => reached(after(&ipv6(
            mac(WEB),
            58,
            "ff02::1",
            &[134, 0, 0, 0, 0, 0, 0, 0],
        ))),
        Reason::RogueRedirect => reached(after(&ipv6(mac(WEB), 58, "ff02::1", &[137; 16]))),
        Reason::RogueDhcpv6 => {
            let from_server = [2, 35, 2, 34, 0, 8, 0, 0];
            reached(after(&ipv6(mac(WEB), 17, "ff02::1", &from_server)))
        }
        Reason::Ipv6Chain => {
            // A hop-by-hop header that says it is longer than the packet.
            reached(after(&ipv6(
                mac(WEB),
                0,
                "ff02::1",
                &[58, 9, 1, 4, 0, 0, 0, 0],
            )))
        }
        Reason::LinkLocalGroup => {
            let bpdu = Mac([1, 0x80, 0xc2, 0, 0, 0]);
            reached(after(&eth(bpdu, mac(WEB), 0x88b5, &[0; 46])))
        }
        Reason::SamePort => {
            let mut lab = Lab::ready();
            let neighbour = Mac([2, 1, 1, 1, 1, 1]);
            let web = lab.web.clone();
            lab.send(&web, &eth(mac(DB), neighbour, 0x88b5, &[0; 46]));
            lab.send(&web, &eth(neighbour, mac(WEB), 0x88b5, &[0; 46]));
            reached(lab)
        }
        Reason::NoOtherPort => {
            let mut lab = Lab::ready();
            for id in [lab.host.id, lab.db.id, lab.app.id] {
                assert!(lab.sw.remove_port(id));
            }
            lab.send(
                &lab.web.clone(),
                &eth(Mac::BROADCAST, mac(WEB), 0x88b5, &[0; 46]),
            );
            reached(lab)
        }
        Reason::IgmpMalformed => {
            let t = tuple(Proto::IGMP, (WEB, 0), (Ipv4Addr::new(239, 1, 1, 1), 0));
            let packet = ipv4(&Ip::ttl(1), &t, &[0x16, 0, 0, 0, 239, 1, 1, 1]);
            let group = Mac([1, 0, 0x5e, 1, 1, 1]);
            reached(after(&eth(group, mac(WEB), 0x0800, &packet)))
        }
        Reason::NotForUs => {
            let mut lab = Lab::ready();
            lab.send(&lab.up.clone(), &eth(mac(FAR), mac(PEER), 0x88b5, &[0; 46]));
            reached(lab)
        }
        Reason::NotRouted => {
            let mut lab = Lab::ready();
            lab.send(&lab.up.clone(), &eth(mac(UP), mac(PEER), 0x86dd, &[0; 46]));
            reached(lab)
        }
        Reason::TtlExceeded => {
            let t = udp_tuple(WEB, 1, FAR, 1);
            reached(after_routed(&Ip::ttl(1), &t, &udp(&t, b"")))
        }
        Reason::SourceRoute | Reason::BadOptions => {
            let options = match reason {
                Reason::SourceRoute => vec![131, 7, 4, 10, 0, 0, 9],
                _ => vec![7, 40, 4],
            };
            let ip = Ip { options, ..ip };
            let t = udp_tuple(WEB, 1, FAR, 1);
            reached(after_routed(&ip, &t, &udp(&t, b"")))
        }
        Reason::NotOurs => reached(shared::for_the_host()),
        Reason::AddressGone => reached(shared::by_an_address_that_is_gone()),
        Reason::RxFull => {
            let mut lab = Lab::ready();
            add_odd_that_lost(&mut lab, 3);
            lab.run();
            reached(lab)
        }
        Reason::NoRoute => {
            let t = udp_tuple(PEER, 1, FAR, 1);
            reached(from_outside(&t, &udp(&t, b"")))
        }
        Reason::NoUplink => {
            let mut cfg = config();
            cfg.uplink = None;
            let mut lab = Lab::new(cfg);
            let t = udp_tuple(WEB, 1, FAR, 1);
            lab.route(&lab.web.clone(), &t, &udp(&t, b""));
            reached(lab)
        }
        Reason::GroupDestination => {
            let t = udp_tuple(WEB, 1, Ipv4Addr::new(224, 0, 0, 251), 5353);
            reached(after_routed(&ip, &t, &udp(&t, b"")))
        }
        Reason::MtuExceeded => {
            let mut cfg = config();
            cfg.uplink = cfg.uplink.map(|mut u| {
                u.mtu = 1_280;
                u
            });
            let mut lab = Lab::ready_with(cfg);
            let t = udp_tuple(WEB, 1, FAR, 1);
            lab.route(&lab.web.clone(), &t, &udp(&t, &[0; 1_300]));
            reached(lab)
        }
        Reason::HostUnreachable => {
            let mut lab = Lab::default();
            let t = udp_tuple(WEB, 1, FAR, 1);
            lab.route(&lab.web.clone(), &t, &udp(&t, b""));
            lab.wait(Duration::from_secs(10));
            reached(lab)
        }
        Reason::NeighQueueFull => {
            let mut lab = Lab::default();
            let t = udp_tuple(WEB, 1, FAR, 1);
            for _ in 0..17 {
                lab.route(&lab.web.clone(), &t, &udp(&t, b""));
            }
            assert_eq!((lab.drops(reason), lab.sw.totals().held), (1, 16));
            reached(lab)
        }
        Reason::NeighTableFull => {
            let mut cfg = config();
            cfg.limits.neighbours = 1;
            let mut lab = Lab::new(cfg);
            for to in [PEER, OTHER_OUTSIDE] {
                let t = udp_tuple(WEB, 1, to, 1);
                lab.route(&lab.web.clone(), &t, &udp(&t, b""));
            }
            reached(lab)
        }
        Reason::FragTableFull => {
            let mut cfg = config();
            cfg.limits.fragments = 4;
            let mut lab = Lab::ready_with(cfg);
            let t = udp_tuple(WEB, 1, FAR, 1);
            for id in 1..3 {
                let whole = lab
                    .web
                    .routed(&Ip::may_fragment(id), &t, &udp(&t, &[0; 64]));
                lab.send(&lab.web.clone(), &fragments(&whole, 32)[1]);
            }
            reached(lab)
        }
        Reason::FragOverlap => {
            let mut lab = Lab::ready();
            let web = lab.web.clone();
            let parts = pieces(3);
            send_all(&mut lab, &web, &[parts[0].clone(), parts[1].clone()]);
            send_all(&mut lab, &web, &[parts[1].clone()]);
            reached(lab)
        }
        Reason::FragMalformed => {
            let t = udp_tuple(WEB, 1, FAR, 1);
            let ip = Ip {
                mf: true,
                ..Ip::may_fragment(9)
            };
            reached(after_routed(&ip, &t, &udp(&t, b"12345")))
        }
        Reason::FragTimeout => {
            let mut lab = after(&pieces(2)[1]);
            assert_eq!(lab.sw.totals().held, 1);
            lab.wait(Duration::from_secs(16));
            assert_eq!(lab.sw.totals().held, 0);
            reached(lab)
        }
        Reason::FragTooMany => {
            let mut lab = Lab::ready();
            let web = lab.web.clone();
            send_all(&mut lab, &web, &pieces(65));
            reached(lab)
        }
        Reason::NotPublished => {
            let t = tcp_tuple(PEER, 1, UP, 4_000);
            reached(from_outside(&t, &tcp(&t, 1, 0, SYN, b"")))
        }
        Reason::PolicyDenied => {
            let t = tcp_tuple(PEER, 1, WEB, 80);
            reached(from_outside(&t, &tcp(&t, 1, 0, SYN, b"")))
        }
        Reason::RuleGone => Case::Unreachable(
            "a rule has to be withdrawn by another thread between its look-up and the record",
        ),
        Reason::PortsExhausted => {
            // Ports below 1024 stay below 1024 (RFC 4787 REQ-3a), and all of these go to one
            // destination, so that none can be shared.
            let mut lab = Lab::ready();
            let app = lab.app.clone();
            for n in 0..1_030u16 {
                let from = Ipv4Addr::new(10, 0, 0, 20 + (n / 100) as u8);
                let t = udp_tuple(from, 2 + 2 * (n % 100), FAR, 53);
                lab.route(&app, &t, &udp(&t, b""));
            }
            reached(lab)
        }
        Reason::NatClash => {
            // Without ports two hosts can't be told apart.
            let mut lab = Lab::ready();
            for h in [lab.web.clone(), lab.db.clone()] {
                let t = tuple(Proto(47), (h.ip, 0), (FAR, 0));
                lab.route(&h, &t, &[0; 8]);
            }
            reached(lab)
        }
        Reason::IcmpNoMatch => {
            let t = tuple(Proto::ICMP, (PEER, 0), (UP, 9));
            reached(from_outside(&t, &pong(9, 1, b"")))
        }
        Reason::IcmpInnerMalformed => {
            let t = tuple(Proto::ICMP, (PEER, 0), (UP, 0));
            reached(from_outside(&t, &icmp(3, 1, [0; 4], &[0x45; 20])))
        }
        Reason::ProtoUnsupported => {
            // The authentication header signs the addresses.
            let t = tuple(Proto(51), (WEB, 0), (FAR, 0));
            reached(after_routed(&ip, &t, &[0; 24]))
        }
        Reason::ConntrackFull | Reason::PortLimit => {
            let mut cfg = config();
            match reason {
                Reason::PortLimit => cfg.limits.connections_per_port = 2,
                _ => cfg.limits.connections = 2,
            }
            let mut lab = Lab::ready_with(cfg);
            for sport in 1..4 {
                let t = udp_tuple(WEB, sport, FAR, 1);
                lab.route(&lab.web.clone(), &t, &udp(&t, b""));
            }
            assert_eq!(lab.connections(), 2);
            reached(lab)
        }
        Reason::HalfOpenLimit => {
            let mut cfg = config();
            cfg.limits.half_open_per_port = 2;
            let mut lab = Lab::ready_with(cfg);
            for sport in 1..4 {
                let t = tcp_tuple(PEER, sport, UP, 5_000);
                lab.route(&lab.up.clone(), &t, &tcp(&t, 1, 0, SYN, b""));
            }
            reached(lab)
        }
        Reason::HostPorts | Reason::HostConnections => {
            let mut cfg = config();
            if reason == Reason::HostPorts {
                cfg.limits.ports_per_host = 2;
            } else {
                cfg.limits.connections_per_host = 2;
            }
            let mut lab = Lab::ready_with(cfg);
            for sport in 1..4 {
                let t = udp_tuple(WEB, sport, FAR, 53);
                lab.route(&lab.web.clone(), &t, &udp(&t, b""));
            }
            reached(lab)
        }
        Reason::TcpNoConnection => {
            let t = tcp_tuple(PEER, 1, UP, 5_000);
            reached(from_outside(&t, &tcp(&t, 1, 1, ACK, b"")))
        }
        Reason::TcpOutOfWindow => {
            let (t, mut lab) = established();
            lab.route(&lab.web.clone(), &t, &tcp(&t, 500_000, 901, ACK, b"data"));
            reached(lab)
        }
        Reason::TcpRstInexact => {
            let (t, mut lab) = established();
            lab.route(&lab.web.clone(), &t, &tcp(&t, 500_000, 0, RST, b""));
            reached(lab)
        }
        Reason::TcpInvalidState => {
            // A FIN of a side that never sent a SYN.
            let t = tcp_tuple(PEER, 1, UP, 5_000);
            let mut lab = from_outside(&t, &tcp(&t, 1, 0, SYN, b""));
            let back = lab.only(&lab.web).tuple().reversed();
            lab.route(&lab.web.clone(), &back, &tcp(&back, 5, 2, FIN | ACK, b""));
            reached(lab)
        }
        Reason::PortGone => {
            let mut lab = Lab::ready();
            lab.db.port.kill();
            lab.send(&lab.web.clone(), &bridged(0x88b5, &[0; 46]));
            reached(lab)
        }
        Reason::TxFull => {
            let mut lab = Lab::ready();
            lab.db.port.set_capacity(0);
            lab.send(&lab.web.clone(), &bridged(0x88b5, &[0; 46]));
            reached(lab)
        }
        Reason::TxError => {
            let mut lab = Lab::ready();
            let odd = add_odd(&mut lab, None);
            lab.send(&lab.web.clone(), &eth(odd, mac(WEB), 0x88b5, &[0; 46]));
            reached(lab)
        }
        Reason::TxTooLong => reached(after(&bridged(0x88b5, &[0; 1_501]))),
        Reason::SegmentFailed => {
            // More extension headers in front of TCP than a segment's header may be long.
            let mut options = vec![6, 26];
            options.resize(27 * 8, 1);
            let tcp_header = [&[0; 12][..], &[0x50, 0x10], &[0; 6]].concat();
            let payload = [&options[..], &tcp_header, &[7; 2_000]].concat();
            let mut frame = ipv6(mac(WEB), 60, "fe80::3", &payload);
            frame[..6].copy_from_slice(&mac(DB).0);
            let mut lab = Lab::ready();
            lab.db.port.set_caps(Caps::NONE);
            let hdr = VnetHdr {
                needs_csum: true,
                gso: Gso::TcpV6,
                gso_size: 500,
                csum_start: 14 + 40 + 27 * 8,
                csum_offset: 16,
                ..VnetHdr::PLAIN
            };
            lab.send_hdr(&lab.web.clone(), &frame, hdr);
            reached(lab)
        }
        Reason::Panic => {
            Case::Unreachable("no frame is known that makes the engine panic; one would be a bug")
        }
    }
}

#[test]
fn every_reason_is_reached_and_no_other_with_it() {
    let mut unreachable = Vec::new();
    for &reason in Reason::ALL {
        let lab = match reach(reason) {
            Case::Reached(lab) => lab,
            Case::Unreachable(why) => {
                unreachable.push((reason, why));
                continue;
            }
        };
        assert!(lab.drops(reason) > 0, "{reason} was not reached");
        for &other in Reason::ALL {
            let n = lab.drops(other);
            assert!(other == reason || n == 0, "{n} × {other} beside {reason}");
        }
        lab.balance();
    }
    assert_eq!(
        unreachable.iter().map(|u| u.0).collect::<Vec<_>>(),
        [Reason::RuleGone, Reason::Panic],
        "{unreachable:?}"
    );
}
