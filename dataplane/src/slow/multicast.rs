//! Bridged multicast with IGMP snooping (RFC 4541): reports are noted and shown to routers only,
//! and a frame to a group goes to its members and to routers. To all goes what nobody asked for
//! by name: groups without a member, 224.0.0.x, other protocols than IPv4.

use super::ctx::{Ctx, Out, Verdict};
use crate::base::{PortId, Reason, Role};
use crate::frame::igmp::{self, Change, Igmp};
use crate::frame::{L3, Parsed, emit};

impl Ctx<'_> {
    /// Where a bridged frame to a group address goes; `None`: it is flooded.
    pub fn multicast(&mut self, bytes: &[u8], p: &Parsed, ingress: PortId) -> Option<Verdict> {
        if p.l3 != L3::Ipv4 || !self.cfg.igmp_snooping || !p.tuple.dst.is_multicast() {
            return None;
        }
        let tick = self.now.tick();
        if !igmp::is_igmp(p) {
            let members = self.sw.groups.ports(p.vid, p.tuple.dst, tick)?;
            return Some(self.copies(members, p, ingress).unwrap_or({
                // Only the sender's own port wants it.
                Verdict::Drop(Reason::SamePort)
            }));
        }
        match igmp::decode(bytes, p) {
            Err(reason) => Some(Verdict::Drop(reason)),
            Ok(Igmp::Other) => None,
            Ok(Igmp::Query) => {
                let router = !p.tuple.src.is_unspecified();
                self.sw.groups.query_heard(p.vid, ingress, router, tick);
                None
            }
            Ok(Igmp::Report(changes)) => {
                for (group, change) in changes {
                    self.membership(p, ingress, group, change);
                }
                // A host that hears another's report would keep its own back (RFC 2236).
                let routers = self.sw.groups.routers(p.vid, tick);
                Some(self.copies(routers, p, ingress).unwrap_or_else(|| {
                    self.counters.consumed.add(1);
                    Verdict::Consumed
                }))
            }
        }
    }

    fn membership(&mut self, p: &Parsed, port: PortId, group: std::net::Ipv4Addr, change: Change) {
        let (groups, tick) = (&self.sw.groups, self.now.tick());
        match change {
            Change::Join => groups.join(p.vid, group, port, false, tick),
            Change::JoinV1 => groups.join(p.vid, group, port, true, tick),
            Change::Leave => {
                if groups.leave(p.vid, group, port, tick) {
                    let mac = self.cfg.gateway_mac;
                    self.originate(emit::igmp_query(mac, p.vid, Some(group)), port);
                }
            }
        }
    }

    /// Sends the frame in hand to these ports but its own. `None`: there is no other.
    fn copies(&mut self, ports: Vec<PortId>, p: &Parsed, ingress: PortId) -> Option<Verdict> {
        let table = self.ports;
        let is_member = |id: &PortId| table.get(*id).is_some_and(|s| s.role != Role::Uplink);
        let others = ports.into_iter().filter(|id| *id != ingress);
        let ports: Vec<PortId> = others.filter(is_member).collect();
        let (&first, more) = ports.split_first()?;
        if p.wire_len > u32::from(self.cfg.mtu) {
            return Some(Verdict::Drop(Reason::TxTooLong));
        }
        self.counters.bridged.add(1);
        let Some(slot) = self.slot.filter(|_| !more.is_empty()) else {
            return Some(Verdict::To(first));
        };
        self.counters.copies.add(more.len() as u64);
        self.out.extend(ports.iter().map(|id| Out::Slot(slot, *id)));
        Some(Verdict::Done)
    }

    /// Asks for members where it is time to.
    pub fn groups_tick(&mut self) {
        for vid in self.sw.groups.due(self.now.tick()) {
            let query = emit::igmp_query(self.cfg.gateway_mac, vid, None);
            self.originate_flood(query, PortId::NONE);
        }
    }
}
