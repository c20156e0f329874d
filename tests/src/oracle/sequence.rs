//! What a sequence is made of. Everything is relative to what went before, so that a sequence
//! with a step less is one too.

use super::{OUTSIDE, PORTS, Published, Wire};
use crate::memory::{DB, FAR, GW, PEER, UP, WEB};
use dataplane::base::{Proto, Tuple};
use std::net::Ipv4Addr;

/// Ports that can be published: slot `n` is 5000 + n outside.
pub const SLOTS: u8 = 4;

/// The publication of a slot for TCP or UDP.
pub fn slot(n: u8, proto: Proto) -> Published {
    let n = n % SLOTS;
    let to = match n {
        0 => (WEB, 5000),
        1 => (WEB, 80),
        2 => (DB, 5002),
        _ => (DB, 80),
    };
    (proto, 5000 + u16::from(n), to)
}

/// A sequence: it begins with nothing known but the neighbours.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Sequence {
    /// Slots that are published at the beginning, for TCP and UDP.
    pub published: Vec<u8>,
    /// Who speaks with whom.
    pub flows: Vec<Flow>,
    /// What happens.
    pub steps: Vec<Step>,
}

/// What is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// ICMP echo
    Echo,
    /// Another protocol
    Other(u8),
}

impl Kind {
    /// Its number.
    pub const fn proto(self) -> Proto {
        match self {
            Kind::Tcp => Proto::TCP,
            Kind::Udp => Proto::UDP,
            Kind::Echo => Proto::ICMP,
            Kind::Other(n) => Proto(n),
        }
    }
}

/// Which way a flow takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// To the neighbour outside, or to a host behind it.
    Out(bool),
    /// To the uplink's address and the port of a slot.
    Slot(u8),
    /// To a container, by the gateway's MAC.
    ByGateway(u8),
    /// To a container, by its own MAC.
    Bridged(u8),
    /// To the gateway's address.
    ToGateway,
}

/// Who speaks with whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    /// What.
    pub kind: Kind,
    /// Place of the client in [`PORTS`].
    pub client: usize,
    /// The client outside is the host behind the neighbour.
    pub far: bool,
    /// Where to.
    pub way: Way,
    /// The client's port.
    pub sport: u16,
    /// The server's port, where the way does not say it.
    pub dport: u16,
}

impl Flow {
    /// The client's address.
    pub fn client_ip(&self) -> Ipv4Addr {
        match self.far && self.client == OUTSIDE {
            true => FAR,
            false => PORTS[self.client],
        }
    }

    /// What the client sends.
    pub fn tuple(&self) -> Tuple {
        let (dst, dport) = match self.way {
            Way::Out(far) => (if far { FAR } else { PEER }, self.dport),
            Way::Slot(n) => (UP, 5000 + u16::from(n % SLOTS)),
            Way::ByGateway(n) | Way::Bridged(n) => (PORTS[usize::from(n) % 3], self.dport),
            Way::ToGateway => (GW, self.dport),
        };
        let ports = match self.kind {
            Kind::Tcp | Kind::Udp => (self.sport, dport),
            Kind::Echo => (self.sport, 0),
            Kind::Other(_) => (0, 0),
        };
        Tuple {
            src: self.client_ip(),
            dst,
            sport: ports.0,
            dport: ports.1,
            proto: self.kind.proto(),
        }
    }

    /// Whether the server is inside; `None`: there is none.
    pub fn server(&self) -> Option<usize> {
        let at = |ip| PORTS.iter().position(|p| *p == ip);
        match self.way {
            Way::Out(_) => Some(OUTSIDE),
            Way::Slot(n) => at(slot(n, self.kind.proto()).2.0),
            Way::ByGateway(n) | Way::Bridged(n) => Some(usize::from(n) % 3),
            Way::ToGateway => None,
        }
    }

    /// What the server sees if each port is kept and the slot is published.
    pub fn expected(&self) -> Tuple {
        let mut t = self.tuple();
        if let Way::Slot(n) = self.way {
            let (ip, port) = slot(n, t.proto).2;
            (t.dst, t.dport) = (ip, port);
            if self.kind == Kind::Echo {
                t.dport = 0;
            }
        }
        let inside = self.client != OUTSIDE;
        if inside && matches!(self.way, Way::Out(_) | Way::Slot(_)) {
            t.src = UP;
        }
        t
    }
}

/// What a TCP segment is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Segment {
    /// SYN
    Syn,
    /// SYN and ACK
    SynAck,
    /// ACK, with data or without
    Ack,
    /// FIN and ACK
    Fin,
    /// RST
    Rst,
    /// RST and ACK
    RstAck,
    /// Any flags
    Flags(u8),
}

/// What is said. TCP uses all of it, others the length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Said {
    /// What kind of segment.
    pub segment: Segment,
    /// Beside the next sequence number.
    pub seq: i32,
    /// Beside the right acknowledgement.
    pub ack: i32,
    /// Payload bytes.
    pub len: u16,
    /// The window field.
    pub window: u16,
    /// Options of a SYN: 0 none, else maximum segment size, and scale `n - 1`.
    pub scale: u8,
}

impl Said {
    /// A segment with nothing odd.
    pub const fn plain(segment: Segment, len: u16) -> Said {
        Said {
            segment,
            seq: 0,
            ack: 0,
            len,
            window: 60_000,
            scale: 0,
        }
    }
}

/// How a packet is put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Form {
    /// Time to live.
    pub ttl: u8,
    /// Don't-fragment.
    pub df: bool,
    /// Type of service.
    pub tos: u8,
    /// IP options: 0 none, 1 router alert, 2 record route, 3 loose source route, 4 timestamp,
    /// 5 a bad one.
    pub options: u8,
    /// In fragments of 8 times this, in this order: see `build`.
    pub fragments: Option<(u8, u8)>,
    /// The checksum is left to others.
    pub partial: bool,
    /// A superframe, to be cut by this.
    pub gso: u16,
    /// The L4 checksum is wrong, or for UDP (2) left out.
    pub checksum: u8,
}

impl Form {
    /// As most packets are.
    pub const PLAIN: Form = Form {
        ttl: 64,
        df: true,
        tos: 0,
        options: 0,
        fragments: None,
        partial: false,
        gso: 0,
        checksum: 0,
    };
}

/// Who speaks of an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaker {
    /// The end that got the packet.
    End,
    /// A router on the way, outside; another container, inside.
    Router,
}

/// An ICMP error about the last packet that an end got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The server is the one that got it.
    pub at_server: bool,
    /// Type and code.
    pub what: (u8, u8),
    /// The four bytes behind the checksum, as the MTU that they end with.
    pub mtu: u16,
    /// Bytes quoted behind the IP header.
    pub quote: u16,
    /// Who.
    pub speaker: Speaker,
    /// 0 all right, 1 the ICMP checksum is wrong, 2 the quoted header's is.
    pub damage: u8,
}

/// How the last frame comes again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Again {
    /// As it was.
    Same,
    /// With a byte of its IP packet changed; the header's checksum is right for 1.
    Damaged(u16, u8, u8),
    /// Cut after so many bytes.
    Cut(u16),
}

/// One thing that happens. Flows are counted modulo their number.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// One end of a flow sends something.
    Say(u8, bool, Said, Form),
    /// An ICMP error.
    Error(u8, Fault),
    /// The last frame again.
    Again(Again),
    /// Somebody else outside, or from another port, sends to where the flow's client is known.
    Stray(u8, bool, u16),
    /// A slot is published for TCP and UDP.
    Publish(u8),
    /// A slot is withdrawn.
    Unpublish(u8),
    /// Frames as they are.
    Frames(Vec<Wire>),
    /// Nothing, for so many milliseconds. Only for a runner whose timeouts are short.
    Wait(u64),
}

impl std::fmt::Display for Sequence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "published {:?}", self.published)?;
        for (n, flow) in self.flows.iter().enumerate() {
            writeln!(f, "  flow {n}: {flow:?}")?;
        }
        for (n, step) in self.steps.iter().enumerate() {
            match step {
                Step::Say(flow, by, said, form) if *form == Form::PLAIN => {
                    writeln!(f, "  step {n}: Say({flow}, {by}, {said:?}, Form::PLAIN)")?;
                }
                _ => writeln!(f, "  step {n}: {step:?}")?,
            }
        }
        Ok(())
    }
}
