//! What we make is read back with etherparse, every checksum verified.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod fragments;
mod icmp;

use super::*;
use crate::base::Reason;
use crate::frame::parse::{bits, parse, tcp_flags};
use crate::frame::{Frame, VnetHdr};
use etherparse::{
    IpNumber, NetSlice, PacketBuilder, PacketBuilderStep, SlicedPacket, TransportSlice,
};

const HOST: Mac = Mac([2, 0x42, 10, 0, 0, 2]);
const GATE: Mac = Mac([2, 0x42, 10, 0, 0, 1]);
const HOST_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const GATE_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);

fn builder(dst: Ipv4Addr) -> PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ethernet2(HOST.0, GATE.0).ipv4(HOST_IP.octets(), dst.octets(), 9)
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    builder(FAR).udp(1111, 53).write(&mut out, payload).unwrap();
    out
}

fn parsed(bytes: &[u8]) -> Parsed {
    parse(bytes, &VnetHdr::PLAIN).unwrap()
}

/// Sets bytes of the IPv4 header (offsets from it) and makes its checksum right.
fn edit_ipv4(bytes: &mut [u8], changes: &[(usize, &[u8])]) {
    for (at, v) in changes {
        bytes[14 + at..14 + at + v.len()].copy_from_slice(v);
    }
    let ihl = usize::from(bytes[14] & 15) * 4;
    bytes[24..26].fill(0);
    let sum = checksum::ipv4_header(&bytes[14..14 + ihl]);
    bytes[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// Slices a frame of ours: IPv4 header checksum and ICMP/TCP/UDP checksum must be right.
fn checked(bytes: &[u8]) -> (etherparse::Ipv4Header, SlicedPacket<'_>) {
    let s = SlicedPacket::from_ethernet(bytes).unwrap();
    let Some(NetSlice::Ipv4(ip)) = &s.net else {
        panic!("no IPv4 in {bytes:02x?}");
    };
    let h = ip.header().to_header();
    assert_eq!(h.calc_header_checksum(), h.header_checksum);
    match &s.transport {
        Some(TransportSlice::Icmpv4(i)) => {
            let sum = i.icmp_type().calc_checksum(i.payload());
            assert_eq!(sum, i.checksum());
        }
        Some(TransportSlice::Tcp(t)) => {
            let sum = t.calc_checksum_ipv4(h.source, h.destination).unwrap();
            assert_eq!(sum, t.checksum());
        }
        Some(TransportSlice::Udp(u)) => {
            let sum = u
                .to_header()
                .calc_checksum_ipv4_raw(h.source, h.destination, u.payload())
                .unwrap();
            assert_eq!(sum, u.checksum());
        }
        _ => {}
    }
    (h, s)
}

#[test]
fn arp_frames() {
    let read = |f: &Frame| {
        let p = parsed(f.bytes());
        let s = SlicedPacket::from_ethernet(f.bytes()).unwrap();
        let Some(NetSlice::Arp(a)) = s.net else {
            panic!("no ARP");
        };
        assert_eq!(f.len(), 42);
        let a = a.to_packet().try_eth_ipv4().unwrap();
        (p.dst, p.src, a)
    };
    let f = arp_request(GATE, GATE_IP, HOST_IP, None);
    let (dst, src, a) = read(&f);
    assert_eq!((dst, src, a.operation.0), (Mac::BROADCAST, GATE, 1));
    assert_eq!((a.sender_mac, a.sender_ipv4), (GATE.0, GATE_IP.octets()));
    assert_eq!((a.target_mac, a.target_ipv4), ([0; 6], HOST_IP.octets()));

    let f = arp_request(GATE, GATE_IP, HOST_IP, Some(HOST));
    assert_eq!(read(&f).0, HOST);

    let f = arp_reply(GATE, GATE_IP, HOST, HOST_IP);
    let (dst, src, a) = read(&f);
    assert_eq!((dst, src, a.operation.0), (HOST, GATE, 2));
    assert_eq!((a.sender_mac, a.sender_ipv4), (GATE.0, GATE_IP.octets()));
    assert_eq!((a.target_mac, a.target_ipv4), (HOST.0, HOST_IP.octets()));

    let f = arp_announcement(GATE, GATE_IP);
    let (dst, _, a) = read(&f);
    assert_eq!((dst, a.operation.0), (Mac::BROADCAST, 1));
    assert_eq!(a.sender_ipv4, a.target_ipv4);
}

fn segment(flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut h = etherparse::TcpHeader::new(40_000, 80, 0xffff_fff0, 1000);
    h.acknowledgment_number = 77;
    h.syn = flags & tcp_flags::SYN != 0;
    h.ack = flags & tcp_flags::ACK != 0;
    h.fin = flags & tcp_flags::FIN != 0;
    h.rst = flags & tcp_flags::RST != 0;
    builder(FAR).tcp_header(h).write(&mut out, payload).unwrap();
    out
}

#[test]
fn resets() {
    use tcp_flags::{ACK, FIN, RST, SYN};
    // Flags and payload of the segment, sequence, acknowledgement and flags of the reset.
    for (flags, payload, seq, ack, answer) in [
        (SYN, 0, 0, 0xffff_fff1, RST | ACK),
        (SYN, 40, 0, 0x19, RST | ACK), // data in the SYN, past the wrap
        (SYN | ACK, 0, 77, 0, RST),
        (ACK, 100, 77, 0, RST),
        (FIN | ACK, 0, 77, 0, RST),
    ] {
        let f = segment(flags, &vec![5; payload]);
        let r = tcp_reset(&f, &parsed(&f)).unwrap();
        let (h, _) = checked(r.bytes());
        assert_eq!((h.source, h.destination), (FAR.octets(), HOST_IP.octets()));
        let p = parsed(r.bytes());
        assert_eq!((p.src, p.dst, p.ttl), (GATE, HOST, 64));
        assert_eq!((p.tuple.sport, p.tuple.dport), (80, 40_000));
        assert_eq!(
            (p.tcp.seq, p.tcp.ack, p.tcp.flags, p.tcp.payload),
            (seq, ack, answer, 0),
            "{flags:08b}"
        );
    }
    let none = |f: &[u8]| assert!(tcp_reset(f, &parsed(f)).is_none());
    none(&segment(RST, &[]));
    none(&segment(RST | ACK, &[]));
    none(&segment(FIN, &[]));
    none(&udp(&[1]));
    let mut group = segment(SYN, &[]);
    group[0] = 0xff;
    none(&group);
    let mut frag = segment(SYN, &[1; 4]);
    edit_ipv4(&mut frag, &[(6, &[0x20, 0])]);
    none(&frag);
}

#[test]
fn options_are_judged() {
    let with = |list: &[u8]| {
        let mut f = udp(&[0; 16]);
        let mut list = list.to_vec();
        list.resize(list.len().next_multiple_of(4), 0);
        f.splice(34..34, list.iter().copied());
        let total = (f.len() as u16 - 14).to_be_bytes();
        let ihl = 0x45 + list.len() as u8 / 4;
        edit_ipv4(&mut f, &[(0, &[ihl]), (2, &total)]);
        check_options(&f, &parsed(&f))
    };
    assert_eq!(with(&[]), Ok(()));
    assert_eq!(with(&[1, 1, 1, 0]), Ok(()));
    assert_eq!(with(&[7, 7, 4, 0, 0, 0, 0]), Ok(())); // record route
    assert_eq!(with(&[148, 4, 0, 0]), Ok(())); // router alert
    assert_eq!(with(&[0, 131, 1]), Ok(())); // behind the end
    assert_eq!(with(&[131, 7, 4, 1, 2, 3, 4]), Err(Reason::SourceRoute));
    assert_eq!(with(&[1, 137, 7, 4, 1, 2, 3, 4]), Err(Reason::SourceRoute));
    for bad in [
        &[7, 0, 0, 0][..],
        &[7, 1, 0, 0],
        &[7, 5, 0, 0],
        &[1, 1, 1, 7],
        &[148, 255, 0, 0],
    ] {
        assert_eq!(with(bad), Err(Reason::BadOptions), "{bad:?}");
    }
}
