//! The first packet of a connection: policy and rules in the order of netfilter's chains
//! (PREROUTING and DOCKER, forward policy, POSTROUTING), then the record.

use super::ctx::{Ctx, Verdict};
use super::error;
use super::forward::Packet;
use super::switch::Switch;
use crate::base::{Config, Proto, Reason, RuleId, Tuple};
use crate::conntrack::table::{New, Refused};
use crate::conntrack::{state, tcp};
use crate::flow::record::flags;
use crate::flow::{FlowKey, Record, RecordId, Zone};
use crate::frame::L4;
use crate::frame::parse::tcp_flags::{ACK, FIN, RST, SYN};
use crate::nat::view::{External, View};
use std::net::Ipv4Addr;

/// Protocols that don't survive another address: DCCP and UDP-Lite sum the addresses in places
/// that are not rewritten here, the authentication header signs them (RFC 3715 section 2.1).
const NOT_TRANSLATABLE: [Proto; 3] = [Proto(33), Proto(51), Proto(136)];

/// How a new connection is translated.
struct Plan {
    /// What the egress side sees of the first packet.
    out: Tuple,
    /// The side on which it leaves.
    egress: Zone,
    rule: RuleId,
    /// External port taken (to be given back if the record is refused).
    mapped_port: Option<u16>,
    flags: u8,
}

/// What came of the wish to open a connection.
pub enum Opened {
    /// It is there, and has tracked the packet that opened it.
    Fresh(RecordId),
    /// Another worker opened it a moment ago: look again.
    Meanwhile,
}

/// Where a first packet was addressed to.
const fn external(t: &Tuple) -> External {
    (t.proto, t.dst, t.dport)
}

/// Brings near where the answers of the connection that `key` may open will stand in the index: for
/// a batch of first packets before each is acted on. A guess, and nothing more.
pub fn expect(sw: &Switch, cfg: &Config, rules: &View, key: &FlowKey) {
    let t = key.tuple();
    let Some(up) = &cfg.uplink else { return };
    let (egress, out) = match key.zone() {
        Zone::Uplink => {
            let Some(m) = rules.lookup(external(&t)) else {
                return;
            };
            let (dst, dport) = (m.to, m.to_port);
            (Zone::Inside, Tuple { dst, dport, ..t })
        }
        // Most keep their port.
        Zone::Inside => (Zone::Uplink, Tuple { src: up.ip, ..t }),
    };
    let index = &sw.conntrack.index;
    let hash = index.hash(&FlowKey::new(egress, &out.reversed()));
    index.prefetch(hash);
    index.prefetch_second(hash);
}

impl Ctx<'_> {
    /// Makes the connection that `pkt` opens.
    ///
    /// # Errors
    /// What becomes of the frame instead.
    pub fn connect(&mut self, pkt: &Packet<'_>) -> Result<Opened, Verdict> {
        let t = pkt.tuple;
        match pkt.p.l4 {
            L4::EchoReply | L4::IcmpOther | L4::IcmpError => {
                return Err(Verdict::Drop(Reason::IcmpNoMatch));
            }
            // A policy that needs no port is taken before one is.
            L4::Tcp if !self.may_open(pkt.p.tcp.flags) => {
                return Err(Verdict::Drop(self.orphaned(pkt)));
            }
            _ => {}
        }
        let plan = match pkt.zone {
            Zone::Uplink => self.plan_from_outside(&t)?,
            Zone::Inside => self.plan_from_inside(pkt, &t)?,
        };
        self.install(pkt, &t, &plan)
    }

    /// Whether a segment can be the first that is seen of a TCP connection.
    pub(super) fn may_open(&self, flags: u8) -> bool {
        let middle = flags & (SYN | FIN | RST | ACK) == ACK;
        flags & (SYN | ACK) == SYN || (middle && self.cfg.tcp_pickup)
    }

    /// The end of a first packet to the uplink's address that no rule takes further.
    pub(super) fn nobody_listens(&mut self, pkt: &Packet<'_>) -> Option<Verdict> {
        let t = &pkt.tuple;
        // From inside a host's address is the host's affair.
        let hosts = pkt.zone == Zone::Inside && self.cfg.is_hosts(t.dst);
        if !self.cfg.is_external(t.dst) || hosts || self.published(t).is_some() {
            return None;
        }
        if pkt.zone == Zone::Inside {
            error::closed_port(self, pkt);
        }
        Some(Verdict::Drop(Reason::NotPublished))
    }

    fn plan_from_outside(&self, t: &Tuple) -> Result<Plan, Verdict> {
        if self.cfg.uplink.is_none() {
            return Err(Verdict::Drop(Reason::NoUplink));
        }
        if !self.cfg.is_external(t.dst) {
            // Not to us: the subnet behind is reached by published ports only, and nothing is
            // carried from the outside to the outside.
            return Err(Verdict::Drop(if self.cfg.in_subnet(t.dst) {
                Reason::PolicyDenied
            } else {
                Reason::NoRoute
            }));
        }
        let m = self
            .published(t)
            .ok_or(Verdict::Drop(Reason::NotPublished))?;
        Ok(Plan {
            out: Tuple {
                dst: m.to,
                dport: m.to_port,
                ..*t
            },
            egress: Zone::Inside,
            rule: m.rule,
            mapped_port: None,
            flags: flags::DNAT,
        })
    }

    pub(super) fn published(&self, t: &Tuple) -> Option<crate::nat::Match> {
        matches!(t.proto, Proto::TCP | Proto::UDP)
            .then(|| self.rules.lookup(external(t)))
            .flatten()
    }

    fn plan_from_inside(&mut self, pkt: &Packet<'_>, t: &Tuple) -> Result<Plan, Verdict> {
        let Some(up) = self.cfg.uplink else {
            error::net_unreachable(self, pkt);
            return Err(Verdict::Drop(Reason::NoUplink));
        };
        if self.cfg.is_external(t.dst) {
            // Hairpin: the source becomes the external address too (RFC 4787 REQ-9a), else the
            // answer would go past the switch's translation.
            let Some(m) = self.published(t) else {
                error::closed_port(self, pkt);
                return Err(Verdict::Drop(Reason::NotPublished));
            };
            let to = Tuple {
                dst: m.to,
                dport: m.to_port,
                ..*t
            };
            let taken = self.external_port(pkt, &to, up.ip, Zone::Inside)?;
            return Ok(Plan {
                out: Tuple {
                    src: up.ip,
                    sport: taken.unwrap_or(to.sport),
                    ..to
                },
                egress: Zone::Inside,
                rule: m.rule,
                mapped_port: taken,
                flags: flags::DNAT | flags::SNAT,
            });
        }
        // On a shared address the host's kernel would answer what has no port: 3/2 at best.
        let no_port = !matches!(t.proto, Proto::TCP | Proto::UDP | Proto::ICMP);
        if NOT_TRANSLATABLE.contains(&t.proto) || (no_port && self.cfg.host.is_some()) {
            error::out_of_resources(self, pkt);
            return Err(Verdict::Drop(Reason::ProtoUnsupported));
        }
        let taken = self.external_port(pkt, t, up.ip, Zone::Uplink)?;
        Ok(Plan {
            out: Tuple {
                src: up.ip,
                sport: taken.unwrap_or(t.sport),
                ..*t
            },
            egress: Zone::Uplink,
            rule: RuleId::NONE,
            mapped_port: taken,
            flags: flags::SNAT,
        })
    }

    /// The external port for a source, if its protocol has ports.
    fn external_port(
        &mut self,
        pkt: &Packet<'_>,
        t: &Tuple,
        ip: Ipv4Addr,
        egress: Zone,
    ) -> Result<Option<u16>, Verdict> {
        if !matches!(t.proto, Proto::TCP | Proto::UDP | Proto::ICMP) {
            return Ok(None);
        }
        let (sw, inside, now) = (self.sw, (t.src, t.sport), self.now.tick());
        let free = |port: u16| {
            let reply = Tuple {
                src: ip,
                sport: port,
                ..*t
            }
            .reversed();
            let there = sw.conntrack.find(&FlowKey::new(egress, &reply), now);
            there.is_none()
        };
        let seen = sw.waiting.lent();
        // A port that was used a moment ago may be in TIME-WAIT outside: one that is on its way is
        // better.
        if self.may_wait_for_port(pkt) {
            match sw.free_external(t.proto, inside, now, free) {
                Ok(Some(port)) => return Ok(Some(port)),
                Err(Reason::PortsExhausted) => {
                    if let Some(held) = self.wait_for_port(pkt, seen) {
                        return Err(held);
                    }
                }
                Ok(None) | Err(_) => {}
            }
        }
        let taken = sw.take_external(t.proto, inside, now, free);
        taken.map(Some).map_err(|reason| {
            error::out_of_resources(self, pkt);
            Verdict::Drop(reason)
        })
    }

    fn install(&mut self, pkt: &Packet<'_>, t: &Tuple, plan: &Plan) -> Result<Opened, Verdict> {
        let (p, now) = (&pkt.p, self.now.tick());
        let new = New {
            orig: FlowKey::new(pkt.zone, t),
            reply: FlowKey::new(plan.egress, &plan.out.reversed()),
            worker: self.worker,
            ingress: pkt.ingress,
            rule: plan.rule,
            mapped_port: plan.mapped_port,
            flags: plan.flags,
        };
        let open = |r: &Record| match p.l4 {
            L4::Tcp => {
                let header = pkt
                    .frame
                    .bytes()
                    .get(usize::from(p.l4_off)..)
                    .unwrap_or(&[]);
                let pickup = self.cfg.tcp_pickup;
                tcp::open(r, &p.tcp, Some(tcp::syn_options(header)), pickup).map(|s| s as u8)
            }
            L4::Udp => Ok(state::UDP),
            L4::EchoRequest => Ok(state::ICMP),
            _ => Ok(state::OTHER),
        };
        let made = loop {
            match self.sw.conntrack.create(&new, now, open) {
                // Its place is taken before any timer fires.
                Err(Refused::Expired(id)) => self.sw.forget(id),
                made => break made,
            };
        };
        match made {
            // The rule may have been withdrawn since it was looked up, and its connections with it.
            Ok(id) if plan.rule != RuleId::NONE && !self.count_rule(pkt, t, plan) => {
                self.sw.forget(id);
                Err(Verdict::Drop(Reason::RuleGone))
            }
            Ok(id) => {
                if p.l4 == L4::Tcp {
                    // What it lost before by this tuple is nobody's question any more.
                    self.sw.orphans.take(&new.orig, now);
                }
                self.set_timer(id, false);
                self.count_chains(pkt, plan);
                Ok(Opened::Fresh(id))
            }
            Err(refused) => {
                if let Some(port) = plan.mapped_port {
                    self.sw.external.release(t.proto, (t.src, t.sport), port);
                }
                match refused {
                    Refused::Exists | Refused::Expired(_) => Ok(Opened::Meanwhile),
                    Refused::Drop(reason) => {
                        error::out_of_resources(self, pkt);
                        Err(Verdict::Drop(reason))
                    }
                }
            }
        }
    }

    /// As in netfilter's nat table, a rule counts the first packet of a connection. False when it
    /// is gone.
    fn count_rule(&self, pkt: &Packet<'_>, t: &Tuple, plan: &Plan) -> bool {
        let hairpin = plan.flags & flags::SNAT != 0;
        let bytes = u64::from(pkt.p.l3_len);
        self.sw.rules.count(external(t), plan.rule, bytes, hairpin)
    }

    /// A chain's policy counts what no rule of it took.
    fn count_chains(&self, pkt: &Packet<'_>, plan: &Plan) {
        let chains = &self.sw.chains;
        let bytes = u64::from(pkt.p.l3_len);
        let (snat, dnat) = (plan.flags & flags::SNAT != 0, plan.flags & flags::DNAT != 0);
        if !dnat {
            chains.prerouting.add(bytes);
        }
        match (snat, dnat) {
            (true, true) => {}
            (true, false) => chains.masquerade.add(bytes),
            (false, _) => chains.postrouting.add(bytes),
        }
    }
}
