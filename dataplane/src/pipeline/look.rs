//! The first stages, for one frame: parse, guard, classify, and what the look-up needs to know.

use crate::base::{Config, Reason, Role};
use crate::conntrack::Conntrack;
use crate::flow::index::Candidate;
use crate::flow::{FlowKey, Zone};
use crate::frame::parse::{self, Tcp, bits};
use crate::frame::{Frame, L3, L4, Parsed};
use crate::guard::Guard;
use crate::l2::FdbKey;
use crate::nat::view::View;
use crate::slow::connect;
use crate::slow::switch::Switch;
use std::cell::Cell;

/// What one look at a frame and its port says about the way that it takes.
#[derive(Clone, Copy)]
pub(super) enum Class {
    /// Lost already.
    Drop(Reason),
    /// ARP: the responder looks first.
    Arp,
    /// Stays in the bridge domain.
    Bridged,
    /// IPv4 to the gateway's address that the switch does not answer itself.
    Host,
    /// Routed, and an index entry may know it: untagged IPv4 without options, not a fragment.
    Keyed(Zone),
    /// The same, and not guarded yet: see [`super::express`].
    Express(Zone),
    /// Routed, by the slow path in any case.
    Slow(Zone),
}

/// As much of a frame as a hit needs, filled in place: the whole of [`Parsed`] is larger than what
/// a batch may take of the first-level cache, and whoever needs it (the slow path) parses again.
pub(super) struct Look {
    pub class: Class,
    pub l4: L4,
    pub src: FdbKey,
    /// Not of a [`Class::Express`] frame.
    pub dst: FdbKey,
    pub wire_len: u32,
    /// Of a [`Class::Express`] frame only the payload's length.
    pub tcp: Tcp,
    /// Of a [`Class::Keyed`] or [`Class::Express`] frame: its key, the key's hash, and a record that
    /// may be its own.
    pub key: FlowKey,
    pub hash: u64,
    pub candidate: Candidate,
}

impl Default for Look {
    fn default() -> Look {
        Look {
            class: Class::Drop(Reason::Panic),
            l4: L4::None,
            src: FdbKey::default(),
            dst: FdbKey::default(),
            wire_len: 0,
            tcp: Tcp::default(),
            key: FlowKey::default(),
            hash: 0,
            candidate: Candidate::default(),
        }
    }
}

impl Look {
    /// Looks at a frame that came in by a port of `role`.
    #[inline(always)]
    pub fn look(
        &mut self,
        sw: &Switch,
        cfg: &Config,
        guard: &Guard,
        frame: &mut Frame,
        role: Role,
    ) {
        // What is ordinary stays in registers: nothing takes the address of `p`.
        let bytes = frame.bytes();
        match parse::ordinary(bytes, &frame.hdr) {
            Some(p) => {
                self.class = classify(cfg, guard, &p, bytes, role);
                self.take(sw, &p, bytes);
            }
            None => self.look_any(sw, cfg, guard, frame, role),
        }
    }

    #[cold]
    #[inline(never)]
    fn look_any(
        &mut self,
        sw: &Switch,
        cfg: &Config,
        guard: &Guard,
        frame: &mut Frame,
        role: Role,
    ) {
        let p = match parse::parse(frame.bytes(), &frame.hdr) {
            Ok(p) => p,
            Err(reason) => return self.lose(reason),
        };
        self.class = classify(cfg, guard, &p, frame.bytes(), role);
        if !p.has(bits::TAGGED) {
            return self.take(sw, &p, frame.bytes());
        }
        let (Class::Keyed(zone) | Class::Slow(zone)) = self.class else {
            return self.take(sw, &p, frame.bytes());
        };
        // A priority tag (VID 0) does not go through a router.
        frame.pop_vlan();
        match parse::parse(frame.bytes(), &frame.hdr) {
            Ok(p) => {
                self.class = routed(&p, zone);
                self.take(sw, &p, frame.bytes());
            }
            Err(reason) => self.lose(reason),
        }
    }

    /// Notes that the frame is lost.
    pub fn lose(&mut self, reason: Reason) {
        self.class = Class::Drop(reason);
    }

    #[inline(always)]
    fn take(&mut self, sw: &Switch, p: &Parsed, bytes: &[u8]) {
        let (dst, src) = parse::addresses(bytes);
        self.l4 = p.l4;
        self.src = FdbKey::packed(p.vid, src);
        self.dst = FdbKey::packed(p.vid, dst);
        self.wire_len = p.wire_len;
        self.tcp = p.tcp;
        if let Class::Keyed(zone) = self.class {
            self.key = FlowKey::new(zone, &p.tuple);
            self.hash = sw.conntrack.index.hash(&self.key);
        }
    }

    /// Asks for the cache lines where the look-up begins.
    #[inline(always)]
    pub fn prefetch(&self, sw: &Switch) {
        match self.class {
            Class::Keyed(_) => sw.conntrack.index.prefetch(self.hash),
            Class::Bridged | Class::Arp => {
                sw.fdb.prefetch(self.src);
                sw.fdb.prefetch(self.dst);
            }
            Class::Drop(_) | Class::Host | Class::Slow(_) | Class::Express(_) => {}
        }
    }

    /// The side from which a frame came that the index may know.
    #[inline(always)]
    const fn keyed(&self) -> Option<Zone> {
        match self.class {
            Class::Keyed(zone) | Class::Express(zone) => Some(zone),
            _ => None,
        }
    }

    /// Looks for a record in the first bucket. True when there is none and the second bucket, which
    /// was asked for, has to be looked at. `last` is what the frame before found: frames of one flow
    /// come in runs, and the same hash finds the same. `ahead` becomes what is to be fetched.
    #[inline(always)]
    pub fn find_candidate(
        &mut self,
        ct: &Conntrack,
        last: &mut (u64, Candidate),
        ahead: &Cell<Candidate>,
    ) -> bool {
        ahead.set(Candidate::default());
        if self.keyed().is_none() {
            return false;
        }
        if self.hash == last.0 && !last.1.is_none() {
            self.candidate = last.1;
            return false;
        }
        self.candidate = ct.index.candidate(self.hash);
        *last = (self.hash, self.candidate);
        ahead.set(self.candidate);
        if self.candidate.is_none() {
            ct.index.prefetch_second(self.hash);
        }
        self.candidate.is_none()
    }

    /// Brings near where the rule is found that a frame may need, before the rule itself is asked
    /// for: of many rules neither is in the cache.
    pub fn expect_rule(&self, rules: &View) {
        if self.keyed() == Some(Zone::Uplink) && self.candidate.is_none() {
            let t = self.key.tuple();
            rules.prefetch_slot((t.proto, t.dport));
        }
    }

    /// The same in the second bucket, where the first had none. True when there is none either: the
    /// frame may open a connection.
    pub fn find_second_candidate(&mut self, sw: &Switch, rules: &View) -> bool {
        let Some(zone) = self.keyed().filter(|_| self.candidate.is_none()) else {
            return false;
        };
        self.candidate = sw.conntrack.index.second_candidate(self.hash);
        if self.candidate.is_none() && zone == Zone::Uplink {
            let t = self.key.tuple();
            rules.prefetch((t.proto, t.dst, t.dport));
        }
        self.candidate.is_none()
    }

    /// Brings near what a frame needs that may open a connection.
    pub fn expect_connection(&self, sw: &Switch, cfg: &Config, rules: &View) {
        if self.keyed().is_some() && self.candidate.is_none() {
            connect::expect(sw, cfg, rules, &self.key);
        }
    }
}

/// Which way the frame takes, as it stands.
#[inline(always)]
fn classify(cfg: &Config, guard: &Guard, p: &Parsed, bytes: &[u8], role: Role) -> Class {
    if let Err(reason) = guard.check(p, bytes) {
        return Class::Drop(reason);
    }
    let zone = match (role, &cfg.uplink) {
        (Role::Uplink, Some(up)) if p.dst == up.mac || p.dst.is_group() => Zone::Uplink,
        (Role::Uplink, _) => return Class::Drop(Reason::NotForUs),
        _ => Zone::Inside,
    };
    if p.vid != 0 && zone == Zone::Inside {
        return Class::Bridged;
    }
    if p.l3 == L3::Arp && p.vid == 0 {
        return Class::Arp;
    }
    let to_router = zone == Zone::Uplink
        || (p.dst == cfg.gateway_mac && role != Role::Host && p.l3 == L3::Ipv4);
    if !to_router {
        return Class::Bridged;
    }
    if zone == Zone::Inside && p.tuple.dst == cfg.gateway && p.l4 != L4::EchoRequest {
        return Class::Host;
    }
    if p.l3 != L3::Ipv4 || p.vid != 0 || p.dst.is_group() {
        // What a shared uplink shows beside what is for the switch, its host gets too.
        let hosts = zone == Zone::Uplink && cfg.host.is_some();
        return Class::Drop(match hosts {
            true => Reason::NotOurs,
            false => Reason::NotRouted,
        });
    }
    routed(p, zone)
}

/// Whether the index may know a routed packet.
#[inline(always)]
fn routed(p: &Parsed, zone: Zone) -> Class {
    let plain = p.ttl > 1
        && !p.has(bits::OPTIONS | bits::FRAGMENT)
        && p.l4_error.is_none()
        && matches!(p.l4, L4::Tcp | L4::Udp | L4::EchoRequest | L4::EchoReply);
    if plain {
        Class::Keyed(zone)
    } else {
        Class::Slow(zone)
    }
}
