//! `virtio_net_hdr` (linux/virtio_net.h): what the sender left undone in a frame.

/// Kind of superframe (`gso_type` without the ECN bit).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Gso {
    /// An ordinary frame.
    #[default]
    None,
    /// TCP over IPv4, to be cut into segments of `gso_size` payload bytes.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP datagrams of `gso_size` payload bytes each, of one flow (`VIRTIO_NET_HDR_GSO_UDP_L4`).
    UdpL4,
}

/// The ten bytes in front of each frame on a device with `IFF_VNET_HDR`, native byte order.
///
/// Offsets count from the first byte of the Ethernet header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VnetHdr {
    /// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the L4 checksum field holds the pseudo-header sum, not
    /// complemented; whoever sends the frame out must sum from `csum_start` and store at
    /// `csum_start + csum_offset`.
    pub needs_csum: bool,
    /// `VIRTIO_NET_HDR_F_DATA_VALID`: the L4 checksum was verified.
    pub data_valid: bool,
    /// Kind of superframe.
    pub gso: Gso,
    /// `VIRTIO_NET_HDR_GSO_ECN`: CWR belongs to the first segment only.
    pub ecn: bool,
    /// Length of all headers as the kernel saw it: a hint, never trusted.
    pub hdr_len: u16,
    /// Payload bytes of each segment but the last.
    pub gso_size: u16,
    /// Where the checksum's range begins.
    pub csum_start: u16,
    /// Where the checksum is stored, from `csum_start`.
    pub csum_offset: u16,
}

/// A `virtio_net_hdr` that is no header of this kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadVnetHdr {
    /// Fewer than [`VnetHdr::LEN`] bytes.
    #[error("shorter than ten bytes")]
    Short,
    /// A `gso_type` that was never negotiated.
    #[error("unknown gso_type {0}")]
    GsoType(u8),
}

const F_NEEDS_CSUM: u8 = 1;
const F_DATA_VALID: u8 = 2;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

impl VnetHdr {
    /// Bytes on the wire (`sizeof(struct virtio_net_hdr)`).
    pub const LEN: usize = 10;
    /// A frame with nothing left undone.
    pub const PLAIN: VnetHdr = VnetHdr {
        needs_csum: false,
        data_valid: false,
        gso: Gso::None,
        ecn: false,
        hdr_len: 0,
        gso_size: 0,
        csum_start: 0,
        csum_offset: 0,
    };

    /// In place of a header that can't be decoded: a checksum that starts and ends behind any
    /// frame, which the parser drops as `vnet_hdr_bad`. So such frames are counted where all
    /// others are.
    pub const IMPOSSIBLE: VnetHdr = VnetHdr {
        needs_csum: true,
        csum_start: u16::MAX,
        csum_offset: u16::MAX,
        ..VnetHdr::PLAIN
    };

    /// Whether the frame stands for several.
    pub const fn is_super(&self) -> bool {
        !matches!(self.gso, Gso::None)
    }

    /// Reads the first ten bytes of `b`. Whether the values fit the frame is checked by
    /// [`crate::frame::parse`].
    pub fn decode(b: &[u8]) -> Result<VnetHdr, BadVnetHdr> {
        let Some(&[flags, gso, h0, h1, g0, g1, s0, s1, o0, o1]) = b.first_chunk::<{ Self::LEN }>()
        else {
            return Err(BadVnetHdr::Short);
        };
        let kind = match gso & !GSO_ECN {
            0 => Gso::None,
            GSO_TCPV4 => Gso::TcpV4,
            GSO_TCPV6 => Gso::TcpV6,
            GSO_UDP_L4 => Gso::UdpL4,
            other => return Err(BadVnetHdr::GsoType(other)),
        };
        Ok(VnetHdr {
            needs_csum: flags & F_NEEDS_CSUM != 0,
            data_valid: flags & F_DATA_VALID != 0,
            gso: kind,
            ecn: gso & GSO_ECN != 0,
            hdr_len: u16::from_ne_bytes([h0, h1]),
            gso_size: u16::from_ne_bytes([g0, g1]),
            csum_start: u16::from_ne_bytes([s0, s1]),
            csum_offset: u16::from_ne_bytes([o0, o1]),
        })
    }

    /// The ten bytes.
    pub const fn encode(&self) -> [u8; Self::LEN] {
        let mut flags = 0;
        if self.needs_csum {
            flags |= F_NEEDS_CSUM;
        } else if self.data_valid {
            flags |= F_DATA_VALID;
        }
        let mut gso = match self.gso {
            Gso::None => 0,
            Gso::TcpV4 => GSO_TCPV4,
            Gso::TcpV6 => GSO_TCPV6,
            Gso::UdpL4 => GSO_UDP_L4,
        };
        if self.ecn && self.is_super() {
            gso |= GSO_ECN;
        }
        let h = self.hdr_len.to_ne_bytes();
        let g = self.gso_size.to_ne_bytes();
        let s = self.csum_start.to_ne_bytes();
        let o = self.csum_offset.to_ne_bytes();
        [flags, gso, h[0], h[1], g[0], g[1], s[0], s[1], o[0], o[1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let h = VnetHdr {
            needs_csum: true,
            gso: Gso::TcpV4,
            ecn: true,
            hdr_len: 54,
            gso_size: 1448,
            csum_start: 34,
            csum_offset: 16,
            data_valid: false,
        };
        assert_eq!(VnetHdr::decode(&h.encode()), Ok(h));
        assert_eq!(VnetHdr::decode(&[0; 9]), Err(BadVnetHdr::Short));
        assert_eq!(
            VnetHdr::decode(&[0, 3, 0, 0, 0, 0, 0, 0, 0, 0]),
            Err(BadVnetHdr::GsoType(3))
        );
    }
}
