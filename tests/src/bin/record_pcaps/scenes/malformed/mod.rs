//! Frames that no stack sends. Each carries what is wrong with it as its comment; between them
//! stand good ones, which have to pass all the same.

mod ipv4;
mod ipv6;
mod l2;
mod l4;
mod vnet_hdr;

pub use self::{ipv4::ipv4, ipv6::ipv6, l2::l2, l4::l4, vnet_hdr::vnet_hdr};

use crate::lab::Lab;
use crate::packet::{self, Ip, udp};
use crate::wire::{DB, OUTSIDE, UPLINK, WEB};
use dataplane::base::Mac;
use dataplane::frame::VnetHdr;
use std::net::Ipv4Addr;

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Hands frames to one port, a millisecond apart.
struct Hand<'a> {
    lab: &'a Lab,
    port: &'static str,
}

impl Hand<'_> {
    fn give(&self, frame: Vec<u8>, note: &str) {
        self.give_with(frame, VnetHdr::PLAIN.encode(), note);
    }

    fn give_with(&self, frame: Vec<u8>, vnet: [u8; 10], note: &str) {
        std::thread::sleep(std::time::Duration::from_millis(1));
        self.lab.wire.by_hand_raw(self.port, frame, vnet, note);
    }

    /// The frame cut at every one of `lengths`.
    fn cut(&self, frame: &[u8], lengths: impl Iterator<Item = usize>, what: &str) {
        for n in lengths {
            self.give(frame[..n].to_vec(), &format!("{what} cut to {n} bytes"));
        }
    }
}

fn mac(ip: Ipv4Addr) -> Mac {
    Mac::from_ip(ip)
}

/// The outside asks for the switch, which learns from it where to send.
fn introduce(lab: &Lab) {
    let ask = packet::arp(1, mac(OUTSIDE), OUTSIDE, Mac::ZERO, UPLINK);
    Hand {
        lab,
        port: "uplink",
    }
    .give(ask, "the outside asks for the switch");
}

/// From web to db, the usual good frame.
fn good() -> Ip {
    udp((WEB, 40_070), (DB, 9), b"good")
}
