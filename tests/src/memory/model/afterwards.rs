//! What is to hold after everything has happened.

use super::ports::take;
use super::{Change, Got, Void, World};
use crate::memory::packet::udp;
use crate::memory::{APP, DB, FAR, GW, Lab, PEER, WEB};
use dataplane::base::{Proto, Tuple};
use dataplane::frame::{L4, VnetHdr, parse};
use std::time::Duration;

/// What a switch was given, in order.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Frame(usize, Vec<u8>, VnetHdr),
    Wait(Duration),
    Control(Change),
}

impl World {
    /// Gives another switch what this world's first one was given, but frames that came one after
    /// the other by one port as one batch, and asserts that each port gets the same frames.
    pub fn assert_same_in_batches(&self, lab: Lab) {
        let mut other = World::new(vec![lab], &[Void::Nothing], 0);
        other.silent = true;
        other.tainted = true;
        let mut events = self.trace.iter().peekable();
        while let Some(event) = events.next() {
            match event {
                // Its frame is an event of its own.
                Event::Control(Change::Move(..) | Change::Silence | Change::Caps(..)) => {}
                Event::Control(c) => other.change(*c),
                Event::Wait(d) => other.wait(*d),
                Event::Frame(port, bytes, hdr) => {
                    // Whether it is whole was seen the first time.
                    other.tainted = true;
                    let lab = &mut other.labs[0];
                    let host = lab.hosts()[*port].clone();
                    host.port.push(0, bytes, *hdr);
                    let more = matches!(events.peek(), Some(Event::Frame(p, ..)) if p == port);
                    if !more {
                        lab.run();
                        other.compare();
                    }
                }
            }
        }
        for port in 0..5 {
            let of = |all: &Got| -> Vec<(Vec<u8>, [u8; 10])> {
                let here = all.iter().filter(|g| g.0 == port);
                here.map(|g| (g.1.clone(), g.2)).collect()
            };
            assert_eq!(of(&self.output), of(&other.output), "port {port}");
        }
    }

    /// No two live connections go out by the same tuple, and no two come in by the same; each
    /// answer finds its way back to where the connection began.
    pub fn assert_bijection(&mut self) {
        for lab in &mut self.labs {
            let all = lab.sw.switch().conntrack.list(lab.now.tick());
            let mut orig: Vec<Tuple> = all.iter().map(|c| c.orig).collect();
            let mut reply: Vec<Tuple> = all.iter().map(|c| c.reply).collect();
            for side in [&mut orig, &mut reply] {
                let n = side.len();
                side.sort_unstable();
                side.dedup();
                assert_eq!(side.len(), n, "two connections share a tuple");
            }
            for c in all.iter().filter(|c| c.orig.proto == Proto::UDP) {
                let port = match c.reply.src {
                    PEER | FAR => 4,
                    ip => [GW, WEB, DB, APP]
                        .iter()
                        .position(|h| *h == ip)
                        .unwrap_or(1),
                };
                lab.clear();
                let from = lab.hosts()[port].clone();
                lab.route(&from, &c.reply, &udp(&c.reply, b"answer"));
                let got: Vec<Tuple> = take(lab, true)
                    .iter()
                    .filter_map(|(_, b, _)| parse::parse(b, &VnetHdr::PLAIN).ok())
                    .filter(|p| p.l4 == L4::Udp)
                    .map(|p| p.tuple)
                    .collect();
                // Its host may be gone or silent; then nothing comes out.
                assert!(
                    got.iter().all(|t| *t == c.orig.reversed()),
                    "{c:?} gave {got:?}"
                );
            }
        }
    }
}
