//! What can happen in a [`super::World`].

use dataplane::base::Proto;

/// One thing that happens. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub enum Op {
    /// A new conversation.
    Open(Way, u8),
    /// Something is said in a conversation, by its client or not.
    Say(u8, bool, Said),
    /// A conversation goes on as it should for some rounds, beginning with its handshake if it
    /// had none, in this form.
    Talk(u8, u8, Form),
    /// An ICMP error about the last packet of a conversation that its other end got.
    Error(u8, bool, u8),
    /// An ARP packet: who, for whom, what.
    Arp(u8, u8, ArpKind),
    /// The last frame again, by a port, with one byte changed.
    Damaged(u8, u16, u8),
    /// The last frame again, by its port, cut short.
    Truncated(u16),
    /// Bytes by a port, with any header.
    Junk(u8, Vec<u8>, [u8; 10]),
    /// Milliseconds go by.
    Wait(u32),
    /// A change of the control side.
    Control(Change),
}

/// Which way a conversation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Inside to outside.
    Masquerade(Kind),
    /// Outside to a published port.
    Published(Kind),
    /// Inside to a published port.
    Hairpin(Kind),
    /// Between two containers by the gateway's MAC.
    ByGateway(Kind),
    /// Between two containers.
    Bridged(Kind),
    /// To the gateway's or the uplink's own address.
    ToSwitch(Kind),
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// ICMP echo
    Echo,
}

impl Kind {
    /// Its IP protocol.
    pub const fn proto(self) -> Proto {
        match self {
            Kind::Tcp => Proto::TCP,
            Kind::Udp => Proto::UDP,
            Kind::Echo => Proto::ICMP,
        }
    }
}

/// What is said, and how it is put.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// TCP: 0 to 2 data, 3 ACK, 4 FIN, 5 RST, 6 again, 7 SYN, 8 wrong numbers, 9 zero window.
    pub what: u8,
    /// Payload bytes.
    pub len: u16,
    /// How it is put.
    pub form: Form,
}

/// The form of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Plain,
    /// With a partial checksum.
    Partial,
    /// As a superframe, to be cut by this size.
    Super(u16),
    /// As fragments of this size (times 8), rotated and one perhaps left out or repeated.
    Fragments(u8, u8),
    /// With this TTL.
    Ttl(u8),
    /// With options.
    Options,
    /// With a tag of this VLAN.
    Tagged(u16),
    /// Without don't-fragment.
    MayFragment,
}

/// Kinds of ARP packets.
#[derive(Clone, Copy, Debug)]
pub enum ArpKind {
    /// A request in its own name.
    Request,
    /// A reply in its own name.
    Reply,
    /// A probe.
    Probe,
    /// A gratuitous one.
    Gratuitous,
    /// A reply in the target's name with the sender's MAC.
    Claim,
}

/// Changes of the control side.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// Publishes TCP and UDP ports from 5000 + n for a container.
    Publish(u8, u8),
    /// Withdraws one of the live rules.
    Unpublish(u8),
    /// Removes a container's port, or adds it again.
    Replug(u8),
    /// A container's MAC is heard from another container's port.
    Move(u8, u8),
    /// A port takes other kinds of frames from now on.
    Caps(u8, u8),
    /// Nobody answers ARP any more, or everybody does again.
    Silence,
}
