//! A frame behind its `virtio_net_hdr` in one `writev`.

use crate::frame::batch::BESIDE;
use crate::frame::{Gso, VnetHdr};
use crate::port::SendError;
use rustix::io::Errno;
use std::io::IoSlice;
use std::os::fd::AsFd;

/// Parts of a frame that are written without an allocation.
pub(super) const FEW: usize = 8;
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
    let write = |iov: &[IoSlice<'_>]| {
        loop {
            return match rustix::io::writev(fd, iov) {
                Ok(_) => Ok(()),
                Err(Errno::INTR) => continue,
                Err(e) => Err(error(e)),
            };
        }
    };
    if parts.len() < FEW {
        let mut iov = [IoSlice::new(&[]); FEW];
        for (to, from) in iov
            .iter_mut()
            .zip(std::iter::once(&IoSlice::new(&head)).chain(parts))
        {
            *to = *from;
        }
        write(iov.get(..=parts.len()).unwrap_or(&iov))
    } else if parts.len() < MANY {
        let mut iov = Vec::with_capacity(parts.len() + 1);
        iov.push(IoSlice::new(&head));
        iov.extend_from_slice(parts);
        write(&iov)
    } else {
        Err(SendError::Refused)
    }
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
