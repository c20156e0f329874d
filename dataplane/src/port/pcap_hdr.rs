//! The `virtio_net_hdr` of captured frames: as a comment beside the packet, or worked out from the
//! bytes.

use super::headers::{Headers, TCP};
use crate::base::bytes::be16;
use crate::frame::checksum::{fold, sum};
use crate::frame::{Gso, VnetHdr};

/// The comment for a header; `None` for one that says nothing.
pub(super) fn write_hdr(h: &VnetHdr) -> Option<String> {
    if *h == VnetHdr::PLAIN {
        return None;
    }
    let gso = match h.gso {
        Gso::None => "none",
        Gso::TcpV4 => "tcp4",
        Gso::TcpV6 => "tcp6",
        Gso::UdpL4 => "udp",
    };
    Some(format!(
        "virtio_net_hdr needs_csum={} data_valid={} gso={gso} ecn={} hdr_len={} gso_size={} csum_start={} csum_offset={}",
        u8::from(h.needs_csum),
        u8::from(h.data_valid),
        u8::from(h.ecn),
        h.hdr_len,
        h.gso_size,
        h.csum_start,
        h.csum_offset
    ))
}

/// Inverse of [`write_hdr`]; `None` for any other comment.
pub(super) fn read_hdr(comment: &str) -> Option<VnetHdr> {
    let mut h = VnetHdr::PLAIN;
    for pair in comment.strip_prefix("virtio_net_hdr ")?.split(' ') {
        let (key, value) = pair.split_once('=')?;
        match key {
            "needs_csum" => h.needs_csum = value == "1",
            "data_valid" => h.data_valid = value == "1",
            "ecn" => h.ecn = value == "1",
            "gso" => {
                h.gso = match value {
                    "none" => Gso::None,
                    "tcp4" => Gso::TcpV4,
                    "tcp6" => Gso::TcpV6,
                    "udp" => Gso::UdpL4,
                    _ => return None,
                }
            }
            "hdr_len" => h.hdr_len = value.parse().ok()?,
            "gso_size" => h.gso_size = value.parse().ok()?,
            "csum_start" => h.csum_start = value.parse().ok()?,
            "csum_offset" => h.csum_offset = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(h)
}

/// The header that a captured frame must have come with. A checksum that equals its
/// pseudo-header's sum and is no finished one is partial. A TCP packet longer than `mtu` is a
/// superframe whose segments fill the MTU. (A UDP superframe looks like a long datagram: it can't
/// be told from the bytes.)
pub fn infer_hdr(bytes: &[u8], mtu: usize) -> VnetHdr {
    let Some(h) = Headers::find(bytes) else {
        return VnetHdr::PLAIN;
    };
    let l4_len = h.end - h.l4;
    let pseudo = h.pseudo_sum(bytes, l4_len);
    let field = be16(bytes, h.l4 + h.csum_offset());
    let finished = fold(sum(bytes.get(h.l4..h.end).unwrap_or(&[]), pseudo)) == 0xffff;
    let headers = h.payload - h.l3;
    let long = h.proto == TCP && h.l3_len() > mtu && mtu > headers;
    let mut hdr = VnetHdr::PLAIN;
    if long || (field == fold(pseudo) && !finished) {
        hdr.needs_csum = true;
        hdr.csum_start = h.l4 as u16;
        hdr.csum_offset = h.csum_offset() as u16;
    }
    if long {
        hdr.gso = if h.v6 { Gso::TcpV6 } else { Gso::TcpV4 };
        hdr.gso_size = (mtu - headers) as u16;
        hdr.hdr_len = h.payload as u16;
    }
    hdr
}
