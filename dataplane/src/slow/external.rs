//! The end of connections, and what becomes of their external ports.

use super::switch::Switch;
use crate::base::{Proto, Reason, Tick};
use crate::flow::record::flags;
use crate::flow::{Dir, Record, RecordId};
use crate::nat::ports::{Endpoint, Ports};
use std::net::Ipv4Addr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

/// The external port of a connection that is gone, still its inside endpoint's until this is
/// dropped.
pub struct KeptPort<'a> {
    external: &'a Ports,
    proto: Proto,
    inside: Endpoint,
    port: u16,
}

impl Drop for KeptPort<'_> {
    fn drop(&mut self) {
        self.external.release(self.proto, self.inside, self.port);
    }
}

impl Switch {
    /// Forgets the connections that `which` names, from outside the workers.
    pub fn forget_where(&self, which: impl Fn(&crate::flow::Record) -> bool) -> usize {
        let me = self.workers();
        // As a reader of its own, so that no record is reused between the look and the removal.
        self.conntrack.epochs.enter(me);
        let ids: Vec<RecordId> = self
            .conntrack
            .slab
            .live()
            .filter(|(_, r)| which(r))
            .map(|(id, _)| id)
            .collect();
        let n = ids.into_iter().filter(|id| self.forget(*id)).count();
        self.conntrack.epochs.leave(me);
        n
    }

    /// Forgets one connection and gives its external port back. False when it was gone already.
    pub fn forget(&self, id: RecordId) -> bool {
        let Some(gone) = self.conntrack.remove(id) else {
            return false;
        };
        if let Some(port) = gone.mapped_port {
            self.external
                .release(gone.orig.proto, (gone.orig.src, gone.orig.sport), port);
        }
        true
    }

    /// The same, but the external port stays its inside endpoint's until the answer is dropped: who
    /// reuses a closed connection's source port goes by the external one again. Outside that tuple
    /// may be in TIME-WAIT, and takes its own sender's next SYN only (RFC 6191; Linux draws
    /// sequence numbers and timestamps for each tuple).
    pub(super) fn forget_but_port(&self, id: RecordId) -> Option<KeptPort<'_>> {
        let gone = self.conntrack.remove(id)?;
        Some(KeptPort {
            external: &self.external,
            proto: gone.orig.proto,
            inside: (gone.orig.src, gone.orig.sport),
            port: gone.mapped_port?,
        })
    }

    /// The external port that an inside endpoint has, or a free one. `None`: it has one, but `free`
    /// says that the translated tuple is in use.
    ///
    /// # Errors
    /// As [`Ports::acquire`].
    pub(super) fn free_external(
        &self,
        proto: Proto,
        inside: Endpoint,
        now: Tick,
        free: impl Fn(u16) -> bool,
    ) -> Result<Option<u16>, Reason> {
        self.external.advance(now);
        let published = self.rules.published_ports(proto);
        // A container that speaks from a published port is known outside by its public number.
        let own = self.rules.by_target(proto, inside.0, inside.1);
        let own = own.map(|(_, port)| port);
        let port = self.external.acquire(proto, inside, own, published)?;
        if free(port) {
            return Ok(Some(port));
        }
        self.external.release(proto, inside, port);
        Ok(None)
    }

    /// An external port for an inside endpoint. When none is free, closed TCP connections give
    /// theirs back, oldest first; then one port serves several destinations, as far as `free`
    /// says that the translated tuple is not in use.
    ///
    /// # Errors
    /// [`Reason::PortsExhausted`]; [`Reason::HostPorts`] when the host has as many as it may and
    /// none of a closed connection.
    pub fn take_external(
        &self,
        proto: Proto,
        inside: Endpoint,
        now: Tick,
        free: impl Fn(u16) -> bool,
    ) -> Result<u16, Reason> {
        loop {
            match self.free_external(proto, inside, now, &free) {
                Ok(Some(port)) => return Ok(port),
                Err(Reason::PortsExhausted) if proto == Proto::TCP && self.reuse_closed() => {}
                Err(Reason::HostPorts) if self.reuse_closed_of(inside.0) => {}
                Ok(None) | Err(Reason::PortsExhausted) => break,
                Err(other) => return Err(other),
            }
        }
        let published = self.rules.published_ports(proto);
        self.external
            .acquire_overloaded(proto, inside, published, |p| !free(p))
    }

    /// Remembers that a masqueraded TCP connection is closing.
    pub fn note_closing(&self, id: RecordId, r: &Record) {
        if !r.has(flags::SNAT) {
            return;
        }
        let mut q = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        if q.len() >= self.cfg().limits.connections as usize {
            q.pop_front();
        }
        q.push_back((id, r.incarnation.load(Relaxed)));
    }

    /// Forgets the masqueraded TCP connection that closed longest ago. False when there is none.
    fn reuse_closed(&self) -> bool {
        loop {
            let next = self
                .closing
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
            let Some(next) = next else {
                return false;
            };
            if self.closed(next).is_some() && self.forget(next.0) {
                return true;
            }
        }
    }

    /// The same for one inside host, which fills its own quota: looks at the oldest few, among
    /// which most are its own then.
    fn reuse_closed_of(&self, host: Ipv4Addr) -> bool {
        const LOOK: usize = 256;
        let mut q = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        let its = |e: &(RecordId, u32)| {
            self.closed(*e)
                .is_some_and(|r| r.key(Dir::Orig).tuple().src == host)
        };
        let found = q.iter().take(LOOK).position(its);
        let Some((id, _)) = found.and_then(|i| q.remove(i)) else {
            return false;
        };
        drop(q);
        self.forget(id)
    }

    fn closed(&self, (id, incarnation): (RecordId, u32)) -> Option<&Record> {
        self.conntrack.slab.get(id).filter(|r| {
            r.incarnation.load(Relaxed) == incarnation
                && r.has(flags::LIVE)
                && crate::conntrack::state::is_closed(r.state.load(Relaxed))
        })
    }
}
