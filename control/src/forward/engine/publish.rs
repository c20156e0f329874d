//! Publications: their listeners, and taking them back.

use super::{Engine, LISTENER, Listener, UDP_PORT, watch};
use crate::forward::stats::set;
use crate::forward::{ForwardError, RelayId, limits, socket};
use dataplane::base::Proto;
use dataplane::nat::Publication;
use mio::Interest;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

impl Engine {
    pub(super) fn publish(&mut self, publication: &Publication) -> Result<RelayId, ForwardError> {
        check(publication, self.upstream.gateway)?;
        let need = usize::from(publication.last - publication.first) + 1;
        let open = limits::open_now();
        if open + need + limits::RESERVE > self.limit {
            let limit = self.limit;
            return Err(ForwardError::Descriptors {
                publication: *publication,
                need,
                open,
                limit,
            });
        }
        let id = RelayId(self.next_id);
        self.next_id += 1;
        let ip = publication.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
        for port in publication.first..=publication.last {
            let to = publication.port + (port - publication.first);
            let addr = SocketAddrV4::new(ip, port);
            let target = SocketAddrV4::new(publication.ip, to);
            if let Err(e) = self.bind(id, publication.proto, addr, target) {
                self.unpublish(id);
                return Err(refusal(addr, publication.proto, e));
            }
        }
        set(
            &self.stats.listeners,
            self.listeners.len() + self.udp.ports(),
        );
        self.published.insert(id);
        Ok(id)
    }

    fn bind(
        &mut self,
        owner: RelayId,
        proto: Proto,
        addr: SocketAddrV4,
        target: SocketAddrV4,
    ) -> io::Result<()> {
        let registry = self.poll.registry();
        if proto == Proto::UDP {
            let fd = socket::udp_listener(addr, self.uplink)?;
            return self.udp.add(owner, fd, target, |fd, key| {
                watch(registry, fd, key.token(UDP_PORT), Interest::READABLE)
            });
        }
        let fd = socket::tcp_listener(addr, self.uplink)?;
        let made = self.listeners.try_insert(|key| {
            watch(registry, &fd, key.token(LISTENER), Interest::READABLE)?;
            Ok(Listener { owner, fd, target })
        });
        made.map(|_| ())
    }

    /// Has all listeners, and those to come, ignore what comes in by this interface.
    pub(super) fn deaf_to(&mut self, uplink: Option<u32>) -> Result<(), ForwardError> {
        self.uplink = uplink;
        for key in self.listeners.keys_where(|_| true) {
            if let Some(l) = self.listeners.get_mut(key) {
                socket::deaf_to(&l.fd, uplink).map_err(|e| ForwardError::Filter(e.into()))?;
            }
        }
        let done = self.udp.each_port(|fd| socket::deaf_to(fd, uplink));
        done.map_err(|e| ForwardError::Filter(e.into()))
    }

    /// Closes all that belongs to `id`: first the listeners, so that nothing new comes.
    pub(super) fn unpublish(&mut self, id: RelayId) {
        for key in self.listeners.keys_where(|l| l.owner == id) {
            self.listeners.remove(key);
        }
        for key in self.conns.keys_where(|c| c.owner == id) {
            self.end(key, true);
        }
        self.udp.remove(id, &self.stats);
        set(
            &self.stats.listeners,
            self.listeners.len() + self.udp.ports(),
        );
    }
}

/// What no relay may be asked to do, whoever checked before.
fn check(p: &Publication, gateway: Ipv4Addr) -> Result<(), ForwardError> {
    let fits = p.first != 0
        && p.port != 0
        && p.first <= p.last
        && p.port.checked_add(p.last - p.first).is_some()
        && (p.proto == Proto::TCP || p.proto == Proto::UDP);
    if !fits {
        return Err(ForwardError::Unfit(*p));
    }
    // A gateway on 127/8 only occurs where the host's loopback plays the bridge.
    if p.ip == gateway || p.ip.is_unspecified() || p.ip.is_loopback() && !gateway.is_loopback() {
        return Err(ForwardError::HostAddress(*p));
    }
    Ok(())
}

/// The sentence for a bind that failed.
pub(crate) fn refusal(addr: SocketAddrV4, proto: Proto, e: io::Error) -> ForwardError {
    let proto = proto.name();
    match e.kind() {
        io::ErrorKind::AddrInUse => ForwardError::InUse { addr, proto },
        io::ErrorKind::AddrNotAvailable => ForwardError::NoAddress { addr, proto },
        io::ErrorKind::PermissionDenied => ForwardError::Forbidden { addr, proto },
        _ => ForwardError::Listen {
            addr,
            proto,
            source: e,
        },
    }
}
