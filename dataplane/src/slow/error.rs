//! ICMP errors that the switch makes itself (RFC 792, 1122 section 3.2.2, 1812 section 4.3.2).

use super::ctx::Ctx;
use super::forward::Packet;
use crate::base::Mac;
use crate::flow::Zone;
use crate::frame::emit::{self, IcmpError};
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
        let Some((ip, mac)) = self.own(pkt.zone) else {
            return;
        };
        if !emit::may_answer_with_error(&pkt.p, pkt.frame.bytes())
            || !self.sw.icmp_budget.take(self.now)
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

/// 3/3: nobody listens.
pub fn port_unreachable(c: &mut Ctx<'_>, pkt: &Packet<'_>) {
    c.refuse(pkt, IcmpError::PortUnreachable);
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
