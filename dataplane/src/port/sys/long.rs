//! Frames beyond 64 KiB that the kernel hands on: read into a slot of the batch and behind it, and cut
//! into superframes that a slot has room for.

use crate::frame::batch::BATCH;
use crate::frame::{Batch, VnetHdr};
use crate::port::segment::{SegmentError, cut_long};

/// The longest superframe of Linux (`GSO_MAX_SIZE`, linux/netdevice.h), with an Ethernet header and
/// a `virtio_net_hdr` before it.
const LONGEST: usize = 8 * 65_535 + 14 + VnetHdr::LEN;
/// Most superframes that one becomes: each but the last has more than half of 64 KiB.
const PIECES: usize = 17;

/// Room for one of them.
#[derive(Debug)]
pub struct Long {
    /// Its `virtio_net_hdr`, and it.
    bytes: Box<[u8]>,
}

impl Default for Long {
    fn default() -> Long {
        Long {
            bytes: vec![0; LONGEST].into_boxed_slice(),
        }
    }
}

impl Long {
    /// Whether so many bytes, read into a slot, are of a frame that may be one of them.
    pub const fn is(n: usize) -> bool {
        n > VnetHdr::LEN + 14 + u16::MAX as usize
    }

    /// Whether the batch has slots enough for what one may become.
    pub fn fits(batch: &Batch) -> bool {
        batch.is_empty() || batch.len() + PIECES <= BATCH
    }

    /// Where to read what a slot has no room for, whose room is `before` bytes.
    pub fn behind(&mut self, before: usize) -> &mut [u8] {
        self.bytes.get_mut(before..).unwrap_or(&mut [])
    }

    /// Takes what was read into the slot.
    pub fn begin(&mut self, slot: &[u8]) {
        if let Some(to) = self.bytes.get_mut(..slot.len()) {
            to.copy_from_slice(slot);
        }
    }

    /// Puts the frame of which `n` bytes were read, the slot's first, into the batch, as superframes. One
    /// that is not of the kind that can be cut stays as it is in the slot, which the parser judges.
    /// Returns how many superframes found no slot.
    pub fn cut(&mut self, n: usize, batch: &mut Batch) -> u64 {
        let read = self.bytes.get_mut(..n).unwrap_or(&mut []);
        let (hdr, frame) = read.split_at_mut(VnetHdr::LEN.min(n));
        let hdr = VnetHdr::decode(hdr).unwrap_or(VnetHdr::IMPOSSIBLE);
        let mut lost = 0;
        let done = cut_long(frame, &hdr, |hdr, parts| {
            match batch.next_slot().map(|slot| slot.fill_parts(parts, *hdr)) {
                Some(true) => batch.commit(),
                _ => lost += 1,
            }
            Ok::<_, SegmentError>(())
        });
        match done {
            Ok(_) => lost,
            Err(_) => {
                if let Some(slot) = batch.next_slot() {
                    slot.set_received(n.saturating_sub(VnetHdr::LEN), hdr);
                }
                batch.commit();
                0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{in_new_netns, set_up};
    use super::super::{packet, tap};
    use super::*;
    use crate::frame::Gso;
    use crate::frame::batch::MAX_FRAME;
    use crate::port::filter::not_from;
    use crate::port::memory::join;
    use crate::port::segment::{segment, set_ipv4};
    use crate::port::testing::Spec;
    use crate::port::{Caps, PortQueue};
    use std::io::IoSlice;

    /// A TCP superframe with so much payload, whose length is 0 where it can't be said.
    fn superframe(len: usize) -> (Vec<u8>, VnetHdr) {
        let spec = Spec {
            payload: (0..len).map(|i| (i * 7 / 3) as u8).collect(),
            ..Spec::default()
        };
        let (mut bytes, mut hdr) = spec.partial();
        hdr.gso = Gso::TcpV4;
        hdr.gso_size = 1448;
        hdr.hdr_len = 54;
        if bytes.len() > 14 + 65_535 {
            set_ipv4(&mut bytes, 16, 14, 0);
        }
        (bytes, hdr)
    }

    /// The segments that a superframe stands for.
    fn segments(bytes: &[u8], hdr: &VnetHdr, to: &mut Vec<Vec<u8>>) {
        segment(bytes, hdr, Caps::NONE, |_, parts| {
            to.push(join(parts));
            Ok::<_, SegmentError>(())
        })
        .unwrap();
    }

    fn expected(len: usize) -> Vec<Vec<u8>> {
        let (mut bytes, hdr) = superframe(len);
        let mut out = vec![];
        if bytes.len() <= 14 + 65_535 {
            segments(&bytes, &hdr, &mut out);
            return out;
        }
        cut_long(&mut bytes, &hdr, |h, parts| {
            segments(&join(parts), h, &mut out);
            Ok::<_, SegmentError>(())
        })
        .unwrap();
        out
    }

    #[test]
    fn what_the_kernel_hands_on_beyond_64_kib_is_read_whole() {
        in_new_netns(|| {
            let made = tap::create("t0", 1, tap::Offload::AUTO).unwrap();
            let mut tap = made.queues.into_iter().next().unwrap();
            if !tap.caps().big {
                return eprintln!("SKIPPED: a kernel that knows none beyond 64 KiB");
            }
            set_up("t0", true);
            // SAFETY: a string that ends in a zero byte.
            let index = unsafe { libc::if_nametoindex(c"t0".as_ptr()) };
            let (mut queues, _) = packet::open(index, 1, &not_from(0)).unwrap();
            let mut queue = queues.remove(0);
            let mut batch = Batch::default();
            let mut arrive = |len| {
                let (bytes, hdr) = superframe(len);
                tap.send(&hdr, &[IoSlice::new(&bytes)]).unwrap();
            };
            // The first shows that there are such, and is lost.
            arrive(200_000);
            queue.recv(&mut batch, usize::MAX).unwrap();
            assert_eq!((batch.len(), batch.frames()[0].len()), (1, MAX_FRAME));
            // Then all come, whatever their length and however many.
            let lens = [
                70_000, 500, 65_482, 65_496, 65_505, 300_000, 524_000, 524_000, 524_000, 524_226,
            ];
            lens.into_iter().for_each(&mut arrive);
            let mut got = vec![];
            loop {
                batch.clear();
                let more = queue.recv(&mut batch, usize::MAX).unwrap();
                for f in batch.frames() {
                    segments(f.bytes(), &f.hdr, &mut got);
                }
                if !more && batch.is_empty() {
                    break;
                }
            }
            let want: Vec<_> = lens.into_iter().flat_map(expected).collect();
            assert_eq!(got.len(), want.len());
            assert!(got == want);
            assert_eq!(queue.lost(), 0);
        });
    }

    #[test]
    fn what_can_not_be_cut_or_finds_no_slot_is_accounted_for() {
        let read = |long: &mut Long, bytes: &[u8], hdr: &VnetHdr| {
            long.begin(&[&hdr.encode(), bytes].concat());
            VnetHdr::LEN + bytes.len()
        };
        let (mut long, mut batch) = (Long::default(), Batch::new(3));
        let (bytes, hdr) = superframe(300_000);
        let n = read(&mut long, &bytes, &hdr);
        assert_eq!(
            (long.cut(n, &mut batch), batch.len()),
            (2, 3),
            "five pieces"
        );
        batch.clear();
        let tagged = [&[2; 12][..], &[0x81, 0, 0, 9], &bytes[12..65_540]].concat();
        let room = batch.next_slot().unwrap().rx_room(0);
        room[..tagged.len()].copy_from_slice(&tagged);
        let n = read(&mut long, &tagged, &VnetHdr::PLAIN);
        assert_eq!((long.cut(n, &mut batch), batch.len()), (0, 1));
        assert_eq!(batch.frames()[0].bytes(), tagged);
        assert!(Long::fits(&batch));
    }
}
