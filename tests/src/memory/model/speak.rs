//! What the ends of conversations say, in which form it goes out, and what arrives of it.

use super::super::check::is_fragment;
use super::super::packet::*;
use super::super::{APP, DB, FAR, GW, PEER, UP, WEB, mac};
use super::conversation::Conversation;
use super::{Form, Kind, Said, Way, World};
use dataplane::base::{Mac, Proto, Tuple};
use dataplane::frame::parse;
use dataplane::frame::{L3, L4, VnetHdr};
use std::net::Ipv4Addr;

impl World {
    pub(super) fn open(&mut self, way: Way, n: u8) {
        let inside = 1 + usize::from(n) % 3;
        let ip = [GW, WEB, DB, APP, PEER][inside];
        let other = [GW, DB, APP, WEB][inside];
        // Few ports, so that they clash.
        let sport = 1_000 + u16::from(n / 3 % 4);
        let published = 5_000 + u16::from(n % 4);
        let outside = if n & 64 == 0 { PEER } else { FAR };
        let (kind, client, from, to, port, by_gateway) = match way {
            Way::Masquerade(k) => (k, inside, ip, outside, 80 + u16::from(n & 1), true),
            Way::Published(k) => (k, 4, outside, UP, published, true),
            Way::Hairpin(k) => (k, inside, ip, UP, published, true),
            Way::ByGateway(k) => (k, inside, ip, other, 80, true),
            Way::Bridged(k) => (k, inside, ip, other, 80, false),
            Way::ToSwitch(k) => (k, inside, ip, [GW, UP][usize::from(n & 1)], 80, true),
        };
        let dport = if kind == Kind::Echo { 0 } else { port };
        self.conversations.push(Conversation {
            kind,
            tuple: tuple(kind.proto(), (from, sport), (to, dport)),
            client,
            there: None,
            by_gateway,
            seq: [1_000 * u32::from(n), 7_000_000],
            open: [false; 2],
            last: [None, None],
        });
        let c = (self.conversations.len() - 1) as u8;
        let said = Said {
            what: 0,
            len: 10,
            form: Form::Plain,
        };
        self.say(c, true, said);
    }

    pub(super) fn say(&mut self, c: u8, by_client: bool, said: Said) {
        let Some(i) = self.pick(c) else { return };
        let conversation = &mut self.conversations[i];
        let (t, port) = match (by_client, conversation.there) {
            (true, _) => (conversation.tuple, conversation.client),
            (false, Some((t, port))) => (t.reversed(), port),
            (false, None) => return,
        };
        let me = usize::from(!by_client);
        let len = match said.form {
            Form::Super(_) => said.len.max(2_000),
            _ => said.len % 1_200,
        };
        let data: Vec<u8> = (0..len).map(|n| (n ^ u16::from(c)) as u8).collect();
        let l4 = match conversation.kind {
            Kind::Tcp => conversation.segment(&t, me, said, &data),
            Kind::Udp => udp(&t, &data),
            Kind::Echo if by_client => ping(t.sport, u16::from(said.what), &data),
            Kind::Echo => pong(t.dport, u16::from(said.what), &data),
        };
        let dst = match (port, conversation.by_gateway) {
            (4, _) => mac(UP),
            (_, true) => mac(GW),
            (_, false) => mac(t.dst),
        };
        self.put(port, dst, &t, &l4, said.form);
        self.listen(i);
    }

    pub(super) fn talk(&mut self, c: u8, rounds: u8, form: Form) {
        let Some(i) = self.pick(c) else { return };
        let said = |what, form| Said {
            what,
            len: 100,
            form,
        };
        if self.conversations[i].kind == Kind::Tcp && self.conversations[i].open != [true; 2] {
            if !self.conversations[i].open[0] {
                self.say(c, true, said(7, Form::Plain));
            }
            self.say(c, false, said(7, Form::Plain));
            self.say(c, true, said(3, Form::Plain));
        }
        for n in 0..rounds % 4 {
            self.say(c, n & 1 == 0, said(0, form));
            self.say(c, n & 1 == 1, said(3, Form::Plain));
        }
    }

    /// Sends L4 bytes in the form that is asked for.
    fn put(&mut self, port: usize, dst: Mac, t: &Tuple, l4: &[u8], form: Form) {
        self.ip_id = self.ip_id.wrapping_add(1);
        let mut ip = Ip {
            id: self.ip_id,
            ..Ip::default()
        };
        match form {
            Form::Ttl(ttl) => ip.ttl = ttl,
            Form::Options => ip.options = vec![148, 4, 0, 0],
            Form::MayFragment | Form::Fragments(..) => ip.df = false,
            _ => {}
        }
        let src = if port == 4 {
            mac(PEER)
        } else {
            self.hosts()[port].mac()
        };
        let f = eth(dst, src, 0x0800, &ipv4(&ip, t, l4));
        let has_sum = matches!(t.proto, Proto::TCP | Proto::UDP);
        match form {
            Form::Partial if has_sum => {
                let (f, hdr) = partial(&f, t);
                self.frame(port, &f, hdr);
            }
            Form::Super(size) if has_sum => {
                let (f, hdr) = superframe(&f, t, size);
                self.frame(port, &f, hdr);
            }
            Form::Tagged(vid) => self.frame(port, &tagged(&f, vid), VnetHdr::PLAIN),
            Form::Fragments(size, turn) => {
                let mut parts = fragments(&f, 8 * (1 + usize::from(size)));
                parts.truncate(70);
                let n = parts.len();
                parts.rotate_left(usize::from(turn) % n);
                match turn % 8 {
                    6 if n > 1 => {
                        parts.pop();
                    }
                    7 => parts.push(parts[0].clone()),
                    _ => {}
                }
                for p in parts {
                    self.frame(port, &p, VnetHdr::PLAIN);
                }
            }
            _ => self.frame(port, &f, VnetHdr::PLAIN),
        }
    }

    /// Notes where the last frame of a conversation's ends arrived, from the first switch.
    fn listen(&mut self, i: usize) {
        let got = std::mem::take(&mut self.labs[0].seen);
        let c = &mut self.conversations[i];
        for (port, bytes, hdr) in got {
            let Ok(hdr) = VnetHdr::decode(&hdr) else {
                continue;
            };
            let Ok(p) = parse::parse(&bytes, &hdr) else {
                continue;
            };
            let spoken = matches!(p.l4, L4::Tcp | L4::Udp | L4::EchoRequest | L4::EchoReply);
            if p.l3 != L3::Ipv4 || !spoken || is_fragment(&p) || p.tuple.proto != c.tuple.proto {
                continue;
            }
            let packet = bytes[usize::from(p.l3_off)..].to_vec();
            if p.tuple == c.tuple.reversed() && port == c.client {
                c.last[0] = Some(packet);
            } else {
                if c.there.is_none() {
                    c.there = Some((p.tuple, port));
                }
                c.last[1] = Some(packet);
            }
        }
    }

    pub(super) fn error(&mut self, c: u8, at_client: bool, kind: u8) {
        let Some(i) = self.pick(c) else { return };
        let c = &self.conversations[i];
        let port = match (at_client, c.there) {
            (true, _) => c.client,
            (false, Some((_, port))) => port,
            (false, None) => return,
        };
        let Some(packet) = c.last[usize::from(!at_client)].clone() else {
            return;
        };
        let ip = |at: usize| Ipv4Addr::from(*packet[at..].first_chunk::<4>().expect("an address"));
        let speaker = if kind & 8 != 0 && port == 4 {
            PEER
        } else {
            ip(16)
        };
        let to = ip(12);
        let t = tuple(Proto::ICMP, (speaker, 0), (to, 0));
        let (kind, code) = [(3, 1), (3, 3), (3, 4), (11, 0), (12, 0)][usize::from(kind % 5)];
        let len = packet.len().min(28 + usize::from(kind) * 20);
        let l4 = icmp(kind, code, [0, 0, 2, 0], &packet[..len]);
        let dst = if port == 4 { mac(UP) } else { mac(GW) };
        self.put(port, dst, &t, &l4, Form::Plain);
    }
}
