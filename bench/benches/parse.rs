//! Parsing one frame: ours, beside etherparse's and smoltcp's parse of the same frames. Theirs do
//! less: ours also classifies for the tracker, checks the `virtio_net_hdr` and the IPv4 header
//! checksum's neighbours in one struct. smoltcp's is what its interface does before a socket is
//! looked for, without checksums, as ours.

use bench::frames::{tcp, tcp_super, tuple, udp};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::base::{Mac, Proto};
use dataplane::frame::{VnetHdr, emit, parse};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpPacket, ArpRepr, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv4Repr,
    TcpPacket, TcpRepr, UdpPacket, UdpRepr,
};
use std::hint::black_box;
use std::net::Ipv4Addr;

/// Enough of smoltcp to know what the frame is; None when it does not parse.
fn with_smoltcp(bytes: &[u8]) -> Option<u64> {
    let none = ChecksumCapabilities::ignored();
    let eth = EthernetFrame::new_checked(bytes).ok()?;
    match eth.ethertype() {
        EthernetProtocol::Arp => {
            let arp = ArpPacket::new_checked(eth.payload()).ok()?;
            black_box(ArpRepr::parse(&arp).ok()?);
            Some(0)
        }
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(eth.payload()).ok()?;
            let ip = Ipv4Repr::parse(&packet, &none).ok()?;
            let (src, dst) = (ip.src_addr.into(), ip.dst_addr.into());
            match ip.next_header {
                IpProtocol::Tcp => {
                    let tcp = TcpPacket::new_checked(packet.payload()).ok()?;
                    let r = TcpRepr::parse(&tcp, &src, &dst, &none).ok()?;
                    Some(u64::from(r.src_port))
                }
                IpProtocol::Udp => {
                    let udp = UdpPacket::new_checked(packet.payload()).ok()?;
                    let r = UdpRepr::parse(&udp, &src, &dst, &none).ok()?;
                    Some(u64::from(r.src_port))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn benches(c: &mut Criterion) {
    let (a, b) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
    let (x, y) = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 3));
    let t = tuple(Proto::TCP, x, 40_000, y, 80);
    let u = tuple(Proto::UDP, x, 40_000, y, 53);
    let frames = [
        ("tcp-64", (tcp(a, b, &t, 1, 2, 16, 10), VnetHdr::PLAIN)),
        ("udp-64", (udp(a, b, &u, 22), VnetHdr::PLAIN)),
        ("tcp-superframe", tcp_super(a, b, &t, 1, 2, 64_000)),
        (
            "arp",
            (emit::arp_reply(b, x, a, y).bytes().to_vec(), VnetHdr::PLAIN),
        ),
    ];
    let mut g = c.benchmark_group("parse");
    g.throughput(Throughput::Elements(1));
    for (name, (bytes, hdr)) in &frames {
        assert!(parse::parse(bytes, hdr).is_ok() && with_smoltcp(bytes).is_some());
        g.bench_function(format!("{name}/ours"), |bench| {
            bench.iter(|| parse::parse(black_box(bytes), black_box(hdr)));
        });
        g.bench_function(format!("{name}/etherparse"), |bench| {
            bench.iter(|| etherparse::SlicedPacket::from_ethernet(black_box(bytes)).is_ok());
        });
        g.bench_function(format!("{name}/smoltcp"), |bench| {
            bench.iter(|| with_smoltcp(black_box(bytes)));
        });
    }
    g.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
