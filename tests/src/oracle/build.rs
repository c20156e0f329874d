//! Steps to frames. The sequence numbers of a flow are the same on all sides; addresses and ports
//! are those that its ends have seen on the side for which a frame is built, since each side may
//! choose an external port of its own.

use super::sequence::{Again, Fault, Flow, Form, Kind, Said, Segment, Speaker, Way};
use super::{OUTSIDE, Out, PORTS, Wire};
use crate::memory::packet::{
    self, Ip, eth, fragments, icmp, ipv4, naive_sum, ping, pong, tcp_with,
};
use crate::memory::{FAR, GW, PEER, UP, mac};
use dataplane::base::{Mac, Proto, Tuple};
use dataplane::frame::parse::tcp_flags::{ACK, FIN, PSH, RST, SYN};
use std::net::Ipv4Addr;

/// A router outside that is none of the ends.
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// The numbers of a flow: what each direction (client, server) sends next.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    next: [u32; 2],
}

/// A segment with all its numbers.
#[derive(Clone, Copy, Debug)]
pub struct Resolved {
    seq: u32,
    ack: u32,
    flags: u8,
}

impl Numbers {
    /// Those of flow `n`. The second begins just below the wrap.
    pub const fn new(n: usize) -> Numbers {
        Numbers {
            next: match n % 2 {
                0 => [1_000_000, 2_000_000_000],
                _ => [u32::MAX - 700, 77],
            },
        }
    }

    /// What a segment of one end says, and the numbers go on.
    pub fn resolve(&mut self, by_client: bool, s: &Said) -> Resolved {
        let (own, other) = if by_client { (0, 1) } else { (1, 0) };
        let flags = match s.segment {
            Segment::Syn => SYN,
            Segment::SynAck => SYN | ACK,
            Segment::Ack if s.len > 0 => ACK | PSH,
            Segment::Ack => ACK,
            Segment::Fin => FIN | ACK,
            Segment::Rst => RST,
            Segment::RstAck => RST | ACK,
            Segment::Flags(f) => f,
        };
        let seq = self.next[own].wrapping_add_signed(s.seq);
        let ack = match flags & ACK {
            0 => 0,
            _ => self.next[other].wrapping_add_signed(s.ack),
        };
        if s.seq == 0 {
            let counts = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
            self.next[own] = seq.wrapping_add(u32::from(s.len) + counts);
        }
        Resolved { seq, ack, flags }
    }
}

/// What the ends of a flow have seen on one side.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The client's packets as the server got them.
    pub at_server: Option<Tuple>,
    /// The last packet that the client and the server got.
    pub last: [Option<Out>; 2],
}

impl View {
    /// What the server answers to.
    pub fn seen(&self, f: &Flow) -> Tuple {
        self.at_server.unwrap_or_else(|| f.expected())
    }

    /// The client's port as it is known outside.
    pub fn external(&self, f: &Flow) -> u16 {
        self.seen(f).sport
    }
}

/// The port and the MACs (own, next hop's) of an end of a flow.
fn place(f: &Flow, by_client: bool) -> Option<(usize, Mac, Mac)> {
    let port = if by_client {
        Some(f.client)
    } else {
        f.server()
    }?;
    let other = if by_client {
        f.server()
    } else {
        Some(f.client)
    };
    let to = match (f.way, other) {
        (Way::Bridged(_), Some(other)) if port != OUTSIDE => mac(PORTS[other]),
        _ if port == OUTSIDE => mac(UP),
        _ => mac(GW),
    };
    Some((port, mac(PORTS[port]), to))
}

/// Payload bytes that tell where they are.
fn payload(len: u16) -> Vec<u8> {
    (0..len)
        .map(|i| (i / 8) as u8 ^ (i % 8) as u8 ^ 0x5a)
        .collect()
}

fn options(form: &Form) -> Vec<u8> {
    match form.options {
        0 => vec![],
        1 => vec![148, 4, 0, 0],
        2 => vec![7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0],
        3 => vec![131, 7, 4, 192, 0, 2, 9],
        4 => vec![68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        _ => vec![7, 40, 4, 0],
    }
}

fn l4(kind: Kind, t: &Tuple, by_client: bool, said: &Said, r: &Resolved) -> Vec<u8> {
    let data = payload(said.len);
    match kind {
        Kind::Tcp => {
            let syn = r.flags & SYN != 0 && said.scale > 0;
            let opts = [2, 4, 5, 0xb4, 1, 3, 3, said.scale.wrapping_sub(1)];
            let opts = if syn { &opts[..] } else { &[] };
            tcp_with(t, (r.seq, r.ack), r.flags, said.window, opts, &data)
        }
        Kind::Udp => packet::udp(t, &data),
        Kind::Echo if by_client => ping(t.sport, 1, &data),
        Kind::Echo => pong(t.dport, 1, &data),
        // GRE without options, around IPv4.
        Kind::Other(47) => [&[0, 0, 8, 0], &payload(said.len.max(20))[..]].concat(),
        Kind::Other(_) => payload(said.len.max(8)),
    }
}

/// What one end of a flow sends.
pub fn say(
    f: &Flow,
    v: &View,
    by_client: bool,
    said: &Said,
    form: &Form,
    r: &Resolved,
    id: u16,
) -> Vec<Wire> {
    let Some((port, own, hop)) = place(f, by_client) else {
        return Vec::new();
    };
    let t = if by_client {
        f.tuple()
    } else {
        v.seen(f).reversed()
    };
    let ip = Ip {
        ttl: form.ttl,
        df: form.df,
        id,
        tos: form.tos,
        options: options(form),
        ..Ip::default()
    };
    let mut l4 = l4(f.kind, &t, by_client, said, r);
    let at = match f.kind {
        Kind::Tcp => 16,
        Kind::Udp => 6,
        _ => 2,
    };
    match form.checksum {
        1 if l4.len() > at + 1 => l4[at] ^= 0x55,
        2 if f.kind == Kind::Udp => l4[at..at + 2].fill(0),
        _ => {}
    }
    let frame = eth(hop, own, 0x0800, &ipv4(&ip, &t, &l4));
    let segmentable = matches!(f.kind, Kind::Tcp | Kind::Udp) && form.options == 0;
    if let Some((size, order)) = form.fragments {
        let all = fragments(&frame, usize::from(size.max(1)) * 8);
        return arranged(all, order)
            .into_iter()
            .map(|b| Wire::plain(port, b))
            .collect();
    }
    let (bytes, hdr) = match (form.gso, segmentable, form.partial) {
        (gso, true, _) if gso > 0 && said.len > gso => packet::superframe(&frame, &t, gso),
        (_, true, true) => packet::partial(&frame, &t),
        _ => return vec![Wire::plain(port, frame)],
    };
    vec![Wire { port, bytes, hdr }]
}

/// Fragments in another order: 1 backwards, 2 the first last, 3 one twice, 4 without the last,
/// 5 without the first, 6 one that overlaps its neighbour.
fn arranged(mut all: Vec<Vec<u8>>, order: u8) -> Vec<Vec<u8>> {
    match order {
        1 => all.reverse(),
        2 => all.rotate_left(1),
        3 if all.len() > 1 => all.insert(1, all[1].clone()),
        4 => drop(all.pop()),
        5 => drop(all.remove(0)),
        // Not so small that it would begin with the first.
        6 if all.len() > 1 && all[1][21] != 1 => {
            let field = u16::from_be_bytes([all[1][20], all[1][21]]) - 1;
            all[1][20..22].copy_from_slice(&field.to_be_bytes());
            refresh(&mut all[1], false);
        }
        _ => {}
    }
    all
}

/// An ICMP error about the last packet that an end got. Nothing if there is none.
pub fn error(f: &Flow, v: &View, e: &Fault) -> Vec<Wire> {
    let Some((about, quoted)) = v.last[usize::from(e.at_server)]
        .as_ref()
        .and_then(|o| Some((o, quote(&o.bytes, e.quote)?)))
    else {
        return Vec::new();
    };
    let address =
        |at: usize| Ipv4Addr::new(quoted[at], quoted[at + 1], quoted[at + 2], quoted[at + 3]);
    let (src, dst) = (address(12), address(16));
    let (port, from) = match e.speaker {
        Speaker::End => (about.port, dst),
        Speaker::Router if about.port == OUTSIDE => (OUTSIDE, ROUTER),
        Speaker::Router => ((about.port + 1) % 3, PORTS[(about.port + 1) % 3]),
    };
    let hop = match f.way {
        Way::Bridged(_) => PORTS
            .iter()
            .find(|p| **p == src)
            .map_or(mac(GW), |p| mac(*p)),
        _ if port == OUTSIDE => mac(UP),
        _ => mac(GW),
    };
    let mut quoted = quoted;
    if e.damage == 2 {
        quoted[10] ^= 0x11;
    }
    let [a, b] = e.mtu.to_be_bytes();
    let mut message = icmp(e.what.0, e.what.1, [0, 0, a, b], &quoted);
    if e.damage == 1 {
        message[2] ^= 0x11;
    }
    let t = packet::tuple(Proto::ICMP, (from, 0), (src, 0));
    let packet = ipv4(&Ip::default(), &t, &message);
    vec![Wire::plain(
        port,
        eth(hop, mac(PORTS[port]), 0x0800, &packet),
    )]
}

/// The IPv4 header of a frame and so many bytes behind it.
fn quote(frame: &[u8], more: u16) -> Option<Vec<u8>> {
    let packet = frame.get(14..)?;
    if frame.get(12..14)? != [8, 0] {
        return None;
    }
    let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let header = usize::from(packet[0] & 15) * 4;
    let end = total.min(header + usize::from(more)).min(packet.len());
    packet.get(..end).map(<[u8]>::to_vec)
}

/// Somebody outside who is not the flow's server, or not from its port, to its client.
pub fn stray(f: &Flow, v: &View, other_host: bool, dport: u16) -> Vec<Wire> {
    let seen = v.seen(f);
    if !matches!(f.way, Way::Out(_)) || f.client == OUTSIDE {
        return Vec::new();
    }
    let from = match (other_host, seen.dst == FAR) {
        (true, true) => PEER,
        (true, false) => FAR,
        (false, _) => seen.dst,
    };
    let t = packet::tuple(f.kind.proto(), (from, dport), (UP, seen.sport));
    let l4 = match f.kind {
        Kind::Tcp => tcp_with(&t, (5, 0), SYN, 1_000, &[], &[]),
        Kind::Udp => packet::udp(&t, b"stray"),
        Kind::Echo => pong(seen.sport, 1, b"stray"),
        Kind::Other(_) => vec![0; 20],
    };
    let packet = ipv4(&Ip::default(), &t, &l4);
    let frame = eth(mac(UP), mac(PEER), 0x0800, &packet);
    vec![Wire::plain(OUTSIDE, frame)]
}

/// The last frames again.
pub fn again(last: &[Wire], how: Again) -> Vec<Wire> {
    let Some(first) = last.first() else {
        return Vec::new();
    };
    let mut w = first.clone();
    if w.bytes.get(30..34) == Some(&GW.octets()) && how != Again::Same {
        // What is no echo any more is the host's.
        return Vec::new();
    }
    match how {
        Again::Same => return last.to_vec(),
        Again::Damaged(at, xor, fix) => {
            let room = w.bytes.len().saturating_sub(14).max(1);
            let at = 14 + usize::from(at) % room;
            // Not the addresses: whom the router would ask for takes time. Nor the destination's
            // port, since each side may know the client by another one.
            let port = 14 + usize::from(w.bytes.get(14).map_or(0, |b| b & 15)) * 4 + 2;
            let not = (26..34).contains(&at) || (port..port + 2).contains(&at);
            if let Some(b) = w.bytes.get_mut(at).filter(|_| !not) {
                *b ^= xor;
            }
            if fix > 0 && w.hdr == dataplane::frame::VnetHdr::PLAIN {
                refresh(&mut w.bytes, fix > 1);
            }
        }
        Again::Cut(len) => w.bytes.truncate(usize::from(len).max(14)),
    }
    vec![w]
}

/// Makes the checksum of the IPv4 header right, and that of TCP, UDP or ICMP if wished.
fn refresh(frame: &mut [u8], also_l4: bool) {
    let Some(ip) = frame.get_mut(14..) else {
        return;
    };
    let header = usize::from(ip.first().map_or(0, |b| b & 15)) * 4;
    if header < 20 || ip.len() < header {
        return;
    }
    ip[10..12].fill(0);
    let sum = !naive_sum(&[&ip[..header]]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let fragment = u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff != 0;
    if !also_l4 || fragment || total < header || total > ip.len() {
        return;
    }
    let proto = Proto(ip[9]);
    let (at, addresses) = match proto {
        Proto::TCP => (16, true),
        Proto::UDP => (6, true),
        Proto::ICMP => (2, false),
        _ => return,
    };
    let (head, l4) = ip.split_at_mut(header);
    let l4 = &mut l4[..total - header];
    if l4.len() < at + 2 {
        return;
    }
    let a = |i: usize| Ipv4Addr::new(head[i], head[i + 1], head[i + 2], head[i + 3]);
    let pseudo = packet::pseudo(a(12), a(16), proto, l4.len());
    l4[at..at + 2].fill(0);
    let sum = !naive_sum(&[if addresses { &pseudo[..] } else { &[] }, l4]);
    l4[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}
