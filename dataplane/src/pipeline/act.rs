//! The cost tiers branch here: a hit, a bridged frame, or the slow path.

use super::bridge::{self, Heard};
use super::express;
use super::look::{Class, Look};
use crate::base::{PortId, Role, Tick};
use crate::conntrack::tcp::State;
use crate::conntrack::{Observed, observe};
use crate::flow::record::place;
use crate::flow::{Dir, Forward, Record, RecordId, Zone};
use crate::frame::{Frame, Parsed, parse};
use crate::guard::Guard;
use crate::rewrite;
use crate::slow::ctx::{Ctx, Verdict};
use std::cell::OnceCell;

/// What is the same for all frames of a batch.
pub(super) struct At {
    pub ingress: PortId,
    /// [`place`] of a host behind it, but for its MAC.
    behind: u64,
    role: Role,
    guard: OnceCell<Guard>,
    pub tick: Tick,
    /// See `Instant::eighth`.
    pub eighth: u16,
    /// Whether the FDB learns from this port.
    pub learns: bool,
    /// The switch's own MAC on each side, as numbers; 0 where it has none.
    macs: [u64; 2],
    /// Silence after which an established TCP connection is no longer hit.
    pub established_ms: u32,
}

impl At {
    pub fn new(c: &Ctx<'_>, ingress: PortId) -> At {
        let role = c.ports.get(ingress).map_or(Role::Access, |s| s.role);
        At {
            ingress,
            behind: place(ingress, 0),
            role,
            guard: OnceCell::new(),
            tick: c.now.tick(),
            eighth: c.now.eighth(),
            learns: c.ports.uplink() != Some(ingress),
            macs: [
                c.cfg.gateway_mac.to_u64(),
                c.cfg.uplink.map_or(0, |up| up.mac.to_u64()),
            ],
            established_ms: c.sw.conntrack.hit_ms(State::Established as u8),
        }
    }

    /// Where a sender with this MAC is.
    #[inline(always)]
    pub const fn place_of(&self, mac: u64) -> u64 {
        self.behind | mac
    }

    /// The switch's MAC on one side, as a number.
    #[inline(always)]
    pub const fn mac(&self, zone: Zone) -> u64 {
        let [inside, uplink] = self.macs;
        match zone {
            Zone::Inside => inside,
            Zone::Uplink => uplink,
        }
    }
}

/// Acts on a frame that did not take the lane of [`super::express`].
#[inline(never)]
pub(super) fn act(
    c: &mut Ctx<'_>,
    frame: &mut Frame,
    look: &mut Look,
    at: &At,
    heard: &mut Heard,
) -> Verdict {
    match look.class {
        Class::Bridged => {
            bridge::learn(c, look, at, heard);
            bridge::forward(c, frame, look, at.ingress)
        }
        Class::Drop(reason) => Verdict::Drop(reason),
        Class::Express(zone) => {
            if let Some(v) = express::renewed(c, frame, look, at, heard) {
                return v;
            }
            // Nothing spoke for it, so it is judged after all.
            let p = match parsed(frame) {
                Ok(p) => p,
                Err(v) => return v,
            };
            let guard = at.guard.get_or_init(|| Guard::new(c.cfg, at.role));
            if let Err(reason) = guard.check(&p, frame.bytes()) {
                return Verdict::Drop(reason);
            }
            look.tcp = p.tcp;
            routed(c, frame, look, at, heard, zone, &p)
        }
        Class::Keyed(zone) => match parsed(frame) {
            Ok(p) => routed(c, frame, look, at, heard, zone, &p),
            Err(v) => v,
        },
        Class::Slow(zone) => {
            if zone == Zone::Inside {
                bridge::learn(c, look, at, heard);
            }
            match parsed(frame) {
                Ok(p) => route(c, frame, at, zone, &p),
                Err(v) => v,
            }
        }
        Class::Arp | Class::Host => {
            bridge::learn(c, look, at, heard);
            to_switch(c, frame, look, at)
        }
    }
}

/// A routed frame that the guard lets pass.
fn routed(
    c: &mut Ctx<'_>,
    frame: &mut Frame,
    look: &Look,
    at: &At,
    heard: &mut Heard,
    zone: Zone,
    p: &Parsed,
) -> Verdict {
    if zone == Zone::Inside {
        bridge::learn(c, look, at, heard);
    }
    // What the batch opened before this, the slow path finds.
    if !look.candidate.is_none() {
        let ct = &c.sw.conntrack;
        let found = ct
            .index
            .known(&look.key, look.hash, look.candidate, &ct.slab);
        if let Some((id, dir, r)) = found
            && let Some(v) = hit(c, frame, look, at, id, dir, r)
        {
            c.counters.hits.add(1);
            return v;
        }
    }
    route(c, frame, at, zone, p)
}

fn route(c: &mut Ctx<'_>, frame: &mut Frame, at: &At, zone: Zone, p: &Parsed) -> Verdict {
    c.counters.slow.add(1);
    c.route(frame, p, at.ingress, zone)
}

/// A frame of a known connection under a decision that holds. `None` hands it to the slow path,
/// untouched.
#[inline(never)]
pub(super) fn hit(
    c: &mut Ctx<'_>,
    frame: &mut Frame,
    look: &Look,
    at: &At,
    id: RecordId,
    dir: Dir,
    r: &Record,
) -> Option<Verdict> {
    let f = match r.decided(dir, c.sw.generation()) {
        Some(f) if f.holds(at.eighth, look.wire_len) => f,
        _ => renewed(c, look, at, dir, r)?,
    };
    if c.sw.conntrack.too_old_for_a_hit(r, at.tick) {
        return None;
    }
    let header = frame.bytes().get(rewrite::L4_AT..).unwrap_or(&[]);
    match observe(r, dir, look.l4, &look.tcp, header, at.tick) {
        Observed::Pass => {}
        Observed::Changed => c.state_changed(r, id),
        Observed::Drop(reason) => return Some(Verdict::Drop(reason)),
        Observed::Reopen => return None,
    }
    let out = r.key(dir.other());
    rewrite::apply_keyed(frame, look.l4, &f, &out, at.mac(out.zone()));
    Some(Verdict::To(f.egress))
}

/// The decision about a frame, if it holds now that its next hop was asked anew.
#[cold]
#[inline(never)]
fn renewed(c: &mut Ctx<'_>, look: &Look, at: &At, dir: Dir, r: &Record) -> Option<Forward> {
    if !c.renew(r, dir) {
        return None;
    }
    let f = r.decided(dir, c.sw.generation())?;
    f.holds(at.eighth, look.wire_len).then_some(f)
}

/// The frame as the slow path wants it. It was not changed since it was looked at.
fn parsed(frame: &Frame) -> Result<Parsed, Verdict> {
    parse::parse(frame.bytes(), &frame.hdr).map_err(Verdict::Drop)
}

/// ARP, and what is addressed to the gateway.
#[inline(never)]
fn to_switch(c: &mut Ctx<'_>, frame: &mut Frame, look: &Look, at: &At) -> Verdict {
    let p = match parsed(frame) {
        Ok(p) => p,
        Err(v) => return v,
    };
    if let Class::Host = look.class {
        return c.to_host(frame, &p, at.ingress);
    }
    match c.arp(frame, &p, at.ingress) {
        Some(v) => v,
        None => bridge::forward(c, frame, look, at.ingress),
    }
}
