//! A host in memory: a `smoltcp` interface behind a port, so that tests run real TCP and UDP
//! through the whole switch in virtual time.
//!
//! The host polls when told to, never by itself: `poll(now)` takes what the switch sent, lets the
//! stack work and puts what it says where the switch will receive it. With offloads on, it speaks
//! as a TAP does: partial checksums, and superframes where segments follow each other.

use super::coalesce::Coalescer;
use super::fault::{Fault, Rng};
use super::memory::{MemoryPort, join};
use super::segment::{SegmentError, segment};
use super::stack_acks::Acks;
use super::stack_wire::Wire;
use super::{Caps, PortQueue};
use crate::base::{Instant, Mac};
use crate::frame::Frame;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant as SmolInstant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, IpEndpoint};
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// What the host is.
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// Its MAC address.
    pub mac: Mac,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Length of its subnet's prefix.
    pub prefix: u8,
    /// Its default route.
    pub gateway: Option<Ipv4Addr>,
    /// Largest IP packet (576 to 9,216).
    pub mtu: usize,
    /// Decides sequence numbers and everything else that the stack draws.
    pub seed: u64,
    /// Bytes of each TCP buffer; every socket has two.
    pub buffer: usize,
    /// Whether frames are sent with partial checksums and as superframes.
    pub offload: bool,
    /// Queue by which frames are sent.
    pub steer: Steer,
}

impl StackConfig {
    /// A host with the MAC of its address, an MTU of 1,500, 16 KiB buffers and no offloads.
    pub fn new(ip: Ipv4Addr, prefix: u8, gateway: Option<Ipv4Addr>) -> StackConfig {
        StackConfig {
            mac: Mac::from_ip(ip),
            ip,
            prefix,
            gateway,
            mtu: 1_500,
            seed: u64::from(u32::from(ip)),
            buffer: 16_384,
            offload: false,
            steer: Steer::Queue(0),
        }
    }
}

/// Which queue a frame goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Steer {
    /// Always this one.
    Queue(usize),
    /// Any, drawn per frame.
    Random,
}

/// Why a socket could not be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StackError {
    /// The stack can't connect from or to these addresses.
    #[error("cannot connect: {0}")]
    Connect(tcp::ConnectError),
    /// Port 0 or a socket in use.
    #[error("cannot listen: {0}")]
    Listen(tcp::ListenError),
    /// Port 0 or a socket in use.
    #[error("cannot bind: {0}")]
    Bind(udp::BindError),
}

/// The host.
pub struct StackPort {
    iface: Interface,
    device: Wire,
    sockets: SocketSet<'static>,
    port: MemoryPort,
    coalescer: Coalescer,
    rng: Rng,
    cfg: StackConfig,
    /// Sockets that wait for a connection or to be accepted, by port.
    listeners: BTreeMap<u16, Vec<SocketHandle>>,
    acks: Acks,
    /// Sockets removed so far.
    removed: u64,
    inbound: Option<Fault>,
    outbound: Option<Fault>,
}

impl StackPort {
    /// A host and the `queues` ends of its port, which take what `caps` say.
    pub fn new(
        cfg: StackConfig,
        queues: usize,
        caps: Caps,
        now: Instant,
    ) -> (StackPort, Vec<Box<dyn PortQueue>>) {
        let (port, ends) = MemoryPort::new(queues, caps);
        let mut device = Wire {
            rx: VecDeque::new(),
            tx: Vec::new(),
            mtu: cfg.mtu.clamp(576, 9_216) + 14,
            checksums: ChecksumCapabilities::default(),
        };
        let mac = HardwareAddress::Ethernet(EthernetAddress(cfg.mac.0));
        let mut config = Config::new(mac);
        config.random_seed = cfg.seed;
        let mut iface = Interface::new(config, &mut device, smol(now));
        iface.update_ip_addrs(|list| {
            // The list is empty and has room for one at least.
            let _ = list.push(IpCidr::new(IpAddress::Ipv4(cfg.ip), cfg.prefix.min(32)));
        });
        if let Some(gw) = cfg.gateway {
            // As above: the first route finds room.
            let _ = iface.routes_mut().add_default_ipv4_route(gw);
        }
        let host = StackPort {
            iface,
            device,
            sockets: SocketSet::new(Vec::new()),
            port,
            coalescer: Coalescer::new(),
            rng: Rng::new(cfg.seed ^ 0x5ee5),
            cfg,
            listeners: BTreeMap::new(),
            acks: Acks::default(),
            removed: 0,
            inbound: None,
            outbound: None,
        };
        (host, ends)
    }

    /// Puts a bad wire between switch and host: `inbound` for what the host receives, `outbound`
    /// for what it sends.
    pub fn set_faults(&mut self, inbound: Option<Fault>, outbound: Option<Fault>) {
        self.inbound = inbound;
        self.outbound = outbound;
    }

    /// The wires, for their counts.
    pub const fn faults(&self) -> (Option<&Fault>, Option<&Fault>) {
        (self.inbound.as_ref(), self.outbound.as_ref())
    }

    /// The port that the host sits behind: its capacity, its death.
    pub const fn port(&self) -> &MemoryPort {
        &self.port
    }

    /// The host's configuration.
    pub const fn config(&self) -> &StackConfig {
        &self.cfg
    }

    /// Receives, works, sends. Returns how many frames moved in either direction.
    pub fn poll(&mut self, now: Instant) -> usize {
        let mut arrived = self.port.take();
        if let Some(wire) = &mut self.inbound {
            arrived.into_iter().for_each(|f| wire.push(now, f));
            arrived = std::iter::from_fn(|| wire.pop(now)).collect();
        }
        let mut moved = arrived.len();
        for f in arrived {
            // What can't be finished is what a host could not have received.
            let _ = segment(f.bytes(), &f.hdr, Caps::NONE, |_, parts| {
                let bytes = join(parts);
                if !self.acks.hides(&bytes, &self.sockets) {
                    self.device.rx.push_back(bytes);
                }
                Ok::<(), SegmentError>(())
            });
        }
        self.iface
            .poll(smol(now), &mut self.device, &mut self.sockets);
        let said = std::mem::take(&mut self.device.tx);
        let mut frames: Vec<Frame> = said.iter().map(|b| Frame::from_bytes(b)).collect();
        if let Some(wire) = &mut self.outbound {
            frames.into_iter().for_each(|f| wire.push(now, f));
            frames = std::iter::from_fn(|| wire.pop(now)).collect();
        }
        moved += frames.len();
        self.say(&frames);
        moved
    }

    fn say(&mut self, frames: &[Frame]) {
        let caps = if self.cfg.offload {
            Caps::ALL
        } else {
            Caps::NONE
        };
        let (port, rng, steer) = (&self.port, &mut self.rng, self.cfg.steer);
        let queues = port.queues() as u64;
        self.coalescer
            .flush(caps, frames.len(), frame_at(frames), |w| {
                let queue = match steer {
                    Steer::Queue(q) => q,
                    Steer::Random => rng.below(queues) as usize,
                };
                port.push_frame(queue, Frame::with_hdr(&join(w.parts), w.hdr));
            });
    }

    /// How long nothing will happen here unless a frame comes in: `Some(0)` asks for a poll now,
    /// `None` says that nothing is planned.
    pub fn poll_delay(&mut self, now: Instant) -> Option<Duration> {
        let wires = [&self.inbound, &self.outbound];
        let wire = wires
            .iter()
            .filter_map(|w| w.as_ref()?.next_at())
            .min()
            .map(|at| at.since(now));
        let stack = self
            .iface
            .poll_delay(smol(now), &self.sockets)
            .map(|d| Duration::from_micros(d.total_micros()));
        [wire, stack].into_iter().flatten().min()
    }

    /// The sockets, for what the helpers below don't cover.
    pub const fn sockets(&mut self) -> &mut SocketSet<'static> {
        &mut self.sockets
    }

    /// A TCP socket of this host.
    ///
    /// # Panics
    /// On a handle that is not a TCP socket's of this host, as `smoltcp` does.
    pub fn tcp(&mut self, h: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(h)
    }

    /// A UDP socket of this host.
    ///
    /// # Panics
    /// On a handle that is not a UDP socket's of this host, as `smoltcp` does.
    pub fn udp(&mut self, h: SocketHandle) -> &mut udp::Socket<'static> {
        self.sockets.get_mut(h)
    }

    fn new_tcp(&self) -> tcp::Socket<'static> {
        let room = || tcp::SocketBuffer::new(vec![0; self.cfg.buffer.max(1)]);
        tcp::Socket::new(room(), room())
    }

    /// Listens with `backlog` sockets; each accepted one is replaced.
    ///
    /// # Errors
    /// Port 0.
    pub fn listen(&mut self, port: u16, backlog: usize) -> Result<(), StackError> {
        for _ in 0..backlog.max(1) {
            let mut s = self.new_tcp();
            s.listen(port).map_err(StackError::Listen)?;
            let h = self.sockets.add(s);
            self.listeners.entry(port).or_default().push(h);
        }
        Ok(())
    }

    /// A connection to `port` whose handshake is done. A socket whose peer gave up before that
    /// listens again by itself.
    pub fn accept(&mut self, port: u16) -> Option<SocketHandle> {
        let list = self.listeners.get(&port)?;
        let at = list.iter().position(|&h| {
            let state = self.sockets.get::<tcp::Socket<'_>>(h).state();
            !matches!(state, tcp::State::Listen | tcp::State::SynReceived)
        })?;
        let mut fresh = self.new_tcp();
        // The first `listen` by this port succeeded.
        fresh.listen(port).ok()?;
        let fresh = self.sockets.add(fresh);
        let slot = self.listeners.get_mut(&port)?.get_mut(at)?;
        Some(std::mem::replace(slot, fresh))
    }

    /// Begins a connection from `local_port` of this host.
    ///
    /// # Errors
    /// Port 0 or an unspecified address on either side.
    pub fn connect(
        &mut self,
        to: SocketAddrV4,
        local_port: u16,
    ) -> Result<SocketHandle, StackError> {
        let mut s = self.new_tcp();
        let remote = (IpAddress::Ipv4(*to.ip()), to.port());
        let local = (IpAddress::Ipv4(self.cfg.ip), local_port);
        s.connect(self.iface.context(), remote, local)
            .map_err(StackError::Connect)?;
        Ok(self.sockets.add(s))
    }

    /// Gives bytes to a connection; returns how many it took (0 when it can't send).
    pub fn send(&mut self, h: SocketHandle, data: &[u8]) -> usize {
        self.tcp(h).send_slice(data).unwrap_or(0)
    }

    /// Appends what has come in to `to`; returns the number of bytes.
    pub fn recv(&mut self, h: SocketHandle, to: &mut Vec<u8>) -> usize {
        let mut n = 0;
        let s = self.tcp(h);
        // The buffer is a ring: what is there may come in two pieces.
        while s.can_recv() {
            let got = s.recv(|b| {
                to.extend_from_slice(b);
                (b.len(), b.len())
            });
            n += got.unwrap_or(0);
        }
        n
    }

    /// The state of a connection.
    pub fn state(&mut self, h: SocketHandle) -> tcp::State {
        self.tcp(h).state()
    }

    /// Sends FIN after what is queued.
    pub fn close(&mut self, h: SocketHandle) {
        self.tcp(h).close();
    }

    /// Forgets a socket. An open connection is not reset: its peer never hears of it.
    pub fn remove(&mut self, h: SocketHandle) {
        self.sockets.remove(h);
        self.removed += 1;
        if self.removed.is_multiple_of(1_024) {
            self.acks.prune(&self.sockets);
        }
    }

    /// A UDP socket with room for `packets` packets of up to the MTU in each direction.
    ///
    /// # Errors
    /// Port 0.
    pub fn bind_udp(&mut self, port: u16, packets: usize) -> Result<SocketHandle, StackError> {
        let packets = packets.max(1);
        let bytes = packets * self.cfg.mtu;
        let room = || {
            let meta = vec![udp::PacketMetadata::EMPTY; packets];
            udp::PacketBuffer::new(meta, vec![0; bytes])
        };
        let mut s = udp::Socket::new(room(), room());
        s.bind(port).map_err(StackError::Bind)?;
        Ok(self.sockets.add(s))
    }

    /// Queues a datagram; false when there is no room or no such destination.
    pub fn send_to(&mut self, h: SocketHandle, data: &[u8], to: SocketAddrV4) -> bool {
        let to = IpEndpoint::new(IpAddress::Ipv4(*to.ip()), to.port());
        self.udp(h).send_slice(data, to).is_ok()
    }

    /// The next datagram and where it came from.
    pub fn recv_from(&mut self, h: SocketHandle) -> Option<(Vec<u8>, SocketAddrV4)> {
        let (data, meta) = self.udp(h).recv().ok()?;
        let IpAddress::Ipv4(ip) = meta.endpoint.addr;
        Some((data.to_vec(), SocketAddrV4::new(ip, meta.endpoint.port)))
    }
}

fn frame_at<'a>(frames: &'a [Frame]) -> impl Fn(usize) -> &'a Frame {
    // The coalescer asks for indexes below the count only.
    move |i| &frames[i]
}

const fn smol(now: Instant) -> SmolInstant {
    SmolInstant::from_micros_const((now.0 / 1_000) as i64)
}

#[cfg(test)]
#[path = "stack_tests.rs"]
mod tests;
