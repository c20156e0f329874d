//! ARP as the switch sees it: it answers for itself, learns, and hands on what is not for it.

use super::ctx::{Ctx, Verdict};
use crate::base::{Mac, PortId, Reason, Role};
use crate::flow::Zone;
use crate::frame::{Frame, Parsed};
use crate::l2::FdbKey;
use crate::neigh::{ArpAction, Held, NeighAction, responder};
use crate::rewrite;

impl Ctx<'_> {
    /// One ARP packet. `None`: not for the switch alone, to be bridged on.
    pub fn arp(&mut self, frame: &Frame, p: &Parsed, ingress: PortId) -> Option<Verdict> {
        let role = self.ports.get(ingress).map_or(Role::Access, |s| s.role);
        let (sw, tick) = (self.sw, self.now.tick());
        let answer = responder::arp(self.cfg, role, p, frame.bytes(), tick, &sw.neigh);
        if let Some(r) = answer.released {
            self.released(r.zone, r.mac, r.held);
        }
        match answer.action {
            ArpAction::Drop(reason) => Some(Verdict::Drop(reason)),
            ArpAction::Consume => {
                self.counters.consumed.add(1);
                Some(Verdict::Consumed)
            }
            ArpAction::Reply(reply) => {
                self.counters.consumed.add(1);
                self.originate(reply, ingress);
                Some(Verdict::Consumed)
            }
            ArpAction::Bridge => None,
        }
    }

    /// Frames whose neighbour has answered go out.
    pub fn released(&mut self, zone: Zone, mac: Mac, frames: Vec<Held>) {
        for held in frames {
            self.counters.hold(-1);
            let mut frame = held.frame;
            let v = self.readdress(&mut frame, zone, mac);
            self.settle_made(frame, held.ingress, v);
        }
    }

    /// The MAC that a waiting frame lacked.
    pub fn readdress(&mut self, frame: &mut Frame, zone: Zone, mac: Mac) -> Verdict {
        let Some((_, own)) = self.own(zone) else {
            return Verdict::Drop(Reason::NoUplink);
        };
        rewrite::set_macs(frame.bytes_mut(), mac, own);
        match zone {
            Zone::Uplink => match self.ports.uplink() {
                Some(port) => Verdict::To(port),
                None => Verdict::Drop(Reason::NoUplink),
            },
            Zone::Inside => match self.sw.fdb.lookup(FdbKey::new(0, mac), self.now.tick()) {
                Some(port) => Verdict::To(port),
                None => Verdict::FloodBut(PortId::NONE),
            },
        }
    }

    /// Neighbours that are due: asked again, or given up.
    pub fn neighbours_tick(&mut self) {
        for action in self.sw.neigh.tick(self.now.tick()) {
            match action {
                NeighAction::SendArp {
                    zone,
                    ip,
                    unicast_to,
                } => self.ask(zone, ip, unicast_to),
                NeighAction::GiveUp { zone, held, .. } => {
                    for mut h in held {
                        self.counters.hold(-1);
                        self.counters.drop(h.ingress, Reason::HostUnreachable);
                        self.unreachable_after_wait(zone, h.ingress, &mut h.frame);
                    }
                }
            }
        }
    }
}
