//! Datagrams of containers that come in fragments, put together for a socket to send whole.
//!
//! The switch has looked at the fragments already (overlaps, lengths, how many): what is kept here
//! is bounded in number and time, and each in size by the length of an IP packet.

use super::dest::Side;
use super::engine::Engine;
use super::stats::add;
use super::wire::{ETH, MAX_PACKET, Packet, payload};
use dataplane::base::bytes::put16;
use dataplane::frame::{VnetHdr, checksum};
use std::io::IoSlice;
use std::net::Ipv4Addr;
use std::time::Instant;

/// Datagrams under way at a time.
const MOST: usize = 256;

/// What fragments of one datagram have in common (RFC 791 section 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct FragmentKey {
    side: Side,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    proto: u8,
    id: u16,
}

/// What has come of a datagram.
pub(super) struct Partial {
    since: Instant,
    /// Ethernet and IP header of the first fragment.
    head: Vec<u8>,
    body: Vec<u8>,
    covered: usize,
    end: Option<usize>,
}

impl Engine {
    /// Takes a fragment; the last one makes the datagram go on.
    pub(super) fn fragment(
        &mut self,
        side: Side,
        p: &Packet,
        head: &[u8],
        parts: &[IoSlice<'_>],
        now: Instant,
    ) {
        let key = FragmentKey {
            side,
            src: p.src,
            dst: p.dst,
            proto: p.proto,
            id: p.id,
        };
        if !self.fragments.contains_key(&key) && !self.room_for_fragments(now) {
            return add(&self.stats.fragments_lost, 1);
        }
        let partial = self.fragments.entry(key).or_insert_with(|| Partial {
            since: now,
            head: Vec::new(),
            body: Vec::new(),
            covered: 0,
            end: None,
        });
        if let Some(whole) = partial.take(p, head, parts) {
            self.fragments.remove(&key);
            if let Some(whole) = whole {
                self.frame(side, &VnetHdr::PLAIN, &[IoSlice::new(&whole)]);
            } else {
                add(&self.stats.fragments_lost, 1);
            }
        }
    }

    fn room_for_fragments(&mut self, now: Instant) -> bool {
        if self.fragments.len() >= MOST {
            let patience = self.config.timeouts.fragment;
            let before = self.fragments.len();
            self.fragments.retain(|_, f| f.since + patience > now);
            let lost = before - self.fragments.len();
            add(&self.stats.fragments_lost, lost as u64);
        }
        self.fragments.len() < MOST
    }
}

impl Partial {
    /// `Some` ends it: with the whole frame, or `None` for what can't be one.
    fn take(&mut self, p: &Packet, head: &[u8], parts: &[IoSlice<'_>]) -> Option<Option<Vec<u8>>> {
        let len = p.end - p.l4;
        let end = p.offset + len;
        if end > MAX_PACKET || self.end.is_some_and(|e| end > e) {
            return Some(None);
        }
        if p.offset == 0 {
            self.head = head.get(..p.l4).unwrap_or(&[]).to_vec();
        }
        if !p.more {
            self.end = Some(end);
        }
        if self.body.len() < end {
            self.body.resize(end, 0);
        }
        let mut at = p.offset;
        for part in payload(parts, p.l4, p.end) {
            if let Some(to) = self.body.get_mut(at..at + part.len()) {
                to.copy_from_slice(&part);
            }
            at += part.len();
        }
        self.covered += len;
        if self.head.is_empty() || self.end != Some(self.covered) {
            return None;
        }
        let mut whole = std::mem::take(&mut self.head);
        let l4 = whole.len();
        let total = u16::try_from(l4 - ETH + self.body.len());
        let Ok(total) = total else {
            return Some(None);
        };
        put16(&mut whole, ETH + 2, total);
        put16(&mut whole, ETH + 6, 0);
        put16(&mut whole, ETH + 10, 0);
        let sum = checksum::ipv4_header(whole.get(ETH..l4).unwrap_or(&[]));
        put16(&mut whole, ETH + 10, sum);
        whole.append(&mut self.body);
        Some(Some(whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uplink::sockets::wire;
    use dataplane::base::Mac;

    fn fragment(offset: usize, more: bool, body: &[u8]) -> Vec<u8> {
        let link = wire::Link {
            own: Mac([2; 6]),
            to: Mac([4; 6]),
        };
        let mut b = vec![0; ETH + wire::IP];
        let h = wire::IpHeader {
            src: Ipv4Addr::new(192, 0, 0, 2),
            dst: Ipv4Addr::new(198, 51, 100, 1),
            proto: wire::proto::UDP,
            ttl: 9,
            df: false,
        };
        wire::ip(&mut b, link, &h, body.len());
        put16(
            &mut b,
            ETH + 6,
            (offset / 8) as u16 | if more { 0x2000 } else { 0 },
        );
        b.extend(body);
        b
    }

    fn give(partial: &mut Partial, b: &[u8]) -> Option<Option<Vec<u8>>> {
        let p = Packet::read(b, b.len()).unwrap();
        partial.take(&p, b, &[IoSlice::new(b)])
    }

    fn empty() -> Partial {
        Partial {
            since: Instant::now(),
            head: Vec::new(),
            body: Vec::new(),
            covered: 0,
            end: None,
        }
    }

    #[test]
    fn the_last_to_come_completes_it_in_any_order() {
        let body: Vec<u8> = (0..100).collect();
        let cut = [
            fragment(0, true, &body[..40]),
            fragment(40, true, &body[40..80]),
            fragment(80, false, &body[80..]),
        ];
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
            let mut partial = empty();
            assert_eq!(give(&mut partial, &cut[order[0]]), None);
            assert_eq!(give(&mut partial, &cut[order[1]]), None);
            let whole = give(&mut partial, &cut[order[2]]).unwrap().unwrap();
            let p = Packet::read(&whole, whole.len()).unwrap();
            assert_eq!((p.end, p.is_fragment(), p.ttl), (whole.len(), false, 9));
            assert_eq!(&whole[p.l4..], body);
        }
    }

    #[test]
    fn what_reaches_past_the_end_spoils_it() {
        let mut partial = empty();
        assert_eq!(
            give(&mut partial, &fragment(0, false, &[1; 16])).map(|w| w.is_some()),
            Some(true)
        );
        let mut partial = empty();
        assert_eq!(give(&mut partial, &fragment(8, false, &[1; 16])), None);
        assert_eq!(
            give(&mut partial, &fragment(24, true, &[1; 16])),
            Some(None)
        );
    }
}
