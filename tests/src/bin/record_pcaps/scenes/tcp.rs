//! TCP, by the kernel's own stack at both ends.

use crate::lab::{Lab, PUBLIC, Result, accept, connect, listen, settle, tcp_socket};
use crate::wire::{GATEWAY, Gate, OUTSIDE, PUBLISHED, UPLINK, WEB};
use nix::sys::socket::SockaddrIn;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// A request and its answer, then the client closes first.
fn talk(mut client: TcpStream, mut server: TcpStream) -> Result<()> {
    say(&mut client, &mut server, b"GET / HTTP/1.0\r\n\r\n")?;
    say(&mut server, &mut client, b"HTTP/1.0 200 OK\r\n\r\nhello\n")?;
    client.shutdown(Shutdown::Write)?;
    finish(client, server)
}

fn say(from: &mut TcpStream, to: &mut TcpStream, words: &[u8]) -> Result<()> {
    from.write_all(words)?;
    let mut got = vec![0; words.len()];
    to.read_exact(&mut got)?;
    if got != words {
        return Err("other bytes than were sent".into());
    }
    settle();
    Ok(())
}

/// Closes the second once it has seen the end of the first.
fn finish(first: TcpStream, mut second: TcpStream) -> Result<()> {
    let n = second.read(&mut [0; 16])?;
    if n != 0 {
        return Err("bytes behind the end".into());
    }
    settle();
    drop(second);
    settle();
    drop(first);
    Ok(())
}

fn published(lab: &Lab) -> Result<(TcpStream, TcpStream)> {
    let l = listen(&lab.web, ANY, PUBLISHED)?;
    let client = connect(&lab.out, 40_000, PUBLIC)?;
    let server = accept(&l)?;
    settle();
    Ok((client, server))
}

pub fn bridged(lab: &Lab) -> Result<()> {
    let l = listen(&lab.web, ANY, PUBLISHED)?;
    let client = connect(&lab.db, 40_001, (WEB, PUBLISHED))?;
    talk(client, accept(&l)?)
}

/// The host to a container, and a container to a service of the host on the gateway's address.
pub fn host(lab: &Lab) -> Result<()> {
    let l = listen(&lab.web, ANY, PUBLISHED)?;
    let client = connect(&lab.host, 40_002, (WEB, PUBLISHED))?;
    talk(client, accept(&l)?)?;
    let l = listen(&lab.host, ANY, 53)?;
    let client = connect(&lab.web, 40_003, (GATEWAY, 53))?;
    talk(client, accept(&l)?)
}

pub fn dnat(lab: &Lab) -> Result<()> {
    let (client, server) = published(lab)?;
    talk(client, server)
}

pub fn masquerade(lab: &Lab) -> Result<()> {
    let l = listen(&lab.out, ANY, 80)?;
    let client = connect(&lab.web, 40_004, (OUTSIDE, 80))?;
    talk(client, accept(&l)?)
}

/// A container by the external address to another, and to itself.
pub fn hairpin(lab: &Lab) -> Result<()> {
    let l = listen(&lab.web, ANY, PUBLISHED)?;
    let client = connect(&lab.db, 40_005, PUBLIC)?;
    talk(client, accept(&l)?)?;
    let client = connect(&lab.web, 40_006, PUBLIC)?;
    talk(client, accept(&l)?)
}

pub fn close_server(lab: &Lab) -> Result<()> {
    let (mut client, mut server) = published(lab)?;
    say(&mut client, &mut server, b"name?\n")?;
    say(&mut server, &mut client, b"web\n")?;
    server.shutdown(Shutdown::Write)?;
    finish(server, client)
}

pub fn close_simultaneous(lab: &Lab) -> Result<()> {
    let (mut client, mut server) = published(lab)?;
    say(&mut client, &mut server, b"and now both at once\n")?;
    lab.wire.held(|| -> Result<()> {
        client.shutdown(Shutdown::Write)?;
        server.shutdown(Shutdown::Write)?;
        Ok(())
    })?;
    settle();
    if client.read(&mut [0; 1])? != 0 || server.read(&mut [0; 1])? != 0 {
        return Err("bytes behind the end".into());
    }
    Ok(())
}

/// The client ends its direction, the server goes on for a while.
pub fn half_close(lab: &Lab) -> Result<()> {
    let (mut client, mut server) = published(lab)?;
    say(&mut client, &mut server, b"all of it, please\n")?;
    client.shutdown(Shutdown::Write)?;
    settle();
    for part in [&b"first part\n"[..], b"second part\n", b"last part\n"] {
        say(&mut server, &mut client, part)?;
    }
    drop(server);
    settle();
    Ok(())
}

/// Both ends connect to each other at the same moment (RFC 9293 section 3.5).
pub fn open_simultaneous(lab: &Lab) -> Result<()> {
    let inside = tcp_socket(&lab.web, 40_007)?;
    let outside = tcp_socket(&lab.out, 40_008)?;
    let connect = |fd: &std::os::fd::OwnedFd, ip, port| {
        let to = SockaddrIn::from(SocketAddrV4::new(ip, port));
        nix::sys::socket::connect(fd.as_raw_fd(), &to)
    };
    // ARP first, so that only the two SYN wait.
    let warm = crate::lab::udp(&lab.out, ANY, 40_009)?;
    warm.send_to(b"hello", (UPLINK, 40_010))?;
    let warm = crate::lab::udp(&lab.web, ANY, 40_011)?;
    warm.send_to(b"hello", (OUTSIDE, 40_012))?;
    settle();
    std::thread::scope(|s| -> Result<()> {
        let (a, b) = lab.wire.held(|| {
            let a = s.spawn(|| connect(&inside, OUTSIDE, 40_008));
            let b = s.spawn(|| connect(&outside, UPLINK, 40_007));
            std::thread::sleep(std::time::Duration::from_millis(30));
            (a, b)
        });
        a.join().map_err(|_| "thread")??;
        b.join().map_err(|_| "thread")??;
        Ok(())
    })?;
    let (mut a, mut b) = (TcpStream::from(inside), TcpStream::from(outside));
    say(&mut a, &mut b, b"so we met\n")?;
    a.shutdown(Shutdown::Write)?;
    finish(a, b)
}

/// SO_LINGER with zero seconds: the close is a RST. Each side once.
pub fn reset_linger(lab: &Lab) -> Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let l = listen(&lab.web, ANY, PUBLISHED)?;
    for (port, by_client) in [(40_013, true), (40_014, false)] {
        let mut client = connect(&lab.out, port, PUBLIC)?;
        let mut server = accept(&l)?;
        say(&mut client, &mut server, b"this ends badly\n")?;
        let (resetting, other) = if by_client {
            (client, server)
        } else {
            (server, client)
        };
        nix::sys::socket::setsockopt(&resetting, nix::sys::socket::sockopt::Linger, &linger)?;
        drop(resetting);
        settle();
        drop(other);
    }
    Ok(())
}

/// Nobody listens: inside a container behind a published port, and outside.
pub fn reset_closed_port(lab: &Lab) -> Result<()> {
    for (ns, port, to) in [
        (&lab.out, 40_015, PUBLIC),
        (&lab.web, 40_016, (OUTSIDE, 81)),
    ] {
        if connect(ns, port, to).is_ok() {
            return Err("connected to a closed port".into());
        }
    }
    Ok(())
}

/// The first SYN, a segment with data and a FIN are lost behind the switch and sent again.
pub fn retransmission(lab: &Lab) -> Result<()> {
    let mut seen = [0; 3];
    lab.wire.gate(move |port, b| {
        if port != "uplink" || b.len() < 54 || b[12..14] != [8, 0] || b[23] != 6 {
            return Gate::Pass;
        }
        let data =
            usize::from(u16::from_be_bytes([b[16], b[17]])) - 20 - usize::from(b[46] >> 4) * 4;
        let kind = match b[47] {
            f if f & 2 != 0 => 0,
            f if f & 1 != 0 => 2,
            _ if data > 0 => 1,
            _ => return Gate::Pass,
        };
        seen[kind] += 1;
        if seen[kind] == 1 {
            Gate::Lose
        } else {
            Gate::Pass
        }
    });
    let (client, server) = published(lab)?;
    talk(client, server)
}

/// The second and third of four segments change places on the client's wire.
pub fn out_of_order(lab: &Lab) -> Result<()> {
    let mut count = 0;
    lab.wire.gate(move |port, b| {
        let data = port == "uplink" && b.len() > 1000;
        count += i32::from(data);
        if data && count == 2 {
            Gate::Swap
        } else {
            Gate::Pass
        }
    });
    let (mut client, mut server) = published(lab)?;
    let words: Vec<u8> = (0..4 * 1448).map(|i| (i % 251) as u8).collect();
    say(&mut client, &mut server, &words)?;
    client.shutdown(Shutdown::Write)?;
    finish(client, server)
}
