//! IPv6 is only bridged, but its superframes are finished for ports that don't take them.

use dataplane::base::Proto;
use dataplane::frame::{Gso, VnetHdr};
use dataplane::port::Caps;
use dataplane::port::segment::takes;
use switchd_tests::memory::packet::{ACK, ipv6, naive_sum};
use switchd_tests::memory::{DB, Lab, WEB, mac};

const L4: usize = 14 + 40;

/// The sum of the pseudo-header (RFC 8200 section 8.1) of an IPv6 frame without extensions.
fn pseudo(frame: &[u8]) -> u16 {
    let len = u32::from(u16::from_be_bytes([frame[18], frame[19]])).to_be_bytes();
    naive_sum(&[&frame[22..54], &len, &[0, 0, 0, frame[20]]])
}

/// A superframe from `web` to `db` with this payload.
fn superframe(proto: Proto, size: u16, data: &[u8]) -> (Vec<u8>, VnetHdr) {
    let (gso, at, mut l4) = match proto {
        Proto::TCP => {
            let ports_and_numbers = [16, 0, 0, 80, 0, 0, 0, 100, 0, 0, 0, 1];
            let rest = [0x50, ACK, 0xff, 0xff, 0, 0, 0, 0];
            (Gso::TcpV6, 16, [&ports_and_numbers[..], &rest].concat())
        }
        _ => {
            let len = (8 + data.len() as u16).to_be_bytes();
            let header = [&[16, 0, 0, 80][..], &len, &[0, 0]].concat();
            (Gso::UdpL4, 6, header)
        }
    };
    let header = L4 + l4.len();
    l4.extend(data);
    let mut f = ipv6(mac(WEB), proto.0, "fe80::3", &l4);
    f[..6].copy_from_slice(&mac(DB).0);
    let sum = pseudo(&f);
    f[L4 + at..L4 + at + 2].copy_from_slice(&sum.to_be_bytes());
    let hdr = VnetHdr {
        needs_csum: true,
        gso,
        gso_size: size,
        hdr_len: header as u16,
        csum_start: L4 as u16,
        csum_offset: at as u16,
        ..VnetHdr::PLAIN
    };
    (f, hdr)
}

#[test]
fn superframes_reach_any_port_whole() {
    let data: Vec<u8> = (0..10_007u32).map(|n| (n % 251) as u8).collect();
    for which in 0..16u8 {
        let caps = Caps {
            csum: which & 1 != 0,
            tso4: which & 2 != 0,
            tso6: which & 4 != 0,
            uso: which & 8 != 0,
            big: false,
        };
        for proto in [Proto::TCP, Proto::UDP] {
            let mut lab = Lab::default();
            lab.db.port.set_caps(caps);
            let (bytes, hdr) = superframe(proto, 1_200, &data);
            lab.send_hdr(&lab.web.clone(), &bytes, hdr);
            let frames = lab.db.port.take();
            let whole = takes(caps, &hdr);
            assert_eq!(
                frames.len(),
                if whole { 1 } else { 9 },
                "{proto:?} {caps:?}"
            );
            let (mut all, mut seq) = (Vec::new(), 100);
            for f in frames {
                let b = f.bytes();
                assert!(takes(caps, &f.hdr));
                let len = usize::from(u16::from_be_bytes([b[18], b[19]]));
                assert_eq!(b.len(), L4 + len);
                let (header, at) = if proto == Proto::TCP {
                    (20, 16)
                } else {
                    (8, 6)
                };
                let field = u16::from_be_bytes([b[L4 + at], b[L4 + at + 1]]);
                if f.hdr.needs_csum {
                    assert_eq!(field, pseudo(b), "partial");
                } else {
                    let sum = naive_sum(&[&pseudo(b).to_be_bytes(), &b[L4..]]);
                    assert_eq!(sum, 0xffff, "finished");
                }
                if proto == Proto::TCP {
                    assert_eq!(b[L4 + 4..L4 + 8], u32::to_be_bytes(seq));
                } else {
                    assert_eq!(b[L4 + 4..L4 + 6], (len as u16).to_be_bytes());
                }
                seq += (len - header) as u32;
                all.extend_from_slice(&b[L4 + header..]);
            }
            assert_eq!(all, data, "{proto:?} {caps:?}");
        }
    }
}
