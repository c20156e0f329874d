//! The other two parsers, asked the same questions. `None`: not a question for them.

use super::{Answer, Fields, Layer};
use etherparse::err::packet::SliceError;
use etherparse::{LinkExtSlice, NetSlice, SlicedPacket, TransportSlice};
use smoltcp::wire::{
    ArpPacket, EthernetFrame, Icmpv4Packet, IpProtocol, Ipv4Packet, TcpPacket, UdpPacket,
};

/// What etherparse makes of a frame.
pub fn etherparse(b: &[u8]) -> Option<Answer> {
    let packet = match SlicedPacket::from_ethernet(b) {
        Ok(p) => p,
        // What it read before is not told: by IPv4 alone it is asked again.
        Err(e) => return refused(b, &e),
    };
    let mut f = Fields::default();
    let ethernet = b.first_chunk::<14>()?;
    f.macs = (
        ethernet[..6].try_into().ok()?,
        ethernet[6..12].try_into().ok()?,
    );
    f.ethertype = u16::from_be_bytes([ethernet[12], ethernet[13]]);
    for (n, ext) in packet.link_exts.iter().enumerate() {
        let LinkExtSlice::Vlan(v) = ext else {
            return None; // MACsec, which the switch does not open
        };
        if n == 0 {
            f.vid = Some(v.vlan_identifier().value());
        }
        f.ethertype = v.ether_type().0;
    }
    let Some(NetSlice::Ipv4(ip)) = &packet.net else {
        return (f.ethertype != 0x0800 && f.ethertype != 0x86dd).then_some((f, None));
    };
    let h = ip.header();
    let (header, total) = (h.slice().len(), usize::from(h.total_len()));
    f.ip = Some((header, total, h.ttl(), h.protocol().0, h.identification()));
    f.addresses = Some((h.source(), h.destination()));
    let offset = h.fragments_offset().value() << 3;
    f.fragment = (h.dont_fragment(), h.more_fragments(), offset);
    match &packet.transport {
        Some(TransportSlice::Tcp(t)) => {
            f.ports = Some((t.source_port(), t.destination_port()));
            let flags = t.slice().get(13).copied()?;
            let numbers = (t.sequence_number(), t.acknowledgment_number());
            let header = t.header_slice().len();
            f.tcp = Some((numbers.0, numbers.1, t.window_size(), flags, header));
        }
        Some(TransportSlice::Udp(u)) => f.ports = Some((u.source_port(), u.destination_port())),
        Some(TransportSlice::Icmpv4(i)) => f.icmp = Some(i.type_u8()),
        _ => {}
    }
    Some((f, None))
}

fn refused(b: &[u8], e: &SliceError) -> Option<Answer> {
    use etherparse::err::Layer as At;
    let layer = match e {
        SliceError::Len(l) => match l.layer {
            At::Ethernet2Header | At::VlanHeader => Layer::Link,
            At::Ipv4Header | At::Ipv4Packet | At::Arp => Layer::Net,
            At::TcpHeader | At::UdpHeader | At::UdpPayload | At::Icmpv4 => Layer::Transport,
            At::Icmpv4Timestamp | At::Icmpv4TimestampReply => Layer::Transport,
            At::IpAuthHeader => Layer::Transport,
            _ => return None, // IPv6, which is not parsed but passed on
        },
        _ if b.get(12..14) == Some(&[0x86, 0xdd]) => return None,
        SliceError::Ip(_) | SliceError::Ipv4(_) => Layer::Net,
        SliceError::Ipv4Exts(_) | SliceError::Tcp(_) => Layer::Transport,
        _ => return None,
    };
    // The lower layers by hand, for excuses that compare them.
    let mut f = Fields::default();
    if layer == Layer::Transport
        && let Some((mine, _)) = smoltcp(b)
    {
        f = mine;
    }
    Some((f, Some(layer)))
}

/// What smoltcp's wire module makes of a frame. It knows no VLAN tags.
pub fn smoltcp(b: &[u8]) -> Option<Answer> {
    let mut f = Fields::default();
    let Ok(e) = EthernetFrame::new_checked(b) else {
        return Some((f, Some(Layer::Link)));
    };
    f.macs = (e.dst_addr().0, e.src_addr().0);
    f.ethertype = e.ethertype().into();
    match f.ethertype {
        0x0806 => {
            let layer = ArpPacket::new_checked(e.payload())
                .is_err()
                .then_some(Layer::Net);
            return Some((f, layer));
        }
        0x0800 => {}
        0x8100 | 0x88a8 | 0x86dd => return None,
        _ => return Some((f, None)),
    }
    let Ok(ip) = Ipv4Packet::new_checked(e.payload()) else {
        return Some((f, Some(Layer::Net)));
    };
    // Its own `Repr::parse` asks these, but refuses fragments along with them.
    if ip.version() != 4 || ip.header_len() < 20 || !ip.verify_checksum() {
        return Some((f, Some(Layer::Net)));
    }
    let (header, total) = (usize::from(ip.header_len()), usize::from(ip.total_len()));
    let proto: u8 = ip.next_header().into();
    f.ip = Some((header, total, ip.hop_limit(), proto, ip.ident()));
    f.addresses = Some((ip.src_addr().octets(), ip.dst_addr().octets()));
    f.fragment = (ip.dont_frag(), ip.more_frags(), ip.frag_offset());
    if ip.frag_offset() > 0 {
        return Some((f, None));
    }
    let refused = match ip.next_header() {
        IpProtocol::Tcp => TcpPacket::new_checked(ip.payload()).map(|t| {
            f.ports = Some((t.src_port(), t.dst_port()));
            let flags = ip.payload()[13];
            let header = usize::from(t.header_len());
            f.tcp = Some((
                t.seq_number().0 as u32,
                t.ack_number().0 as u32,
                t.window_len(),
                flags,
                header,
            ));
        }),
        IpProtocol::Udp => UdpPacket::new_checked(ip.payload()).map(|u| {
            f.ports = Some((u.src_port(), u.dst_port()));
        }),
        IpProtocol::Icmp => Icmpv4Packet::new_checked(ip.payload()).map(|i| {
            f.icmp = Some(i.msg_type().into());
        }),
        _ => Ok(()),
    };
    Some((f, refused.is_err().then_some(Layer::Transport)))
}
