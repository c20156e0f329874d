//! What is kept from a smoltcp stack because it would go wrong.
//!
//! Repeated acknowledgements while a socket closes:
//! smoltcp 0.14 takes the third identical acknowledgement as a loss and switches from the
//! retransmission timer to a fast retransmission of the first unacknowledged *data*. When only
//! its FIN is unacknowledged there is no such data, nothing is sent, and no timer runs any more:
//! the connection hangs in FIN-WAIT-1 or LAST-ACK for ever. A wire that loses a FIN and duplicates
//! acknowledgements meets this within seconds. So to a socket that has been closed here an
//! acknowledgement that only repeats the one before is not shown; what is lost from then on is
//! sent again by the retransmission timer alone. (Whether data is left can't be the condition:
//! several acknowledgements are shown in one go.)
//!
//! Repeated SYNs: smoltcp gives a segment to the first socket that may take it, and a listening
//! one may stand before the one that knows the connection. It would answer the SYN a second time
//! with other numbers and then reset the connection. The socket that knows it needs no repetition.

use super::headers::{Headers, TCP};
use crate::base::bytes::{be16, be32, byte};
use smoltcp::iface::SocketSet;
use smoltcp::socket::{Socket, tcp};
use smoltcp::wire::IpAddress;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Local port, remote address, remote port.
type Flow = (u16, Ipv4Addr, u16);

/// The last acknowledgement without payload of each flow: number and window.
#[derive(Default)]
pub(super) struct Acks(BTreeMap<Flow, (u32, u16)>);

impl Acks {
    /// Whether the frame is to be kept from the stack.
    pub(super) fn hides(&mut self, b: &[u8], sockets: &SocketSet<'_>) -> bool {
        let Some(h) = Headers::find(b) else {
            return false;
        };
        if h.proto != TCP || h.v6 {
            return false;
        }
        match byte(b, h.l4 + 13) & 0x17 {
            0x10 => {}
            0x02 => return known(b, &h, sockets),
            _ => return false,
        }
        let remote = Ipv4Addr::from_bits(be32(b, h.l3 + 12));
        let flow = (be16(b, h.l4 + 2), remote, be16(b, h.l4));
        if h.payload_len() > 0 {
            return false;
        }
        let ack = (be32(b, h.l4 + 8), be16(b, h.l4 + 14));
        self.0.insert(flow, ack) == Some(ack) && closing(flow, sockets)
    }

    /// Forgets the flows that no socket has.
    pub(super) fn prune(&mut self, sockets: &SocketSet<'_>) {
        self.0.retain(|&flow, _| socket_of(flow, sockets).is_some());
    }
}

fn socket_of<'a>(flow: Flow, sockets: &'a SocketSet<'_>) -> Option<&'a tcp::Socket<'a>> {
    sockets.iter().find_map(|(_, s)| match s {
        Socket::Tcp(s) => {
            let (l, r) = (s.local_endpoint()?, s.remote_endpoint()?);
            (l.port == flow.0 && r.addr == IpAddress::Ipv4(flow.1) && r.port == flow.2).then_some(s)
        }
        _ => None,
    })
}

fn closing(flow: Flow, sockets: &SocketSet<'_>) -> bool {
    use tcp::State::{Closing, FinWait1, LastAck};
    socket_of(flow, sockets).is_some_and(|s| matches!(s.state(), FinWait1 | Closing | LastAck))
}

/// Whether a socket has the connection of this SYN already.
fn known(b: &[u8], h: &Headers, sockets: &SocketSet<'_>) -> bool {
    let remote = IpAddress::Ipv4(Ipv4Addr::from_bits(be32(b, h.l3 + 12)));
    let (from, to) = (be16(b, h.l4), be16(b, h.l4 + 2));
    sockets.iter().any(|(_, s)| {
        let Socket::Tcp(s) = s else { return false };
        let alive = !matches!(s.state(), tcp::State::Closed | tcp::State::TimeWait);
        let there = s.remote_endpoint();
        alive
            && s.local_endpoint().is_some_and(|l| l.port == to)
            && there.is_some_and(|r| r.addr == remote && r.port == from)
    })
}
