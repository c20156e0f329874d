//! A netfilter netlink socket: requests to nf_tables and ctnetlink, as bytes.
//!
//! No crate serves: those that encode nf_tables need C libraries or the `nft` program, or are
//! under another licence than ours. Read first: linux/netlink.h, linux/netfilter/nfnetlink.h.

use control::netns::Netns;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use std::io;

/// `NLM_F_REQUEST`
const REQUEST: u16 = 1;
/// `NLM_F_ACK`
pub const ACK: u16 = 4;
/// `NLM_F_DUMP`
pub const DUMP: u16 = 0x300;
/// `NLM_F_CREATE`
pub const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`, for rules.
pub const APPEND: u16 = 0x800;
const NESTED: u16 = 0x8000;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;

/// Netlink attributes, one after the other.
#[derive(Clone, Default, Debug)]
pub struct Attrs(pub Vec<u8>);

impl Attrs {
    /// With one more of any bytes.
    pub fn bytes(mut self, kind: u16, value: &[u8]) -> Attrs {
        self.0.extend(((4 + value.len()) as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// A number in network order, as netfilter wants them.
    pub fn be32(self, kind: u16, value: u32) -> Attrs {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// A string with its zero.
    pub fn text(self, kind: u16, value: &str) -> Attrs {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Attributes inside one.
    pub fn nest(self, kind: u16, inner: Attrs) -> Attrs {
        self.bytes(kind | NESTED, &inner.0)
    }
}

/// The attributes in `bytes`: kind and value.
pub fn attrs(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes([*bytes.first()?, *bytes.get(1)?]));
        let kind = u16::from_ne_bytes([*bytes.get(2)?, *bytes.get(3)?]) & 0x3fff;
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// The value of the first attribute of a kind.
pub fn attr(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attrs(bytes).find(|a| a.0 == kind).map(|a| a.1)
}

/// The socket.
pub struct Netfilter {
    socket: Socket,
    sequence: u32,
    /// Whose answer ends [`Netfilter::send`].
    awaited: u32,
    out: Vec<u8>,
}

impl Netfilter {
    /// A socket in a namespace.
    ///
    /// # Errors
    /// What the system refused.
    pub fn inside(netns: &Netns) -> io::Result<Netfilter> {
        let mut socket = netns
            .run(|| Socket::new(NETLINK_NETFILTER))
            .map_err(io::Error::other)??;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Netfilter {
            socket,
            sequence: 0,
            awaited: 0,
            out: Vec::new(),
        })
    }

    /// Adds a message of subsystem and type `kind` to those that [`Netfilter::send`] sends.
    pub fn push(&mut self, kind: u16, flags: u16, family: u8, resource: u16, attrs: &Attrs) {
        self.sequence = self.sequence.wrapping_add(1);
        if flags & (ACK | DUMP) != 0 {
            self.awaited = self.sequence;
        }
        let len = HEADER + 4 + attrs.0.len();
        self.out.extend((len as u32).to_ne_bytes());
        self.out.extend(kind.to_ne_bytes());
        self.out.extend((REQUEST | flags).to_ne_bytes());
        self.out.extend(self.sequence.to_ne_bytes());
        self.out.extend([0; 4]);
        self.out.extend([family, 0]);
        self.out.extend(resource.to_be_bytes());
        self.out.extend(&attrs.0);
    }

    /// Sends what was pushed and waits for the answer to the last message that asks for one
    /// (`ACK`, `DUMP`); gives the bodies of
    /// what the kernel told, each behind its `nfgenmsg`.
    ///
    /// # Errors
    /// The first refusal.
    pub fn send(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let out = std::mem::take(&mut self.out);
        self.socket.send(&out, 0)?;
        let mut told = Vec::new();
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            let mut rest = bytes.as_slice();
            while rest.len() >= HEADER {
                let u32_at = |at: usize| {
                    let b = rest.get(at..at + 4).unwrap_or(&[0; 4]);
                    u32::from_ne_bytes([b[0], b[1], b[2], b[3]])
                };
                let len = u32_at(0) as usize;
                let kind = u16::from_ne_bytes([rest[4], rest[5]]);
                let last = u32_at(8) == self.awaited;
                match kind {
                    NLMSG_ERROR => {
                        let code = u32_at(HEADER) as i32;
                        if code != 0 {
                            return Err(io::Error::from_raw_os_error(-code));
                        }
                        if last {
                            return Ok(told);
                        }
                    }
                    NLMSG_DONE if last => return Ok(told),
                    NLMSG_DONE => {}
                    _ => told.extend(rest.get(HEADER + 4..len).map(<[u8]>::to_vec)),
                }
                rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
            }
        }
    }
}
