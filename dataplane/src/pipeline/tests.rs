//! The whole switch in memory: hand-made frames in, frames out, virtual time.

use crate::base::{
    Config, Instant, Mac, PortId, PortSpec, Proto, Reason, Role, Tuple, UplinkConfig,
};
use crate::frame::checksum::{finish, ipv4_header, pseudo_header_v4, sum};
use crate::frame::parse::tcp_flags::{ACK, SYN};
use crate::frame::{Frame, L4, VnetHdr, emit, parse};
use crate::nat::Publication;
use crate::port::Caps;
use crate::port::memory::MemoryPort;
use crate::worker::Inline;
use std::net::Ipv4Addr;

const GW: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const WEB: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const DB: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
const UP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn mac(ip: Ipv4Addr) -> Mac {
    Mac::from_ip(ip)
}

struct Lab {
    sw: Inline,
    host: (PortId, MemoryPort),
    web: (PortId, MemoryPort),
    db: (PortId, MemoryPort),
    up: (PortId, MemoryPort),
    now: Instant,
}

impl Lab {
    fn new() -> Lab {
        let mut cfg = Config::new(Ipv4Addr::new(10, 0, 0, 0), 24, GW);
        cfg.uplink = Some(UplinkConfig {
            ip: UP,
            prefix: 24,
            mac: mac(UP),
            next_hop: PEER,
            mtu: 1500,
        });
        cfg.limits.connections = 1024;
        let now = Instant::from_secs(1);
        let mut sw = Inline::new(cfg, 1, now);
        let mut add = |name: &str, role, ip: Ipv4Addr| {
            let (port, queues) = MemoryPort::new(1, Caps::ALL);
            let spec = PortSpec {
                name: name.into(),
                role,
                mac: mac(ip),
                ip: Some(ip),
                mtu: 1500,
            };
            (sw.add_port(spec, queues, now).unwrap(), port)
        };
        let host = add("sw0", Role::Host, GW);
        let web = add("web", Role::Access, WEB);
        let db = add("db", Role::Access, DB);
        let up = add("uplink", Role::Uplink, PEER);
        sw.switch()
            .publish(Publication {
                proto: Proto::TCP,
                host_ip: None,
                first: 5000,
                last: 5000,
                ip: WEB,
                port: 80,
            })
            .unwrap();
        Lab {
            sw,
            host,
            web,
            db,
            up,
            now,
        }
    }

    /// Sends one frame in by a port and runs the switch.
    fn send(&mut self, by: (PortId, MemoryPort), frame: &[u8]) {
        by.1.push(0, frame, VnetHdr::PLAIN);
        self.sw.drain(self.now);
        self.sw.totals().balance().unwrap();
    }

    fn learn_uplink(&mut self) {
        let reply = emit::arp_reply(mac(PEER), PEER, mac(UP), UP);
        self.send(self.up.clone(), reply.bytes());
    }
}

fn l4(t: &Tuple, l4: &mut [u8], at: usize) {
    let pseudo = pseudo_header_v4(t.src, t.dst, t.proto.0, l4.len() as u32);
    let c = finish(sum(l4, pseudo));
    l4[at..at + 2].copy_from_slice(&c.to_be_bytes());
}

fn ip(dst: Mac, src: Mac, t: &Tuple, payload: &[u8], ttl: u8) -> Vec<u8> {
    let mut h = vec![0x45, 0, 0, 0, 0, 7, 0x40, 0, ttl, t.proto.0, 0, 0];
    h.extend(t.src.octets());
    h.extend(t.dst.octets());
    let len = (20 + payload.len()) as u16;
    h[2..4].copy_from_slice(&len.to_be_bytes());
    let c = ipv4_header(&h);
    h[10..12].copy_from_slice(&c.to_be_bytes());
    [&dst.0[..], &src.0[..], &[8, 0], &h, payload].concat()
}

fn tcp(t: &Tuple, seq: u32, ack: u32, flags: u8, data: &[u8]) -> Vec<u8> {
    let mut s = vec![0; 20];
    s[0..2].copy_from_slice(&t.sport.to_be_bytes());
    s[2..4].copy_from_slice(&t.dport.to_be_bytes());
    s[4..8].copy_from_slice(&seq.to_be_bytes());
    s[8..12].copy_from_slice(&ack.to_be_bytes());
    s[12] = 5 << 4;
    s[13] = flags;
    s[14..16].copy_from_slice(&60_000u16.to_be_bytes());
    s.extend(data);
    l4(t, &mut s, 16);
    s
}

fn udp(t: &Tuple, data: &[u8]) -> Vec<u8> {
    let len = (8 + data.len()) as u16;
    let mut d = [t.sport, t.dport, len, 0].map(u16::to_be_bytes).concat();
    d.extend(data);
    l4(t, &mut d, 6);
    d
}

/// A frame from the source of `t` to its router: the gateway, or the switch's uplink leg.
fn routed(t: &Tuple, payload: &[u8]) -> Vec<u8> {
    let router = if t.src == PEER { UP } else { GW };
    ip(mac(router), mac(t.src), t, payload, 64)
}

fn tuple(proto: Proto, src: Ipv4Addr, sport: u16, dst: Ipv4Addr, dport: u16) -> Tuple {
    Tuple {
        src,
        dst,
        sport,
        dport,
        proto,
    }
}

/// The only frame that a port got, parsed, with all its checksums verified.
fn only(port: &MemoryPort) -> (Frame, parse::Parsed) {
    let mut got = port.take();
    assert_eq!(got.len(), 1, "{got:?}");
    let f = got.remove(0);
    let p = parse::parse(f.bytes(), &f.hdr).unwrap();
    let from = usize::from(p.l4_off);
    let seg = &f.bytes()[from..usize::from(p.l3_off) + p.l3_len as usize];
    match p.l4 {
        L4::Tcp | L4::Udp => {
            let pseudo =
                pseudo_header_v4(p.tuple.src, p.tuple.dst, p.tuple.proto.0, seg.len() as u32);
            assert_eq!(finish(sum(seg, pseudo)), 0, "L4 checksum of {}", p.tuple);
        }
        L4::EchoReply | L4::EchoRequest | L4::IcmpError => assert_eq!(finish(sum(seg, 0)), 0),
        _ => {}
    }
    (f, p)
}

#[test]
fn a_published_port_is_reached_with_the_clients_address_kept() {
    let mut lab = Lab::new();
    lab.learn_uplink();
    let t = tuple(Proto::TCP, PEER, 40_000, UP, 5000);
    lab.send(lab.up.clone(), &routed(&t, &tcp(&t, 100, 0, SYN, b"")));
    let (_, p) = only(&lab.web.1);
    assert_eq!(p.tuple, tuple(Proto::TCP, PEER, 40_000, WEB, 80));
    assert_eq!((p.ttl, p.dst, p.src), (63, mac(WEB), mac(GW)));
    // The answer leaves with the published port as source.
    let back = p.tuple.reversed();
    lab.send(
        lab.web.clone(),
        &routed(&back, &tcp(&back, 900, 101, SYN | ACK, b"")),
    );
    let (_, p) = only(&lab.up.1);
    assert_eq!(p.tuple, t.reversed());
    assert_eq!((p.dst, p.src), (mac(PEER), mac(UP)));
    // From here on the index decides.
    lab.send(
        lab.up.clone(),
        &routed(&t, &tcp(&t, 101, 901, ACK, b"hello")),
    );
    only(&lab.web.1);
    assert_eq!(lab.sw.totals().hits, 1);
    let conns = lab.sw.switch().conntrack.list(lab.now.tick());
    assert_eq!((conns.len(), conns[0].state), (1, "ESTABLISHED"));
    let report = lab.sw.switch().rules.report();
    assert_eq!(
        report[0].dnat.0, 1,
        "only the first packet counts, as in netfilter"
    );
}

/// A connection from WEB to PEER, known in both directions.
fn established(lab: &mut Lab) -> Tuple {
    lab.learn_uplink();
    let t = tuple(Proto::TCP, WEB, 1234, PEER, 80);
    lab.send(lab.web.clone(), &routed(&t, &tcp(&t, 100, 0, SYN, b"")));
    let (_, p) = only(&lab.up.1);
    let back = p.tuple.reversed();
    let answer = tcp(&back, 900, 101, SYN | ACK, b"");
    lab.send(lab.up.clone(), &routed(&back, &answer));
    lab.send(lab.web.clone(), &routed(&t, &tcp(&t, 101, 901, ACK, b"")));
    lab.web.1.take();
    lab.up.1.take();
    t
}

#[test]
fn a_known_connection_speaks_only_for_frames_from_its_own_place() {
    let mut lab = Lab::new();
    let t = established(&mut lab);
    let segment = tcp(&t, 101, 901, ACK, b"hello");
    let from = |src: Mac| ip(mac(GW), src, &t, &segment, 64);
    for (src, reason) in [
        (mac(GW), Reason::SrcMacGateway),
        (Mac::ZERO, Reason::SrcMacZero),
        (Mac([3, 0, 0, 0, 0, 1]), Reason::SrcMacGroup),
    ] {
        for by in [lab.web.clone(), lab.db.clone()] {
            let before = lab.sw.switch().drops(reason);
            lab.send(by, &from(src));
            assert_eq!(lab.sw.switch().drops(reason), before + 1, "{reason:?}");
        }
    }
    assert!(lab.up.1.take().is_empty());
    // That a container uses another's address is not the guard's: the sender is learned, and the
    // answers follow it only if ARP says so too.
    let hits = lab.sw.totals().hits;
    lab.send(lab.db.clone(), &from(mac(DB)));
    let (a, _) = only(&lab.up.1);
    lab.send(lab.web.clone(), &from(mac(WEB)));
    let (b, _) = only(&lab.up.1);
    assert_eq!(a.bytes(), b.bytes());
    assert_eq!(lab.sw.totals().hits, hits + 2);
}

#[test]
fn a_connection_that_moves_is_followed_by_its_answers() {
    let mut lab = Lab::new();
    let t = established(&mut lab);
    // The container's interface goes to another port.
    let moved = routed(&t, &tcp(&t, 101, 901, ACK, b"from db's port"));
    lab.send(lab.db.clone(), &moved);
    let (_, p) = only(&lab.up.1);
    let back = p.tuple.reversed();
    let answer = tcp(&back, 901, 101 + 14, ACK, b"");
    lab.send(lab.up.clone(), &routed(&back, &answer));
    only(&lab.db.1);
    assert!(lab.web.1.take().is_empty());
    // And back, by a frame that comes from where the first answers went.
    lab.send(lab.web.clone(), &routed(&t, &tcp(&t, 115, 901, ACK, b"x")));
    only(&lab.up.1);
    let answer = tcp(&back, 901, 116, ACK, b"");
    lab.send(lab.up.clone(), &routed(&back, &answer));
    only(&lab.web.1);
    assert!(lab.db.1.take().is_empty());
}

#[test]
fn masquerade_waits_for_arp_and_translates_udp_both_ways() {
    let mut lab = Lab::new();
    let t = tuple(Proto::UDP, WEB, 5353, PEER, 53);
    lab.send(lab.web.clone(), &routed(&t, &udp(&t, b"quer")));
    let asked = lab.up.1.take();
    assert_eq!(asked.len(), 1, "an ARP request, and the frame waits");
    assert_eq!(lab.sw.totals().held, 1);
    lab.learn_uplink();
    let (_, p) = only(&lab.up.1);
    assert_eq!(p.tuple, tuple(Proto::UDP, UP, 5353, PEER, 53));
    let back = p.tuple.reversed();
    lab.send(lab.up.clone(), &routed(&back, &udp(&back, b"answ")));
    let (_, p) = only(&lab.web.1);
    assert_eq!(p.tuple, t.reversed());
    // Nobody else gets in by that port: filtering is address- and port-dependent.
    let other = Tuple {
        src: Ipv4Addr::new(192, 0, 2, 9),
        ..back
    };
    let evil = udp(&other, b"evil");
    lab.send(lab.up.clone(), &ip(mac(UP), mac(PEER), &other, &evil, 64));
    assert!(lab.web.1.take().is_empty());
    assert_eq!(lab.sw.switch().drops(Reason::NotPublished), 1);
    // After its time the mapping and the port are free.
    lab.now = lab.now + std::time::Duration::from_secs(301);
    lab.sw.tick(lab.now);
    assert_eq!(lab.sw.switch().conntrack.len(), 0);
    assert_eq!(lab.sw.switch().external.mappings(), 0);
}

#[test]
fn a_neighbour_that_does_not_answer_gives_host_unreachable_to_the_sender() {
    let mut lab = Lab::new();
    let t = tuple(Proto::TCP, WEB, 1234, PEER, 80);
    lab.send(lab.web.clone(), &routed(&t, &tcp(&t, 1, 0, SYN, b"")));
    for _ in 0..60 {
        lab.now = lab.now + std::time::Duration::from_millis(100);
        lab.sw.tick(lab.now);
    }
    lab.sw.totals().balance().unwrap();
    assert_eq!(lab.sw.switch().drops(Reason::HostUnreachable), 1);
    let (f, p) = only(&lab.web.1);
    assert_eq!((p.l4, p.tuple.dst, p.tuple.src), (L4::IcmpError, WEB, GW));
    let inner = parse::inner(parse::embedded(f.bytes(), &p)).unwrap();
    assert_eq!(inner.tuple, t, "quoted as the sender sent it");
}

#[test]
fn hairpin_goes_out_and_in_by_the_external_address() {
    let mut lab = Lab::new();
    let t = tuple(Proto::TCP, DB, 3333, UP, 5000);
    lab.send(lab.db.clone(), &routed(&t, &tcp(&t, 1, 0, SYN, b"")));
    let (_, p) = only(&lab.web.1);
    assert_eq!(p.tuple, tuple(Proto::TCP, UP, 3333, WEB, 80));
    let back = p.tuple.reversed();
    lab.send(
        lab.web.clone(),
        &routed(&back, &tcp(&back, 7, 2, SYN | ACK, b"")),
    );
    let (_, p) = only(&lab.db.1);
    assert_eq!(p.tuple, t.reversed());
}

#[test]
fn the_gateway_answers_echo_and_hands_the_rest_to_the_host() {
    let mut lab = Lab::new();
    let t = tuple(Proto::ICMP, WEB, 9, GW, 0);
    let mut echo = [&[8u8, 0, 0, 0, 0, 9, 0, 1][..], b"ping"].concat();
    let c = finish(sum(&echo, 0));
    echo[2..4].copy_from_slice(&c.to_be_bytes());
    lab.send(lab.web.clone(), &routed(&t, &echo));
    let (_, p) = only(&lab.web.1);
    assert_eq!((p.l4, p.tuple.src), (L4::EchoReply, GW));
    assert!(lab.host.1.take().is_empty());
    let t = tuple(Proto::TCP, WEB, 4444, GW, 22);
    lab.send(lab.web.clone(), &routed(&t, &tcp(&t, 1, 0, SYN, b"")));
    let (_, p) = only(&lab.host.1);
    assert_eq!((p.tuple, p.ttl), (t, 64));
}

#[test]
fn bridging_floods_learns_and_forwards() {
    let mut lab = Lab::new();
    let stranger = Mac([2, 9, 9, 9, 9, 9]);
    let frame = |dst: Mac, src: Mac| [&dst.0[..], &src.0[..], &[0x88, 0xb5], &[0; 46]].concat();
    lab.send(lab.web.clone(), &frame(stranger, mac(WEB)));
    assert_eq!(
        (
            lab.db.1.take().len(),
            lab.host.1.take().len(),
            lab.up.1.take().len()
        ),
        (1, 1, 0)
    );
    assert!(
        lab.web.1.take().is_empty(),
        "never back out of the ingress port"
    );
    lab.send(lab.db.clone(), &frame(mac(WEB), stranger));
    assert_eq!((lab.web.1.take().len(), lab.host.1.take().len()), (1, 0));
    lab.send(lab.web.clone(), &frame(stranger, mac(WEB)));
    assert_eq!((lab.db.1.take().len(), lab.host.1.take().len()), (1, 0));
    lab.send(
        lab.web.clone(),
        &frame(Mac([1, 0x80, 0xc2, 0, 0, 3]), mac(WEB)),
    );
    assert_eq!(lab.sw.switch().drops(Reason::LinkLocalGroup), 1);
}

#[test]
fn an_unpublished_port_loses_its_connections_at_once() {
    let mut lab = Lab::new();
    lab.learn_uplink();
    let t = tuple(Proto::TCP, PEER, 40_000, UP, 5000);
    lab.send(lab.up.clone(), &routed(&t, &tcp(&t, 100, 0, SYN, b"")));
    only(&lab.web.1);
    let sw = lab.sw.switch().clone();
    let id = sw.rules.report()[0].id;
    sw.unpublish(id).unwrap();
    assert_eq!(sw.conntrack.len(), 0);
    lab.send(lab.up.clone(), &routed(&t, &tcp(&t, 101, 0, SYN, b"")));
    assert!(lab.web.1.take().is_empty());
    assert_eq!(sw.drops(Reason::NotPublished), 1);
}
