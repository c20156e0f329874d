//! IPv6, which is bridged only: router advertisements and others that only a router sends.

use super::{Hand, mac};
use crate::lab::{Lab, Result};
use crate::packet::eth;
use crate::wire::{GATEWAY, WEB};
use dataplane::base::Mac;

pub fn ipv6(lab: &Lab) -> Result<()> {
    let h = Hand { lab, port: "web" };
    let all = Mac([0x33, 0x33, 0, 0, 0, 1]);
    let packet6 = |next: u8, hop: u8, payload: &[u8]| {
        let mut p = vec![0x60, 0, 0, 0];
        p.extend((payload.len() as u16).to_be_bytes());
        p.extend([next, hop]);
        p.extend([
            0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x42, 0x0a, 0xff, 0xfe, 0, 0, 2,
        ]);
        p.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        p.extend(payload);
        p
    };
    let six = |next: u8, payload: &[u8], note: &str| {
        h.give(
            eth(all, mac(WEB), 0x86dd, &packet6(next, 255, payload)),
            note,
        );
    };
    let message = |kind: u8| {
        let mut m = vec![kind, 0, 0, 0];
        m.resize(32, 0);
        m
    };
    let chain = |next: u8, inner: &[u8]| {
        let mut p = vec![next, 0, 1, 4, 0, 0, 0, 0];
        p.extend(inner);
        p
    };
    six(58, &message(135), "neighbour solicitation");
    six(58, &message(136), "neighbour advertisement");
    six(58, &message(133), "router solicitation");
    six(58, &message(134), "router advertisement: refused");
    six(58, &message(137), "redirect: refused");
    six(
        60,
        &chain(58, &message(134)),
        "router advertisement behind destination options: refused",
    );
    six(
        44,
        &[58, 0, 0, 1, 0, 0, 0, 9],
        "first fragment without what follows: refused (RFC 7113)",
    );
    let mut dhcp = vec![0x02, 0x23, 0x02, 0x22, 0, 20, 0, 0];
    dhcp.extend([2; 12]);
    six(17, &dhcp, "DHCPv6 server's advertisement: refused");
    dhcp[..4].copy_from_slice(&[0x02, 0x22, 0x02, 0x23]);
    six(17, &dhcp, "DHCPv6 client's solicitation");
    let whole = eth(all, mac(WEB), 0x86dd, &packet6(58, 255, &message(135)));
    h.cut(&whole, [14, 15, 20, 53, 54, 55, 57].into_iter(), "IPv6");
    let mut tagged = whole.clone();
    tagged.splice(12..12, [0x81, 0, 0, 7]);
    tagged[58] = 134;
    h.give(tagged, "router advertisement in VLAN 7: refused");
    let mut version = whole.clone();
    version[14] = 0x40;
    h.give(version, "version 4 in an IPv6 frame");
    h.give(
        eth(mac(GATEWAY), mac(WEB), 0x86dd, &packet6(17, 64, &dhcp)),
        "IPv6 to the gateway: not routed",
    );
    Ok(())
}
