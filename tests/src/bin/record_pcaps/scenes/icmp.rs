//! ICMP.

use crate::lab::{
    FAR, Lab, PUBLIC, Result, datagram, icmp, never_fragment, raw_ip, settle, sysctl, udp,
};
use crate::packet;
use crate::wire::{DB, GATEWAY, OUTSIDE, PUBLISHED, UPLINK, WEB};
use dataplane::frame::VnetHdr;
use nix::sys::socket::{MsgFlags, SockaddrIn, recv, sendto};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// Sends an echo request by the kernel and waits for an answer where one is expected.
fn ping(lab: &Lab, to: Ipv4Addr, id: u16, answered: bool) -> Result<()> {
    let fd = icmp(&lab.web)?;
    let [hi, lo] = id.to_be_bytes();
    let message = packet::icmp(WEB, to, 8, 0, [hi, lo, 0, 1], b"abcdefghijklmnopqrstuvw").payload;
    sendto(
        fd.as_raw_fd(),
        &message,
        &SockaddrIn::from(SocketAddrV4::new(to, 0)),
        MsgFlags::empty(),
    )?;
    if answered {
        recv(fd.as_raw_fd(), &mut [0; 128], MsgFlags::empty())?;
    }
    settle();
    Ok(())
}

/// To the gateway and the uplink address (which the switch answers), to a neighbour, outside.
pub fn echo(lab: &Lab) -> Result<()> {
    ping(lab, GATEWAY, 0x5001, false)?;
    ping(lab, UPLINK, 0x5002, false)?;
    ping(lab, DB, 0x5003, true)?;
    ping(lab, OUTSIDE, 0x5004, true)?;
    let request = packet::icmp(OUTSIDE, UPLINK, 8, 0, [0x50, 5, 0, 1], b"from outside");
    lab.wire.by_hand(
        "uplink",
        request.frame(UPLINK),
        VnetHdr::PLAIN,
        "echo request to the uplink address",
    );
    let reply = packet::icmp(OUTSIDE, UPLINK, 0, 0, [0x50, 6, 0, 1], b"unasked");
    lab.wire.by_hand(
        "uplink",
        reply.frame(UPLINK),
        VnetHdr::PLAIN,
        "echo reply that nobody asked for",
    );
    let stamp = packet::icmp(WEB, GATEWAY, 13, 0, [0, 0, 0, 1], &[0; 12]);
    lab.wire.by_hand(
        "web",
        stamp.frame(GATEWAY),
        VnetHdr::PLAIN,
        "timestamp request: for the host",
    );
    Ok(())
}

/// Port, host and network unreachable, from the kernels that found it out.
pub fn unreachable(lab: &Lab) -> Result<()> {
    let s = udp(&lab.web, ANY, 40_050)?;
    s.send_to(b"closed port", (FAR, 9))?;
    settle();
    s.send_to(b"no such network", (Ipv4Addr::new(203, 0, 113, 9), 9))?;
    settle();
    s.send_to(b"no such host", (Ipv4Addr::new(198, 51, 100, 99), 9))
        .ok();
    // The router gives up after three questions.
    std::thread::sleep(std::time::Duration::from_millis(3500));
    Ok(())
}

/// A link with MTU 1280 behind the outside router: UDP and TCP learn of it.
pub fn frag_needed(lab: &Lab) -> Result<()> {
    let s = udp(&lab.web, ANY, 40_051)?;
    never_fragment(&s)?;
    s.send_to(&[0x42; 1400], (FAR, 9))?;
    settle();
    // The second is refused by web's own kernel, which has learned.
    let _ = s.send_to(&[0x42; 1400], (FAR, 9));
    s.send_to(&[0x42; 1200], (FAR, 9)).ok();
    settle();
    Ok(())
}

/// Time to live 1 (runs out at the switch), 2 (at the router) and 3 (arrives), for UDP, TCP-less
/// traceroute's way; then fragments whose rest never comes (code 1).
pub fn time_exceeded(lab: &Lab) -> Result<()> {
    let s = udp(&lab.web, ANY, 40_052)?;
    for ttl in 1..=3 {
        s.set_ttl(ttl)?;
        s.send_to(b"traceroute", (FAR, 33_434))?;
        settle();
        // The error that came back is read off the socket.
        let _ = s.take_error();
    }
    sysctl(&lab.web, "ipv4/ipfrag_time", "1")?;
    // web holds this half datagram, then tells the sender.
    let server = udp(&lab.web, ANY, PUBLISHED)?;
    let client = udp(&lab.out, ANY, 40_053)?;
    client.send_to(b"whole", PUBLIC)?;
    datagram(&server)?;
    let mut half = packet::udp((OUTSIDE, 40_053), PUBLIC, &[7; 1000]);
    half.payload.truncate(808);
    half.frag = 0x2000;
    raw_ip(&lab.out, &half.bytes())?;
    std::thread::sleep(std::time::Duration::from_millis(2500));
    Ok(())
}

/// Every error type about a connection that exists, with what is right and what is wrong inside.
pub fn handmade(lab: &Lab) -> Result<()> {
    let server = udp(&lab.out, ANY, 123)?;
    let s = udp(&lab.web, ANY, 40_054)?;
    s.send_to(b"what time is it?", (OUTSIDE, 123))?;
    datagram(&server)?;
    settle();
    let inner = packet::udp((UPLINK, 40_054), (OUTSIDE, 123), b"what time is it?");
    let router = Ipv4Addr::new(192, 0, 2, 254);
    let send = |kind, code, rest, inner: &[u8], note: &str| {
        let mut p = packet::icmp(router, UPLINK, kind, code, rest, inner);
        p.ttl = 60;
        let frame = packet::eth(
            dataplane::base::Mac::from_ip(UPLINK),
            dataplane::base::Mac::from_ip(OUTSIDE),
            0x0800,
            &p.bytes(),
        );
        lab.wire.by_hand("uplink", frame, VnetHdr::PLAIN, note);
    };
    let whole = inner.bytes();
    for (code, name) in [
        (0, "net unreachable"),
        (1, "host unreachable"),
        (2, "protocol unreachable"),
        (3, "port unreachable"),
        (5, "source route failed"),
        (9, "net prohibited"),
        (13, "communication prohibited"),
    ] {
        send(3, code, [0; 4], &whole, name);
    }
    send(
        3,
        4,
        [0, 0, 0x05, 0x00],
        &whole,
        "fragmentation needed, MTU 1280",
    );
    send(
        3,
        4,
        [0, 0, 0, 20],
        &whole,
        "fragmentation needed, an absurd MTU of 20",
    );
    send(4, 0, [0; 4], &whole, "source quench (RFC 6633: obsolete)");
    send(5, 1, [192, 0, 2, 66], &whole, "redirect");
    send(11, 0, [0; 4], &whole, "time exceeded in transit");
    send(11, 1, [0; 4], &whole, "reassembly time exceeded");
    send(12, 0, [20, 0, 0, 0], &whole, "parameter problem at byte 20");
    send(
        3,
        3,
        [0; 4],
        &whole[..28],
        "only eight bytes behind the inner header (RFC 792)",
    );
    send(
        3,
        3,
        [0; 4],
        &whole[..24],
        "only four bytes behind the inner header",
    );
    send(3, 3, [0; 4], &whole[..16], "inner header cut");
    let mut bad = whole.clone();
    bad[10] ^= 0xff;
    send(3, 3, [0; 4], &bad, "inner header checksum wrong");
    let stranger = packet::udp((UPLINK, 40_055), (OUTSIDE, 123), b"never sent").bytes();
    send(
        3,
        3,
        [0; 4],
        &stranger,
        "about a packet that was never sent",
    );
    let within = packet::icmp(UPLINK, OUTSIDE, 3, 3, [0; 4], &whole).bytes();
    send(3, 3, [0; 4], &within, "error about an error");
    let good = packet::icmp(router, UPLINK, 3, 3, [0; 4], &whole);
    let mut broken = good.clone();
    broken.payload[2] ^= 0x55;
    lab.wire.by_hand(
        "uplink",
        broken.frame(UPLINK),
        VnetHdr::PLAIN,
        "ICMP checksum wrong",
    );
    // And one from the inside, about the answer.
    server.send_to(b"noon", (UPLINK, 40_054))?;
    settle();
    let answer = packet::udp((OUTSIDE, 123), (WEB, 40_054), b"noon").bytes();
    let p = packet::icmp(WEB, OUTSIDE, 3, 3, [0; 4], &answer);
    lab.wire.by_hand(
        "web",
        p.frame(GATEWAY),
        VnetHdr::PLAIN,
        "port unreachable from inside",
    );
    Ok(())
}
