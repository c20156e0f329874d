//! Offload headers (`virtio_net_hdr`) that lie about their frame.

use super::{ACK, Hand, SYN, good, introduce, mac};
use crate::lab::{Lab, Result};
use crate::nat::checksum;
use crate::packet::{self, Ip, tcp, udp};
use crate::wire::{DB, GATEWAY, OUTSIDE, WEB};
use dataplane::base::Mac;

/// The frame with its L4 checksum, `at` that offset, taken back to the pseudo-header's sum.
fn partial(frame: &[u8], at: usize) -> Vec<u8> {
    let mut b = frame.to_vec();
    let mut pseudo = b[26..34].to_vec();
    pseudo.extend([0, b[23]]);
    pseudo.extend((b.len() as u16 - 34).to_be_bytes());
    let sum = !checksum(&pseudo);
    b[34 + at..36 + at].copy_from_slice(&sum.to_be_bytes());
    b
}

pub fn vnet_hdr(lab: &Lab) -> Result<()> {
    let h = Hand { lab, port: "web" };
    introduce(lab);
    let data = vec![0x64; 900];
    let bridged = tcp((WEB, 40_090), (DB, 80), 1, 1, ACK, &data).frame(DB);
    let routed = tcp((WEB, 40_091), (OUTSIDE, 80), 1, 0, SYN, &[]).frame(GATEWAY);
    // flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
    let hdr = |flags: u8, gso: u8, len: u16, size: u16, start: u16, off: u16| {
        let mut b = [flags, gso, 0, 0, 0, 0, 0, 0, 0, 0];
        for (n, v) in [len, size, start, off].into_iter().enumerate() {
            b[2 + 2 * n..4 + 2 * n].copy_from_slice(&v.to_le_bytes());
        }
        b
    };
    let each = |vnet: [u8; 10], note: &str| {
        h.give_with(bridged.clone(), vnet, note);
        h.give_with(routed.clone(), vnet, &format!("{note}; routed"));
    };
    h.give_with(
        partial(&bridged, 16),
        hdr(1, 1, 54, 400, 34, 16),
        "a good TCP superframe",
    );
    each(
        hdr(1, 0, 0, 0, 65_535, 16),
        "checksum starts behind the frame",
    );
    each(
        hdr(1, 0, 0, 0, 34, 65_535),
        "checksum is stored behind the frame",
    );
    each(
        hdr(1, 0, 0, 0, 65_535, 65_535),
        "start plus offset overflow sixteen bits",
    );
    each(hdr(1, 0, 0, 0, 0, 0), "checksum over the Ethernet header");
    each(hdr(1, 0, 0, 0, 14, 10), "checksum of the IP header");
    each(hdr(1, 0, 0, 0, 34, 17), "checksum at an odd offset");
    each(hdr(1, 0, 0, 0, 34, 6), "TCP with UDP's checksum offset");
    each(
        hdr(1, 1, 54, 0, 34, 16),
        "superframe of segments of no bytes",
    );
    each(
        hdr(1, 1, 54, 1, 34, 16),
        "superframe of segments of one byte",
    );
    each(
        hdr(0, 1, 54, 400, 34, 16),
        "superframe without a partial checksum",
    );
    each(hdr(1, 1, 0, 400, 34, 16), "header length 0: only a hint");
    each(
        hdr(1, 1, 65_535, 400, 34, 16),
        "header length 65,535: only a hint",
    );
    each(
        hdr(1, 1, 54, 65_535, 34, 16),
        "segments longer than the frame",
    );
    each(
        hdr(1, 4, 54, 400, 34, 16),
        "IPv6 superframe, but the frame is IPv4",
    );
    each(
        hdr(1, 5, 42, 400, 34, 6),
        "UDP superframe, but the frame is TCP",
    );
    each(
        hdr(1, 3, 42, 400, 34, 6),
        "UDP fragmentation offload (UFO), never negotiated",
    );
    each(hdr(1, 9, 54, 400, 34, 16), "unknown gso_type 9");
    each(hdr(1, 0x81, 54, 400, 34, 16), "superframe with ECN");
    each(hdr(1, 0x80, 54, 400, 34, 16), "ECN without a kind");
    each(hdr(0xff, 0, 0, 0, 34, 16), "all flags");
    each(hdr(2, 0, 0, 0, 0, 0), "checksum verified (DATA_VALID)");
    let many = udp((WEB, 40_092), (DB, 9), &[0x75; 1000]).frame(DB);
    h.give_with(
        partial(&many, 6),
        hdr(1, 5, 42, 300, 34, 6),
        "a good UDP superframe",
    );
    h.give_with(
        many,
        hdr(1, 5, 42, 1, 34, 6),
        "a UDP superframe of 1,000 datagrams",
    );
    let fragment = Ip {
        frag: 0x2000,
        ..udp((WEB, 40_093), (DB, 9), &[0x66; 1000])
    };
    h.give_with(
        fragment.frame(DB),
        hdr(1, 5, 42, 500, 34, 6),
        "a UDP superframe that is a fragment",
    );
    let arp = packet::arp(1, mac(WEB), WEB, Mac::ZERO, DB);
    h.give_with(
        arp,
        hdr(1, 1, 54, 400, 34, 16),
        "an ARP packet as a TCP superframe",
    );
    h.give(good().frame(DB), "a good frame at the end");
    Ok(())
}
