//! The lane of nearly all routed frames: addressed to the switch's own MAC, ordinary, of a known
//! connection, and sent from the very place to which that connection's answers go.
//!
//! Nothing else is asked about such a frame, since the slow path asked it when it decided: what the
//! guard says follows from the port's role, the sender's MAC, the addresses and the configuration.
//! The key names the addresses and the side, the place names port and MAC, and whatever changes the
//! rest voids the decision. Where that was no more than a next hop, the lane is tried again with the
//! next hop of now ([`renewed`]). A frame that does not fit here is looked at as any other, unchanged.

use super::act::{self, At};
use super::bridge::{self, Heard};
use super::look::{Class, Look};
use crate::base::bytes::{be16, be32};
use crate::base::{Config, Mac, PortId, Role};
use crate::conntrack::{observe_plain, observe_steady};
use crate::flow::record::flags;
use crate::flow::{Dir, FlowKey, Record, Zone};
use crate::frame::parse::{self, Tcp};
use crate::frame::{Frame, L4};
use crate::l2::FdbKey;
use crate::rewrite::{self, TCP_HEADERS};
use crate::slow::ctx::{Ctx, Verdict};
use crate::slow::switch::Switch;

/// What the frames of one port have in common that may take the lane.
pub(super) struct Lane {
    /// The MAC to which they are addressed, or a number that is none.
    to: u64,
    zone: Zone,
    /// The gateway's address: what is sent to that is answered here, or the host's.
    gateway: u32,
}

impl Lane {
    /// For the frames that come in by a port of `role`.
    pub fn new(cfg: &Config, role: Role) -> Lane {
        let (zone, own) = match role {
            Role::Access => (Zone::Inside, Some(cfg.gateway_mac)),
            // What the host sends to its own MAC goes to itself.
            Role::Host => (Zone::Inside, None),
            Role::Uplink => (Zone::Uplink, cfg.uplink.map(|up| up.mac)),
        };
        let to = own.map_or(u64::MAX, Mac::to_u64);
        let gateway = cfg.gateway.to_bits();
        Lane { to, zone, gateway }
    }
}

impl Look {
    /// Looks at a frame that may take the lane, if a record speaks for it. False: it may not, and was
    /// not looked at.
    #[inline(always)]
    pub fn express(&mut self, sw: &Switch, lane: &Lane, frame: &Frame) -> bool {
        let Some(bytes) = frame.with_head::<{ parse::ORDINARY_HEADERS }>() else {
            return false;
        };
        if parse::addresses(bytes).0 != lane.to {
            return false;
        }
        let Some(p) = parse::ordinary(bytes, &frame.hdr) else {
            return false;
        };
        let key = FlowKey::new(lane.zone, &p.tuple);
        if p.ttl <= 1 || key.a as u32 == lane.gateway {
            return false;
        }
        self.class = Class::Express(lane.zone);
        self.l4 = p.l4;
        self.wire_len = p.wire_len;
        self.tcp.payload = p.tcp.payload;
        // Not kept while the rest is looked at, which needs the registers.
        self.src = FdbKey::packed(0, parse::addresses(bytes).1);
        self.key = key;
        self.hash = sw.conntrack.index.hash(&key);
        sw.conntrack.index.prefetch(self.hash);
        true
    }
}

/// Why a frame left the lane, untouched.
pub(super) enum Off {
    /// A segment that may change the connection's state, which [`eventful`] knows how to.
    Event,
    /// No record speaks for it.
    Unknown,
}

/// Takes a frame along the lane: no lock, no allocation, no read-modify-write. Gives the port by
/// which it leaves.
#[inline(always)]
pub(super) fn pass(
    c: &mut Ctx<'_>,
    frame: &mut Frame,
    look: &Look,
    at: &At,
    heard: &mut Heard,
) -> Result<PortId, Off> {
    if !matches!(look.class, Class::Express(_)) {
        return Err(Off::Unknown);
    }
    let (id, dir) = look.candidate.get().ok_or(Off::Unknown)?;
    let r = c.sw.conntrack.slab.get(id).ok_or(Off::Unknown)?;
    // Once for each direction, whose numbers lie at known places then.
    match dir {
        Dir::Orig => along(c, frame, look, at, heard, r, Dir::Orig),
        Dir::Reply => along(c, frame, look, at, heard, r, Dir::Reply),
    }
}

/// The lane along a record's direction.
#[inline(always)]
fn along(
    c: &mut Ctx<'_>,
    frame: &mut Frame,
    look: &Look,
    at: &At,
    heard: &mut Heard,
    r: &Record,
    dir: Dir,
) -> Result<PortId, Off> {
    if r.key(dir) != look.key
        || !r.has(flags::LIVE)
        || !r.answers_go_to(dir, at.place_of(look.src.to_u64()))
    {
        return Err(Off::Unknown);
    }
    // Before the decision is read, which a sender that moved voids.
    bridge::learn(c, look, at, heard);
    if !r.decision_holds(dir, c.sw.generation(), at.eighth, look.wire_len) {
        return Err(Off::Unknown);
    }
    let partial = frame.hdr.needs_csum;
    // What the rewrite needs is read behind the tracker, which needs the registers.
    let f = if look.l4 == L4::Tcp {
        let b = frame.head_mut::<TCP_HEADERS>().ok_or(Off::Unknown)?;
        if !r.seen_within(dir, at.established_ms, at.tick)
            || !observe_steady(r, dir, &segment(b, look), at.tick)
        {
            return Err(Off::Event);
        }
        let (f, other) = (r.forward(dir), r.key(dir.other()));
        rewrite::apply_tcp(b, partial, &f, &other, at.mac(other.zone()));
        f
    } else {
        if c.sw.conntrack.too_old_for_a_hit(r, at.tick) {
            return Err(Off::Unknown);
        }
        observe_plain(r, dir, at.tick);
        let (f, other) = (r.forward(dir), r.key(dir.other()));
        rewrite::apply_keyed(frame, look.l4, &f, &other, at.mac(other.zone()));
        f
    };
    c.counters.hits.add(1);
    Ok(f.egress)
}

/// [`pass`], with what is to be done about an event. `None` hands the frame back, untouched.
#[inline(never)]
pub(super) fn pass_or_event(
    c: &mut Ctx<'_>,
    frame: &mut Frame,
    look: &mut Look,
    at: &At,
    heard: &mut Heard,
) -> Option<Verdict> {
    match pass(c, frame, look, at, heard) {
        Ok(port) => Some(Verdict::To(port)),
        Err(Off::Event) => eventful(c, frame, look, at),
        Err(Off::Unknown) => None,
    }
}

/// Takes a frame along the lane once more that left it because the decision about it was void, if it
/// holds now that its next hop was asked anew. It is a hit then.
#[inline(never)]
pub(super) fn renewed(
    c: &mut Ctx<'_>,
    frame: &mut Frame,
    look: &mut Look,
    at: &At,
    heard: &mut Heard,
) -> Option<Verdict> {
    let (id, dir) = look.candidate.get()?;
    let r = c.sw.conntrack.slab.get(id)?;
    if r.key(dir) != look.key || !r.has(flags::LIVE) || !c.renew(r, dir) {
        return None;
    }
    pass_or_event(c, frame, look, at, heard)
}

/// The TCP fields of a frame that was looked at, read again: that is less than to keep them.
#[inline(always)]
fn segment(b: &[u8; TCP_HEADERS], look: &Look) -> Tcp {
    Tcp {
        seq: be32(b, 38),
        ack: be32(b, 42),
        window: be16(b, 48),
        flags: b[47],
        header_len: (b[46] >> 4) * 4,
        payload: look.tcp.payload,
    }
}

/// A segment that may change the connection's state. What is known of it is found again, so that
/// nothing of it has to be kept where nearly all segments pass.
#[cold]
#[inline(never)]
fn eventful(c: &mut Ctx<'_>, frame: &mut Frame, look: &mut Look, at: &At) -> Option<Verdict> {
    let (id, dir) = look.candidate.get()?;
    let r = c.sw.conntrack.slab.get(id)?;
    look.tcp = segment(frame.bytes().first_chunk()?, look);
    let v = act::hit(c, frame, look, at, id, dir, r)?;
    c.counters.hits.add(1);
    Some(v)
}
