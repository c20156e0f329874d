//! The ports of a switch in a [`super::World`], and the hosts behind them as far as they need no
//! memory.

use super::Got;
use crate::memory::check::verify;
use crate::memory::packet::arp;
use crate::memory::{APP, DB, GW, Lab, PEER, UP, WEB, mac, spec};
use dataplane::base::Role;
use dataplane::port::memory::MemoryPort;
use std::net::Ipv4Addr;

/// Takes a container's port out, or puts one like it in.
pub fn replug(lab: &mut Lab, n: usize, out: bool) {
    let (workers, caps, now) = (lab.sw.workers(), lab.caps, lab.now);
    let host = [&mut lab.web, &mut lab.db, &mut lab.app]
        .into_iter()
        .nth(n)
        .expect("one of three");
    if out {
        assert!(lab.sw.remove_port(host.id));
        return;
    }
    let (port, queues) = MemoryPort::new(workers, caps);
    let spec = spec("again", Role::Access, host.ip, 1_500);
    host.id = lab.sw.add_port(spec, queues, now).expect("a port");
    host.port = port;
}

/// What the ports of a lab got. Every frame is one that may be sent: all its checksums are right,
/// or if a `tainted` one came in, that of its IPv4 header.
pub fn take(lab: &Lab, tainted: bool) -> Got {
    let mut all = Vec::new();
    for (port, h) in lab.hosts().into_iter().enumerate() {
        for f in h.port.take() {
            if let Err(e) = verify(&f) {
                let header = e.starts_with("IPv4 header") || e.starts_with("header ");
                assert!(tainted && !header, "{e}: {:02x?} {:?}", f.bytes(), f.hdr);
            }
            all.push((port, f.bytes().to_vec(), f.hdr.encode()));
        }
    }
    all
}

/// The answer of a port's host, or of PEER, to an ARP request of the switch.
pub fn answer((port, bytes, _): &(usize, Vec<u8>, [u8; 10])) -> Option<(usize, Vec<u8>)> {
    let ip = |at: usize| Some(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?));
    let request = bytes.get(12..22)? == [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    let (asker, host) = (ip(28)?, [GW, WEB, DB, APP, PEER][*port]);
    let own = request && ip(38)? == host && matches!(asker, GW | UP);
    let to = (mac(asker), asker);
    own.then(|| (*port, arp(mac(asker), 2, (mac(host), host), to)))
}
