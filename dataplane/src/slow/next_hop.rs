//! Routing proper: which neighbour, behind which port.

use super::ctx::Ctx;
use crate::base::{Mac, PortId, Reason};
use crate::flow::{Dir, Forward, Record, Zone};
use crate::l2::FdbKey;
use crate::neigh::{Resolve, responder};
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering::Acquire;

/// Where a packet goes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hop {
    /// To this MAC by this port; good until then (see `Instant::eighth`).
    To(PortId, Mac, u16),
    /// The neighbour's MAC is known, the port behind which it is has been forgotten.
    Flood(Mac),
    /// The neighbour has to be asked first.
    Wait(Ipv4Addr),
    /// It doesn't answer.
    Dead,
    /// There is no such side.
    None(Reason),
}

/// Next hops of one batch that are remembered.
const HOPS: usize = 8;

/// The next hops that a batch has found, each under its side, its address and the generation: a
/// batch of first packets mostly goes to few neighbours.
#[derive(Default)]
pub struct Hops([Option<(Zone, Ipv4Addr, u32, Hop)>; HOPS]);

impl Hops {
    fn get(&self, zone: Zone, ip: Ipv4Addr, generation: u32) -> Option<Hop> {
        let (z, i, g, hop) = self.0[ip.to_bits() as usize % HOPS]?;
        ((z, i, g) == (zone, ip, generation)).then_some(hop)
    }

    fn set(&mut self, zone: Zone, ip: Ipv4Addr, generation: u32, hop: Hop) {
        self.0[ip.to_bits() as usize % HOPS] = Some((zone, ip, generation, hop));
    }
}

impl Ctx<'_> {
    /// The next hop towards `dst` on the given side. Sends an ARP request when one is due.
    pub fn next_hop(&mut self, zone: Zone, dst: Ipv4Addr) -> Hop {
        match self.next_address(zone, dst) {
            Ok((ip, uplink)) => self.hop_to(zone, ip, uplink),
            Err(reason) => Hop::None(reason),
        }
    }

    /// The same, if the neighbour's MAC and place are known and not in doubt, so that nobody has to
    /// be asked.
    fn hop_at_hand(&mut self, zone: Zone, dst: Ipv4Addr) -> Option<(PortId, Mac, u16)> {
        let (ip, uplink) = self.next_address(zone, dst).ok()?;
        let found = self.hops.get(zone, ip, self.sw.generation());
        if found.is_none() && self.sw.neigh.expires_ms(zone, ip, self.now.tick()) == 0 {
            return None;
        }
        match found.unwrap_or_else(|| self.hop_to(zone, ip, uplink)) {
            Hop::To(port, mac, until) => Some((port, mac, until)),
            _ => None,
        }
    }

    /// Asks anew where a direction's frames go, if all else that was decided about them still stands
    /// (see [`crate::flow::Generation::renews`]), and stamps the record. False: the slow path has to
    /// decide. True says no more than that it is worth another look: another worker may be storing a
    /// decision, or one more thing has changed.
    pub fn renew(&mut self, r: &Record, dir: Dir) -> bool {
        let stamp = r.generation(dir).load(Acquire);
        let Some(number) = self.sw.generation.renews(stamp) else {
            return false;
        };
        let old = r.forward(dir);
        if stamp == number && old.valid_at(self.now.eighth()) {
            return false;
        }
        let out = r.key(dir.other());
        let Some((egress, dst_mac, until)) = self.hop_at_hand(out.zone(), out.tuple().src) else {
            return false;
        };
        let f = Forward {
            egress,
            dst_mac,
            until,
            mtu: self.mtu_of(egress),
            // They follow from the keys.
            ..old
        };
        r.decide(dir, &f, number, &self.sw.generation);
        true
    }

    /// Which neighbour comes next, and the port that leads there if that is the uplink.
    fn next_address(
        &self,
        zone: Zone,
        dst: Ipv4Addr,
    ) -> Result<(Ipv4Addr, Option<PortId>), Reason> {
        if zone == Zone::Inside {
            return Ok((dst, None));
        }
        let (Some(up), Some(port)) = (&self.cfg.uplink, self.ports.uplink()) else {
            return Err(Reason::NoUplink);
        };
        let ip = match &self.cfg.host {
            Some(host) => host.next_hop(dst).ok_or(Reason::NoRoute)?,
            None if up.on_link(dst) => dst,
            None => up.next_hop,
        };
        Ok((ip, Some(port)))
    }

    fn hop_to(&mut self, zone: Zone, ip: Ipv4Addr, uplink: Option<PortId>) -> Hop {
        // Nothing that it rests on has changed since: whatever changes it, changes the generation.
        let generation = self.sw.generation();
        if let Some(hop) = self.hops.get(zone, ip, generation) {
            return hop;
        }
        let tick = self.now.tick();
        let mac = match self.sw.neigh.resolve(zone, ip, tick) {
            // Nobody may send with such an address (see `guard`), so nobody has it.
            Resolve::Known(mac)
                if mac.is_group() || mac == Mac::ZERO || mac == self.cfg.gateway_mac =>
            {
                return Hop::Dead;
            }
            Resolve::Known(mac) => mac,
            Resolve::Failed => return Hop::Dead,
            Resolve::Pending { first } => {
                if first {
                    self.ask(zone, ip, None);
                }
                return Hop::Wait(ip);
            }
        };
        let neigh_ms = self.sw.neigh.expires_ms(zone, ip, tick);
        let hop = match uplink {
            Some(port) => Hop::To(port, mac, self.until(neigh_ms)),
            None => match self.sw.fdb.lookup_until(FdbKey::new(0, mac), tick) {
                Some((port, fdb_ms)) => Hop::To(port, mac, self.until(neigh_ms.min(fdb_ms))),
                // An address that is learned now changes no generation.
                None => return Hop::Flood(mac),
            },
        };
        self.hops.set(zone, ip, generation, hop);
        hop
    }

    fn until(&self, ms: u32) -> u16 {
        // Rounded down, and at most an hour ahead: the end is compared modulo 2^16.
        (self.now + std::time::Duration::from_millis(u64::from(ms.min(3_600_000)))).eighth()
    }

    /// Sends an ARP request for `ip`, to one MAC or to all. From inside `sw0` is left out: its own
    /// address is the sender.
    pub fn ask(&mut self, zone: Zone, ip: Ipv4Addr, to: Option<Mac>) {
        let Some(f) = responder::request(self.cfg, zone, ip, to) else {
            return;
        };
        match zone {
            Zone::Inside => {
                match to.and_then(|m| self.sw.fdb.lookup(FdbKey::new(0, m), self.now.tick())) {
                    Some(port) => self.originate(f, port),
                    None => self.originate_flood(f, self.ports.host().unwrap_or(PortId::NONE)),
                }
            }
            Zone::Uplink => {
                if let Some(port) = self.ports.uplink() {
                    self.originate(f, port);
                }
            }
        }
    }
}
