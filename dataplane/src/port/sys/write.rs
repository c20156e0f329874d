//! A frame behind its `virtio_net_hdr` in one system call.

use crate::frame::batch::BESIDE;
use crate::frame::{Gso, VnetHdr};
use crate::port::SendError;
use rustix::io::{Errno, retry_on_intr};
use std::io::IoSlice;
use std::os::fd::AsFd;

/// Frames up to this long are copied behind their header: the kernel takes one piece for less than
/// two, and the copy is a few cache lines.
const SHORT: usize = 256;
/// Parts of a frame that are written without an allocation.
pub(super) const FEW: usize = 16;
/// Parts in one `writev` (`IOV_MAX`, with the header).
const MANY: usize = 1024;

/// The header of a TCP superframe with [`BESIDE`] bytes more beside the frame's headers.
pub(super) fn set_apart(hdr: &VnetHdr, parts: &[IoSlice<'_>]) -> VnetHdr {
    let beside = hdr.hdr_len.saturating_add(BESIDE as u16);
    let tcp = matches!(hdr.gso, Gso::TcpV4 | Gso::TcpV6) && hdr.hdr_len > 0;
    match tcp && usize::from(beside) <= parts.iter().map(|p| p.len()).sum() {
        true => VnetHdr {
            hdr_len: beside,
            ..*hdr
        },
        false => *hdr,
    }
}

/// Writes a frame behind its header in one call.
pub(super) fn write_with(
    fd: &impl AsFd,
    hdr: &VnetHdr,
    parts: &[IoSlice<'_>],
    error: fn(Errno) -> SendError,
) -> Result<(), SendError> {
    let head = hdr.encode();
    let pieces = |iov: &[IoSlice<'_>]| retry_on_intr(|| rustix::io::writev(fd, iov));
    let written = if let [only] = parts
        && only.len() <= SHORT
    {
        let mut both = [0; VnetHdr::LEN + SHORT];
        let (first, rest) = both.split_at_mut(head.len());
        first.copy_from_slice(&head);
        let (frame, _) = rest.split_at_mut(only.len());
        frame.copy_from_slice(only);
        let whole = both.get(..head.len() + only.len()).unwrap_or(&both);
        retry_on_intr(|| rustix::io::write(fd, whole))
    } else if parts.len() < FEW {
        let mut iov = [IoSlice::new(&[]); FEW];
        for (to, from) in iov
            .iter_mut()
            .zip(std::iter::once(&IoSlice::new(&head)).chain(parts))
        {
            *to = *from;
        }
        pieces(iov.get(..=parts.len()).unwrap_or(&iov))
    } else if parts.len() < MANY {
        let mut iov = Vec::with_capacity(parts.len() + 1);
        iov.push(IoSlice::new(&head));
        iov.extend_from_slice(parts);
        pieces(&iov)
    } else {
        return Err(SendError::Refused);
    };
    written.map(drop).map_err(error)
}

/// What a failed write means. EIO is an interface that is down: the frame is lost, the port stays.
pub(super) fn send_error(e: Errno) -> SendError {
    match e {
        Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM => SendError::Full,
        Errno::BADFD | Errno::NODEV => SendError::Gone,
        Errno::INVAL | Errno::OPNOTSUPP => SendError::Refused,
        e => SendError::Io(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_frame_goes_out_behind_its_header_in_one_piece_whatever_its_length() {
        let (out, back) = UnixDatagram::pair().unwrap();
        let hdr = VnetHdr {
            needs_csum: true,
            csum_start: 34,
            csum_offset: 16,
            ..VnetHdr::PLAIN
        };
        let bytes: Vec<u8> = (0..1514).map(|n| n as u8).collect();
        for len in [0, 1, 60, SHORT - 1, SHORT, SHORT + 1, 1514] {
            let frame = &bytes[..len];
            let (a, b) = frame.split_at(len / 2);
            for parts in [
                &[IoSlice::new(frame)][..],
                &[IoSlice::new(a), IoSlice::new(b)],
            ] {
                write_with(&out, &hdr, parts, send_error).unwrap();
                let mut got = [0; 2000];
                let n = back.recv(&mut got).unwrap();
                assert_eq!(got[..n], [&hdr.encode()[..], frame].concat());
            }
        }
        drop(back);
        let gone = write_with(&out, &hdr, &[IoSlice::new(&bytes[..60])], send_error);
        assert!(matches!(gone, Err(SendError::Io(_))));
    }

    #[test]
    fn what_follows_some_payload_of_a_tcp_superframe_begins_a_page() {
        let tcp = VnetHdr {
            needs_csum: true,
            gso: Gso::TcpV4,
            hdr_len: 66,
            gso_size: 1448,
            csum_start: 34,
            csum_offset: 16,
            ..VnetHdr::PLAIN
        };
        let hdr_len = |hdr: VnetHdr, len: usize| {
            let bytes = vec![0; len];
            let (a, b) = bytes.split_at(66);
            let written = set_apart(&hdr, &[IoSlice::new(a), IoSlice::new(b)]);
            assert_eq!(
                VnetHdr {
                    hdr_len: 0,
                    ..written
                },
                VnetHdr { hdr_len: 0, ..hdr }
            );
            written.hdr_len
        };
        assert_eq!((hdr_len(tcp, 3000), hdr_len(tcp, 192)), (192, 192));
        assert_eq!(hdr_len(tcp, 191), 66, "shorter than that");
        let udp = VnetHdr {
            gso: Gso::UdpL4,
            ..tcp
        };
        assert_eq!(hdr_len(udp, 3000), 66);
        assert_eq!(hdr_len(VnetHdr { hdr_len: 0, ..tcp }, 3000), 0, "unknown");
        assert_eq!(hdr_len(VnetHdr::PLAIN, 3000), 0);
    }
}
