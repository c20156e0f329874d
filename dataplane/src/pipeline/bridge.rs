//! Bridged frames: learn, look up, flood.

use super::act::At;
use super::look::Look;
use crate::base::{PortId, Reason, Role};
use crate::frame::parse::tcp_flags::{ACK, SYN};
use crate::frame::{Frame, L4, parse};
use crate::l2::{self, FdbKey, L2, Learn};
use crate::slow::ctx::{Ctx, Verdict};

/// The sender of the frame before, when it needs no look now: a port's frames mostly have one.
#[derive(Default)]
pub(super) struct Heard(FdbKey);

/// Remembers behind which port the sender is. A move changes the FDB's generation, and with it
/// every cached decision.
#[inline(always)]
pub(super) fn learn(c: &mut Ctx<'_>, look: &Look, at: &At, heard: &mut Heard) {
    if heard.0 != look.src {
        // Anything but a known address may have changed what is known of others.
        let known = !at.learns || c.sw.fdb.learn(look.src, at.ingress, at.tick) == Learn::Known;
        // No frame is from the address that stands for none.
        heard.0 = if known { look.src } else { FdbKey::default() };
    }
}

/// Where a frame to a group address goes when somebody has asked for the group.
#[inline(never)]
fn multicast(c: &mut Ctx<'_>, frame: &Frame, ingress: PortId) -> Option<Verdict> {
    // It was parsed before; what did not parse is not bridged.
    let p = parse::parse(frame.bytes(), &frame.hdr).ok()?;
    c.multicast(frame.bytes(), &p, ingress)
}

/// Where a bridged frame goes.
#[inline]
pub(super) fn forward(c: &mut Ctx<'_>, frame: &Frame, look: &Look, ingress: PortId) -> Verdict {
    if c.ports.get(ingress).is_none_or(|s| s.role == Role::Uplink) {
        return Verdict::Drop(Reason::NotRouted);
    }
    if c.ports.host() == Some(ingress) {
        count_output(c, frame, look);
    }
    if look.dst.is_group()
        && let Some(v) = multicast(c, frame, ingress)
    {
        return v;
    }
    match l2::decide(&c.sw.fdb, look.dst, ingress, c.now.tick()) {
        // A bridge can't tell the sender: what the next wire can't carry is lost (IEEE 802.1Q
        // section 6.5.8).
        L2::To(port) if look.wire_len > u32::from(c.mtu_of(port)) => {
            Verdict::Drop(Reason::TxTooLong)
        }
        L2::Flood if look.wire_len > u32::from(c.cfg.mtu) => Verdict::Drop(Reason::TxTooLong),
        L2::To(port) => {
            c.counters.bridged.add(1);
            Verdict::To(port)
        }
        L2::Flood => {
            c.counters.flooded.add(1);
            Verdict::FloodBut(ingress)
        }
        L2::Drop(reason) => Verdict::Drop(reason),
    }
}

/// A TCP connection that the host opens to a container (the localhost relay's second stream)
/// counts in the chains OUTPUT and POSTROUTING as on a Docker host.
fn count_output(c: &Ctx<'_>, frame: &Frame, look: &Look) {
    if look.l4 == L4::Tcp
        && look.tcp.flags & (SYN | ACK) == SYN
        && let Ok(p) = parse::parse(frame.bytes(), &frame.hdr)
    {
        c.sw.chains.output.add(u64::from(p.l3_len));
        c.sw.chains.postrouting.add(u64::from(p.l3_len));
    }
}
