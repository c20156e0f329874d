//! ctnetlink: connections forgotten, all of them or those by one published port.
//! Numbers are those of linux/netfilter/nfnetlink_conntrack.h.

use super::netfilter::{ACK, Attrs, DUMP, Netfilter, attr};
use dataplane::base::{Proto, Tuple};
use std::io;
use std::net::Ipv4Addr;

const GET: u16 = (1 << 8) | 1;
const DELETE: u16 = (1 << 8) | 2;
const IPV4: u8 = 2;
const TUPLE_ORIG: u16 = 1;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const IP_SRC: u16 = 1;
const IP_DST: u16 = 2;
const PROTO_NUM: u16 = 1;
const PROTO_SPORT: u16 = 2;
const PROTO_DPORT: u16 = 3;

/// Forgets every connection of the namespace.
///
/// # Errors
/// What the kernel refused.
pub fn flush(nf: &mut Netfilter) -> io::Result<()> {
    nf.push(DELETE, ACK, IPV4, 0, &Attrs::default());
    nf.send().map(drop)
}

/// Forgets the connection that such a packet opened, if there is one.
///
/// # Errors
/// What the kernel refused.
pub fn forget_one(nf: &mut Netfilter, t: &Tuple) -> io::Result<()> {
    let ip = Attrs::default()
        .bytes(IP_SRC, &t.src.octets())
        .bytes(IP_DST, &t.dst.octets());
    let proto = Attrs::default()
        .bytes(PROTO_NUM, &[t.proto.0])
        .bytes(PROTO_SPORT, &t.sport.to_be_bytes())
        .bytes(PROTO_DPORT, &t.dport.to_be_bytes());
    let tuple = Attrs::default().nest(TUPLE_IP, ip).nest(TUPLE_PROTO, proto);
    // It is found by its answers too, which is not what is wanted.
    let asked = Attrs::default().nest(TUPLE_ORIG, tuple.clone());
    nf.push(GET, ACK, IPV4, 0, &asked);
    let told = match nf.send() {
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
        r => r?,
    };
    let opened = |body: &Vec<u8>| {
        let found = attr(body, TUPLE_ORIG).and_then(|t| attr(attr(t, TUPLE_IP)?, IP_DST));
        found == Some(&t.dst.octets())
    };
    match told.iter().any(opened) {
        true => delete(nf, tuple),
        false => Ok(()),
    }
}

fn delete(nf: &mut Netfilter, tuple: Attrs) -> io::Result<()> {
    nf.push(
        DELETE,
        ACK,
        IPV4,
        0,
        &Attrs::default().nest(TUPLE_ORIG, tuple),
    );
    match nf.send() {
        // Ended in the meantime.
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        r => r.map(drop),
    }
}

/// Forgets those whose first packet went to this address and port. The kernel goes through its
/// whole table for that, some ten milliseconds.
///
/// # Errors
/// What the kernel refused.
pub fn forget(nf: &mut Netfilter, proto: Proto, ip: Ipv4Addr, port: u16) -> io::Result<()> {
    nf.push(GET, DUMP, IPV4, 0, &Attrs::default());
    for body in nf.send()? {
        let Some(tuple) = attr(&body, TUPLE_ORIG) else {
            continue;
        };
        let field = |part, kind| attr(attr(tuple, part)?, kind);
        let ours = field(TUPLE_IP, IP_DST) == Some(&ip.octets())
            && field(TUPLE_PROTO, PROTO_NUM) == Some(&[proto.0])
            && field(TUPLE_PROTO, PROTO_DPORT) == Some(&port.to_be_bytes());
        if !ours {
            continue;
        }
        delete(nf, Attrs(tuple.to_vec()))?;
    }
    Ok(())
}
