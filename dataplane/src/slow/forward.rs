//! A packet whose connection is known: where it goes, how it changes, and that it fits.

use super::ctx::{Ctx, Verdict};
use super::error;
use super::external::KeptPort;
use super::next_hop::Hop;
use super::orphans::address_gone;
use crate::base::{PortId, Reason, Tuple};
use crate::conntrack::{Observed, observe, state};
use crate::flow::record::flags;
use crate::flow::{Dir, Forward, Record, RecordId, Zone};
use crate::frame::parse::bits;
use crate::frame::{Frame, Parsed, emit};
use crate::neigh::Hold;
use crate::port::Caps;
use crate::port::memory::join;
use crate::port::segment::{self, SegmentError};
use crate::rewrite;
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering::Relaxed;

/// A frame in the slow path.
pub struct Packet<'f> {
    /// Its bytes.
    pub frame: &'f mut Frame,
    /// What one look at them told.
    pub p: Parsed,
    /// Its tuple: that of its bytes, or for a later fragment that of its first one.
    pub tuple: Tuple,
    /// Where it came in.
    pub ingress: PortId,
    /// On which side that is.
    pub zone: Zone,
    /// Another IPv4 identification to leave with (masqueraded fragments).
    pub ip_id: Option<u16>,
}

impl<'a> Ctx<'a> {
    /// Tracks a frame of a live connection and forwards it.
    ///
    /// # Errors
    /// The frame begins a new connection on this one's tuple, which is gone now but for its
    /// external port.
    pub fn tracked(
        &mut self,
        pkt: &mut Packet<'_>,
        id: RecordId,
        dir: Dir,
    ) -> Result<Verdict, Option<KeptPort<'a>>> {
        let r = self.sw.conntrack.slab.get(id).ok_or(None)?;
        if self.cfg.host.is_some() && address_gone(self.cfg, r) {
            return self.ends_with_address(pkt, id, r).ok_or(None);
        }
        if pkt.p.has(bits::LATER_FRAGMENT) {
            r.touch(dir, self.now.tick());
        } else {
            let l4 = usize::from(pkt.p.l4_off);
            let header = pkt.frame.bytes().get(l4..).unwrap_or(&[]);
            match observe(r, dir, pkt.p.l4, &pkt.p.tcp, header, self.now.tick()) {
                Observed::Pass => {}
                Observed::Changed => self.state_changed(r, id),
                Observed::Drop(reason) => return Ok(Verdict::Drop(reason)),
                Observed::Reopen => {
                    // What opens nothing must not end what is left of the old one: its external
                    // port would be free before its time (RFC 7857 section 2.2).
                    if let Some(refused) = self.nobody_listens(pkt) {
                        return Ok(refused);
                    }
                    return Err(self.sw.forget_but_port(id));
                }
            }
        }
        Ok(self.forward(pkt, r, dir))
    }

    /// A TCP state change: the half-open count, and a shorter timer when the connection closes.
    pub fn state_changed(&mut self, r: &Record, id: RecordId) {
        let s = r.state.load(Relaxed);
        if !state::is_half_open(s) {
            self.sw.conntrack.no_longer_half_open(r);
        }
        if state::is_established(s) {
            r.set(flags::ASSURED);
        } else if !state::is_half_open(s) {
            if !r.has(flags::CLOSING_TIMER) {
                r.set(flags::CLOSING_TIMER);
                self.set_timer(id, true);
            }
            self.sw.note_closing(id, r);
        }
    }

    /// Decides anew where a direction's packets go, installs the answer if it lasts, and sends
    /// this one there.
    pub fn forward(&mut self, pkt: &mut Packet<'_>, r: &Record, dir: Dir) -> Verdict {
        let generation = self.sw.generation();
        let out_key = r.key(dir.other());
        let new = out_key.tuple().reversed();
        let (ip_delta, l4_delta) = rewrite::deltas(&r.key(dir).tuple(), &new);
        let hop = self.next_hop(out_key.zone(), new.dst);
        let mut f = Forward {
            egress: PortId::NONE,
            dst_mac: crate::base::Mac::ZERO,
            header_delta: rewrite::header_delta(ip_delta),
            l4_delta,
            mtu: 0,
            until: 0,
        };
        if let Hop::To(port, mac, until) = hop {
            (f.egress, f.dst_mac, f.until) = (port, mac, until);
            f.mtu = self.mtu_of(port);
            r.decide(dir, &f, generation, &self.sw.generation);
        }
        // Several inside hosts share one external address (RFC 6864 section 5.3). Of a datagram
        // that came in fragments the identification that the fragment table chose stays; what is
        // cut here gets one then.
        let shared = dir == Dir::Orig && r.has(flags::SNAT);
        let whole = !pkt.p.has(bits::FRAGMENT);
        pkt.ip_id = pkt.ip_id.filter(|_| shared && !whole);
        self.finish(pkt, out_key.zone(), hop, &f, &new, shared && whole)
    }

    /// Forwards without a connection: between two hosts of the bridge domain that use the gateway
    /// although they are neighbours.
    pub fn untracked(&mut self, pkt: &mut Packet<'_>) -> Verdict {
        let hop = self.next_hop(pkt.zone, pkt.p.tuple.dst);
        let mut f = Forward {
            egress: PortId::NONE,
            dst_mac: crate::base::Mac::ZERO,
            header_delta: rewrite::header_delta(0),
            l4_delta: 0,
            mtu: 0,
            until: 0,
        };
        if let Hop::To(port, mac, until) = hop {
            (f.egress, f.dst_mac, f.until) = (port, mac, until);
        }
        pkt.ip_id = None;
        let same = Tuple { ..pkt.tuple };
        self.finish(pkt, pkt.zone, hop, &f, &same, false)
    }

    /// MTU, rewrite, and off or into the neighbour's queue. `fresh_ids`: what is cut on the way
    /// gets identifications of ours.
    fn finish(
        &mut self,
        pkt: &mut Packet<'_>,
        zone: Zone,
        hop: Hop,
        f: &Forward,
        new: &Tuple,
        fresh_ids: bool,
    ) -> Verdict {
        let (mtu, src_mac) = match (zone, &self.cfg.uplink) {
            (Zone::Uplink, Some(up)) => (up.mtu, up.mac),
            _ => (self.inside_mtu(f.egress), self.cfg.gateway_mac),
        };
        match hop {
            Hop::None(reason) => {
                error::net_unreachable(self, pkt);
                return Verdict::Drop(reason);
            }
            Hop::Dead => {
                error::host_unreachable(self, pkt);
                return Verdict::Drop(Reason::HostUnreachable);
            }
            Hop::To(..) | Hop::Flood(_) | Hop::Wait(_) => {}
        }
        // Another worker may have opened a connection since this was taken for the switch's own.
        if pkt.p.ttl <= 1 {
            error::time_exceeded(self, pkt);
            return Verdict::Drop(Reason::TtlExceeded);
        }
        let too_long = pkt.p.wire_len > u32::from(mtu);
        if too_long && pkt.p.has(bits::DF) {
            error::fragmentation_needed(self, pkt, mtu);
            return Verdict::Drop(Reason::MtuExceeded);
        }
        rewrite::apply_forward(pkt.frame, &pkt.p, f, new, src_mac);
        if let Some(id) = pkt.ip_id {
            rewrite::set_ip_id(pkt.frame.bytes_mut(), &pkt.p, id);
        }
        if let Hop::Flood(mac) = hop {
            rewrite::set_macs(pkt.frame.bytes_mut(), mac, src_mac);
        }
        if too_long {
            return self.fragmented(pkt, zone, hop, mtu, fresh_ids.then_some(new));
        }
        match hop {
            Hop::To(port, ..) => Verdict::To(port),
            Hop::Flood(_) => Verdict::FloodBut(PortId::NONE),
            Hop::Wait(ip) => self.hold(zone, ip, pkt.ingress, pkt.frame.clone()),
            Hop::Dead | Hop::None(_) => Verdict::Drop(Reason::NoRoute),
        }
    }

    /// MTU of any port.
    #[inline]
    pub fn mtu_of(&self, port: PortId) -> u16 {
        match (&self.cfg.uplink, self.ports.uplink()) {
            (Some(up), Some(uplink)) if uplink == port => up.mtu,
            _ => self.inside_mtu(port),
        }
    }

    /// MTU of a port of the bridge domain.
    pub fn inside_mtu(&self, port: PortId) -> u16 {
        self.ports
            .get(port)
            .map_or(self.cfg.mtu, |s| s.mtu.min(self.cfg.mtu))
    }

    /// Keeps a frame until its neighbour answers.
    pub fn hold(&mut self, zone: Zone, ip: Ipv4Addr, ingress: PortId, frame: Frame) -> Verdict {
        match self.sw.neigh.hold(zone, ip, frame, ingress) {
            Hold::Held => {
                self.counters.hold(1);
                Verdict::Held
            }
            // It has answered to another worker in this very moment.
            Hold::Ready(mac, mut frame) => {
                let v = self.readdress(&mut frame, zone, mac);
                self.settle_made(frame, ingress, v);
                Verdict::Done
            }
            Hold::Refused(reason) => Verdict::Drop(reason),
        }
    }

    /// Cuts an already rewritten packet to the egress MTU (RFC 791 section 3.2).
    fn fragmented(
        &mut self,
        pkt: &mut Packet<'_>,
        zone: Zone,
        hop: Hop,
        mtu: u16,
        fresh_ids: Option<&Tuple>,
    ) -> Verdict {
        // A superframe becomes its segments first, each finished, since a fragment's checksum
        // can't be left to others.
        let mut whole: Vec<Frame> = Vec::new();
        let cut = segment::segment(
            pkt.frame.bytes(),
            &pkt.frame.hdr,
            Caps::NONE,
            |hdr, parts| {
                whole.push(Frame::with_hdr(&join(parts), *hdr));
                Ok::<(), SegmentError>(())
            },
        );
        if let Err(e) = cut {
            return Verdict::Drop(e.reason());
        }
        let mut parts: Vec<Frame> = Vec::new();
        for one in &mut whole {
            if let Some(t) = fresh_ids {
                let id = self.sw.frags.ip_id(t.dst, t.proto);
                rewrite::set_ip_id(one.bytes_mut(), &pkt.p, id);
            }
            if emit::fragment_any(one, mtu, &mut parts).is_err() {
                return Verdict::Drop(Reason::SegmentFailed);
            }
        }
        if parts.is_empty() {
            return Verdict::Drop(Reason::SegmentFailed);
        }
        self.counters.copies.add(parts.len() as u64 - 1);
        for part in parts {
            if let Hop::Wait(ip) = hop {
                let v = self.hold(zone, ip, pkt.ingress, part);
                self.settle(pkt.ingress, v);
                continue;
            }
            let v = match hop {
                Hop::To(port, ..) => Verdict::To(port),
                _ => Verdict::FloodBut(PortId::NONE),
            };
            self.settle_made(part, pkt.ingress, v);
        }
        Verdict::Done
    }
}
