//! Routing proper: which neighbour, behind which port.

use super::ctx::Ctx;
use crate::base::{Mac, PortId, Reason};
use crate::flow::Zone;
use crate::l2::FdbKey;
use crate::neigh::{Resolve, responder};
use std::net::Ipv4Addr;

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
        let cfg = self.cfg;
        let (ip, uplink) = match zone {
            Zone::Inside => (dst, None),
            Zone::Uplink => {
                let (Some(up), Some(port)) = (&cfg.uplink, self.ports.uplink()) else {
                    return Hop::None(Reason::NoUplink);
                };
                let hop = match &cfg.host {
                    Some(host) => match host.next_hop(dst) {
                        Some(hop) => hop,
                        None => return Hop::None(Reason::NoRoute),
                    },
                    None if up.on_link(dst) => dst,
                    None => up.next_hop,
                };
                (hop, Some(port))
            }
        };
        // Nothing that it rests on has changed since: whatever changes it, changes the generation.
        let generation = self.sw.generation();
        if let Some(hop) = self.hops.get(zone, ip, generation) {
            return hop;
        }
        let tick = self.now.tick();
        let mac = match self.sw.neigh.resolve(zone, ip, tick) {
            // Nobody may send with such an address (see `guard`), so nobody has it.
            Resolve::Known(mac) if mac.is_group() || mac == Mac::ZERO || mac == cfg.gateway_mac => {
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
