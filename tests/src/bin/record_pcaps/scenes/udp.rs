//! UDP.

use crate::lab::{Lab, PUBLIC, Result, as_udp, datagram, settle, udp};
use crate::wire::{DB, GATEWAY, OUTSIDE, PUBLISHED, WEB};
use nix::sys::socket::sockopt::{BindToDevice, Broadcast, ReuseAddr};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn echo(client: &UdpSocket, server: &UdpSocket, to: (Ipv4Addr, u16), words: &[u8]) -> Result<()> {
    client.send_to(words, to)?;
    let (n, from) = datagram(server)?;
    server.send_to(words, from)?;
    if n != words.len() || datagram(client)?.0 != n {
        return Err("other bytes than were sent".into());
    }
    settle();
    Ok(())
}

/// Bridged, to the host, published, hairpin and masqueraded.
pub fn exchange(lab: &Lab) -> Result<()> {
    let web = udp(&lab.web, ANY, PUBLISHED)?;
    let db = udp(&lab.db, ANY, 40_030)?;
    echo(&db, &web, (WEB, PUBLISHED), b"bridged")?;
    let host = udp(&lab.host, ANY, 53)?;
    echo(&db, &host, (GATEWAY, 53), b"to the host")?;
    let out = udp(&lab.out, ANY, 40_031)?;
    echo(&out, &web, PUBLIC, b"published")?;
    echo(&db, &web, PUBLIC, b"hairpin")?;
    let web = udp(&lab.web, ANY, 40_032)?;
    let server = udp(&lab.out, ANY, 123)?;
    echo(&web, &server, (OUTSIDE, 123), b"masqueraded")?;
    // And one that is broadcast to the subnet.
    web.set_broadcast(true)?;
    web.send_to(b"to all", (Ipv4Addr::new(10, 0, 0, 255), 9))?;
    Ok(())
}

/// Nobody listens: ICMP port unreachable from inside, from outside, and from a neighbour.
pub fn closed_port(lab: &Lab) -> Result<()> {
    let out = udp(&lab.out, ANY, 40_033)?;
    out.send_to(b"knock", PUBLIC)?;
    settle();
    let web = udp(&lab.web, ANY, 40_034)?;
    web.send_to(b"knock", (OUTSIDE, 40_035))?;
    settle();
    web.send_to(b"knock", (DB, 40_036))?;
    settle();
    Ok(())
}

/// A socket for port `port` that speaks by `eth0` whether it has an address or not.
fn broadcaster(ns: &control::netns::Netns, port: u16) -> Result<UdpSocket> {
    let fd = ns.run(|| {
        socket(
            AddressFamily::Inet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
    })??;
    setsockopt(&fd, ReuseAddr, &true)?;
    setsockopt(&fd, Broadcast, &true)?;
    setsockopt(&fd, BindToDevice, &"eth0".into())?;
    bind(
        fd.as_raw_fd(),
        &SockaddrIn::from(SocketAddrV4::new(ANY, port)),
    )?;
    let s = as_udp(fd);
    s.set_read_timeout(Some(std::time::Duration::from_secs(3)))?;
    Ok(s)
}

/// A DHCP message (RFC 2131): `op` 1 asks, 2 answers; `kind` is option 53.
fn dhcp_message(op: u8, kind: u8, yours: Ipv4Addr, server: Ipv4Addr) -> Vec<u8> {
    let mut m = vec![op, 1, 6, 0, 0x5a, 0x17, 0xc4, 0xd1, 0, 0, 0x80, 0];
    m.extend(ANY.octets());
    m.extend(yours.octets());
    m.extend(server.octets());
    m.extend(ANY.octets());
    m.extend(dataplane::base::Mac::from_ip(WEB).0);
    m.resize(236, 0);
    m.extend([99, 130, 83, 99, 53, 1, kind]);
    if op == 2 || kind == 3 {
        m.extend([54, 4]);
        m.extend(DB.octets());
    }
    if op == 2 {
        m.extend([51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 255, 0, 3, 4]);
        m.extend(GATEWAY.octets());
    } else if kind == 3 {
        m.extend([50, 4]);
        m.extend(WEB.octets());
    }
    m.push(255);
    m.resize(300, 0);
    m
}

/// Discover, offer, request and acknowledgement, all broadcast: `web` has no address yet, `db`
/// serves.
pub fn dhcp(lab: &Lab) -> Result<()> {
    let client = broadcaster(&lab.web, 68)?;
    let server = broadcaster(&lab.db, 67)?;
    for (ask, answer) in [(1, 2), (3, 5)] {
        client.send_to(&dhcp_message(1, ask, ANY, ANY), (Ipv4Addr::BROADCAST, 67))?;
        datagram(&server)?;
        server.send_to(&dhcp_message(2, answer, WEB, DB), (Ipv4Addr::BROADCAST, 68))?;
        datagram(&client)?;
    }
    Ok(())
}
