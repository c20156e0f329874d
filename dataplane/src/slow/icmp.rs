//! ICMP errors that belong to a connection, translated with the packet inside
//! (RFC 5508 REQ-4 and 5, RFC 5382 REQ-9). They neither refresh nor end it.

use super::ctx::{Ctx, Verdict};
use super::error;
use super::forward::Packet;
use super::next_hop::Hop;
use crate::base::{PortId, Reason};
use crate::flow::{FlowKey, Zone};
use crate::frame::emit::{self, IcmpError};
use crate::frame::{Frame, Parsed, parse};
use crate::nat::icmp_error::{self, rewrite_error};
use crate::rewrite;
use std::net::Ipv4Addr;

/// ICMP type of a redirect (RFC 792).
const REDIRECT: u8 = 5;

impl Ctx<'_> {
    /// Translates and forwards an ICMP error that came in on `pkt.zone`.
    pub fn icmp_error(&mut self, pkt: &mut Packet<'_>) -> Verdict {
        // A redirect names a router of the network that it was sent in, to hosts of that network
        // (RFC 1812 section 5.2.7.2). Behind a translation it would only lead astray.
        if pkt.frame.bytes().get(usize::from(pkt.p.l4_off)) == Some(&REDIRECT) {
            return Verdict::Drop(Reason::NotRouted);
        }
        let inner = match icmp_error::inner(pkt.frame.bytes(), &pkt.p) {
            Ok(inner) => inner,
            Err(reason) => return Verdict::Drop(reason),
        };
        // The packet inside went out on this side; its answers would come in here.
        let key = FlowKey::new(pkt.zone, &inner.tuple.reversed());
        let Some((id, dir)) = self.sw.conntrack.find(&key, self.now.tick()) else {
            return Verdict::Drop(Reason::IcmpNoMatch);
        };
        let Some(r) = self.sw.conntrack.slab.get(id) else {
            return Verdict::Drop(Reason::IcmpNoMatch);
        };
        let back = r.key(dir.other());
        let (sent, zone) = (back.tuple(), back.zone());
        // Who seems to speak: the host that the packet was for, under the name that the receiver
        // knows; any other inside host under the switch's own; an outside router as itself.
        let src = if pkt.tuple.src == inner.tuple.dst {
            Some(sent.dst)
        } else if pkt.zone == Zone::Inside {
            self.own(zone).map(|(ip, _)| ip)
        } else {
            None
        };
        if let Err(reason) = rewrite_error(pkt.frame.bytes_mut(), &pkt.p, src, sent.src, sent) {
            return Verdict::Drop(reason);
        }
        rewrite::lower_ttl(pkt.frame.bytes_mut(), &pkt.p);
        self.deliver(pkt.frame, pkt.ingress, zone, sent.src)
    }

    /// Sends a finished packet to `dst` on a side: MACs only.
    fn deliver(
        &mut self,
        frame: &mut Frame,
        ingress: PortId,
        zone: Zone,
        dst: Ipv4Addr,
    ) -> Verdict {
        let Some((_, own)) = self.own(zone) else {
            return Verdict::Drop(Reason::NoUplink);
        };
        match self.next_hop(zone, dst) {
            Hop::To(port, mac, _) => {
                rewrite::set_macs(frame.bytes_mut(), mac, own);
                Verdict::To(port)
            }
            Hop::Flood(mac) => {
                rewrite::set_macs(frame.bytes_mut(), mac, own);
                Verdict::FloodBut(PortId::NONE)
            }
            Hop::Wait(ip) => {
                rewrite::set_macs(frame.bytes_mut(), crate::base::Mac::ZERO, own);
                self.hold(zone, ip, ingress, frame.clone())
            }
            Hop::Dead => Verdict::Drop(Reason::HostUnreachable),
            Hop::None(reason) => Verdict::Drop(reason),
        }
    }

    /// Tells the sender of a packet that waited on `zone` in vain that the host is unreachable.
    /// The packet is translated already, so the error takes the way of one that came from there.
    pub fn unreachable_after_wait(&mut self, zone: Zone, ingress: PortId, held: &mut Frame) {
        let Ok(p) = parse::parse(held.bytes(), &held.hdr) else {
            return;
        };
        let key = FlowKey::new(zone, &p.tuple.reversed());
        let found = self.sw.conntrack.find(&key, self.now.tick());
        let Some((r, dir)) = found.and_then(|(id, d)| Some((self.sw.conntrack.slab.get(id)?, d)))
        else {
            let tuple = p.tuple;
            let pkt = Packet {
                frame: held,
                p,
                tuple,
                ingress,
                zone,
                ip_id: None,
            };
            error::host_unreachable(self, &pkt);
            return;
        };
        let back = r.key(dir.other());
        let (sent, to) = (back.tuple(), back.zone());
        let Some((ip, mac)) = self.own(to) else {
            return;
        };
        if !emit::may_answer_with_error(&p, held.bytes())
            || !self.sw.icmp_budget.take(ingress, self.now)
        {
            return;
        }
        let mut answer = emit::icmp_error(IcmpError::HostUnreachable, held.bytes(), &p, ip, mac);
        let rewritten = parse::parse(answer.bytes(), &answer.hdr)
            .and_then(|q| rewrite_error(answer.bytes_mut(), &q, Some(ip), sent.src, sent));
        if rewritten.is_err() {
            return;
        }
        self.counters.originated.add(1);
        let v = self.deliver(&mut answer, ingress, to, sent.src);
        self.settle_made(answer, ingress, v);
    }
}

/// Whether a parsed frame may be translated as an error at all.
pub fn is_error(p: &Parsed) -> bool {
    p.l4 == crate::frame::L4::IcmpError
}
