//! The cost tiers branch here: a hit, a bridged frame, or the slow path.

use super::bridge::{self, Heard};
use super::look::{Class, Look};
use crate::base::{PortId, Tick};
use crate::conntrack::{Observed, observe, observe_steady};
use crate::flow::{Dir, Record, RecordId, Zone};
use crate::frame::{Frame, L4, Parsed, parse};
use crate::rewrite;
use crate::slow::ctx::{Ctx, Verdict};

/// What is the same for all frames of a batch.
pub(super) struct At {
    pub ingress: PortId,
    pub tick: Tick,
    /// See `Instant::eighth`.
    pub eighth: u16,
    /// Whether the FDB learns from this port.
    pub learns: bool,
    /// The switch's own MAC on each side, as numbers; 0 where it has none.
    pub macs: [u64; 2],
}

/// Acts on one frame.
#[inline(always)]
pub(super) fn act(
    c: &mut Ctx<'_>,
    frame: &mut Frame,
    look: &Look,
    at: &At,
    heard: &mut Heard,
) -> Verdict {
    // Before all others: what nearly every frame is needs no table of branches.
    if let Class::Keyed(zone) = look.class {
        if zone == Zone::Inside {
            bridge::learn(c, look, at, heard);
        }
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
        return route(c, frame, at, zone);
    }
    act_on_others(c, frame, look, at, heard)
}

/// Acts on a frame that no index entry can know.
#[inline]
fn act_on_others(
    c: &mut Ctx<'_>,
    frame: &mut Frame,
    look: &Look,
    at: &At,
    heard: &mut Heard,
) -> Verdict {
    match look.class {
        Class::Bridged => {
            bridge::learn(c, look, at, heard);
            bridge::forward(c, frame, look, at.ingress)
        }
        Class::Drop(reason) => Verdict::Drop(reason),
        Class::Keyed(zone) | Class::Slow(zone) => {
            if zone == Zone::Inside {
                bridge::learn(c, look, at, heard);
            }
            route(c, frame, at, zone)
        }
        Class::Arp | Class::Host => {
            bridge::learn(c, look, at, heard);
            to_switch(c, frame, look, at)
        }
    }
}

/// The established path: no lock, no allocation, no read-modify-write. `None` hands the frame
/// to the slow path, untouched.
#[inline(always)]
fn hit(
    c: &mut Ctx<'_>,
    frame: &mut Frame,
    look: &Look,
    at: &At,
    id: RecordId,
    dir: Dir,
    r: &Record,
) -> Option<Verdict> {
    let f = r.decided(dir, c.sw.generation())?;
    if !f.valid_at(at.eighth)
        || c.sw.conntrack.too_old_for_a_hit(r, at.tick)
        || look.wire_len > u32::from(f.mtu)
    {
        return None;
    }
    if look.l4 != L4::Tcp || !observe_steady(r, dir, &look.tcp, at.tick) {
        let header = frame.bytes().get(rewrite::L4_AT..).unwrap_or(&[]);
        match observe(r, dir, look.l4, &look.tcp, header, at.tick) {
            Observed::Pass => {}
            Observed::Changed => c.state_changed(r, id),
            Observed::Drop(reason) => return Some(Verdict::Drop(reason)),
            Observed::Reopen => return None,
        }
    }
    let out = r.key(dir.other());
    let [inside, uplink] = at.macs;
    let mac = match out.zone() {
        Zone::Inside => inside,
        Zone::Uplink => uplink,
    };
    rewrite::apply_keyed(frame, look.l4, &f, &out, mac);
    Some(Verdict::To(f.egress))
}

/// The frame as the slow path wants it. It was not changed since it was looked at.
fn parsed(frame: &Frame) -> Result<Parsed, Verdict> {
    parse::parse(frame.bytes(), &frame.hdr).map_err(Verdict::Drop)
}

#[inline(never)]
fn route(c: &mut Ctx<'_>, frame: &mut Frame, at: &At, zone: Zone) -> Verdict {
    c.counters.slow.add(1);
    match parsed(frame) {
        Ok(p) => c.route(frame, &p, at.ingress, zone),
        Err(v) => v,
    }
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
