//! ICMP errors that the switch makes itself (RFC 792, 1122 section 3.2.2, 1812 section 4.3.2).

use super::ctx::Ctx;
use super::forward::Packet;
use crate::base::Mac;
use crate::flow::Zone;
use crate::frame::L4;
use crate::frame::emit::{self, IcmpError};
use crate::frame::parse::{bits, l4_checksum_ok};
use std::net::Ipv4Addr;

impl Ctx<'_> {
    /// The address and MAC that the switch has on a side.
    pub fn own(&self, zone: Zone) -> Option<(Ipv4Addr, Mac)> {
        match zone {
            Zone::Inside => Some((self.sw.cfg.gateway, self.sw.cfg.gateway_mac)),
            Zone::Uplink => self.sw.cfg.uplink.as_ref().map(|u| (u.ip, u.mac)),
        }
    }

    /// Sends an error about a frame that has not been rewritten yet, back to where it came from.
    fn refuse(&mut self, pkt: &Packet<'_>, what: IcmpError) {
        if let Some((ip, _)) = self.own(pkt.zone) {
            self.refuse_as(ip, pkt, what);
        }
    }

    /// The same in the name of one of the switch's addresses.
    fn refuse_as(&mut self, ip: Ipv4Addr, pkt: &Packet<'_>, what: IcmpError) {
        let Some((_, mac)) = self.own(pkt.zone) else {
            return;
        };
        if !emit::may_answer_with_error(&pkt.p, pkt.frame.bytes())
            || !self.sw.icmp_budget.take(pkt.ingress, self.now)
        {
            return;
        }
        let answer = emit::icmp_error(what, pkt.frame.bytes(), &pkt.p, ip, mac);
        self.originate(answer, pkt.ingress);
    }
}

/// 3/0: nothing leads there.
pub fn net_unreachable(c: &mut Ctx<'_>, pkt: &Packet<'_>) {
    c.refuse(pkt, IcmpError::NetUnreachable);
}

/// 3/1: the neighbour doesn't answer.
pub fn host_unreachable(c: &mut Ctx<'_>, pkt: &Packet<'_>) {
    c.refuse(pkt, IcmpError::HostUnreachable);
}

/// Nobody listens on an address of the switch's own, and that address says so: by a reset for TCP
/// (RFC 9293 section 3.10.7.1), else 3/3 or 3/2 (RFC 1122 sections 3.2.2.1 and 4.1.3.1). As a host
/// it says nothing about what it can't take for whole: RFC 1122 section 4.1.3.4, RFC 9293 section
/// 3.1.
pub fn closed_port(c: &mut Ctx<'_>, pkt: &Packet<'_>) {
    let own = pkt.tuple.dst;
    if pkt.p.l4_error.is_some() || !l4_checksum_ok(pkt.frame.bytes(), &pkt.frame.hdr, &pkt.p) {
        return;
    }
    match pkt.p.l4 {
        L4::Tcp if !pkt.p.has(bits::FRAGMENT) => {
            let reset = emit::tcp_reset(pkt.frame.bytes(), &pkt.p);
            if let Some(reset) = reset.filter(|_| c.sw.icmp_budget.take(pkt.ingress, c.now)) {
                c.originate(reset, pkt.ingress);
            }
        }
        L4::Other => c.refuse_as(own, pkt, IcmpError::ProtocolUnreachable),
        L4::Tcp | L4::Udp => c.refuse_as(own, pkt, IcmpError::PortUnreachable),
        _ => {}
    }
}

/// 3/4: don't-fragment is set and the next network takes only `mtu` bytes (RFC 1191).
pub fn fragmentation_needed(c: &mut Ctx<'_>, pkt: &Packet<'_>, mtu: u16) {
    c.refuse(pkt, IcmpError::FragmentationNeeded { mtu });
}

/// 11/0: the time to live ran out.
pub fn time_exceeded(c: &mut Ctx<'_>, pkt: &Packet<'_>) {
    c.refuse(pkt, IcmpError::TimeExceeded);
}

/// 3/13: no room for another connection (RFC 5508 REQ-8).
pub fn out_of_resources(c: &mut Ctx<'_>, pkt: &Packet<'_>) {
    if pkt.zone == Zone::Inside {
        c.refuse(pkt, IcmpError::AdminProhibited);
    }
}
