//! Frames that belong to no connection: bridged, answered by the switch, refused.

use super::{DB, FAR, GW, Lab, Pass, WEB, mac};
use crate::floor;
use crate::frames::{expiring, tuple, udp};
use dataplane::base::{Mac, Proto};
use dataplane::frame::{VnetHdr, emit};
use std::net::Ipv4Addr;
use std::time::Duration;

impl Lab {
    /// Frames of 64 bytes from one container to the other, under `n` source and destination MACs
    /// (half each) that have been learned.
    pub fn bridged(&mut self, n: u32) -> Pass {
        let far = |side: u8, i: u32| {
            let [_, b, c, d] = i.to_be_bytes();
            Mac([2, side, 0, b, c, d])
        };
        let t = tuple(Proto::UDP, WEB, 4000, DB, 4001);
        let half = (n / 2).max(1);
        for i in 0..half {
            self.one(self.ports.db, &udp(far(1, i), far(2, i), &t.reversed(), 22));
        }
        let frames: Vec<_> = (0..half)
            .map(|i| (udp(far(2, i), far(1, i), &t, 22), VnetHdr::PLAIN))
            .collect();
        for (f, _) in &frames {
            self.one(self.ports.web, f);
        }
        Pass::new(self.ports.web, frames)
    }

    /// The time of `frames` frames of `pass` in the floor's bridged loop, over the same table.
    pub fn floor_bridged(&self, pass: &mut Pass, frames: u64) -> Duration {
        let now = self.now.tick();
        let mut floor = floor::Bridged;
        pass.time(frames, |b, _| {
            std::hint::black_box(floor.pass(&self.sw, b, now));
        })
    }

    /// ARP requests of a container for its gateway.
    pub fn arp(&self) -> Pass {
        let ask = emit::arp_request(mac(WEB), WEB, GW, None);
        Pass::new(self.ports.web, vec![(ask.bytes().to_vec(), VnetHdr::PLAIN)])
    }

    /// Frames of a container whose TTL ends here.
    pub fn expiring(&self) -> Pass {
        let t = tuple(Proto::UDP, WEB, 4000, Ipv4Addr::from_bits(FAR), 33_434);
        let f = expiring(udp(mac(GW), mac(WEB), &t, 22));
        Pass::new(self.ports.web, vec![(f, VnetHdr::PLAIN)])
    }

    /// Frames that end within their Ethernet header's reach.
    pub fn truncated(&self) -> Pass {
        Pass::new(self.ports.web, vec![(vec![2; 20], VnetHdr::PLAIN)])
    }
}
