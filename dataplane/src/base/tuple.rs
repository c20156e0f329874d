//! The 5-tuple by which connections are told apart.

use std::fmt;
use std::net::Ipv4Addr;

/// IP protocol numbers that this crate knows by name (IANA).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Proto(pub u8);

impl Proto {
    /// 1
    pub const ICMP: Proto = Proto(1);
    /// 2
    pub const IGMP: Proto = Proto(2);
    /// 6
    pub const TCP: Proto = Proto(6);
    /// 17
    pub const UDP: Proto = Proto(17);

    /// The name that iptables and conntrack print, or the number.
    pub fn name(self) -> String {
        match self {
            Proto::ICMP => "icmp".into(),
            Proto::IGMP => "igmp".into(),
            Proto::TCP => "tcp".into(),
            Proto::UDP => "udp".into(),
            Proto(n) => n.to_string(),
        }
    }
}

/// Addresses, ports and protocol of one direction of a connection.
///
/// Ports are in host order. An ICMP echo *request* carries its identifier as `sport` with
/// `dport` 0, an echo *reply* as `dport` with `sport` 0: so [`Tuple::reversed`] maps one to the
/// other, and translating an identifier is translating a port. Other protocols have both ports 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Source port, or identifier of an echo request.
    pub sport: u16,
    /// Destination port, or identifier of an echo reply.
    pub dport: u16,
    /// IP protocol.
    pub proto: Proto,
}

impl Default for Tuple {
    fn default() -> Tuple {
        Tuple {
            src: Ipv4Addr::UNSPECIFIED,
            dst: Ipv4Addr::UNSPECIFIED,
            sport: 0,
            dport: 0,
            proto: Proto(0),
        }
    }
}

impl Tuple {
    /// The tuple of the answers to this one.
    #[must_use]
    pub const fn reversed(self) -> Tuple {
        Tuple {
            src: self.dst,
            dst: self.src,
            sport: self.dport,
            dport: self.sport,
            proto: self.proto,
        }
    }
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}:{} -> {}:{}",
            self.proto.name(),
            self.src,
            self.sport,
            self.dst,
            self.dport
        )
    }
}

impl fmt::Debug for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
