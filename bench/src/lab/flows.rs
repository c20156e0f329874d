//! Established flows, and frames of either of their directions.

use super::{ACK, FAR, GW, Lab, PEER, PUBLISHED, Pass, SYN, UP, WEB, mac};
use crate::Result;
use crate::floor;
use crate::frames::{Template, tcp, tcp_super, tuple};
use dataplane::base::{Mac, PortId, Proto, Tuple};
use dataplane::flow::{Dir, Zone};
use dataplane::frame::Batch;
use std::time::Duration;

/// Payload that makes a TCP frame one of 64 bytes.
pub const PAYLOAD_64: usize = 10;

/// What a flow goes through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// From outside to the published port.
    Dnat,
    /// From a container to the outside.
    Masquerade,
}

impl Flow {
    /// Both.
    pub const BOTH: [Flow; 2] = [Flow::Dnat, Flow::Masquerade];

    /// For tables.
    pub const fn name(self) -> &'static str {
        match self {
            Flow::Dnat => "DNAT",
            Flow::Masquerade => "masquerade",
        }
    }

    /// Whether frames of this direction come in by the uplink.
    pub fn from_outside(self, dir: Dir) -> bool {
        (self == Flow::Dnat) == (dir == Dir::Orig)
    }

    /// Which tuple the n-th flow's frames of this direction have as they come in.
    pub fn tuple(self, dir: Dir) -> fn(u32) -> Tuple {
        match (self, dir) {
            (Flow::Dnat, Dir::Orig) => |n| far(n, |ip, p| tuple(Proto::TCP, ip, p, UP, PUBLISHED)),
            (Flow::Dnat, Dir::Reply) => |n| far(n, |ip, p| tuple(Proto::TCP, WEB, 80, ip, p)),
            // An inside endpoint speaks to many servers, by the same external port.
            (Flow::Masquerade, Dir::Orig) => |n| far(n, |ip, p| tuple(Proto::TCP, WEB, p, ip, 80)),
            (Flow::Masquerade, Dir::Reply) => |n| far(n, |ip, p| tuple(Proto::TCP, ip, 80, UP, p)),
        }
    }
}

/// The outside address and the varying port of the n-th flow.
fn far(n: u32, f: impl Fn(std::net::Ipv4Addr, u16) -> Tuple) -> Tuple {
    let ip = std::net::Ipv4Addr::from_bits(FAR.wrapping_add(n / 50_000));
    f(ip, 10_000 + (n % 50_000) as u16)
}

/// Segments of a connection's two directions: sequence and acknowledgement numbers follow from
/// what was sent before.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    pub dir: Dir,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub payload: usize,
}

pub(super) const HANDSHAKE: [Segment; 3] = [
    segment(Dir::Orig, 100, 0, SYN),
    segment(Dir::Reply, 900, 101, SYN | ACK),
    segment(Dir::Orig, 101, 901, ACK),
];

pub(super) const fn segment(dir: Dir, seq: u32, ack: u32, flags: u8) -> Segment {
    Segment {
        dir,
        seq,
        ack,
        flags,
        payload: 0,
    }
}

impl Lab {
    /// The port by which the frames of a direction come in, and their MACs: destination, source.
    fn lane(&self, flow: Flow, dir: Dir) -> (PortId, Mac, Mac) {
        if flow.from_outside(dir) {
            (self.ports.up, mac(UP), mac(PEER))
        } else {
            (self.ports.web, mac(GW), mac(WEB))
        }
    }

    pub(super) fn template(&self, flow: Flow, s: Segment) -> (PortId, Template) {
        let (ingress, to, from) = self.lane(flow, s.dir);
        let t = flow.tuple(s.dir)(0);
        let bytes = tcp(to, from, &t, s.seq, s.ack, s.flags, s.payload);
        (ingress, Template::new(bytes, t))
    }

    /// Opens `n` connections by a whole handshake, in batches of 64.
    ///
    /// # Errors
    /// When not all of them are there afterwards.
    pub fn open(&mut self, flow: Flow, n: u32) -> Result<()> {
        let before = self.sw.conntrack.len();
        let frames = HANDSHAKE.map(|s| (flow.tuple(s.dir), self.template(flow, s)));
        let mut batch = Batch::default();
        let mut next = 0;
        while next < n {
            let end = n.min(next + 64);
            for (of, (ingress, template)) in &frames {
                batch.clear();
                (next..end).for_each(|i| template.push(&of(i), &mut batch));
                self.process(&mut batch, *ingress);
            }
            next = end;
        }
        let live = self.sw.conntrack.len() - before;
        if live != n {
            return Err(format!("{live} of {n} connections are open: {:?}", self.totals()).into());
        }
        Ok(())
    }

    /// Frames of 64 bytes, with data, of the first `n` connections that [`Lab::open`] made.
    pub fn established(&self, flow: Flow, dir: Dir, n: u32) -> Pass {
        self.with_payload(flow, dir, n, PAYLOAD_64)
    }

    /// The same with so many bytes of payload.
    pub fn with_payload(&self, flow: Flow, dir: Dir, n: u32, payload: usize) -> Pass {
        let (seq, ack) = match dir {
            Dir::Orig => (101, 901),
            Dir::Reply => (901, 101),
        };
        let data = Segment {
            payload,
            ..segment(dir, seq, ack, ACK)
        };
        let (ingress, template) = self.template(flow, data);
        Pass::flows(ingress, template, n, flow.tuple(dir))
    }

    /// Superframes of `payload` bytes of one DNAT connection (opened before).
    pub fn superframes(&self, payload: usize) -> Pass {
        let (ingress, to, from) = self.lane(Flow::Dnat, Dir::Orig);
        let t = Flow::Dnat.tuple(Dir::Orig)(0);
        Pass::new(ingress, vec![tcp_super(to, from, &t, 101, 901, payload)])
    }

    /// The time of `frames` frames of `pass` in the floor's routed loop, over the same tables.
    pub fn floor_routed(&self, pass: &mut Pass, dir: Dir, frames: u64) -> Duration {
        let zone = match pass.ingress == self.ports.up {
            true => Zone::Uplink,
            false => Zone::Inside,
        };
        let mut floor = floor::Routed::default();
        pass.time(frames, |b, _| floor.pass(&self.sw, zone, dir, b))
    }
}
