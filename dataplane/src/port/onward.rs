//! Whether whoever reads a port passes on what it gets, told from the frames that it sends.
//!
//! A stack that keeps what it gets takes superframes beyond 64 KiB ([`super::Caps::big`]) gladly. A
//! router or a bridge behind the port would have to cut each into segments for its next link. Its
//! answers give it away: a router's come with a TTL one below what systems begin with, a bridge's
//! from other addresses than the interface's own. The first answer of a connection comes before any
//! bulk does, so it is seen in time.
//!
//! Only a hint: who begins with an odd TTL, or has other addresses than was said, gets superframes of
//! 64 KiB.

use super::headers::{Headers, TCP};
use crate::base::Mac;
use crate::base::bytes::{byte, get};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// What systems begin with: RFC 1700's recommendation, Windows, and the most that there is.
const FIRST_TTLS: [u8; 3] = [64, 128, 255];
/// TCP frames without a sign, of those that are looked at, after which the port counts as one that
/// keeps what it gets.
const REMEMBERED: u32 = 1024;

/// One port's signs, shared by all who read it and write to it. Two who count at once may lose a
/// step of the countdown.
#[derive(Debug, Default)]
pub struct Onward {
    /// Frames until the last sign is forgotten.
    left: AtomicU32,
    /// The interface's own address, zero while nobody knows it.
    own: AtomicU64,
}

impl Onward {
    /// Says which address the interface has.
    pub fn expect_source(&self, own: Mac) {
        self.own.store(own.to_u64(), Relaxed);
    }

    /// Whether there was a sign of late.
    pub fn suspected(&self) -> bool {
        self.left.load(Relaxed) != 0
    }

    /// Looks at a frame that came from the port.
    pub fn heard(&self, frame: &[u8]) {
        let Some(at) = Headers::find(frame) else {
            return;
        };
        if at.proto != TCP || at.v6 {
            return;
        }
        let source = Mac(get(frame, 6).unwrap_or_default()).to_u64();
        let own = self.own.load(Relaxed);
        let bridged = own != 0 && source != own;
        let routed = !FIRST_TTLS.contains(&byte(frame, at.l3 + 8));
        let left = self.left.load(Relaxed);
        let now = match bridged || routed {
            true => REMEMBERED,
            false => left.saturating_sub(1),
        };
        if now != left {
            self.left.store(now, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::testing::Spec;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn sent(mac: Mac, spec: Spec) -> Vec<u8> {
        let mut f = spec.partial().0;
        f[6..12].copy_from_slice(&mac.0);
        f
    }

    fn from(mac: Mac, ttl: u8) -> Vec<u8> {
        let spec = Spec {
            ttl,
            ..Spec::default()
        };
        sent(mac, spec)
    }

    #[test]
    fn a_router_behind_the_port_is_told_by_its_ttl_and_forgotten() {
        let o = Onward::default();
        o.expect_source(OWN);
        for ttl in FIRST_TTLS {
            o.heard(&from(OWN, ttl));
            assert!(!o.suspected(), "{ttl}");
        }
        for ttl in [63, 62, 127, 254, 1, 0] {
            o.heard(&from(OWN, ttl));
            assert!(o.suspected(), "{ttl}");
            for _ in 1..REMEMBERED {
                o.heard(&from(OWN, 64));
            }
            assert!(o.suspected(), "a while");
            o.heard(&from(OWN, 64));
            assert!(!o.suspected(), "not for ever");
        }
    }

    #[test]
    fn a_bridge_behind_the_port_is_told_by_other_addresses() {
        let o = Onward::default();
        let other = from(Mac([2, 0, 0, 0, 0, 9]), 64);
        o.heard(&other);
        assert!(!o.suspected(), "nobody knows the interface's");
        o.expect_source(OWN);
        o.heard(&from(OWN, 64));
        assert!(!o.suspected());
        o.heard(&other);
        assert!(o.suspected());
    }

    #[test]
    fn other_frames_are_no_sign() {
        let o = Onward::default();
        let other = |tcp, v6| {
            let spec = Spec {
                tcp,
                v6,
                ttl: 63,
                ..Spec::default()
            };
            sent(OWN, spec)
        };
        let mut arp = from(OWN, 63);
        arp[13] = 6;
        for f in [arp, other(false, false), other(true, true), vec![]] {
            o.heard(&f);
            assert!(!o.suspected());
        }
        let tagged = Spec {
            tags: vec![(0x8100, 7)],
            ttl: 63,
            ..Spec::default()
        };
        o.heard(&sent(OWN, tagged));
        assert!(o.suspected(), "behind a tag");
    }
}
