//! The slow path of a routed packet: addressed to the gateway's MAC, or from the uplink.
//!
//! The order is a router's: what is wrong with it, is it for us, is its time over, whose
//! connection is it, may it open one.

use super::connect::Opened;
use super::ctx::{Ctx, Verdict};
use super::error;
use super::forward::Packet;
use crate::base::{PortId, Proto, Reason, Role, Tuple};
use crate::flow::{Dir, FlowKey, Zone};
use crate::frame::emit;
use crate::frame::parse::tcp_flags::{ACK, SYN};
use crate::frame::parse::{self, bits};
use crate::frame::{Frame, L4, Parsed};
use crate::guard;
use crate::nat::frag::{FragKey, FragVerdict, Fragment, HeldFragment, Lost};

/// What the switch itself is asked.
enum Local {
    /// The gateway's address: the host behind `sw0` has it too.
    Gateway,
    /// The uplink's address: nobody else has it.
    Uplink,
}

impl Ctx<'_> {
    /// Decides about one IPv4 packet.
    pub fn route(&mut self, frame: &mut Frame, p: &Parsed, ingress: PortId, zone: Zone) -> Verdict {
        let v = self.routed(frame, p, ingress, zone);
        self.unless_hosts(zone, v)
    }

    /// On a shared uplink, what is neither a connection's nor published is the host's, which has
    /// its own copy.
    fn unless_hosts(&self, zone: Zone, v: Verdict) -> Verdict {
        use Reason::{GroupDestination, IcmpNoMatch, NoRoute, NotPublished, TcpNoConnection};
        match v {
            Verdict::Drop(
                NotPublished | TcpNoConnection | IcmpNoMatch | NoRoute | GroupDestination,
            ) if zone == Zone::Uplink && self.cfg.host.is_some() => Verdict::Drop(Reason::NotOurs),
            v => v,
        }
    }

    fn routed(&mut self, frame: &mut Frame, p: &Parsed, ingress: PortId, zone: Zone) -> Verdict {
        if let Err(reason) = self.may_be_routed(p, ingress) {
            return Verdict::Drop(reason);
        }
        let mut pkt = Packet {
            frame,
            p: *p,
            tuple: p.tuple,
            ingress,
            zone,
            ip_id: None,
        };
        if zone == Zone::Inside && p.tuple.dst == self.cfg.gateway {
            // A fragmented request is the host's to put together and answer.
            let whole = pkt.p.l4_error.is_none() && !pkt.p.has(bits::FRAGMENT);
            if whole
                && pkt.p.l4 == L4::EchoRequest
                && pkt.p.has(bits::OPTIONS)
                && let Err(reason) = emit::check_options(pkt.frame.bytes(), p)
            {
                return Verdict::Drop(reason);
            }
            return match whole.then(|| self.echo(&mut pkt, Local::Gateway)).flatten() {
                Some(v) => v,
                None => self.to_host(pkt.frame, p, ingress),
            };
        }
        if let Some(reason) = p.l4_error {
            return Verdict::Drop(reason);
        }
        if p.has(bits::OPTIONS)
            && let Err(reason) = emit::check_options(pkt.frame.bytes(), p)
        {
            return Verdict::Drop(reason);
        }
        if !p.has(bits::FRAGMENT) {
            return self.whole(&mut pkt);
        }
        self.fragment(&mut pkt)
    }

    fn may_be_routed(&self, p: &Parsed, ingress: PortId) -> Result<(), Reason> {
        // Of a port that was there a moment ago no more is taken than of a container's.
        let role = self.ports.get(ingress).map_or(Role::Access, |s| s.role);
        guard::routed(self.cfg, role, p)
    }

    /// A packet whose tuple is known.
    fn whole(&mut self, pkt: &mut Packet<'_>) -> Verdict {
        let v = self.tracked_or_new(pkt);
        if pkt.p.l4 == L4::EchoReply && v == Verdict::Drop(Reason::IcmpNoMatch) {
            self.hosts_echo(pkt);
        }
        self.unless_hosts(pkt.zone, v)
    }

    /// An answer that no container waits for is one to a ping of the host, which takes what
    /// identifier it likes and tells nobody.
    fn hosts_echo(&self, pkt: &Packet<'_>) {
        if pkt.zone == Zone::Uplink && self.cfg.host.is_some() {
            let (identifier, now) = (pkt.tuple.dport, self.now.tick());
            self.sw.external.host_pings(identifier, now);
        }
    }

    fn tracked_or_new(&mut self, pkt: &mut Packet<'_>) -> Verdict {
        let external = self.cfg.is_external(pkt.tuple.dst);
        if self.cfg.host.is_none() {
            if let Some(v) = self.echo(pkt, Local::Uplink) {
                return v;
            }
        } else if pkt.zone == Zone::Uplink && !external {
            // The host may be a router for others.
            return Verdict::Drop(match self.cfg.in_subnet(pkt.tuple.dst) {
                true => Reason::PolicyDenied,
                false => Reason::NotOurs,
            });
        }
        if pkt.p.ttl <= 1 && !self.ends_here(pkt) {
            error::time_exceeded(self, pkt);
            return Verdict::Drop(Reason::TtlExceeded);
        }
        let between_neighbours = pkt.zone == Zone::Inside && self.cfg.in_subnet(pkt.tuple.dst);
        if super::icmp::is_error(&pkt.p) {
            return match between_neighbours {
                // Neither is what it is about tracked.
                true => self.untracked(pkt),
                false => match self.icmp_error(pkt) {
                    Verdict::Drop(Reason::IcmpNoMatch) if self.is_for_host(pkt) => {
                        self.to_host(pkt.frame, &pkt.p, pkt.ingress)
                    }
                    v => v,
                },
            };
        }
        let key = FlowKey::new(pkt.zone, &pkt.tuple);
        // The external port of the connection that this one follows, until it is made.
        let mut _kept = None;
        // A record that another worker makes at this moment is found at the second look.
        for _ in 0..3 {
            if let Some((id, dir)) = self.sw.conntrack.find(&key, self.now.tick()) {
                match self.tracked(pkt, id, dir) {
                    Ok(v) => return v,
                    Err(port) => {
                        _kept = port;
                        continue;
                    }
                }
            }
            if between_neighbours {
                return self.untracked(pkt);
            }
            if self.is_for_host(pkt) {
                return self.to_host(pkt.frame, &pkt.p, pkt.ingress);
            }
            if pkt.p.has(bits::LATER_FRAGMENT) {
                return Verdict::Drop(Reason::FragTimeout);
            }
            match self.connect(pkt) {
                Ok(Opened::Fresh(id)) => {
                    if let Some(r) = self.sw.conntrack.slab.get(id) {
                        let v = self.forward(pkt, r, Dir::Orig);
                        // What goes nowhere opens nothing for answers to come in by.
                        if matches!(v, Verdict::Drop(_)) {
                            self.sw.forget(id);
                        }
                        return v;
                    }
                }
                Ok(Opened::Meanwhile) => {}
                Err(v) => return v,
            }
        }
        Verdict::Drop(Reason::NatClash)
    }

    /// Whether a packet to the uplink's address goes no further: no connection translates it, nor
    /// what it is an error about, and it opens none. Its time to live does not matter then (RFC 1812
    /// section 5.3.1).
    fn ends_here(&self, pkt: &Packet<'_>) -> bool {
        let t = &pkt.tuple;
        let key = FlowKey::new(pkt.zone, t);
        let tracked = || self.sw.conntrack.find(&key, self.now.tick()).is_some();
        let opens = pkt.p.l4 != L4::Tcp || self.may_open(pkt.p.tcp.flags);
        let published = || opens && self.published(t).is_some();
        let known = || super::icmp::is_error(&pkt.p) || tracked() || published();
        self.cfg.is_external(t.dst) && !known()
    }

    /// Whether a packet from inside is for an address of the host other than the gateway's, by
    /// which nothing is published. The host hears it by `sw0`, as if it were routed there.
    fn is_for_host(&self, pkt: &Packet<'_>) -> bool {
        let t = &pkt.tuple;
        pkt.zone == Zone::Inside && self.cfg.is_hosts(t.dst) && self.published(t).is_none()
    }

    /// A packet to the gateway's address that the switch does not answer itself: the host's.
    pub fn to_host(&mut self, frame: &mut Frame, p: &Parsed, ingress: PortId) -> Verdict {
        if let Err(reason) = self.may_be_routed(p, ingress) {
            return Verdict::Drop(reason);
        }
        match self.ports.host() {
            // From the host to itself: nothing of this comes by a wire.
            Some(host) if host == ingress => Verdict::Drop(Reason::SamePort),
            Some(host) => {
                self.counters.bridged.add(1);
                self.count_input(p);
                Verdict::To(host)
            }
            None => {
                let (zone, tuple) = (Zone::Inside, p.tuple);
                let pkt = Packet {
                    frame,
                    p: *p,
                    tuple,
                    ingress,
                    zone,
                    ip_id: None,
                };
                error::closed_port(self, &pkt);
                Verdict::Drop(Reason::NotRouted)
            }
        }
    }

    /// Answers an echo request to the switch's own address in place. A fragmented one is
    /// answered fragment by fragment, since a reply mirrors its request.
    fn echo(&mut self, pkt: &mut Packet<'_>, which: Local) -> Option<Verdict> {
        let own = match which {
            Local::Gateway => Some(self.cfg.gateway),
            Local::Uplink => self.cfg.uplink.as_ref().map(|u| u.ip),
        };
        let is_request = pkt.p.l4 == L4::EchoRequest
            || (pkt.p.has(bits::LATER_FRAGMENT)
                && pkt.tuple.proto == Proto::ICMP
                && pkt.tuple.dport == 0
                && (pkt.tuple.sport != 0 || !self.is_answer(pkt)));
        if Some(pkt.tuple.dst) != own || !is_request {
            return None;
        }
        let mut answer = pkt.frame.clone();
        if let Err(reason) = emit::echo_reply(&mut answer, &pkt.p) {
            return Some(Verdict::Drop(reason));
        }
        self.counters.consumed.add(1);
        self.originate(answer, pkt.ingress);
        Some(Verdict::Consumed)
    }

    /// With identifier 0 the tuple does not tell a request from a reply: a reply belongs to a
    /// connection.
    fn is_answer(&self, pkt: &Packet<'_>) -> bool {
        let key = FlowKey::new(pkt.zone, &pkt.tuple);
        self.sw.conntrack.find(&key, self.now.tick()).is_some()
    }

    /// Virtual reassembly (RFC 4787 REQ-14): each fragment is translated on its own, with the
    /// tuple that the first one carries.
    fn fragment(&mut self, pkt: &mut Packet<'_>) -> Verdict {
        let p = pkt.p;
        let key = FragKey {
            zone: pkt.zone,
            src: p.tuple.src,
            dst: p.tuple.dst,
            proto: p.tuple.proto,
            ip_id: p.ip_id,
        };
        let header = p.l4_off.saturating_sub(p.l3_off);
        let len = u16::try_from(p.l3_len)
            .unwrap_or(u16::MAX)
            .saturating_sub(header);
        let fragment = Fragment {
            offset: p.frag_off,
            len,
            more: p.has(bits::MF),
        };
        let first = (!p.has(bits::LATER_FRAGMENT)).then_some(p.tuple);
        let frame = &*pkt.frame;
        let offered = self
            .sw
            .frags
            .offer(self.now, key, fragment, first, pkt.ingress, || {
                frame.clone()
            });
        self.lose(offered.lost);
        match offered.verdict {
            FragVerdict::Held => {
                self.counters.hold(1);
                Verdict::Held
            }
            FragVerdict::Drop(reason) => Verdict::Drop(reason),
            FragVerdict::Translate { tuple, ip_id } => {
                (pkt.tuple, pkt.ip_id) = (tuple, ip_id);
                self.whole(pkt)
            }
            FragVerdict::First { ip_id, released } => {
                pkt.ip_id = ip_id;
                // The first goes out before those that waited for it. If it is refused, so are
                // the others, now and later.
                let v = self.whole(pkt);
                self.settle(pkt.ingress, v);
                if let Verdict::Drop(reason) = v {
                    let lost = self.sw.frags.refuse(&key, reason);
                    self.lose(lost);
                }
                for held in released {
                    self.counters.hold(-1);
                    match v {
                        Verdict::Drop(reason) => self.counters.drop(held.ingress, reason),
                        _ => self.release(held, pkt.tuple, pkt.zone, ip_id),
                    }
                }
                Verdict::Done
            }
        }
    }

    /// A fragment that waited for its first one goes its way.
    fn release(&mut self, mut held: HeldFragment, tuple: Tuple, zone: Zone, ip_id: Option<u16>) {
        let (ingress, hdr) = (held.ingress, held.frame.hdr);
        let p = match parse::parse(held.frame.bytes(), &hdr) {
            Ok(p) => p,
            Err(reason) => return self.counters.drop(ingress, reason),
        };
        let mut pkt = Packet {
            frame: &mut held.frame,
            p,
            tuple,
            ingress,
            zone,
            ip_id,
        };
        let v = self.whole(&mut pkt);
        self.settle_made(held.frame, ingress, v);
    }

    /// Fragments that waited in vain.
    pub fn lose(&mut self, lost: Vec<Lost>) {
        for one in lost {
            self.counters.hold(-1);
            self.counters.drop(one.ingress, one.reason);
        }
    }

    /// A new TCP connection to a service of the host counts in the chains as on a Docker host.
    fn count_input(&self, p: &Parsed) {
        if p.l4 == L4::Tcp && p.tcp.flags & (SYN | ACK) == SYN {
            self.sw.chains.prerouting.add(u64::from(p.l3_len));
            self.sw.chains.input.add(u64::from(p.l3_len));
        }
    }
}
