//! The stacks: a namespace for each party, with a TAP whose other end is the wire.

use super::file::{Ports, Record};
use super::wire::{DB, GATEWAY, OUTSIDE, UPLINK, WEB, Wire};
use control::netlink::{Address, LinkChange, Netlink, Real, Route};
use control::netns::Netns;
use dataplane::base::Mac;
use dataplane::port::PortQueue;
use dataplane::port::sys::tap::{self, Offload};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::Duration;

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Address of the router `out` in the network behind it, and of the host there.
pub const NEAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

/// How a lab differs from the usual one.
#[derive(Clone, Copy, Default)]
pub struct Setup {
    /// TAPs with offloads: superframes and partial checksums.
    pub offload: bool,
    /// Record with this VLAN tag.
    pub vid: Option<u16>,
    /// `web` has no address yet.
    pub unaddressed: bool,
    /// MTU of the link behind the outside router.
    pub far_mtu: Option<u32>,
}

/// Everything, running.
pub struct Lab {
    pub web: Netns,
    pub db: Netns,
    pub host: Netns,
    pub out: Netns,
    _far: Netns,
    pub wire: Wire,
}

/// The ports of each capture.
pub const PORTS: &Ports = &[
    ("sw0", Mac::from_ip(GATEWAY), Some(GATEWAY)),
    ("web", Mac::from_ip(WEB), Some(WEB)),
    ("db", Mac::from_ip(DB), Some(DB)),
    ("uplink", Mac::from_ip(OUTSIDE), Some(OUTSIDE)),
];

/// Writes a file under /proc/sys/net of the namespace.
pub fn sysctl(ns: &Netns, name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{name}");
    ns.run(|| std::fs::write(&path, value))?
        .map_err(|e| format!("{path}: {e}").into())
}

fn change(nl: &mut Real, name: &str, c: &LinkChange<'_>) -> Result<u32> {
    let index = nl
        .link(name)?
        .ok_or_else(|| format!("no interface {name}"))?
        .index;
    nl.change_link(index, c)?;
    Ok(index)
}

fn party(
    ip: Ipv4Addr,
    route: Option<Ipv4Addr>,
    addressed: bool,
    offload: Offload,
) -> Result<(Netns, Box<dyn PortQueue>)> {
    let ns = Netns::create()?;
    sysctl(&ns, "ipv6/conf/all/disable_ipv6", "1")?;
    sysctl(&ns, "ipv6/conf/default/disable_ipv6", "1")?;
    sysctl(&ns, "ipv4/tcp_congestion_control", "reno")?;
    let device = ns.run(|| tap::create("eth0", 1, offload))??;
    let mut nl = Real::inside(&ns)?;
    change(
        &mut nl,
        "lo",
        &LinkChange {
            up: Some(true),
            ..LinkChange::default()
        },
    )?;
    let c = LinkChange {
        mac: Some(Mac::from_ip(ip)),
        up: Some(true),
        txqlen: Some(1000),
        ..LinkChange::default()
    };
    let index = change(&mut nl, "eth0", &c)?;
    if addressed {
        nl.add_address(&Address {
            index,
            ip,
            prefix: 24,
        })?;
        if let Some(via) = route {
            nl.add_route(&Route::default_via(via, index))?;
        }
    }
    let queue = device.into_queues().pop().ok_or("a TAP without a queue")?;
    Ok((ns, queue))
}

impl Lab {
    pub fn new(setup: Setup) -> Result<Lab> {
        let offload = if setup.offload {
            Offload::AUTO
        } else {
            Offload::NONE
        };
        let (host, q0) = party(GATEWAY, None, true, offload)?;
        let (web, q1) = party(WEB, Some(GATEWAY), !setup.unaddressed, offload)?;
        let (db, q2) = party(DB, Some(GATEWAY), true, offload)?;
        let (out, q3) = party(OUTSIDE, None, true, offload)?;
        let far = Netns::create()?;
        behind(&out, &far, setup.far_mtu)?;
        // Every error is answered, not one a second.
        sysctl(&out, "ipv4/icmp_ratemask", "0")?;
        sysctl(&web, "ipv4/icmp_ratemask", "0")?;
        let queues = vec![("sw0", q0), ("web", q1), ("db", q2), ("uplink", q3)];
        let wire = Wire::start(queues, setup.vid);
        Ok(Lab {
            web,
            db,
            host,
            out,
            _far: far,
            wire,
        })
    }

    /// Ends everything and gives what was recorded.
    pub fn finish(self) -> Vec<Record> {
        self.wire.finish()
    }
}

/// A network behind `out`, which routes to it.
fn behind(out: &Netns, far: &Netns, mtu: Option<u32>) -> Result<()> {
    sysctl(out, "ipv4/ip_forward", "1")?;
    // Else the router would tell `web`'s side to ask others.
    sysctl(out, "ipv4/conf/all/send_redirects", "0")?;
    sysctl(far, "ipv6/conf/all/disable_ipv6", "1")?;
    let mut nl = Real::inside(out)?;
    nl.create_veth("far0", "far1")?;
    let moved = LinkChange {
        netns: Some(std::os::fd::AsFd::as_fd(far)),
        up: Some(true),
        mtu,
        ..LinkChange::default()
    };
    change(&mut nl, "far1", &moved)?;
    let index = change(
        &mut nl,
        "far0",
        &LinkChange {
            up: Some(true),
            mtu,
            ..LinkChange::default()
        },
    )?;
    nl.add_address(&Address {
        index,
        ip: NEAR,
        prefix: 24,
    })?;
    let mut nl = Real::inside(far)?;
    let index = change(
        &mut nl,
        "far1",
        &LinkChange {
            up: Some(true),
            ..LinkChange::default()
        },
    )?;
    nl.add_address(&Address {
        index,
        ip: FAR,
        prefix: 24,
    })?;
    nl.add_route(&Route::default_via(NEAR, index))?;
    Ok(())
}

/// A second address of the interface `eth0`.
pub fn add_address(ns: &Netns, ip: Ipv4Addr) -> Result<()> {
    let mut nl = Real::inside(ns)?;
    let index = nl.link("eth0")?.ok_or("no eth0")?.index;
    Ok(nl.add_address(&Address {
        index,
        ip,
        prefix: 24,
    })?)
}

/// Takes the interface `eth0` down and up again.
pub fn flap(ns: &Netns) -> Result<()> {
    let mut nl = Real::inside(ns)?;
    for up in [false, true] {
        change(
            &mut nl,
            "eth0",
            &LinkChange {
                up: Some(up),
                ..LinkChange::default()
            },
        )?;
    }
    Ok(())
}

pub fn listen(ns: &Netns, ip: Ipv4Addr, port: u16) -> Result<TcpListener> {
    Ok(ns.run(|| TcpListener::bind((ip, port)))??)
}

/// A connected socket, from `port` (0: any).
pub fn connect(ns: &Netns, port: u16, to: (Ipv4Addr, u16)) -> Result<TcpStream> {
    let fd = tcp_socket(ns, port)?;
    let addr = SockaddrIn::from(SocketAddrV4::new(to.0, to.1));
    nix::sys::socket::connect(fd.as_raw_fd(), &addr)?;
    let s = TcpStream::from(fd);
    s.set_read_timeout(Some(Duration::from_secs(8)))?;
    s.set_nodelay(true)?;
    Ok(s)
}

/// A socket that is bound and not connected yet.
pub fn tcp_socket(ns: &Netns, port: u16) -> Result<OwnedFd> {
    let fd = ns.run(|| {
        socket(
            AddressFamily::Inet,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
    })??;
    nix::sys::socket::setsockopt(&fd, nix::sys::socket::sockopt::ReuseAddr, &true)?;
    if port != 0 {
        nix::sys::socket::bind(
            fd.as_raw_fd(),
            &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)),
        )?;
    }
    Ok(fd)
}

pub fn accept(l: &TcpListener) -> Result<TcpStream> {
    let (s, _) = l.accept()?;
    s.set_read_timeout(Some(Duration::from_secs(8)))?;
    s.set_nodelay(true)?;
    Ok(s)
}

pub fn udp(ns: &Netns, ip: Ipv4Addr, port: u16) -> Result<UdpSocket> {
    let s = ns.run(|| UdpSocket::bind((ip, port)))??;
    s.set_read_timeout(Some(Duration::from_secs(4)))?;
    Ok(s)
}

/// Receives one datagram.
pub fn datagram(s: &UdpSocket) -> Result<(usize, SocketAddr)> {
    let mut b = vec![0; 65_536];
    Ok(s.recv_from(&mut b)?)
}

/// Sends IP packets as they are (the kernel fills in checksum, length and an absent id).
pub fn raw_ip(ns: &Netns, packet: &[u8]) -> Result<()> {
    let fd = ns.run(|| {
        socket(
            AddressFamily::Inet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::Raw,
        )
    })??;
    let dst = Ipv4Addr::new(packet[16], packet[17], packet[18], packet[19]);
    let to = SockaddrIn::from(SocketAddrV4::new(dst, 0));
    sendto(
        fd.as_raw_fd(),
        packet,
        &to,
        nix::sys::socket::MsgFlags::empty(),
    )?;
    Ok(())
}

/// A socket that sends and receives ICMP messages.
pub fn icmp(ns: &Netns) -> Result<OwnedFd> {
    let fd = ns.run(|| {
        socket(
            AddressFamily::Inet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::Icmp,
        )
    })??;
    let t = nix::sys::time::TimeVal::new(2, 0);
    nix::sys::socket::setsockopt(&fd, nix::sys::socket::sockopt::ReceiveTimeout, &t)?;
    Ok(fd)
}

/// The descriptor as a socket of the standard library, for its options.
pub fn as_udp(fd: OwnedFd) -> UdpSocket {
    // SAFETY: the descriptor is owned and given away here.
    unsafe { UdpSocket::from_raw_fd(fd.into_raw_fd()) }
}

/// Has a socket send with don't-fragment and give an error for what is too long.
pub fn never_fragment(s: &UdpSocket) -> Result<()> {
    let value = libc::IP_PMTUDISC_DO;
    let len = size_of_val(&value) as libc::socklen_t;
    let pointer = (&raw const value).cast();
    // SAFETY: the pointer is to `len` bytes that live for the call, and the descriptor is open.
    let r = unsafe {
        libc::setsockopt(
            s.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            pointer,
            len,
        )
    };
    nix::errno::Errno::result(r)?;
    Ok(())
}

/// Waits a moment, for the stacks to say what they have to.
pub fn settle() {
    std::thread::sleep(Duration::from_millis(60));
}

/// The switch's external address with a published port.
pub const PUBLIC: (Ipv4Addr, u16) = (UPLINK, super::wire::PUBLISHED);
