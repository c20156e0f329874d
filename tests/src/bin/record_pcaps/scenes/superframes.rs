//! Superframes and partial checksums, as TAPs with offloads give them.

use crate::lab::{Lab, PUBLIC, Result, accept, connect, datagram, listen, settle};
use crate::wire::{OUTSIDE, PUBLISHED, WEB};
use nix::sys::socket::sockopt::UdpGsoSegment;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn transfer(mut client: TcpStream, mut server: TcpStream, bytes: usize) -> Result<()> {
    let words: Vec<u8> = (0..bytes).map(|i| (i % 249) as u8).collect();
    client.write_all(&words)?;
    let mut got = vec![0; bytes];
    server.read_exact(&mut got)?;
    if got != words {
        return Err("other bytes than were sent".into());
    }
    client.shutdown(Shutdown::Write)?;
    if server.read(&mut [0; 1])? != 0 {
        return Err("bytes behind the end".into());
    }
    settle();
    drop(server);
    settle();
    Ok(())
}

/// 7,000 bytes each: bridged, published, masqueraded.
pub fn tcp(lab: &Lab) -> Result<()> {
    let l = listen(&lab.web, ANY, PUBLISHED)?;
    let c = connect(&lab.db, 40_060, (WEB, PUBLISHED))?;
    transfer(c, accept(&l)?, 7000)?;
    let c = connect(&lab.out, 40_061, PUBLIC)?;
    transfer(c, accept(&l)?, 7000)?;
    let l = listen(&lab.out, ANY, 80)?;
    let c = connect(&lab.web, 40_062, (OUTSIDE, 80))?;
    transfer(c, accept(&l)?, 7000)
}

/// Five datagrams of 800 bytes and a shorter one in one write (`UDP_SEGMENT`): bridged,
/// published, masqueraded.
pub fn udp(lab: &Lab) -> Result<()> {
    let web = crate::lab::udp(&lab.web, ANY, PUBLISHED)?;
    let out = crate::lab::udp(&lab.out, ANY, 123)?;
    let words: Vec<u8> = (0..4100).map(|i| (i % 247) as u8).collect();
    for (ns, port, to, receiver) in [
        (&lab.db, 40_063, (WEB, PUBLISHED), &web),
        (&lab.out, 40_064, PUBLIC, &web),
        (&lab.web, 40_065, (OUTSIDE, 123), &out),
    ] {
        let s = crate::lab::udp(ns, ANY, port)?;
        // ARP and the first packet of the connection go ahead.
        s.send_to(b"hello", to)?;
        datagram(receiver)?;
        settle();
        nix::sys::socket::setsockopt(&s, UdpGsoSegment, &800)?;
        s.send_to(&words, to)?;
        for _ in 0..6 {
            datagram(receiver)?;
        }
        settle();
    }
    Ok(())
}
