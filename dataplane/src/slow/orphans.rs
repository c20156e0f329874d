//! Connections whose external address is none of the host's any more. They end when the address
//! goes, and what is left of a TCP one is a note of its inside end: that is sent a reset when it
//! next speaks, since it can't know.

use super::ctx::{Ctx, Verdict};
use super::forward::Packet;
use super::switch::Switch;
use crate::base::{Config, Proto, Reason, Tick};
use crate::flow::record::flags;
use crate::flow::{Dir, FlowKey, Record, RecordId, Zone};
use crate::frame::{L4, emit};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Notes at a time; whoever finds no room for one is not told.
const NOTES: usize = 1 << 16;
/// How long a note is kept, ms: as long as an idle TCP connection is.
const KEPT: u32 = 7_440_000;

/// The notes: what the inside end sends, and since when.
#[derive(Default)]
pub struct Orphans {
    notes: Mutex<HashMap<FlowKey, Tick>>,
    any: AtomicBool,
}

impl Orphans {
    fn notes(&self) -> MutexGuard<'_, HashMap<FlowKey, Tick>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, key: FlowKey, now: Tick) {
        let mut notes = self.notes();
        if notes.len() >= NOTES {
            notes.retain(|_, since| young(*since, now));
        }
        if notes.len() < NOTES {
            notes.insert(key, now);
            self.any.store(true, SeqCst);
        }
    }

    /// Whether the sender of `key` has lost its connection so, asked once.
    pub(super) fn take(&self, key: &FlowKey, now: Tick) -> bool {
        if !self.any.load(SeqCst) {
            return false;
        }
        let mut notes = self.notes();
        let since = notes.remove(key);
        self.any.store(!notes.is_empty(), SeqCst);
        since.is_some_and(|at| young(at, now))
    }
}

/// Whether a note is to be kept. Not by [`Tick::since`], for which one of 25 days is new again.
const fn young(since: Tick, now: Tick) -> bool {
    now.0.wrapping_sub(since.0) < KEPT
}

impl Switch {
    /// Ends all connections whose external address is gone; how many there were. To be called when
    /// no worker goes by the old configuration any more.
    pub fn end_by_address(&self, now: Tick) -> usize {
        let cfg = self.cfg();
        if cfg.host.is_none() {
            return 0;
        }
        self.forget_where(|r| {
            let gone = address_gone(&cfg, r);
            if gone && r.key(Dir::Orig).tuple().proto == Proto::TCP {
                for key in [Dir::Orig, Dir::Reply].map(|d| r.key(d)) {
                    if key.zone() == Zone::Inside {
                        self.orphans.note(key, now);
                    }
                }
            }
            gone
        })
    }
}

/// Whether the external address of a connection is none of the host's any more.
pub(super) fn address_gone(cfg: &Config, r: &Record) -> bool {
    let by = [
        r.has(flags::SNAT).then(|| r.key(Dir::Reply).tuple().dst),
        r.has(flags::DNAT).then(|| r.key(Dir::Orig).tuple().dst),
    ];
    by.into_iter().flatten().any(|ip| !cfg.is_external(ip))
}

impl Ctx<'_> {
    /// The end of a TCP segment without a connection.
    pub(super) fn orphaned(&mut self, pkt: &Packet<'_>) -> Reason {
        let key = FlowKey::new(pkt.zone, &pkt.tuple);
        if pkt.zone != Zone::Inside || !self.sw.orphans.take(&key, self.now.tick()) {
            return Reason::TcpNoConnection;
        }
        self.reset(pkt);
        Reason::AddressGone
    }

    /// Tells the inside sender of a TCP segment that its connection is no more.
    pub(super) fn reset(&mut self, pkt: &Packet<'_>) {
        if let Some(reset) = emit::tcp_reset(pkt.frame.bytes(), &pkt.p)
            && self.sw.icmp_budget.take(pkt.ingress, self.now)
        {
            self.originate(reset, pkt.ingress);
        }
    }

    /// Ends a connection of which a frame came before all were ended: TCP hears of it by a reset, what was
    /// masqueraded otherwise goes on by the new address (`None`).
    pub(super) fn ends_with_address(
        &mut self,
        pkt: &mut Packet<'_>,
        id: RecordId,
        r: &Record,
    ) -> Option<Verdict> {
        let anew = pkt.p.l4 != L4::Tcp && !r.has(flags::DNAT);
        self.sw.forget(id);
        if anew {
            return None;
        }
        if pkt.p.l4 == L4::Tcp && pkt.zone == Zone::Inside {
            self.reset(pkt);
        }
        Some(Verdict::Drop(Reason::AddressGone))
    }
}
