//! Bridged frames: learn, look up, flood.

use crate::base::{PortId, Reason, Role};
use crate::frame::parse::tcp_flags::{ACK, SYN};
use crate::frame::{Frame, L4, Parsed};
use crate::l2::{self, L2};
use crate::slow::ctx::{Ctx, Verdict};

/// Remembers behind which port the sender is. A move changes the FDB's generation, and with it
/// every cached decision.
#[inline]
pub fn learn(c: &mut Ctx<'_>, p: &Parsed, ingress: PortId) {
    let is_uplink = c.ports.uplink() == Some(ingress);
    if !is_uplink {
        c.sw.fdb.learn(p.vid, p.src, ingress, c.now.tick());
    }
}

/// Where a bridged frame goes.
#[inline]
pub fn forward(c: &mut Ctx<'_>, frame: &Frame, p: &Parsed, ingress: PortId) -> Verdict {
    if c.ports.get(ingress).is_none_or(|s| s.role == Role::Uplink) {
        return Verdict::Drop(Reason::NotRouted);
    }
    if c.ports.host() == Some(ingress) {
        count_output(c, p);
    }
    if p.dst.is_group()
        && let Some(v) = c.multicast(frame.bytes(), p, ingress)
    {
        return v;
    }
    match l2::decide(&c.sw.fdb, p, ingress, c.now.tick()) {
        // A bridge can't tell the sender: what the next wire can't carry is lost (IEEE 802.1Q
        // section 6.5.8).
        L2::To(port) if p.wire_len > u32::from(c.mtu_of(port)) => Verdict::Drop(Reason::TxTooLong),
        L2::Flood if p.wire_len > u32::from(c.sw.cfg.mtu) => Verdict::Drop(Reason::TxTooLong),
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
fn count_output(c: &Ctx<'_>, p: &Parsed) {
    if p.l4 == L4::Tcp && p.tcp.flags & (SYN | ACK) == SYN {
        c.sw.chains.output.add(u64::from(p.l3_len));
        c.sw.chains.postrouting.add(u64::from(p.l3_len));
    }
}
